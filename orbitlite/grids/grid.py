"""Grid: cells on the sphere along two index axes, whatever their geometry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.grids.cells import Floats, Found
from orbitlite.grids.context import Context
from orbitlite.grids.sphere import KM_PER_DEGREE

Places: TypeAlias = dict[str, NDArray[Any]]
"""What a batch says of where the cells of a sample lie, by the name of its field."""


class Grid(ABC):
    """Rows from north to south of columns from west to east, as far as the grid has such.

    Attributes
    ----------
    dims : tuple of str
        What rows and columns are called in canonical datasets.
    """

    dims: ClassVar[tuple[str, str]]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""

    @property
    @abstractmethod
    def wraps(self) -> bool:
        """True if the last column of cells is followed by the first."""

    @property
    @abstractmethod
    def centres(self) -> tuple[Floats, Floats]:
        """Latitudes and longitudes of the points that name the cells, (H, W) each, in degrees."""

    @property
    @abstractmethod
    def corners(self) -> Floats:
        """Latitudes and longitudes of the corners, (H + 1, W + 1, 2), in degrees."""

    @property
    @abstractmethod
    def weights(self) -> Floats:
        """Share of each cell in the area of the grid, (H, W): on the sphere, sum one."""

    @property
    @abstractmethod
    def spacing(self) -> tuple[float, float]:
        """Usual size of a cell along columns and along rows, in degrees of a great circle."""

    @abstractmethod
    def refine(self, factor: int) -> Grid:
        """Divide every cell into `factor` x `factor` parts."""

    @abstractmethod
    def coarsen(self, factor: int) -> Grid:
        """Join blocks of `factor` x `factor` cells.

        Raises
        ------
        InputError
            If the shape is no multiple of `factor`.
        """

    @abstractmethod
    def select(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> Grid:
        """Take consecutive rows, and columns that may go on across the seam of the grid."""

    @abstractmethod
    def room(self, cells: int) -> Context:
        """Return on which sides there is room for so many cells, or how many.

        There is none beyond a pole or round the whole globe.
        """

    @abstractmethod
    def surround(self, context: Context) -> Grid:
        """Add cells on each side, of the size of those at the edge.

        Raises
        ------
        InputError
            If there is no room for them.
        """

    @abstractmethod
    def find_blocks(self, coarse: Any, factor: int) -> tuple[Found, Found]:
        """Find the `factor` x `factor` parts of a coarse grid's cells among the cells of this one.

        Returns
        -------
        Found, Found
            Of the f H rows and the f W columns of parts.
        """

    @abstractmethod
    def same_cells(self, other: Any) -> bool:
        """Tell whether another grid has the same cells in the same order."""

    @abstractmethod
    def coordinates(self) -> dict[str, xr.DataArray]:
        """Return the coordinates of a dataset on the grid, bounds included, as CF has them."""

    @abstractmethod
    def places(self, fine: Any) -> Places:
        """Return where these cells lie, as a network takes it that makes a fine grid of them."""

    @property
    @abstractmethod
    def lines(self) -> Places:
        """What cells lie between: `lat_edges` and `lon_edges`, or `corners`."""

    @property
    def plane(self) -> dict[str, Any]:
        """What a bundle keeps of the plane of its rows and columns; empty if it lies in none."""
        return {}

    @abstractmethod
    def describe(self) -> str:
        """Say shape, extent and spacing in one line, for messages."""

    @property
    def kilometres(self) -> tuple[float, float]:
        """Usual size of a cell along columns and along rows."""
        rows, columns = self.spacing
        return rows * KM_PER_DEGREE, columns * KM_PER_DEGREE

    def factor_to(self, fine: Grid) -> int:
        """Return the number of cells of `fine` along a cell of this grid of the same region.

        Parameters
        ----------
        fine : Grid
            Longitudes may differ by whole turns.

        Raises
        ------
        InputError
            If the cells of `fine` are not f x f equal parts of these.
        """
        factor = fine.shape[0] // self.shape[0]
        if factor >= 1 and fine.shape == tuple(factor * size for size in self.shape):
            found = fine.find_blocks(self, factor)
            if all(part.same.all() and (np.diff(part.index) == 1).all() for part in found):
                return factor
        raise InputError(
            f"The coarse grid ({self.describe()}) does not nest in the fine grid "
            f"({fine.describe()}): set regrid to linear or conservative to bring the coarse "
            "data onto a grid that does."
        )


GRID_COORDINATES = ("lat", "lon", "lat_bnds", "lon_bnds", "y", "x", "crs")
"""What canonical datasets call coordinates that say where cells lie."""


def dims_of(data: xr.Dataset | xr.DataArray) -> tuple[str, str]:
    """Return what rows and columns of canonical data are called.

    `lat` and `lon` where these are coordinates of their own, `y` and `x` on any other grid.
    """
    return ("y", "x") if {"y", "x"} <= {*map(str, data.dims)} else ("lat", "lon")


def check_factor(factor: int) -> None:
    """Refuse what is no number of parts.

    Raises
    ------
    InputError
    """
    if factor != int(factor) or factor < 1:
        raise InputError(f"factor should be a whole number of one or more, not {factor!r}.")


def check_blocks(shape: tuple[int, int], factor: int) -> None:
    """Refuse a grid that has no whole blocks.

    Raises
    ------
    InputError
    """
    check_factor(factor)
    if shape[0] % factor or shape[1] % factor:
        raise InputError(
            f"A grid of {shape[0]} x {shape[1]} cells has no blocks of {factor} x "
            f"{factor}: crop it to multiples of {factor} first."
        )


def cf_axis(axis: str) -> Mapping[str, str]:
    """Return the CF attributes of `lat` or `lon`, without its axis."""
    name, unit = ("latitude", "north") if axis == "lat" else ("longitude", "east")
    return {"standard_name": name, "long_name": name, "units": f"degrees_{unit}"}
