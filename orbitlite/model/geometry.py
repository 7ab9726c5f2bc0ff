"""Geometry: where the cells of a batch lie on the sphere, and how large they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.model.borders import Borders
from orbitlite.model.constraint import row_shares
from orbitlite.model.frame import Frame
from orbitlite.model.position import features_of, middle, patch_edges, sphere_features
from orbitlite.model.quadtree import Leaves

_SAME = 1e-6
"""Distance on the unit sphere, six metres on the earth, within which two corners are one."""


class Geometry(ABC):
    """Cells of coarse grids, one for each sample."""

    @staticmethod
    def of(batch: Batch) -> Geometry:
        """Return that of a batch's coarse cells.

        Raises
        ------
        ValueError
            If the batch says nothing of places.
        """
        if batch.corners is not None:
            areas = batch.areas if batch.core is None else None
            return Corners(unit_vectors(batch.corners), areas)
        if batch.lat_edges is None or batch.lon_edges is None:
            raise ValueError(
                "the batch needs lat_edges and lon_edges, or corners; positions come from them"
            )
        return LatLon(batch.lat_edges, batch.lon_edges)

    @staticmethod
    def of_core(batch: Batch) -> Geometry:
        """Return that of the coarse cells that are decoded."""
        if batch.core is None:
            return Geometry.of(batch)
        found = Geometry.of(batch).part(Frame.of(batch))
        return replace(found, fine_areas=batch.areas) if isinstance(found, Corners) else found

    @abstractmethod
    def part(self, frame: Frame) -> Geometry:
        """Return that of the cells of a frame of these."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    @abstractmethod
    def borders(self) -> Borders:
        """What lies beyond the edges."""

    @abstractmethod
    def patches(self, size: int) -> Geometry:
        """Return that of patches of so many cells along an axis; a last one may reach beyond."""

    @abstractmethod
    def features(self) -> Tensor:
        """Describe place and size of each cell, (B, H, W, F); see `sphere_features`."""

    @abstractmethod
    def features_of_leaves(self, leaves: Leaves) -> Tensor:
        """Describe place and size of leaves of these patches, (B, N, F)."""

    @abstractmethod
    def weights(self) -> Tensor:
        """Return the areas of the cells, (B, H, W), about one in the mean, float64."""

    @abstractmethod
    def shares(self, factor: int) -> Tensor:
        """Return the share of each fine cell in its coarse one.

        Returns
        -------
        Tensor of shape (B, f H, 1) or (B, f H, f W), float32
            Such that sums over the rows and means over the columns of a coarse cell are its means.
        """

    @abstractmethod
    def areas(self, factor: int) -> Tensor:
        """Return the area of each fine cell, that of a usual coarse one being one.

        Returns
        -------
        Tensor of shape (B, f H, 1) or (B, f H, f W), float32
            The same for a cell in whichever tile it is.
        """

    @abstractmethod
    def centres(self, scale: int) -> tuple[Tensor, Tensor]:
        """Return latitudes and longitudes, in degrees, of cells `scale` times finer.

        Returns
        -------
        Tensor, Tensor
            Of shapes that broadcast to (B, scale H, scale W), float64.
        """


