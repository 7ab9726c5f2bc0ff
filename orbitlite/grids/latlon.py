"""Grids: cells of latitude and longitude, their finer and coarser versions, conservative means."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.grids.cells import TOLERANCE, Floats, Found, coincide, find_cells, nowhere
from orbitlite.grids.context import Context
from orbitlite.grids.grid import Grid, Places, cf_axis, check_blocks, check_factor
from orbitlite.notice import warn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LatLonGrid(Grid):
    """Cells between parallels and meridians; rows run from north to south.

    Attributes
    ----------
    lat : ndarray of shape (H,)
        Latitudes of the points that name the cells, in degrees, descending.
    lon : ndarray of shape (W,)
        Longitudes, ascending, in the convention of the data.
    lat_edges : ndarray of shape (H + 1,)
        Edges in the same order, within -90 and 90.
    lon_edges : ndarray of shape (W + 1,)

    Raises
    ------
    InputError
        If rows or columns run the other way.
    """

    dims: ClassVar[tuple[str, str]] = ("lat", "lon")

    lat: Floats
    lon: Floats
    lat_edges: Floats
    lon_edges: Floats

    def __post_init__(self) -> None:
        if not (self.lat_edges[0] > self.lat_edges[-1] and self.lon_edges[0] < self.lon_edges[-1]):
            raise InputError(
                "Expected latitudes from north to south and longitudes from west to east: open the "
                "data with open_source."
            )

    @classmethod
    def from_dataset(cls, ds: xr.Dataset | xr.DataArray) -> LatLonGrid:
        """Read the grid of a canonical dataset.

        Edges are those of `lat_bnds` and `lon_bnds` where the data has them, else midway between
        the points. Latitude stops at the poles: a grid with points at the poles has half cells
        there.

        Parameters
        ----------
        ds : xr.Dataset or xr.DataArray
            With 1-D coordinates `lat` and `lon`.

        Raises
        ------
        InputError
            If a coordinate has a single value and no bounds, or does not go one way.

        Examples
        --------
        >>> poles = xr.Dataset(coords={"lat": [90.0, 0.0, -90.0], "lon": [0.0, 120.0, 240.0]})
        >>> grid = LatLonGrid.from_dataset(poles)
        >>> grid.lat_edges.tolist(), grid.lon_edges.tolist(), grid.wraps
        ([90.0, 45.0, -45.0, -90.0], [-60.0, 60.0, 180.0, 300.0], True)
        """
        lat, lat_edges = _axis(ds, "lat")
        lon, lon_edges = _axis(ds, "lon")
        if coincide(lon_edges[-1], lon_edges[0] + 360.0, lon_edges[1] - lon_edges[0]):
            lon_edges[-1] = lon_edges[0] + 360.0
        return cls(lat, lon, lat_edges.clip(-90.0, 90.0), lon_edges)

    @classmethod
    def from_edges(cls, lat_edges: Any, lon_edges: Any) -> LatLonGrid:
        """Make the grid whose cells lie between given edges.

        Points are the middles of the cells; but a cell at the pole that is half as high as its
        neighbour has its point at the pole.

        Parameters
        ----------
        lat_edges : array_like of shape (H + 1,)
            Descending, in degrees.
        lon_edges : array_like of shape (W + 1,)
            Ascending, in degrees.
        """
        lat_edges = np.array(lat_edges, np.float64)
        lon_edges = np.array(lon_edges, np.float64)
        lat, lon = ((edges[1:] + edges[:-1]) / 2 for edges in (lat_edges, lon_edges))
        heights = np.abs(np.diff(lat_edges))
        for end, neighbour in ((0, 1), (-1, -2)):
            at_pole = abs(abs(lat_edges[end]) - 90.0) < 1e-9
            if at_pole and heights.size > 2 and abs(heights[neighbour] / heights[end] - 2) < 1e-3:
                lat[end] = lat_edges[end]
        return cls(lat, lon, lat_edges, lon_edges)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return self.lat.size, self.lon.size

    @property
    def wraps(self) -> bool:
        """True if the grid goes once round the globe."""
        return abs(float(self.lon_edges[-1] - self.lon_edges[0]) - 360.0) < 1e-3

    @property
    def row_weights(self) -> Floats:
        """Share of each row in the area of the grid, (H,): differences of the sine of latitude."""
        heights = np.abs(np.diff(np.sin(np.radians(self.lat_edges))))
        shares: Floats = heights / heights.sum()
        return shares

    @property
    def weights(self) -> Floats:
        """Share of each cell in the area of the grid, (H, W): exact on the sphere, sum one."""
        widths = np.diff(self.lon_edges)
        area: Floats = self.row_weights[:, None] * (widths / widths.sum())
        return area

    def refine(self, factor: int) -> LatLonGrid:
        """Divide every cell into `factor` x `factor` parts, equal in degrees.

        Examples
        --------
        >>> fine = LatLonGrid.from_edges([2.0, 1.0, 0.0], [5.0, 6.0, 7.0]).refine(2)
        >>> fine.lat.tolist(), fine.lon_edges.tolist()
        ([1.75, 1.25, 0.75, 0.25], [5.0, 5.5, 6.0, 6.5, 7.0])
        """
        check_factor(factor)
        if factor == 1:
            return self
        return LatLonGrid.from_edges(divide(self.lat_edges, factor), divide(self.lon_edges, factor))

    def coarsen(self, factor: int) -> LatLonGrid:
        """Join blocks of `factor` x `factor` cells: the inverse of `refine`.

        Raises
        ------
        InputError
            If the shape is no multiple of `factor`.
        """
        check_blocks(self.shape, factor)
        if factor == 1:
            return self
        return LatLonGrid.from_edges(self.lat_edges[::factor], self.lon_edges[::factor])

    def select(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> LatLonGrid:
        """Take consecutive rows, and columns that may go on across the seam of the grid.

        Parameters
        ----------
        rows : ndarray of int, shape (h,)
        columns : ndarray of int, shape (w,)
            Where they start anew at the first meridian, longitudes go on: 350, 360, 370.

        Examples
        --------
        >>> globe = LatLonGrid.from_edges([90, 0, -90], [0, 90, 180, 270, 360])
        >>> globe.select(np.array([0]), np.array([3, 0, 1])).lon_edges.tolist()
        [270.0, 360.0, 450.0, 540.0]
        """
        turn = 360.0 * np.cumsum(np.append(0, np.diff(columns) < 0))
        lon_edges = np.append(
            self.lon_edges[columns] + turn, self.lon_edges[columns[-1] + 1] + turn[-1]
        )
        lat_edges = np.append(self.lat_edges[rows], self.lat_edges[rows[-1] + 1])
        return LatLonGrid(self.lat[rows], self.lon[columns] + turn, lat_edges, lon_edges)

    def room(self, cells: int) -> Context:
        """Return for how many of so many cells there is room on each side.

        Rows end at the poles; columns never close the circle.

        Examples
        --------
        >>> LatLonGrid.from_edges([88, 86, 84], [0, 4, 8]).room(3)
        Context(north=1, south=3, west=3, east=3)
        """
        north, south = (
            min(cells, int((90.0 - end) / abs(step) + TOLERANCE))
            for end, step in (
                (self.lat_edges[0], self.lat_edges[1] - self.lat_edges[0]),
                (-self.lat_edges[-1], self.lat_edges[-2] - self.lat_edges[-1]),
            )
        )
        steps = np.diff(self.lon_edges)[[0, -1]]
        free = 360.0 - float(self.lon_edges[-1] - self.lon_edges[0])
        most = int(np.ceil(free / steps.max() - TOLERANCE)) - 1
        west = 0 if self.wraps else max(0, min(cells, most // 2))
        east = 0 if self.wraps else max(0, min(cells, most - west))
        return Context(north, south, west, east)

    def surround(self, context: Context) -> LatLonGrid:
        """Add cells on each side, as high and as wide as those at the edge.

        Examples
        --------
        >>> grid = LatLonGrid.from_edges([2, 1, 0], [5, 6, 7]).surround(Context(1, 0, 0, 2))
        >>> grid.lat_edges.tolist(), grid.lon_edges.tolist()
        ([3.0, 2.0, 1.0, 0.0], [5.0, 6.0, 7.0, 8.0, 9.0])
        """
        if not any(context):
            return self
        found = self.room(max(context))
        if any(own > most for own, most in zip(context, found, strict=True)):
            raise InputError(
                f"There is no room for {max(context)} cells around {self.describe()}: expected at "
                f"most {found.north} in the north, {found.south} in the south, {found.west} in the "
                f"west and {found.east} in the east."
            )
        lat_edges = continued(self.lat_edges, *context.rows).clip(-90.0, 90.0)
        lon_edges = continued(self.lon_edges, *context.columns)
        whole = LatLonGrid.from_edges(lat_edges, lon_edges)
        rows, columns = context.core(self.shape)
        whole.lat[rows], whole.lon[columns] = self.lat, self.lon
        return whole

    def turn(self, turns: float) -> LatLonGrid:
        """Count longitudes from `turns` whole turns further east: the same cells."""
        east = 360.0 * turns
        return LatLonGrid(self.lat, self.lon + east, self.lat_edges, self.lon_edges + east)

    def find(self, other: LatLonGrid) -> tuple[Found, Found]:
        """Find the rows and the columns of another grid among those of this one.

        Longitudes may differ by whole turns.
        """
        rows = find_cells(-self.lat_edges, -other.lat_edges)
        return rows, find_cells(self.lon_edges, other.lon_edges, around=True)

    def same_cells(self, other: LatLonGrid) -> bool:
        """Tell whether another grid has the same cells in the same order.

        Longitudes may differ by whole turns, and edges by `TOLERANCE` of a cell.
        """
        if self.shape != other.shape:
            return False
        return all(
            found.same.all() and (np.diff(found.index) == 1).all() for found in self.find(other)
        )

    def find_blocks(self, coarse: Any, factor: int) -> tuple[Found, Found]:
        """Find the parts of a coarse grid's cells among the cells of this one."""
        if not isinstance(coarse, LatLonGrid):
            rows, columns = (factor * size for size in coarse.shape)
            return nowhere(rows), nowhere(columns)
        return self.find(coarse.refine(factor))

    def describe(self) -> str:
        """Say shape, extent and spacing in one line, for messages."""
        north, south = self.lat_edges[[0, -1]]
        # the second cell: the first may be a half one at a pole
        step = abs(np.diff(self.lat_edges)[min(1, self.lat.size - 1)])
        return (
            f"{self.lat.size} x {self.lon.size} cells of {step:.4g} degrees, {south:.6g} to "
            f"{north:.6g} N and {self.lon_edges[0]:.6g} to {self.lon_edges[-1]:.6g} E"
        )

    @property
    def centres(self) -> tuple[Floats, Floats]:
        """Latitudes and longitudes of the points, (H, W) each."""
        lat, lon = np.meshgrid(self.lat, self.lon, indexing="ij")
        return lat, lon

    @property
    def corners(self) -> Floats:
        """Latitudes and longitudes of the corners, (H + 1, W + 1, 2)."""
        lat, lon = np.meshgrid(self.lat_edges, self.lon_edges, indexing="ij")
        corners: Floats = np.stack([lat, lon], axis=-1)
        return corners

    @property
    def spacing(self) -> tuple[float, float]:
        """Mean height of a cell, and its mean width at the middle latitude, in degrees."""
        south, north = self.lat_edges[[-1, 0]]
        width = (self.lon_edges[-1] - self.lon_edges[0]) / self.lon.size
        along = width * max(np.cos(np.radians((south + north) / 2)), 1e-3)
        return float((north - south) / self.lat.size), float(along)

    def places(self, fine: Any) -> Places:
        """Return `lat_edges` and `lon_edges`: the fine cells are equal parts between them."""
        return self.lines

    @property
    def lines(self) -> Places:
        """Its edges."""
        return {"lat_edges": self.lat_edges.copy(), "lon_edges": self.lon_edges.copy()}

    def coordinates(self) -> dict[str, xr.DataArray]:
        """Return `lat`, `lon`, `lat_bnds` and `lon_bnds` with CF attributes."""
        found = {}
        for axis, letter in (("lat", "Y"), ("lon", "X")):
            edges = getattr(self, f"{axis}_edges")
            attrs = {**cf_axis(axis), "axis": letter, "bounds": f"{axis}_bnds"}
            found[axis] = xr.DataArray(getattr(self, axis), dims=axis, attrs=attrs)
            bounds = np.stack([edges[:-1], edges[1:]], axis=1)
            found[f"{axis}_bnds"] = xr.DataArray(bounds, dims=(axis, "bnds"))
        return found


