"""Planar power spectra of regions."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class PlanarTransform:
    """Power of the discrete cosine transform, averaged over rings of equal wavelength.

    A region is not periodic, so a Fourier transform would see the jump from one border to the
    other as power at all scales and hide what a smooth field lacks. The cosine transform (type
    II: the field mirrored at its borders) has no jump; see Denis et al. 2002,
    doi:10.1175/1520-0493(2002)130<1812:SDOTDA>2.0.CO;2. Mode (m, n) of a region of size
    (Ly, Lx) has the wavenumber hypot(m / 2 Ly, n / 2 Lx).

    Parameters
    ----------
    height, width : int
    dy, dx : float
        Size of a cell in km; `dx` at the middle latitude.
    """

    spherical = False

    def __init__(self, height: int, width: int, dy: float, dx: float) -> None:
        m = torch.arange(height, dtype=torch.float64)[:, None] / (2 * height * dy)
        n = torch.arange(width, dtype=torch.float64)[None, :] / (2 * width * dx)
        wavenumber = torch.hypot(m, n)
        # A ring is as wide as the lowest wavenumber of the shorter side, hence never empty. The
        # last ends where one axis has no more modes, and the corner beyond is not averaged.
        step = 1.0 / (2 * min(height * dy, width * dx))
        rings = max(1, math.floor(1.0 / (2 * max(dy, dx)) / step))
        ring = torch.round(wavenumber / step).to(torch.int64)
        ring = torch.where(wavenumber > 0, ring.clamp_min(1), 0)
        ring = torch.where(ring > rings, 0, ring)
        self._ring = ring.flatten()
        self.modes = torch.bincount(self._ring, minlength=rings + 1)[1:].to(torch.float64)
        self.wavelength = 1.0 / (step * torch.arange(1, rings + 1, dtype=torch.float64))

    def power(self, fields: Tensor) -> Tensor:
        """Return the mean power per ring.

        Parameters
        ----------
        fields : Tensor of shape (T, H, W)

        Returns
        -------
        Tensor of shape (T, rings)
        """
        squared = cosine_transform(fields).square().flatten(1)
        sums = squared.new_zeros(len(squared), len(self.modes) + 1)
        sums.index_add_(1, self._ring, squared)
        return sums[:, 1:] / self.modes


def cosine_transform(fields: Tensor) -> Tensor:
    """Orthonormal cosine transform (type II) over the last two axes, divided by sqrt(H W).

    The sum of the squared coefficients is the mean square of the field.

    Parameters
    ----------
    fields : Tensor of shape (..., H, W)

    Returns
    -------
    Tensor of shape (..., H, W)
    """
    for axis in (-1, -2):
        size = fields.shape[axis]
        mirrored = torch.cat([fields, fields.flip(axis)], dim=axis)
        index = torch.arange(size, dtype=torch.float64)
        turn = torch.polar(torch.ones_like(index), -math.pi * index / (2 * size))
        scale = torch.full_like(index, math.sqrt(2.0)).index_fill_(0, torch.tensor([0]), 1.0)
        half = torch.fft.rfft(mirrored.transpose(axis, -1))[..., :size] * turn
        fields = (half.real * scale / (2 * size)).transpose(axis, -1)
    return fields
