"""Predictions with context: a region within the data, whatever else the data hold."""

import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import MeshGrid
from orbitlite.model.bundle import Bundle, load_bundle, save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.statics import Statics
from orbitlite.notice import OrbitliteWarning

RAIN = "total_precipitation_24hr"
CELLS = 3
ROWS, COLUMNS = np.arange(12, 20), np.arange(30, 40)


@pytest.fixture
def region(globe):
    """Return the coarse grid of a region."""
    return LatLonGrid.from_dataset(globe).select(ROWS, COLUMNS)


def bundle_for(grid, statics=True, inputs=(RAIN, "2m_temperature"), **metadata):
    torch.manual_seed(1)
    config = DownscalerConfig(
        inputs=list(inputs), targets=[RAIN], statics=["orography"] if statics else [], factor=2,
        embed_dim=16, depth=1, num_heads=2, noise=2,
    )  # fmt: skip
    net = Downscaler(config)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    fine = grid.refine(2)
    torch.manual_seed(2)
    values = torch.rand(len(config.statics), *fine.shape)
    places = {name: torch.from_numpy(part) for name, part in fine.lines.items()}
    training = {"training": {"context": CELLS} | metadata}
    return Bundle(net.eval(), training, Statics(values, **places))


def rain(ds, bundle, **options):
    return orbitlite.predict(ds, bundle, **options)[RAIN]


@pytest.mark.parametrize("statics", [True, False])
def test_what_is_around_matters_and_the_region_is_made(globe, region, statics):
    bundle = bundle_for(region, statics)
    found = rain(globe, bundle)
    fine = region.refine(2)
    np.testing.assert_allclose(found.lat, fine.lat)
    np.testing.assert_allclose(found.lon, fine.lon)
    changed = globe.copy(deep=True)
    changed[RAIN][:, 12 - CELLS, 30 - CELLS] += 50
    assert float(np.abs(rain(changed, bundle) - found).max()) > 0
    beyond = globe.copy(deep=True)
    beyond[RAIN][:, 12 - CELLS - 1, 30:40] += 50
    np.testing.assert_array_equal(rain(beyond, bundle), found)