@dataclass(frozen=True)
class LatLon(Geometry):
    """Cells between parallels and meridians.

    Attributes
    ----------
    lat_edges, lon_edges : Tensor of shape (B, H + 1), (B, W + 1)
        In degrees, from north to south and from west to east.
    """

    lat_edges: Tensor
    lon_edges: Tensor

    def part(self, frame: Frame) -> LatLon:
        """Return that of the cells of a frame of these."""
        lat = frame.pick(self.lat_edges[:, :, None], more=1)[:, :, 0]
        return LatLon(lat, frame.pick(self.lon_edges[:, None], more=1)[:, 0])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.lat_edges.shape[1] - 1, self.lon_edges.shape[1] - 1

    @property
    def borders(self) -> Borders:
        """What lies beyond the edges."""
        return Borders.of(self.lat_edges, self.lon_edges)

    def patches(self, size: int) -> Geometry:
        """Return that of patches; a last, padded one goes on at the grid's spacing."""
        return LatLon(patch_edges(self.lat_edges, size), patch_edges(self.lon_edges, size))

    def features(self) -> Tensor:
        """Describe each cell, (B, H, W, F)."""
        return sphere_features(self.lat_edges, self.lon_edges)

    def features_of_leaves(self, leaves: Leaves) -> Tensor:
        """Describe leaves, (B, N, F): for a leaf of one patch they are those of the patch."""
        size = 2**leaves.level
        parts = []
        for edges, first in ((self.lat_edges, leaves.row), (self.lon_edges, leaves.column)):
            ends = (torch.deg2rad(edges.gather(1, first + more).double()) for more in (0, size))
            parts.append(middle(*ends))
        (lat, dlat), (lon, dlon) = parts
        return features_of(lat, lon, dlat, dlon)

    def weights(self) -> Tensor:
        """Return the areas of the cells, (B, H, W): differences of the sine of latitude."""
        rows = torch.deg2rad(self.lat_edges.double().clamp(-90, 90)).sin().diff(dim=1).abs()
        rows = (rows / rows.mean(1, keepdim=True)).clamp_min(1e-6)
        return rows[:, :, None].expand(-1, -1, self.shape[1])

    def shares(self, factor: int) -> Tensor:
        """Return the share of each fine row in its coarse row, (B, f H, 1)."""
        return row_shares(self.lat_edges, factor)

    def areas(self, factor: int) -> Tensor:
        """Return the area of the fine cells of each row, (B, f H, 1).

        A coarse cell at the equator has an area of one.
        """
        edges = torch.deg2rad(self.lat_edges.double())
        spacing = (edges[:, 1:] - edges[:, :-1]).abs().amax(dim=1, keepdim=True)
        coarse = (edges[:, 1:].sin() - edges[:, :-1].sin()).abs() / spacing
        coarse = coarse.repeat_interleave(factor, dim=1)[..., None]
        # a coarse cell has f fine ones along its rows, which share alike
        return (coarse * self.shares(factor) / factor).float()

    def centres(self, scale: int) -> tuple[Tensor, Tensor]:
        """Return latitudes (B, scale H, 1) and longitudes (B, 1, scale W)."""
        lat, lon = (_middles(edges, scale) for edges in (self.lat_edges, self.lon_edges))
        return lat[:, :, None], lon[:, None]


@dataclass(frozen=True)
class Corners(Geometry):
    """Cells between any corners: of a projected, rotated or curvilinear grid.

    Edges are arcs of great circles.

    Attributes
    ----------
    corners : Tensor of shape (B, H + 1, W + 1, 3), float64
        Unit vectors.
    fine_areas : Tensor of shape (B, fH, fW), optional
        See `Batch.areas`. None: the parts of a cell are alike.
    """

    corners: Tensor
    fine_areas: Tensor | None = None

    def part(self, frame: Frame) -> Corners:
        """Return that of the cells of a frame of these, whose parts are alike."""
        return Corners(frame.pick(self.corners, more=1))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.corners.shape[1] - 1, self.corners.shape[2] - 1

    @property
    def borders(self) -> Borders:
        """Columns go on where the last corners are the first; rows never do."""
        apart = (self.corners[:, :, 0] - self.corners[:, :, -1]).norm(dim=-1).amax(dim=1)
        none = torch.zeros_like(apart, dtype=torch.bool)
        return Borders(apart < _SAME, none, none)

    def patches(self, size: int) -> Geometry:
        """Return that of patches; a last, padded one goes on as its neighbour."""
        return Corners(_patch_corners(_patch_corners(self.corners, size, 1), size, 2))

    def features(self) -> Tensor:
        """Describe each cell, (B, H, W, F)."""
        c = self.corners
        return _features(c[:, :-1, :-1], c[:, :-1, 1:], c[:, 1:, 1:], c[:, 1:, :-1])

    def features_of_leaves(self, leaves: Leaves) -> Tensor:
        """Describe leaves, (B, N, F): for a leaf of one patch they are those of the patch."""
        size, flat = 2**leaves.level, self.corners.flatten(1, 2)

        def corner(down: Any, right: Any) -> Tensor:
            index = (leaves.row + down) * self.corners.shape[2] + leaves.column + right
            return flat.gather(1, index[..., None].expand(-1, -1, 3))

        return _features(corner(0, 0), corner(0, size), corner(size, size), corner(size, 0))

    def weights(self) -> Tensor:
        """Return the areas of the cells, (B, H, W), about one in the mean."""
        areas = self._own_areas
        return (areas / areas.mean(dim=(1, 2), keepdim=True)).clamp_min(1e-6)

    @property
    def _own_areas(self) -> Tensor:
        c = self.corners
        a, b, d, e = c[:, :-1, :-1], c[:, :-1, 1:], c[:, 1:, 1:], c[:, 1:, :-1]
        return triangle(a, b, d) + triangle(a, d, e)

    def shares(self, factor: int) -> Tensor:
        """Return f times the share of each fine cell in its coarse one, (B, f H, f W)."""
        areas = self.areas(factor).double()
        whole = F.avg_pool2d(areas[:, None], factor)[:, 0] * factor
        return (areas / _spread(whole, factor)).float()

    def areas(self, factor: int) -> Tensor:
        """Return the area of each fine cell, (B, f H, f W)."""
        if self.fine_areas is not None:
            return self.fine_areas
        own = self._own_areas
        return _spread(own / own.mean(dim=(1, 2), keepdim=True) / factor**2, factor).float()

    def centres(self, scale: int) -> tuple[Tensor, Tensor]:
        """Return latitudes and longitudes (B, scale H, scale W), bilinear in the corners.

        The same for a cell in whichever tile it is.
        """
        x = self.corners
        for dim in (1, 2):
            steps = (torch.arange(scale, device=x.device, dtype=x.dtype) + 0.5) / scale
            first = x.narrow(dim, 0, x.shape[dim] - 1).unsqueeze(dim + 1)
            change = x.diff(dim=dim).unsqueeze(dim + 1)
            along = steps.view(-1, *[1] * (x.ndim - dim - 1))
            x = (first + change * along).flatten(dim, dim + 1)
        lat = torch.atan2(x[..., 2], x[..., :2].norm(dim=-1))
        return torch.rad2deg(lat), torch.rad2deg(torch.atan2(x[..., 1], x[..., 0]))


