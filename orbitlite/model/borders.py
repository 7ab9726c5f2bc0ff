"""Borders: what lies beyond the edges of a grid."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from orbitlite.model.interpolation import spans_globe

_POLE = 90.0 - 1e-3


class Borders(NamedTuple):
    """Which edges of samples are none: the grid goes on, round the globe or over a pole.

    Attributes
    ----------
    wraps : Tensor of shape (B,), bool
        Periodic in longitude.
    north, south : Tensor of shape (B,), bool
        The first, the last row ends at a pole.
    """

    wraps: Tensor
    north: Tensor
    south: Tensor

    @classmethod
    def of(cls, lat_edges: Tensor, lon_edges: Tensor) -> Borders:
        """Tell from the edges of the cells, in degrees.

        Parameters
        ----------
        lat_edges : Tensor of shape (B, H + 1)
            From north to south.
        lon_edges : Tensor of shape (B, W + 1)

        Examples
        --------
        >>> import torch
        >>> Borders.of(torch.tensor([[90.0, 80, 70]]), torch.tensor([[0.0, 120, 240, 360]]))
        Borders(wraps=tensor([True]), north=tensor([True]), south=tensor([False]))
        """
        return cls(spans_globe(lon_edges), lat_edges[:, 0] >= _POLE, lat_edges[:, -1] <= -_POLE)

    def repeated(self, times: int) -> Borders:
        """Return those of a batch in which each sample stands so many times in a row."""
        return Borders(*(part.repeat_interleave(times) for part in self))