def test_other_forms_of_the_data_are_the_same(globe, region):
    bundle = bundle_for(region)
    found = rain(globe, bundle)
    south = globe.isel(lat=slice(None, None, -1))
    np.testing.assert_array_equal(rain(south, bundle).isel(lat=slice(None, None, -1)), found)
    cut = globe.isel(lat=slice(12 - CELLS, 20 + CELLS), lon=slice(30 - CELLS, 40 + CELLS))
    # edges and positions are computed from other numbers
    np.testing.assert_allclose(rain(cut, bundle), found, rtol=2e-3, atol=1e-3)
    west = globe.assign_coords(lon=(globe.lon + 180) % 360 - 180).sortby("lon")
    np.testing.assert_allclose(rain(west, bundle), found, rtol=2e-3, atol=1e-3)
    chunked = rain(globe.chunk(time=1), bundle).compute()
    np.testing.assert_allclose(chunked, found, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("tile", [3, 4, 20])
def test_tiles_see_the_context_too(globe, region, tile):
    bundle = bundle_for(region)
    # a halo that holds all there is
    found = rain(globe, bundle, tile=tile, halo=20)
    torch.testing.assert_close(
        torch.from_numpy(found.values), torch.from_numpy(rain(globe, bundle).values),
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip


def test_tiles_resume_and_a_file_agree(globe, region, tmp_path):
    bundle = bundle_for(region)
    save_bundle(tmp_path / "bundle", bundle.model, metadata=bundle.metadata,
                statics=bundle.statics)  # fmt: skip
    globe.to_netcdf(tmp_path / "in.nc")
    orbitlite.downscale(
        tmp_path / "in.nc", tmp_path / "out.nc", str(tmp_path / "bundle"), tile=4, halo=2,
        members=3,
    )  # fmt: skip
    with xr.open_dataset(tmp_path / "out.nc") as ds:
        expected = rain(globe, bundle, tile=4, halo=2, members=3)
        np.testing.assert_array_equal(ds[RAIN], expected)


def test_members_belong_to_the_place(globe, region):
    bundle = bundle_for(region)
    small = globe.isel(lat=slice(9, 23), lon=slice(26, 44))
    ours, theirs = (rain(ds, bundle, members=2, seed=4) for ds in (globe, small))
    np.testing.assert_array_equal(ours, theirs)


def test_part_of_the_region_with_too_little_around_is_told(globe, region):
    bundle = bundle_for(region)
    part = globe.isel(lat=slice(14, 18), lon=slice(25, 45))
    with pytest.warns(OrbitliteWarning, match="of the .* coarse cells of the context"):
        found = rain(part, bundle)
    assert found.shape[-2:] == (8, 20)
    assert np.isfinite(found).all()


def test_elsewhere_is_refused(globe, region):
    bundle = bundle_for(region)
    with pytest.raises(InputError, match="do not cover this region"):
        rain(globe.isel(lat=slice(25, 35)), bundle)


def test_data_between_the_cells_are_interpolated_onto_all_of_the_lattice(globe, region):
    bundle = bundle_for(region)
    fine = globe.interp(lat=87.75 - 2.25 * np.arange(79), lon=2.25 * np.arange(159))
    with pytest.raises(InputError, match="regrid"):
        rain(fine, bundle)
    found = rain(fine, bundle, regrid="linear")
    # the points of the lattice are among those of the data
    np.testing.assert_allclose(found, rain(globe, bundle), rtol=2e-3, atol=1e-3)


def test_a_mesh_has_context_from_a_regular_source(globe):
    regular = LatLonGrid.from_edges(np.linspace(20, -20, 9), np.linspace(140, 190, 11))
    lat, lon = np.moveaxis(regular.corners, -1, 0)
    mesh = MeshGrid.from_corners(np.stack([lat + 0.1 * (lon - 165), lon], axis=-1))
    bundle = bundle_for(mesh)
    found = rain(globe, bundle, regrid="linear")
    assert found.dims[-2:] == ("y", "x")
    assert found.shape[-2:] == (16, 20)
    tiled = rain(globe, bundle, regrid="linear", tile=4, halo=20)
    np.testing.assert_allclose(tiled, found, rtol=1e-4, atol=1e-4)
    south = globe.copy(deep=True)
    south[RAIN][:, south.lat < -45] += 50
    np.testing.assert_array_equal(rain(south, bundle, regrid="linear"), found)
    near = globe.copy(deep=True)
    near[RAIN][:, (near.lat < -27) & (near.lat > -36)] += 50
    assert float(np.abs(rain(near, bundle, regrid="linear") - found).max()) > 0


def test_a_grid_without_statics_is_kept_in_the_bundle(globe, region, tmp_path):
    bundle = bundle_for(region, statics=False)
    save_bundle(tmp_path / "b", bundle.model, metadata=bundle.metadata, statics=bundle.statics)
    read = load_bundle(tmp_path / "b")
    assert read.statics.values.shape == (0, 16, 20)
    np.testing.assert_array_equal(rain(globe, read), rain(globe, bundle))


def test_targets_that_are_no_inputs(globe, region):
    bundle = bundle_for(region, inputs=("2m_temperature",))
    found = rain(globe.drop_vars(RAIN), bundle)
    assert np.isfinite(found).all()


def test_a_pole_ends_the_context(globe):
    grid = LatLonGrid.from_dataset(globe).select(np.arange(1, 6), COLUMNS)
    found = rain(globe, bundle_for(grid))
    assert found.shape[-2:] == (10, 20)


def test_a_grid_of_its_own_serves_where_that_is_asked_for(globe, region):
    """A network without statics and context serves any grid, or brings data onto its own."""
    bundle = bundle_for(region, statics=False)
    bundle.metadata["training"]["context"] = 0
    assert rain(globe, bundle).shape[-2:] == (80, 160)
    inside = globe.isel(lat=slice(10, 22), lon=slice(28, 42))
    found = rain(inside, bundle, regrid="linear")
    assert found.shape[-2:] == (16, 20)
    bundle.statics = None
    with pytest.warns(OrbitliteWarning, match="regrid is not used"):
        assert rain(inside, bundle, regrid="linear").shape[-2:] == (24, 28)
