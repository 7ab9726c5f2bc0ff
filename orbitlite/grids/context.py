"""Context: cells around a grid."""

from __future__ import annotations

from typing import NamedTuple


class Context(NamedTuple):
    """How many rows and columns of cells are added to a grid on each side.

    Attributes
    ----------
    north, south, west, east : int
        Before the first row, behind the last, before the first column, behind the last.
    """

    north: int = 0
    south: int = 0
    west: int = 0
    east: int = 0

    @property
    def rows(self) -> tuple[int, int]:
        """Before the first row and behind the last."""
        return self.north, self.south

    @property
    def columns(self) -> tuple[int, int]:
        """Before the first column and behind the last."""
        return self.west, self.east

    def core(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Return where a grid of a shape lies in the larger one.

        Examples
        --------
        >>> Context(1, 2, 3, 4).core((10, 20))
        (slice(1, 11, None), slice(3, 23, None))
        """
        return (
            slice(self.north, self.north + shape[0]),
            slice(self.west, self.west + shape[1]),
        )

    def around(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the shape of the larger grid.

        Examples
        --------
        >>> Context(1, 2, 3, 4).around((10, 20))
        (13, 27)
        """
        return shape[0] + sum(self.rows), shape[1] + sum(self.columns)


NO_CONTEXT = Context()
