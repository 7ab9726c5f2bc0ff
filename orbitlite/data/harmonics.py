"""Random fields on the sphere from spherical harmonics, still or evolving in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS = 6.371e6
"""Mean radius of the Earth in m."""


def power_law(truncation: int, peak: float, slope: float, rise: float = 2.0) -> NDArray[np.float64]:
    """Give the variance per degree of a field of unit variance.

    Parameters
    ----------
    truncation : int
        Number of degrees, l = 0 ... truncation - 1; degree 0, the global mean, gets nothing.
    peak : float
        Degree near which the variance is largest.
    slope : float
        Exponent of the fall at high degrees: variance per degree ~ l^-slope.
    rise : float
        Exponent of the rise at low degrees.

    Returns
    -------
    ndarray (truncation,)

    Examples
    --------
    >>> variance = power_law(64, peak=4, slope=3)
    >>> float(variance.sum().round(6)), round(float(np.log2(variance[32] / variance[16])), 1)
    (1.0, -3.0)
    """
    degree = np.arange(truncation) / peak
    variance = degree**rise / (1 + degree ** (rise + slope))
    variance[0] = 0
    return np.asarray(variance / variance.sum())


class Synthesis:
    """Fields on a cell-centred global grid from spherical harmonic coefficients.

    Rows run from north to south, columns east from longitude 0. The transform of torch-harmonics
    has rows at the poles; of `2 height + 1` such rows the odd ones are the centres of `height`
    rows of cells and the even ones their edges.

    Parameters
    ----------
    height, width : int
        Size of the grid.
    truncation : int
        Number of degrees and orders, at most `height` and `width // 2`.
    """

    def __init__(self, height: int, width: int, truncation: int) -> None:
        from torch_harmonics import InverseRealSHT

        self.truncation = truncation
        self._transform = InverseRealSHT(
            2 * height + 1, width, lmax=truncation, mmax=truncation, grid="equiangular"
        )
        latitude = np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height
        self._parallel = (EARTH_RADIUS * np.cos(latitude))[:, None].astype(np.float32)
        self._row = np.float32(EARTH_RADIUS * np.pi / height)

    def field(self, coefficients: NDArray[np.complex128]) -> NDArray[np.float32]:
        """Give the field `(..., height, width)` of `coefficients (..., l, m)`."""
        return self._rows(coefficients)[..., 1::2, :]

    def gradient(
        self, coefficients: NDArray[np.complex128]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the eastward and the northward derivative in 1/m: spectral, and across the cell."""
        edges = self._rows(coefficients)[..., 0::2, :]
        order = 1j * np.arange(self.truncation)
        east = self.field(coefficients * order) / self._parallel
        return east, (edges[..., :-1, :] - edges[..., 1:, :]) / self._row

    def laplacian(self, coefficients: NDArray[np.complex128]) -> NDArray[np.float32]:
        """Give the Laplacian in 1/m2."""
        degree = np.arange(self.truncation)[:, None]
        return self.field(-coefficients * (degree * (degree + 1) / EARTH_RADIUS**2))

    def _rows(self, coefficients: NDArray[np.complex128]) -> NDArray[np.float32]:
        import torch

        threads = torch.get_num_threads()
        # the last bits of a matrix product depend on how it is shared among threads
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                rows = self._transform(torch.from_numpy(coefficients.astype(np.complex64)))
        finally:
            torch.set_num_threads(threads)
        return np.asarray(rows.numpy())


class Evolution:
    """Gaussian random coefficients: an AR(1) process per harmonic that drifts east.

    Parameters
    ----------
    variance : ndarray (l,)
        Variance of the field per degree, as of `power_law`.
    rng : numpy.random.Generator
        Drawn from in the order of days, so that more days leave the first ones as they are.
    memory : float
        E-folding time in days at degree 8; it falls as the square root of the degree.
    drift : float
        Eastward speed in degrees of longitude per day.
    """

    def __init__(
        self,
        variance: NDArray[np.float64],
        rng: np.random.Generator,
        memory: float = 3.0,
        drift: float = 0.0,
    ) -> None:
        degree = np.arange(len(variance))[:, None]
        order = np.arange(len(variance))[None, :]
        # sum over orders -l ... l of |Y|^2 is (2 l + 1) / 4 pi
        scale = np.sqrt(variance[:, None] * 4 * np.pi / (2 * degree + 1))
        self._scale = np.where(order <= degree, scale, 0)
        keep = np.exp(-np.sqrt(np.maximum(degree, 1) / 8) / memory)
        self._step = keep * np.exp(-1j * np.radians(drift) * order)
        self._renewal = np.sqrt(1 - keep**2)
        self._rng = rng
        self._state = self._noise(1)[0]

    def advance(self, days: int) -> NDArray[np.complex128]:
        """Give the coefficients `(days, l, m)` of the next days."""
        result: NDArray[np.complex128] = self._noise(days) * self._renewal
        for coefficients in result:
            coefficients += self._step * self._state
            self._state = coefficients.copy()
        return result

    def _noise(self, days: int) -> NDArray[np.complex128]:
        size = len(self._scale)
        real, imaginary = np.moveaxis(self._rng.standard_normal((days, 2, size, size)), 1, 0)
        noise = (real + 1j * imaginary) / np.sqrt(2)
        noise[..., 0] = real[..., 0]
        return np.asarray(noise * self._scale)
