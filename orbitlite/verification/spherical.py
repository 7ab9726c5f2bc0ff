"""Spherical power spectra of global grids."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from orbitlite.grids.sphere import KM_PER_DEGREE

logger = logging.getLogger(__name__)

_TABLE_BYTES = 2**30


class SphericalTransform:
    """Power per degree of the spherical harmonics, on any global grid of latitude circles.

    The harmonics are those of torch-harmonics (orthonormal). Its own transforms know grids with
    rows at the poles or at Gauss nodes; rows of cell centres are neither. So the quadrature
    weights are computed here, for the latitudes at hand: the weights nearest to the areas of the
    rows that integrate every Legendre polynomial up to twice the highest degree exactly. The
    power of degree l is sum_m |a_lm|^2 / (4 pi), its mean mode this over 2 l + 1, its wavelength
    the circumference of the earth over l.

    Parameters
    ----------
    latitude : Tensor of shape (H,)
        Degrees, north to south.
    edges : Tensor of shape (H + 1,)
        Degrees, 90 to -90.
    width : int
        Cells along a circle.
    """

    spherical = True

    def __init__(self, latitude: Tensor, edges: Tensor, width: int) -> None:
        from torch_harmonics.legendre import legpoly

        height = len(latitude)
        # As many degrees as the rows resolve exactly, and as a table of bounded size can hold.
        exact = min((height - 1) // 2, (width - 1) // 2)
        degrees = min(exact, math.isqrt(_TABLE_BYTES // (8 * height)) - 1)
        if degrees < exact:
            logger.info("Spectra stop at degree %d of %d to bound their memory.", degrees, exact)
        x = torch.sin(torch.deg2rad(latitude.to(torch.float64)))
        legendre = torch.as_tensor(
            legpoly(degrees + 1, degrees + 1, x, norm="ortho"), dtype=torch.float64
        )
        weights = quadrature(x, torch.sin(torch.deg2rad(edges.to(torch.float64))), 2 * degrees)
        self._table = legendre * (2 * math.pi * weights)
        degree = torch.arange(1, degrees + 1, dtype=torch.float64)
        self.modes = 2 * degree + 1
        self.wavelength = 360.0 * KM_PER_DEGREE / degree

    def power(self, fields: Tensor) -> Tensor:
        """Return the mean power per mode of each degree from 1 on.

        Parameters
        ----------
        fields : Tensor of shape (T, H, W)
            Rows north to south.

        Returns
        -------
        Tensor of shape (T, degrees)
        """
        count = self._table.shape[0]
        waves = torch.fft.rfft(fields, norm="forward")[..., :count]
        power = fields.new_zeros(len(fields), count)
        for part in (waves.real, waves.imag):
            coefficients = torch.einsum("tkm,mlk->tml", part, self._table)
            # Orders above zero stand for a pair of plus and minus m.
            power += 2 * coefficients.square().sum(dim=1) - coefficients[:, 0].square()
        return power[:, 1:] / (4 * math.pi * self.modes)


def quadrature(x: Tensor, edges: Tensor, degree: int) -> Tensor:
    """Weights of the nodes `x` that integrate polynomials up to `degree` over [-1, 1] exactly.

    Of all such weights the ones nearest to the widths of the cells (least squares). On cell
    centres of equal height and with degree H - 1 these are the weights of Fejer's first rule.

    Parameters
    ----------
    x : Tensor of shape (H,)
        Sine of the latitude of the rows.
    edges : Tensor of shape (H + 1,)
        Sine of the latitude of their borders.
    degree : int
        At most H - 1.

    Returns
    -------
    Tensor of shape (H,)
    """
    polynomials = [torch.ones_like(x), x]
    for n in range(1, degree):
        polynomials.append(((2 * n + 1) * x * polynomials[-1] - n * polynomials[-2]) / (n + 1))
    norms = torch.sqrt(torch.arange(degree + 1, dtype=x.dtype) + 0.5)
    matrix = torch.stack(polynomials[: degree + 1]) * norms[:, None]
    integrals = torch.zeros(degree + 1, dtype=x.dtype)
    integrals[0] = 2.0 * norms[0]
    widths = (edges[:-1] - edges[1:]).abs()
    # A metric that follows the widths keeps the correction small where rows are short.
    scaled = matrix * widths.sqrt()
    missing = integrals - matrix @ widths
    correction: Tensor = torch.linalg.lstsq(scaled, missing[:, None], driver="gelsd").solution[:, 0]
    return widths + widths.sqrt() * correction
