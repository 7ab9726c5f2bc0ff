"""Mesh: a grid whose cells lie between any corners: projected, rotated or curvilinear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import KDTree

from orbitlite.errors import InputError
from orbitlite.grids.cells import TOLERANCE, Floats, Found, nowhere
from orbitlite.grids.context import Context
from orbitlite.grids.crs import Crs
from orbitlite.grids.grid import Grid, Places, cf_axis, check_blocks, check_factor
from orbitlite.grids.latlon import continued, divide
from orbitlite.grids.sphere import (
    angles,
    around,
    degrees,
    divided,
    extended,
    signed_areas,
    vectors,
)

_NEAR = 0.1
"""Part of a cell by which corners of coarser cells may lie beside those of fine ones, at most, and
`TOLERANCE` of the coarser cell: they may have been found midway between points."""


@dataclass(frozen=True, eq=False)
class Axes:
    """The index axes of a projected grid: where its rows and columns lie in the plane.

    Attributes
    ----------
    y_edges, x_edges : ndarray of shape (H + 1,), (W + 1,)
        In the unit of the attributes.
    attrs : mapping
        CF attributes of `y` and `x`.
    crs : Crs, optional
        The reference system; None where the data name none.
    """

    y_edges: Floats
    x_edges: Floats
    attrs: Mapping[str, Mapping[str, Any]]
    crs: Crs | None = None

    @cached_property
    def edges(self) -> tuple[Floats, Floats]:
        """Both edges in metres, or in degrees of a rotated pole.

        Raises
        ------
        InputError
            If a unit is no length.
        """
        y, x = self.y_edges, self.x_edges
        if self.crs is None:
            return y, x
        units = self.attrs["y"].get("units"), self.attrs["x"].get("units")
        return self.crs.scaled(y, units[0]), self.crs.scaled(x, units[1])


@dataclass(frozen=True, eq=False)
class MeshGrid(Grid):
    """Quadrilaterals on the sphere, four of which meet in each corner inside.

    Attributes
    ----------
    lat, lon : ndarray of shape (H, W)
        Of the points that name the cells, in degrees.
    vertices : ndarray of shape (H + 1, W + 1, 3)
        Corners as unit vectors.
    axes : Axes, optional
        Of a projected grid.

    Raises
    ------
    InputError
        If cells have no area or lie over each other.
    """

    dims: ClassVar[tuple[str, str]] = ("y", "x")

    lat: Floats
    lon: Floats
    vertices: Floats
    axes: Axes | None = None
    _areas: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        areas = signed_areas(self.vertices)
        usual = np.median(areas)
        wrong = ~(areas * np.sign(usual) > 1e-6 * abs(usual))
        if wrong.any() or not np.isfinite(usual):
            row, column = np.argwhere(wrong)[0]
            raise InputError(
                f"{wrong.sum()} of {wrong.size} cells have no area or lie over others (the first "
                f"in row {row}, column {column}, at {self.lat[row, column]:g} N "
                f"{self.lon[row, column]:g} E): expected 2-D coordinates of a grid whose "
                "neighbours in the array are neighbours on the earth."
            )
        object.__setattr__(self, "_areas", np.abs(areas))

    @classmethod
    def from_axes(cls, axes: Axes) -> MeshGrid:
        """Make the grid of rows and columns in a plane whose reference system is known."""
        assert axes.crs is not None
        units = axes.attrs["y"].get("units"), axes.attrs["x"].get("units")
        middles = ((edges[1:] + edges[:-1]) / 2 for edges in (axes.y_edges, axes.x_edges))
        y, x = np.meshgrid(*middles, indexing="ij")
        lat, lon = axes.crs.degrees(y, x, units)
        y, x = np.meshgrid(axes.y_edges, axes.x_edges, indexing="ij")
        corners = axes.crs.degrees(y, x, units)
        return cls(lat, lon, vectors(*corners), axes)

    @classmethod
    def from_points(cls, lat: Floats, lon: Floats, axes: Axes | None = None) -> MeshGrid:
        """Make the grid around given points (H, W): corners lie midway between them."""
        return cls(lat, lon, around(vectors(lat, lon)), axes)

    @classmethod
    def from_corners(cls, corners: Floats, axes: Axes | None = None) -> MeshGrid:
        """Make the grid between given corners (H + 1, W + 1, 2), in degrees."""
        return cls._between(vectors(corners[..., 0], corners[..., 1]), axes)

    @classmethod
    def _between(cls, vertices: Floats, axes: Axes | None) -> MeshGrid:
        v = vertices
        lat, lon = degrees(v[:-1, :-1] + v[:-1, 1:] + v[1:, :-1] + v[1:, 1:])
        return cls(lat, lon, vertices, axes)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        height, width = self.lat.shape
        return height, width

    @property
    def wraps(self) -> bool:
        """True if the last corners of every row are the first."""
        apart = angles(self.vertices[:, 0], self.vertices[:, -1])
        return bool((apart < TOLERANCE * min(self.spacing)).all())

    @property
    def centres(self) -> tuple[Floats, Floats]:
        """Latitudes and longitudes of the points, (H, W) each."""
        return self.lat, self.lon

    @cached_property
    def corners(self) -> Floats:
        """Latitudes and longitudes of the corners, (H + 1, W + 1, 2)."""
        corners: Floats = np.stack(degrees(self.vertices), axis=-1)
        return corners

    @property
    def areas(self) -> Floats:
        """Area of each cell on the unit sphere, (H, W), in steradians."""
        return self._areas

    @property
    def weights(self) -> Floats:
        """Share of each cell in the area of the grid, (H, W); edges are arcs of great circles."""
        shares: Floats = self._areas / self._areas.sum()
        return shares

    @cached_property
    def spacing(self) -> tuple[float, float]:
        """Median arc between neighbouring corners, along columns and along rows, in degrees."""
        v = self.vertices
        pairs = (v[1:], v[:-1]), (v[:, 1:], v[:, :-1])
        down, right = (float(np.median(angles(*pair))) for pair in pairs)
        return down, right

    def refine(self, factor: int) -> MeshGrid:
        """Divide every cell into `factor` x `factor` parts.

        Equal in the plane of a projection; without one bilinear between the corners.
        """
        check_factor(factor)
        if factor == 1:
            return self
        axes = self.axes and self._with_edges(
            divide(self.axes.y_edges, factor), divide(self.axes.x_edges, factor)
        )
        if axes is not None and axes.crs is not None:
            return MeshGrid.from_axes(axes)
        return MeshGrid._between(divided(self.vertices, factor), axes)

    def coarsen(self, factor: int) -> MeshGrid:
        """Join blocks of `factor` x `factor` cells: the inverse of `refine`."""
        check_blocks(self.shape, factor)
        if factor == 1:
            return self
        axes = self.axes and self._with_edges(
            self.axes.y_edges[::factor], self.axes.x_edges[::factor]
        )
        vertices = self.vertices[::factor, ::factor]
        if axes is not None and axes.crs is not None:
            whole = MeshGrid.from_axes(axes)
            return MeshGrid(whole.lat, whole.lon, vertices, axes)
        return MeshGrid._between(vertices, axes)

    def _with_edges(self, y_edges: Floats, x_edges: Floats) -> Axes:
        assert self.axes is not None
        return Axes(y_edges, x_edges, self.axes.attrs, self.axes.crs)

    def select(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> MeshGrid:
        """Take consecutive rows, and columns that may go on across the seam of the grid."""
        row_ends = np.append(rows, rows[-1] + 1)
        ends = np.append(columns, columns[-1] + 1)
        if self.wraps:
            ends = ends % self.shape[1]
        axes = None
        if self.axes is not None and (np.diff(columns) == 1).all():
            axes = self._with_edges(self.axes.y_edges[row_ends], self.axes.x_edges[ends])
        part = np.ix_(rows, columns)
        return MeshGrid(self.lat[part], self.lon[part], self.vertices[np.ix_(row_ends, ends)], axes)

    def room(self, cells: int) -> Context:
        """Return for how many of so many cells there is room on each side: none round the globe."""
        columns = 0 if self.wraps else cells
        return Context(cells, cells, columns, columns)

    def surround(self, context: Context) -> MeshGrid:
        """Add cells on each side: on in the plane of a projection, else along great circles."""
        if not any(context):
            return self
        vertices = self.vertices
        axes = self.axes and self._with_edges(
            continued(self.axes.y_edges, *context.rows),
            continued(self.axes.x_edges, *context.columns),
        )
        try:
            if axes is not None and axes.crs is not None:
                whole = MeshGrid.from_axes(axes)
                rows, columns = context.core((len(vertices), vertices.shape[1]))
                whole.vertices[rows, columns] = vertices
                return MeshGrid(whole.lat, whole.lon, whole.vertices, axes)
            for axis, ends in enumerate((context.rows, context.columns)):
                vertices = extended(vertices, axis, *ends)
            return MeshGrid._between(vertices, axes)
        except InputError as error:
            raise InputError(
                f"There is no room for {max(context)} cells around {self.describe()} in its plane: "
                f"ask for fewer ({error})"
            ) from error

    def find(self, other: Any) -> tuple[Found, Found]:
        """Find the rows and the columns of another grid among those of this one."""
        return self.find_blocks(other, 1)

    def find_blocks(self, coarse: Any, factor: int) -> tuple[Found, Found]:
        """Find the parts of a coarse grid's cells among the cells of this one, by their corners."""
        offset = self._offset(coarse, factor) if isinstance(coarse, MeshGrid) else None
        height, width = (factor * size for size in coarse.shape)
        if offset is None:
            return nowhere(height), nowhere(width)
        return _run(offset[0], height, self.shape[0]), _run(offset[1], width, self.shape[1])

    def _offset(self, coarse: MeshGrid, factor: int) -> tuple[int, int] | None:
        """Return the row and the column where the first coarse cell begins; None: it does not nest.

        They may be negative: the coarse grid may reach beyond this one.
        """
        height, width = self.vertices.shape[:2]
        tree = KDTree(self.vertices.reshape(-1, 3))
        apart, index = tree.query(coarse.vertices.reshape(-1, 3))
        near = apart < np.radians(min(TOLERANCE * factor, _NEAR) * min(self.spacing))
        if not near.any():
            return None
        rows, columns = np.divmod(index, width)
        at = np.indices(coarse.vertices.shape[:2]).reshape(2, -1) * factor
        first = rows - at[0], columns - at[1]
        start = tuple(int(np.median(part[near])) for part in first)
        fits = (first[0] == start[0]) & (first[1] == start[1])
        inside = _within(at[0] + start[0], height) & _within(at[1] + start[1], width)
        # every corner that lies within is one of this grid's own, where it is expected
        return (start[0], start[1]) if bool((fits & near)[inside].all()) else None

    def same_cells(self, other: Any) -> bool:
        """Tell whether another grid has the same cells in the same order."""
        if not isinstance(other, MeshGrid) or self.shape != other.shape:
            return False
        apart = angles(self.vertices, other.vertices)
        return bool((apart <= TOLERANCE * min(self.spacing)).all())

    def coordinates(self) -> dict[str, xr.DataArray]:
        """Return `lat`, `lon`, their bounds, and of a projected grid `y`, `x` and `crs`."""
        found: dict[str, xr.DataArray] = {}
        if self.axes is not None:
            for axis, edges in (("y", self.axes.y_edges), ("x", self.axes.x_edges)):
                middles = (edges[1:] + edges[:-1]) / 2
                attrs = {**self.axes.attrs[axis], "axis": axis.upper()}  # GDAL looks for it
                found[axis] = xr.DataArray(middles, dims=axis, attrs=attrs)
            if self.axes.crs is not None:
                found["crs"] = xr.DataArray(np.int32(0), attrs=self.axes.crs.stated)
        v = self.corners
        ring = np.stack([v[1:, :-1], v[1:, 1:], v[:-1, 1:], v[:-1, :-1]], axis=2)
        for number, (axis, values) in enumerate((("lat", self.lat), ("lon", self.lon))):
            attrs = {**cf_axis(axis), "bounds": f"{axis}_bnds"}
            found[axis] = xr.DataArray(values, dims=self.dims, attrs=attrs)
            found[f"{axis}_bnds"] = xr.DataArray(ring[..., number], dims=(*self.dims, "vertices"))
        return found

    def places(self, fine: Any) -> Places:
        """Return `corners`, and `areas` of the fine cells over that of a usual coarse one."""
        height, width = self.shape
        return {**self.lines, "areas": (fine.weights * height * width).astype("f4")}

    @property
    def lines(self) -> Places:
        """Its corners."""
        return {"corners": self.corners.copy()}

    @property
    def plane(self) -> dict[str, Any]:
        """Edges and attributes of its axes, and the reference system, as JSON has them."""
        if self.axes is None:
            return {}
        crs = {} if self.axes.crs is None else _plain(self.axes.crs.attrs)
        return {
            "y_edges": self.axes.y_edges.tolist(), "x_edges": self.axes.x_edges.tolist(),
            "y": _plain(self.axes.attrs["y"]), "x": _plain(self.axes.attrs["x"]), "crs": crs,
        }  # fmt: skip

    def describe(self) -> str:
        """Say shape, extent and spacing in one line, for messages."""
        kind = "curvilinear" if self.axes is None or self.axes.crs is None else self.axes.crs.name
        lat = self.corners[..., 0]
        lon = np.unwrap(self.corners[..., 1], period=360.0, axis=1)
        rows, columns = self.spacing
        return (
            f"{self.shape[0]} x {self.shape[1]} cells ({kind}) of {rows:.4g} x {columns:.4g} "
            f"degrees, {lat.min():.6g} to {lat.max():.6g} N and {lon.min():.6g} to "
            f"{lon.max():.6g} E"
        )


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with numbers and lists in the place of those of numpy."""
    return {
        str(key): value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in attrs.items()
    }


def _within(index: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    return (index >= 0) & (index < count)


def _run(first: int, count: int, own: int) -> Found:
    """Return so many cells that follow each other from a first one among own ones."""
    index = np.arange(first, first + count)
    same = _within(index, own)
    return Found(index.clip(0, own - 1), same, same, ~same, np.where(same, 0.0, np.inf))