def unit_vectors(points: Tensor) -> Tensor:
    """Return the unit vectors (..., 3) of latitudes and longitudes (..., 2) in degrees, float64."""
    lat, lon = torch.deg2rad(points.double()).unbind(-1)
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)


def triangle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return the area of triangles between unit vectors (..., 3), in steradians.

    Van Oosterom and Strackee 1983, "The solid angle of a plane triangle", equation 8.
    """
    volume = (a * torch.linalg.cross(b, c)).sum(-1).abs()
    edges = 1 + (a * b).sum(-1) + (b * c).sum(-1) + (c * a).sum(-1)
    return 2 * torch.atan2(volume, edges)


def _features(
    north_west: Tensor, north_east: Tensor, south_east: Tensor, south_west: Tensor
) -> Tensor:
    """Describe cells by their corners (..., 3): centre, height and width through it."""
    north, south = north_west + north_east, south_west + south_east
    west, east = north_west + south_west, north_east + south_east
    centre = F.normalize(north + south, dim=-1)
    lat = torch.atan2(centre[..., 2], centre[..., :2].norm(dim=-1))
    lon = torch.atan2(centre[..., 1], centre[..., 0])
    height, width = _angle(north, south), _angle(west, east)
    # the features ask for degrees of longitude
    return features_of(lat, lon, height, width / lat.cos().clamp_min(1e-6))


def _angle(one: Tensor, other: Tensor) -> Tensor:
    return torch.atan2(torch.linalg.cross(one, other).norm(dim=-1), (one * other).sum(-1))


def _patch_corners(corners: Tensor, size: int, dim: int) -> Tensor:
    cells = corners.shape[dim] - 1
    index = torch.arange(0, cells + 1, size, device=corners.device)
    kept = corners.index_select(dim, index)
    if cells % size == 0:
        return kept
    last, before = (corners.narrow(dim, cells - back, 1) for back in (0, 1))
    beyond = kept.narrow(dim, kept.shape[dim] - 1, 1) + (last - before) * size
    return torch.cat([kept, F.normalize(beyond, dim=-1)], dim=dim)


def _middles(edges: Tensor, scale: int) -> Tensor:
    """Return the centres (B, scale H) of the cells that coarse cells are cut into, in degrees."""
    edges = edges.double()
    steps = (torch.arange(scale, device=edges.device, dtype=edges.dtype) + 0.5) / scale
    centres = edges[:, :-1, None] + edges.diff(dim=1)[..., None] * steps
    return centres.flatten(1)


def _spread(cells: Tensor, factor: int) -> Tensor:
    return cells.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
