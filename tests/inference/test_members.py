"""Members that a network draws: the same in memory, lazily, in files and after a resume."""

import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.inference.journal import Journal
from orbitlite.model.bundle import Bundle
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.geometry import Geometry

RAIN = "total_precipitation_24hr"
CUT = {"tile": 16, "halo": 4, "batch_size": 2}


class Drawn(Downscaler):
    """Adds a noise to each member that is a function of the place and the member."""

    members = 2

    def forward(self, batch, tokens=None, fill=False):
        fine, factor = super().forward(batch, tokens, fill), self.config.factor
        made = Geometry.of_core(batch)
        rows, columns = (
            torch.from_numpy(np.repeat((edges[:, 1:] + edges[:, :-1]).numpy(), factor, axis=1))
            for edges in (made.lat_edges, made.lon_edges)
        )
        place = torch.sin(rows[:, :, None] * 12.9 + columns[:, None, :] % 720 * 78.2)
        noise = torch.stack([place, 3 * place.square()], dim=1)[:, :, None]  # (B, M, 1, fH, fW)
        return (fine + noise).to(fine.dtype)


class Fault(BaseException):
    """Ends a job at once, as a kill does."""


@pytest.fixture
def drawn(globe_bundle):
    """Return a bundle of two members, and what each adds to the field of the plain one."""
    net = Drawn(globe_bundle.model.config)
    net.load_state_dict(globe_bundle.model.state_dict())
    lat, lon = 90 - 4.5 * (np.arange(40) + 0.5), 4.5 * np.arange(80)
    place = np.sin(np.repeat(2 * lat, 2)[:, None] * 12.9 + np.repeat(2 * lon, 2) % 720 * 78.2)
    return Bundle(net.eval(), {"training": {}}, globe_bundle.statics), [place, 3 * place**2]


def made(way, ds, bundle, tmp_path):
    if way in ("memory", "lazy"):
        source = ds.chunk(time=1) if way == "lazy" else ds
        found = orbitlite.predict(source, bundle, **CUT)
        assert bool(found[RAIN].chunks) is (way == "lazy")
        return found
    orbitlite.downscale(ds, tmp_path / f"fine.{way}", bundle, **CUT)
    return xr.open_dataset(tmp_path / f"fine.{way}")


@pytest.mark.parametrize("way", ["memory", "lazy", "nc", "zarr"])
@pytest.mark.parametrize("ascending", [False, True])
def test_each_member_is_a_field(globe, globe_bundle, drawn, tmp_path, way, ascending):
    bundle, noise = drawn
    ds = globe.isel(lat=slice(None, None, -1)) if ascending else globe
    plain = orbitlite.predict(ds, globe_bundle, **CUT)
    assert "realization" not in plain.dims
    found = made(way, ds, bundle, tmp_path)
    assert found[RAIN].dims == ("realization", "time", "lat", "lon")
    assert found["realization"].values.tolist() == [0, 1]
    assert found["realization"].attrs["standard_name"] == "realization"
    for member in range(2):
        expected = plain[RAIN] + (noise[member][::-1] if ascending else noise[member])
        np.testing.assert_allclose(found[RAIN][member], expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(found[RAIN], made("memory", ds, bundle, tmp_path)[RAIN])


@pytest.mark.filterwarnings("ignore:The input has no time")
@pytest.mark.parametrize("way", ["memory", "lazy", "zarr"])
def test_members_of_the_source_and_no_time(globe, globe_bundle, drawn, tmp_path, way):
    bundle, noise = drawn
    ds = xr.concat([globe, globe.assign({n: globe[n] + 1 for n in globe})], "number")
    ds = ds.assign_coords(number=[3, 7])
    for name in globe:
        ds[name].attrs = globe[name].attrs
    found = made(way, ds, bundle, tmp_path)
    assert found[RAIN].dims == ("number", "realization", "time", "lat", "lon")
    plain = orbitlite.predict(ds, globe_bundle, **CUT)[RAIN]
    np.testing.assert_allclose(found[RAIN][:, 1], plain + noise[1], rtol=1e-5, atol=1e-4)
    if way == "lazy":
        return
    bare = globe.isel(time=0, drop=True)
    (tmp_path / "bare").mkdir()
    found = made(way, bare, bundle, tmp_path / "bare")
    assert found[RAIN].dims == ("realization", "lat", "lon")
    plain = orbitlite.predict(bare, globe_bundle, **CUT)[RAIN]
    np.testing.assert_allclose(found[RAIN][0], plain + noise[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["fine.zarr", "fine.nc"])
def test_a_resumed_job_has_all_members(globe, drawn, tmp_path, monkeypatch, name):
    bundle, _ = drawn
    whole, calls = PlacedNetwork.cores, []

    def cores(self, windows, tiles, *more):
        calls.append(tiles)
        if len(calls) == 4:
            raise Fault
        return whole(self, windows, tiles, *more)

    monkeypatch.setattr(PlacedNetwork, "cores", cores)
    with pytest.raises(Fault):
        orbitlite.downscale(globe, tmp_path / name, bundle, **CUT)
    done = len(Journal(tmp_path / name).done)
    assert 0 < done <= 3
    orbitlite.downscale(globe, tmp_path / name, bundle, resume=True)
    count = len(calls)
    expected = orbitlite.predict(globe, bundle, **CUT)
    assert count - 4 == len(calls) - count - done
    with xr.open_dataset(tmp_path / name) as found:
        np.testing.assert_array_equal(found[RAIN], expected[RAIN])


def test_realizations_of_both_are_refused(globe, drawn):
    ds = globe.expand_dims(realization=[0, 1])
    with pytest.raises(InputError, match="The data have a realization, and so have the 2 members"):
        orbitlite.predict(ds, drawn[0])