def _axis(ds: xr.Dataset | xr.DataArray, axis: str) -> tuple[Floats, Floats]:
    """Return the points of an axis and the edges of their cells."""
    points = ds[axis].values.astype(np.float64)
    if f"{axis}_bnds" in ds.coords:
        edges = _edges_of_bounds(ds[f"{axis}_bnds"].values.astype(np.float64), points, axis)
        if edges is not None:
            return points, edges
        warn(logger, f"{axis}_bnds do not join to one row of cells and were not used.")
    steps = np.diff(points)
    if points.size < 2 or not ((steps > 0).all() or (steps < 0).all()):
        raise InputError(
            f"The {points.size} values of {axis} should ascend or descend and be two at least "
            "(or have bounds)."
        )
    middles = points[:-1] + steps / 2
    return points, np.array([points[0] - steps[0] / 2, *middles, points[-1] + steps[-1] / 2])


def _edges_of_bounds(bounds: Floats, points: Floats, axis: str) -> Floats | None:
    """Join (n, 2) bounds, in either order, to n + 1 edges; None if they leave gaps."""
    low, high = bounds.min(axis=1), bounds.max(axis=1)
    if (points < low - 1e-6).any() or (points > high + 1e-6).any() or not (high > low).all():
        return None
    descending = low[0] > low[-1] or (axis == "lat" and low.size == 1)
    start, end = (high, low) if descending else (low, high)
    if not coincide(start[1:], end[:-1], (high - low).min()).all():
        return None
    return np.append(start, end[-1])


def continued(edges: Floats, before: int, behind: int) -> Floats:
    """Add edges on both sides of an axis, at the distance of those at its ends.

    Examples
    --------
    >>> continued(np.array([3.0, 2.0, 0.0]), 2, 1).tolist()
    [5.0, 4.0, 3.0, 2.0, 0.0, -2.0]
    """
    first, last = edges[1] - edges[0], edges[-1] - edges[-2]
    ahead = edges[0] - first * np.arange(before, 0, -1)
    return np.concatenate([ahead, edges, edges[-1] + last * np.arange(1, behind + 1)])


def divide(edges: Floats, factor: int) -> Floats:
    """Divide the n cells of an axis into n x factor, keeping their edges bit for bit."""
    shares = np.arange(factor) / factor
    inner = edges[:-1, None] + np.diff(edges)[:, None] * shares
    return np.append(inner.ravel(), edges[-1])
