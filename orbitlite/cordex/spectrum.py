"""Spectrum: radially averaged power as CORDEX ML-Bench computes it.

It differs from the spectra of `orbitlite evaluate`, which are of cosine transforms: here a Fourier
transform of all cells, mean included, sees the jump from one border to the other.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LEAST = 1e-30


class RadialSpectrum:
    """Mean over days and members of the radially averaged power of two-dimensional fields.

    The squared modulus of the discrete Fourier transform (without a factor), with the mean in the
    middle, averaged over rings around the middle of the array: the ring of a mode is its distance
    in modes, truncated (WCRP-CORDEX/ml-benchmark, `evaluation/diagnostics.py`, `psd`).

    Parameters
    ----------
    shape : tuple of int
        (H, W).
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        rows, columns = np.indices(shape)
        # The benchmark's middle is that of the array, half a mode off the mean where H, W are even.
        away = np.hypot(columns - (shape[1] - 1) / 2, rows - (shape[0] - 1) / 2)
        self._ring = torch.from_numpy(away.astype(np.int64).ravel())
        self._modes = torch.bincount(self._ring).double()
        self._sum = torch.zeros_like(self._modes)
        self._fields = 0

    def update(self, fields: Tensor) -> None:
        """Add fields (T, M, H, W)."""
        coefficients = torch.fft.fftshift(torch.fft.fft2(fields.double()), dim=(-2, -1))
        total = coefficients.abs().square().sum((0, 1)).ravel()
        self._sum.index_add_(0, self._ring, total)
        self._fields += fields.shape[0] * fields.shape[1]

    def power(self) -> Tensor:
        """Return the mean power of each ring, from the middle outwards."""
        return self._sum / self._modes.clamp_min(1) / self._fields


def ralsd(truth: Tensor, prediction: Tensor) -> float:
    """Return the radially averaged log-spectral distance of two spectra, in dB².

    The mean over the rings of (10 log10(P_truth / P_prediction))², without a root
    (WCRP-CORDEX/ml-benchmark, `evaluation/diagnostics.py`, after Harris et al. 2022).

    Parameters
    ----------
    truth, prediction : Tensor
        Mean power of each ring.

    Examples
    --------
    >>> ralsd(torch.tensor([10.0, 1.0]), torch.tensor([1.0, 1.0]))
    50.0
    """
    ratio = (truth / prediction.clamp_min(_LEAST)).clamp_min(_LEAST)
    return float((10 * ratio.log10()).square().mean())
