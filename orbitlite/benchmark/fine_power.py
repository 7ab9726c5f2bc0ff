"""How much of the truth's variation at the finest wavelengths a prediction has."""

from __future__ import annotations

from orbitlite.grids.grid import Grid
from orbitlite.verification.spectra import Spectrum


def fine_power_ratio(ours: Spectrum, truth: Spectrum, grid: Grid) -> float | None:
    """Return power over that of the truth at wavelengths of two to four fine rows.

    Spectra of the globe end at four: there at the octave from their shortest wavelength on.

    Parameters
    ----------
    ours, truth : Spectrum
    grid : Grid
        The fine one.

    Returns
    -------
    float or None
        None where the truth has none.
    """
    least = max(2 * grid.kilometres[0], float(ours.wavelength.min())) * 0.999
    band = (ours.wavelength > least) & (ours.wavelength < 2 * least)
    power, true = ((s.power * s.modes)[band].sum() for s in (ours, truth))
    return float(power / true) if true > 0 else None
