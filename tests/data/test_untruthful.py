"""Sources of coarse fields alone: their own grids, samples, tiles and statistics."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.mixture import lacks_truth
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.notice import OrbitliteWarning

RAIN, WARM, WIND = "total_precipitation_24hr", "2m_temperature", "10m_wind_speed"
NAMES = {
    "inputs": [RAIN, WARM, WIND, "orography"], "targets": [RAIN],
    "static_names": ["orography"], "factor": 2,
}  # fmt: skip


def store(days, rows, columns, *names, seed=0, west=0.0):
    random = np.random.default_rng(seed)
    grid = LatLonGrid.from_edges(
        np.linspace(50, 41, rows + 1), west + np.linspace(0, 8, columns + 1)
    )
    shape = (days, rows, columns)
    values = {
        RAIN: ("mm", random.gamma(0.6, 4.0, shape)),
        WARM: ("K", 280 + 5 * random.normal(size=shape)),
        WIND: ("m s**-1", random.gamma(2, 3.0, shape)),
        "orography": ("m", 500 * random.random(shape[1:])),
    }  # fmt: skip
    times = np.datetime64("2001-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D")
    fields = {
        name: (("time", "lat", "lon")[3 - values[name][1].ndim :], values[name][1].astype("f4"),
               {"units": values[name][0]})
        for name in names
    }  # fmt: skip
    return xr.Dataset(fields, {"time": times, **grid.coordinates()})


PAIRS = store(10, 8, 8, RAIN, WARM, "orography")
ALONE = store(12, 5, 7, RAIN, WARM, WIND, seed=1, west=30.0)
PERIODS = {"train": ["2001-01-01", "2001-01-08"], "validate": ["2001-01-09", "2001-01-10"]}


def module(alone=None, pairs=None, **options):
    sources = {"alone": {"coarse": ALONE, **PERIODS} | (alone or {}),
               "pairs": {"fine": PAIRS, **PERIODS} | (pairs or {})}  # fmt: skip
    return PairDataModule(sources=sources, batch_size=4, **{**NAMES, **options})


@pytest.fixture(scope="module")
def data():
    found = module()
    with pytest.warns(OrbitliteWarning, match="Inputs that alone lacks are missing values: oro"):
        found.setup("fit")
    return found


def test_samples_are_the_coarse_fields_on_their_own_grid(data):
    grid, seen = LatLonGrid.from_dataset(ALONE), Counter()
    for batch in data.train_dataloader():
        if batch.source == 1:
            assert batch.fine is not None
            assert batch.statics is not None
            continue
        assert batch.fine is None
        assert batch.statics is None
        np.testing.assert_allclose(batch.lat_edges[0], grid.lat_edges)
        for coarse, number, time in zip(batch.coarse, batch.sample, batch.time, strict=True):
            day = ALONE.isel(time=int(number))
            assert np.datetime64(int(time), "s") == day.time.values
            for channel, name in enumerate((RAIN, WARM, WIND)):
                np.testing.assert_array_equal(coarse[channel], day[name].values)
            assert coarse[3].isnan().all()
            seen[int(number)] += 1
    assert seen == Counter(range(8))


def test_statistics_of_inputs_are_of_all_and_of_targets_of_those_with_truth(data):
    parts = [PAIRS[WARM].isel(time=slice(8)), ALONE[WARM].isel(time=slice(8))]
    areas = [LatLonGrid.from_dataset(ds).weights for ds in (PAIRS, ALONE)]
    means = [float((part * area).sum(("lat", "lon")).mean())
             for part, area in zip(parts, areas, strict=True)]  # fmt: skip
    assert data.input_statistics.mean[1] == pytest.approx(np.mean(means), rel=1e-6)
    rain = np.log1p(PAIRS[RAIN].isel(time=slice(8)).astype("f8"))
    expected = float((rain * areas[0]).sum(("lat", "lon")).mean())
    assert data.joint.of("targets", "").mean[0] == pytest.approx(expected, rel=1e-9)
    assert data.joint.of("targets", "").valid[0] == pytest.approx(1.0)
    height = float((PAIRS.orography * areas[0]).sum())
    assert data.joint.of("statics", "").mean[0] == pytest.approx(height, rel=1e-6)


def test_weights_count_for_the_statistics():
    found = module({"weight": 3.0}, {"weight": 1.0})
    found.setup("fit")
    assert found.shares == [0.75, 0.25]
    one, other = (part.moments("inputs").statistics_of([WARM]).mean[1]
                  for part in found.parts.values())  # fmt: skip
    assert found.input_statistics.mean[1] == pytest.approx(0.75 * one + 0.25 * other, rel=1e-9)


def test_what_is_exported_and_predicted_is_of_the_first_with_truth(data):
    assert data.first is data.parts["pairs"]
    assert list(data.truthful) == ["pairs"]
    found = module({"coarse": "nowhere.nc"}, {"predict": ["2001-01-10", "2001-01-10"]})
    found.setup("predict")
    assert len(found.dataset("predict")) == 1


def test_alone_there_are_no_statistics_of_targets():
    found = PairDataModule(coarse=ALONE, batch_size=3, **PERIODS, **NAMES)
    found.setup("fit")
    assert not found.truthful
    assert (
        found.joint.of("targets", "").mean.tolist(),
        found.joint.of("targets", "").std.tolist(),
    ) == (
        [0],
        [1],
    )
    assert found.joint.of("statics", "").std.tolist() == [1]
    assert found.statics.shape[0] == 0
    with pytest.raises(InputError, match=r"data\.fine: expected a source of the targets"):
        found.fine_dataset("train")
    assert {len(batch) for batch in found.train_dataloader()} == {3, 2}
    assert sum(len(batch) for batch in found.val_dataloader()) == 2


def test_a_large_grid_is_cut_into_tiles():
    found = PairDataModule(coarse=ALONE, tile=3, halo=1, **PERIODS, **NAMES)
    found.setup("fit")
    tiles = found.first.dataset("train").tiles
    assert len(tiles) == 2 * 3
    times = np.zeros((5, 7))
    for tile in tiles:
        times[tile.core] += 1
    assert (times == 1).all()
    whole = Batch.collate([found.first.dataset("train")[n] for n in range(len(tiles))])
    assert int(whole.counted.sum()) == 5 * 7
    assert not whole.counted.all()
    batch = found.first.dataset("train")[7]
    assert (int(batch.sample[0]), batch.core.shape) == (7, tiles[1].core_shape)
    tile = tiles[1]
    window = ALONE[WARM].values[1, tile.row : tile.row + tile.height, tile.column :][
        :, : tile.width
    ]
    np.testing.assert_array_equal(batch.coarse[0, 1], window)


@pytest.mark.parametrize("cache", [True, False])
def test_padding_says_nothing(cache):
    found = PairDataModule(coarse=ALONE, cache=cache, **PERIODS, **NAMES)
    found.share(1, 3)
    found.setup("fit")
    batches = list(found.val_dataloader())
    assert [len(batch) for batch in batches] == [1]
    found.share(2, 3)
    (batch,) = found.val_dataloader()
    assert batch.fine is None
    assert torch.isnan(batch.coarse).all()


def test_workers_read_the_same():
    found = PairDataModule(coarse=ALONE, cache=False, **PERIODS, **NAMES)
    found.setup("fit")
    here = found.first.dataset("train")
    there = pickle.loads(pickle.dumps(here))
    assert there.pairs is None
    (one,), (two,) = (samples.__getitems__([5, 2]) for samples in (here, there))
    assert one.fine is two.fine is None
    assert one.sample.tolist() == two.sample.tolist() == [5, 2]
    assert torch.equal(one.coarse.nan_to_num(), two.coarse.nan_to_num())


def test_members_are_samples():
    several = xr.concat([ALONE[[RAIN, WARM]], ALONE[[RAIN, WARM]] + 1], "number")
    for name in (RAIN, WARM):
        several[name].attrs = ALONE[name].attrs
    found = PairDataModule(coarse=several, **PERIODS, **NAMES)
    found.setup("fit")
    assert len(found.first.dataset("train")) == 16
    one, two = (found.first.dataset("train")[n] for n in (0, 1))
    torch.testing.assert_close(two.coarse[:, :2], one.coarse[:, :2] + 1)


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"statics": PAIRS}, "data.statics is for a source with truth"),
        ({"regrid": "linear"}, "data.regrid is for a source with truth"),
        ({"context": 2}, "data.context is for a source with truth"),
        ({"coarse": None}, "data.fine: expected a source, found none"),
        ({"world": {"days": 3}, "fine": None}, None),
    ],
)
def test_what_coarse_fields_alone_have_no_use_for(own, text):
    if text is None:  # the embedded world has its truth
        assert module({"coarse": None, **own}).parts["alone"].has_truth
        return
    with pytest.raises(InputError, match=rf"^data\.sources\.alone: {text}"):
        module(own)


def test_what_stands_beside_the_sources_is_for_those_with_truth():
    found = module(pairs={"coarse": ALONE}, regrid="linear", context=1)
    assert found.parts["alone"].pairing.regrid is None
    assert found.parts["pairs"].pairing.regrid == "linear"


def test_fields_without_time_are_no_samples():
    with pytest.raises(InputError, match="none of the inputs that change with time"):
        PairDataModule(coarse=PAIRS[["orography"]], **PERIODS, **NAMES).setup("fit")


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"coarse": "a.nc", "fine": None, "sources": None}, True),
        ({"coarse": "a.nc", "fine": "b.nc"}, False),
        ({"world": {}}, False),
        ({"sources": {"a": {"coarse": "a.nc"}, "b": {"coarse": "b.nc", "fine": None}}}, True),
        ({"sources": {"a": {"coarse": "a.nc"}, "b": {"world": {}}}}, False),
        ({"sources": {"a": 3}}, False),
    ],
)
def test_whether_a_config_states_truth(section, expected):
    assert lacks_truth(section) is expected
