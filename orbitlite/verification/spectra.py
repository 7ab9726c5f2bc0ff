"""Radially averaged power spectra: planar on regions, spherical on global grids.

Both kinds share one normalisation. `power` is the mean power of a mode in the band and `modes`
the number of modes, so that `sum(power * modes)` is the variance of the field (Parseval). Missing
cells are set to the mean of the day before the transform, in every field that is compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.verification.planar import PlanarTransform
from orbitlite.verification.spherical import SphericalTransform


@dataclass(frozen=True)
class Spectrum:
    """Mean power spectrum of a series of fields.

    Attributes
    ----------
    wavelength : ndarray of shape (bands,)
        In km, descending.
    power : ndarray of shape (bands,)
        Mean over the band's modes and over the days, in the square of the field's unit.
    modes : ndarray of shape (bands,)
        Modes in the band.
    spherical : bool
        Bands are degrees l = 1, 2, ... of spherical harmonics, else rings of planar wavenumber.
    """

    wavelength: NDArray[np.float64]
    power: NDArray[np.float64]
    modes: NDArray[np.float64]
    spherical: bool

    def distance(self, other: Spectrum) -> float:
        """Return the root mean square difference of the two spectra in dB over all bands.

        The log-spectral distance sqrt(mean (10 log10(P / Q))^2); bands without power in either
        field are left out.
        """
        return math.sqrt(self.ralsd(other))

    def ralsd(self, other: Spectrum) -> float:
        """Return the mean square difference of the two spectra in dB² over all bands.

        The radially averaged log-spectral distance mean (10 log10(P / Q))^2 of CORDEX ML-Bench,
        which takes no root. Its spectra are of a Fourier transform; ours are of the cosine
        transform on regions and of spherical harmonics on the globe, of each day's departure from
        its mean, averaged over the modes of a ring or degree and over the days before the
        logarithm. A band counts once, however many modes it has. Bands without power in either
        field are left out.
        """
        used = (self.power > 0) & (other.power > 0)
        if not used.any():
            return math.nan
        ratio = 10 * np.log10(self.power[used] / other.power[used])
        return float(np.mean(ratio**2))


class Transform(Protocol):
    """What turns fields into power per band."""

    wavelength: Tensor
    modes: Tensor
    spherical: bool

    def power(self, fields: Tensor) -> Tensor:
        """Return the power per band, shape (T, bands), of fields of shape (T, H, W)."""


class MeanSpectrum:
    """Accumulates the mean spectrum of many days.

    Parameters
    ----------
    transform : PlanarTransform or SphericalTransform
    """

    def __init__(self, transform: Transform) -> None:
        self._transform = transform
        self._sum = torch.zeros_like(transform.wavelength)
        self._days = 0

    def update(self, fields: Tensor, weights: Tensor) -> None:
        """Add a chunk; days without a valid cell are skipped.

        Parameters
        ----------
        fields, weights : Tensor of shape (T, H, W)
            Weight zero marks a missing cell.
        """
        total = weights.sum(dim=(-2, -1))
        used = total > 0
        if not bool(used.any()):
            return
        fields, weights, total = fields[used], weights[used], total[used, None, None]
        mean = (fields * weights).sum(dim=(-2, -1), keepdim=True) / total
        anomaly = torch.where(weights > 0, fields - mean, torch.zeros_like(fields))
        self._sum += self._transform.power(anomaly).sum(dim=0)
        self._days += int(used.sum())

    def compute(self) -> Spectrum:
        """Return the mean over the days."""
        transform = self._transform
        power = self._sum / self._days if self._days else self._sum * math.nan
        return Spectrum(
            transform.wavelength.numpy(),
            power.numpy(),
            transform.modes.numpy(),
            transform.spherical,
        )


def transform_for(grid: Grid) -> Transform:
    """Choose the transform of a grid: spherical if it covers the globe, else planar.

    Parameters
    ----------
    grid : Grid
        Rows from north to south. The plane is that of its rows and columns.
    """
    height, width = grid.shape
    if isinstance(grid, LatLonGrid):
        rows = abs(grid.lat_edges[-1] - grid.lat_edges[0])
        if rows > 179.99 and grid.wraps and min(height, width) >= 4:
            edges = torch.tensor(grid.lat_edges)
            return SphericalTransform(torch.tensor(grid.lat), edges, width)
    return PlanarTransform(height, width, *grid.kilometres)
