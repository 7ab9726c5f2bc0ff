"""How much of the truth's variation at the finest wavelengths a prediction has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orbitlite.verification.spectra import Spectrum
from orbitlite.verification.spherical import KM_PER_DEGREE


def fine_power_ratio(
    ours: Spectrum, truth: Spectrum, lat_edges: NDArray[np.float64]
) -> float | None:
    """Return power over that of the truth at wavelengths of two to four fine cells of latitude.

    Spectra of the globe end at four: there at the octave from their shortest wavelength on.

    Parameters
    ----------
    ours, truth : Spectrum
    lat_edges : ndarray of shape (fH + 1,)
        In degrees.

    Returns
    -------
    float or None
        None where the truth has none.
    """
    cell = abs(lat_edges[-1] - lat_edges[0]) / (len(lat_edges) - 1) * KM_PER_DEGREE
    least = max(2 * cell, float(ours.wavelength.min())) * 0.999
    band = (ours.wavelength > least) & (ours.wavelength < 2 * least)
    power, true = ((s.power * s.modes)[band].sum() for s in (ours, truth))
    return float(power / true) if true > 0 else None
