"""Geometry: places and sizes of cells, of regular grids and of any others."""

import numpy as np
import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.model.geometry import Corners, Geometry, LatLon, triangle, unit_vectors
from orbitlite.model.noise import Draw, Noise
from orbitlite.model.quadtree import build_leaves

LAT = torch.linspace(48, 40, 9, dtype=torch.float64)[None]
LON = torch.linspace(-4, 8, 13, dtype=torch.float64)[None]


def corners(lat=LAT, lon=LON):
    """Return the corners (B, H + 1, W + 1, 2) of a regular grid."""
    shape = len(lat), lat.shape[1], lon.shape[1]
    return torch.stack([lat[:, :, None].expand(shape), lon[:, None].expand(shape)], dim=-1)


def rotated(points, angle=0.9):
    """Turn the sphere about an axis through the equator: points (..., 2) to (..., 2)."""
    x = unit_vectors(points)
    turn = torch.tensor(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    x = x @ turn.T.double()
    lat = torch.atan2(x[..., 2], x[..., :2].norm(dim=-1))
    return torch.rad2deg(torch.stack([lat, torch.atan2(x[..., 1], x[..., 0])], dim=-1))


def mesh(points, areas=None):
    return Geometry.of(Batch(torch.zeros(len(points), 1, 1, 1), corners=points, areas=areas))


def test_corners_of_a_regular_grid_say_what_its_edges_say():
    regular, other = LatLon(LAT, LON), mesh(corners())
    assert other.shape == regular.shape == (8, 12)
    # edges are arcs of great circles there and parallels here: the features differ a little
    torch.testing.assert_close(other.features(), regular.features(), atol=2e-2, rtol=0)
    torch.testing.assert_close(other.weights(), regular.weights(), rtol=1e-4, atol=0)
    for scale in (1, 3):
        lat, lon = torch.broadcast_tensors(*regular.centres(scale))
        found = other.centres(scale)
        torch.testing.assert_close(found[0], lat, atol=5e-3, rtol=0)
        torch.testing.assert_close(found[1], lon, atol=5e-3, rtol=0)


def test_areas_do_not_change_when_the_sphere_is_turned():
    plain, turned = mesh(corners()), mesh(rotated(corners()))
    torch.testing.assert_close(turned.weights(), plain.weights(), rtol=1e-9, atol=0)
    torch.testing.assert_close(turned.areas(2), plain.areas(2))
    assert (turned.features()[..., :3] - plain.features()[..., :3]).abs().max() > 0.1
    size = [geometry.features()[..., -2] for geometry in (plain, turned)]
    torch.testing.assert_close(*size)


def test_an_octant_is_an_eighth_of_the_sphere():
    x, y, z = torch.eye(3, dtype=torch.float64)
    assert triangle(x, y, z).item() == pytest.approx(np.pi / 2)


def test_shares_of_the_fine_cells_make_means():
    """A mean with them is that with the areas themselves."""
    torch.manual_seed(0)
    areas = torch.rand(1, 16, 24) + 0.5
    geometry, field = mesh(corners(), areas), torch.rand(1, 16, 24)
    assert geometry.areas(2) is areas
    cut = (field * geometry.shares(2)).view(1, 8, 2, 12, 2).sum(2).mean(-1)
    blocks = [(field * areas), areas]
    total, weight = (b.view(1, 8, 2, 12, 2).sum((2, 4)) for b in blocks)
    torch.testing.assert_close(cut, total / weight)


def test_a_usual_coarse_cell_has_an_area_of_one():
    for geometry in (mesh(corners()), LatLon(torch.linspace(4, -4, 9)[None], LON)):
        areas = geometry.areas(3).expand(-1, -1, 36)
        assert areas.sum().item() == pytest.approx(8 * 12, rel=5e-3)


def test_noise_is_the_same_in_a_window():
    whole, scale = mesh(rotated(corners())), 2
    part = mesh(rotated(corners())[:, 2:6, 3:9])
    batch = Batch(torch.zeros(1, 1, 1, 1))
    found = [Noise.of(Draw.of(), batch, geometry).maps(3, scale) for geometry in (whole, part)]
    assert torch.equal(found[0][..., 4:10, 6:16], found[1])


def test_a_leaf_of_one_patch_has_the_features_of_the_patch():
    geometry = mesh(rotated(corners()))
    leaves = build_leaves(torch.ones(1, 8, 12), 96, 1)
    found = geometry.features_of_leaves(leaves)
    order = (leaves.row * 12 + leaves.column)[..., None].expand_as(found)
    torch.testing.assert_close(found, geometry.features().flatten(1, 2).gather(1, order))


def test_larger_leaves_have_the_features_of_the_cells_that_they_make():
    points = rotated(corners())[:, :, :9]
    leaves = build_leaves(torch.ones(1, 8, 8), 4, 4)
    found = mesh(points).features_of_leaves(leaves)
    whole = mesh(points[:, ::4, ::4]).features()
    torch.testing.assert_close(found.view_as(whole), whole)


def test_a_padded_patch_goes_on_as_its_neighbour():
    patches = mesh(corners()).patches(5)
    assert isinstance(patches, Corners)
    assert patches.shape == (2, 3)
    regular = LatLon(LAT, LON).patches(5)
    torch.testing.assert_close(patches.features(), regular.features(), atol=6e-2, rtol=0)


def test_columns_go_on_where_the_last_corners_are_the_first():
    around = torch.linspace(0, 360, 13, dtype=torch.float64)[None]
    assert mesh(rotated(corners(LAT, around))).borders.wraps.tolist() == [True]
    assert mesh(corners()).borders.wraps.tolist() == [False]


def test_a_batch_without_places_is_refused():
    with pytest.raises(ValueError, match="needs lat_edges and lon_edges, or corners"):
        Geometry.of(Batch(torch.zeros(1, 1, 1, 1)))
