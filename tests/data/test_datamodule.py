from __future__ import annotations

import logging
from collections import Counter

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.sampling import EpochBatches
from orbitlite.errors import InputError

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
DAYS = pd.date_range("2001-01-01", periods=40)
NAMES = {
    "inputs": [RAIN, WARM],
    "targets": [RAIN],
    "static_names": ["orography"],
    "factor": 3,
}
PERIODS = {
    "train": ["2001-01-01", "2001-01-25"],
    "validate": ["2001-01-26", "2001-01-31"],
    "test": ["2001-02", "2001-02"],
}


@pytest.fixture(autouse=True)
def messages(caplog):
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A fine store whose precipitation is larger in February; rows from south to north."""
    generator = np.random.default_rng(3)
    shape = (len(DAYS), 6, 9)
    rain = generator.gamma(0.5, 4.0, shape) * np.where(DAYS.month == 2, 50, 1)[:, None, None]
    rain[:, 0, 0] = np.nan
    dims = ("time", "lat", "lon")
    ds = xr.Dataset(
        {
            "pr": (dims, rain.astype(np.float32), {"units": "mm day-1"}),
            "tas": (dims, generator.normal(280, 5, shape).astype(np.float32), {"units": "K"}),
            "orog": (dims[1:], 100 * generator.random(shape[1:], np.float32), {"units": "m"}),
        },
        {"time": DAYS, "lat": 40 + 0.5 * np.arange(6), "lon": 3 + 0.5 * np.arange(9)},
    )
    path = tmp_path_factory.mktemp("store") / "fine.zarr"
    ds.chunk(time=4).to_zarr(path)
    return str(path)


def module(store, **changes):
    return PairDataModule(store, **{**NAMES, **PERIODS, **changes})


def test_splits_and_what_is_there_after_setup(store, messages):
    data = module(store)
    data.setup("fit")
    assert [len(data.dataset(split)) for split in ("train", "validate", "test")] == [25, 6, 9]
    assert list(data.times("validate")) == list(DAYS[25:31])
    assert data.times("predict").equals(data.times("test"))
    assert data.grid.shape == (2, 3)
    assert data.fine_grid.shape == (6, 9)
    raw = xr.open_zarr(store)
    np.testing.assert_array_equal(data.statics[0], raw["orog"][::-1])
    np.testing.assert_array_equal(data.fine_dataset("test")[RAIN], raw["pr"][31:, ::-1])
    assert data.fine_dataset("test")["lat_bnds"].values[-1].tolist() == [40.25, 39.75]
    assert list(data.coarse_dataset("validate").data_vars) == [RAIN, WARM]
    assert data.coarse_dataset("validate")["lat"].values.tolist() == [42.0, 40.5]
    assert "held in memory" in messages.text


@pytest.mark.parametrize("cache", [True, False])
def test_statistics_are_those_of_the_training_period(store, cache):
    data = module(store, cache=cache, inputs=[WARM, "2m_dewpoint_temperature"])
    rain = np.log1p(xr.open_zarr(store)["pr"].values[:25, ::-1].astype(np.float64))
    weights = np.broadcast_to(data.fine_grid.weights, rain.shape)
    valid = np.isfinite(rain)
    mean = np.average(rain[valid], weights=weights[valid])
    assert data.joint.of("targets", "").mean[0] == pytest.approx(mean, rel=1e-9)
    coarse = data.coarse_dataset("train")[WARM].values.astype(np.float64)
    expected = np.average(coarse, weights=np.broadcast_to(data.grid.weights, coarse.shape))
    assert data.input_statistics.mean.tolist() == pytest.approx([expected, 0.0])
    assert data.input_statistics.std[1] == 1.0
    assert data.input_statistics.low.tolist() == [coarse.min(), np.inf]
    assert data.input_statistics.high.tolist() == [coarse.max(), -np.inf]
    raw = xr.open_zarr(store)["pr"].values[:25]
    assert data.joint.of("targets", "").high.tolist() == [np.nanmax(raw)]
    assert data.joint.of("targets", "").low.tolist() == [np.nanmin(raw)]
    assert data.joint.of("statics", "").mean[0] == pytest.approx(
        (data.statics[0] * data.fine_grid.weights).sum()
    )


def seen(loader):
    return Counter(int(t) for batch in loader for t in batch.time.tolist())


@pytest.mark.parametrize(("workers", "cache"), [(0, True), (2, True), (3, True), (0, False)])
def test_each_sample_once_per_epoch(store, workers, cache):
    data = module(store, num_workers=workers, cache=cache, batch_size=4)
    data.setup("fit")
    loader = data.train_dataloader()
    expected = Counter(dict.fromkeys(DAYS[:25].astype("datetime64[s]").astype(np.int64), 1))
    orders = []
    for _ in range(2):
        times = [int(t) for batch in loader for t in batch.time.tolist()]
        assert Counter(times) == expected
        orders.append(times)
    assert orders[0] != orders[1] != sorted(orders[1])
    assert seen(data.val_dataloader()) == Counter(
        dict.fromkeys(DAYS[25:31].astype("datetime64[s]").astype(np.int64), 1)
    )


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_open_for_themselves(store, workers):
    """Zarr's threads do not survive a fork: these workers start afresh."""
    data = module(store, num_workers=workers, cache=False, batch_size=4)
    data.setup("fit")
    loader = data.train_dataloader()
    reference = module(store)
    for _ in range(2):
        batches = list(loader)
        assert sorted(Counter(t for b in batches for t in b.time.tolist()).values()) == [1] * 25
    first = batches[0]
    index = list(reference.times("train").astype("datetime64[s]").astype(np.int64))
    for number, time in enumerate(first.time.tolist()):
        sample = reference.dataset("train")[index.index(int(time))]
        torch.testing.assert_close(first.coarse[number], sample.coarse[0], rtol=0, atol=0)
        torch.testing.assert_close(first.fine[number], sample.fine[0], equal_nan=True)


def test_order_follows_from_seed_and_epoch(store):
    orders = []
    for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0)):
        loader = module(store, seed=seed).train_dataloader()
        assert isinstance(loader.batch_sampler, EpochBatches)
        loader.batch_sampler.set_epoch(epoch)
        orders.append([t for batch in loader for t in batch.time.tolist()])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]


class Recorder(lightning.LightningModule):
    """Notes the times of every training batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.times = []

    def training_step(self, batch, index):
        self.times += batch.time.tolist()
        return self.weight * batch.coarse.nanmean()

    def validation_step(self, batch, index):
        assert batch.fine.shape[1:] == (1, 6, 9)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_under_a_trainer(store, tmp_path):
    quiet = {
        "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": False,
        "default_root_dir": tmp_path, "num_sanity_val_steps": 0,
    }  # fmt: skip
    recorder = Recorder()
    trainer = lightning.Trainer(max_epochs=2, **quiet)
    trainer.fit(recorder, datamodule=module(store))
    assert sorted(recorder.times[:25]) == sorted(recorder.times[25:])
    expected = [
        [t for batch in loader for t in batch.time.tolist()]
        for epoch in range(2)
        if (loader := module(store).train_dataloader()).batch_sampler.set_epoch(epoch) is None
    ]
    assert recorder.times == expected[0] + expected[1]


def test_hyperparameters_are_kept_if_plain(store):
    assert module(store).hparams["factor"] == 3
    assert not module(xr.open_zarr(store)).hparams


def test_xarray_object_in_place_of_a_path(store):
    ours, theirs = (module(source).dataset("test")[3] for source in (store, xr.open_zarr(store)))
    torch.testing.assert_close(ours.coarse, theirs.coarse, rtol=0, atol=0)
    in_memory = module(xr.open_zarr(store).load(), cache=False).dataset("test")[3]
    torch.testing.assert_close(ours.fine, in_memory.fine, rtol=0, atol=0, equal_nan=True)


def test_without_periods_the_times_are_divided(store, messages):
    data = PairDataModule(store, **NAMES)
    data.setup()
    assert [len(data.times(split)) for split in ("train", "validate", "test")] == [28, 6, 6]
    assert "train 2001-01-01 00:00 to 2001-01-28 00:00" in messages.text


def test_other_calendar_trains_too(store):
    ds = xr.open_zarr(store).load()
    times = xr.date_range("2001-01-01", periods=40, calendar="noleap", use_cftime=True)
    data = module(ds.assign_coords(time=times))
    assert list(data.times("validate")) == list(DAYS[25:31])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": ["2001-01-31", "2001-02"]}, "validate .* and test .* overlap"),
        ({"train": ["1999", "2000"]}, "train .* holds no time: the data cover 2001-01-01"),
        ({"train": None}, "The split train has no period"),
        ({"batch_size": 0}, "batch_size should be 1 or more"),
        ({"num_workers": -1}, "num_workers should be 0 or more"),
        ({"resample": "a day"}, "length of time"),
        ({"factor": 0}, "factor should be 1 or more"),
        ({"factor": 7}, "no block of 7 x 7"),
        ({"regrid": "cubic", "coarse": "self"}, "linear or conservative"),
        ({"world": {"days": 3}}, "state fine: world, or leave world out"),
        ({"static_names": ["land_sea_mask"]}, "is in neither"),
    ],
)
def test_mistakes(store, changes, words):
    if "coarse" in changes:
        changes = {**changes, "coarse": store}
    with pytest.raises(InputError, match=words):
        module(store, **changes).setup("fit")


def test_missing_channel_values(store):
    ds = xr.open_zarr(store).load()
    ds["tas"][:25] = np.nan
    with pytest.raises(InputError, match="2m_temperature has no valid value"):
        _ = module(ds).input_statistics


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"fine": None}, "data.fine: expected a source, found none.* the word world"),
        ({"fine": -1}, "data.fine: expected a path, .* found -1"),
        ({"fine": []}, "data.fine: expected a path, .* found an empty list"),
        ({"fine": ""}, "data.fine: expected a path, .* found ''"),
        ({"fine": ["a.nc", 3]}, "data.fine: expected a path, .* found 3"),
        ({"fine": {"path": "a.nc"}}, "data.fine: expected a path, .* found {"),
        ({"fine": "World"}, "No such file or folder: World"),
        ({"fine": "world", "coarse": 3}, "data.coarse: expected a path, .* found 3"),
        ({"fine": "world", "statics": False}, "data.statics: expected a path, .* found False"),
        ({"fine": "world", "world": [400]}, "data.world: expected keys and values, found .400."),
        ({"fine": "world", "world": {"dayz": 400}}, "no argument 'dayz'; it has days, height"),
    ],
)
def test_only_the_word_world_is_the_world(sources, words):
    """A source that was forgotten or mistyped never trains on made-up data."""
    with pytest.raises(InputError, match=words):
        PairDataModule(**sources, **NAMES).setup("fit")


def test_arguments_of_the_world_ask_for_it(caplog):
    caplog.set_level("INFO")
    data = PairDataModule(world={"days": 10, "height": 16, "width": 32}, **NAMES)
    assert data.pairing.fine == "world"
    assert "the embedded world is read" in caplog.text


def test_world():
    data = PairDataModule(
        "world", inputs=[RAIN, WARM, "temperature_850", "orography"], targets=[RAIN],
        static_names=["orography", "land_sea_mask"], factor=4,
        world={"days": 10, "height": 16, "width": 32},
    )  # fmt: skip
    data.setup("fit")
    batch = data.dataset("train")[0]
    assert batch.coarse.shape == (1, 4, 4, 8)
    assert torch.isfinite(batch.coarse).all()
    assert torch.isfinite(batch.fine).all()
    assert data.grid.wraps


@pytest.mark.parametrize("year", [850, 2290])
@pytest.mark.parametrize("kind", ["datetime64[s]", "noleap"])
@pytest.mark.parametrize("window", [None, "24h"])
def test_fit_data_of_far_years(store, year, kind, window, tmp_path):
    """The same fields under other dates: the same samples."""
    start = f"{year:04d}-01-01"
    times = (
        np.datetime64(start, "s") + np.arange(40).astype("m8[D]")
        if kind.startswith("d")
        else xr.date_range(start, periods=40, calendar="noleap", use_cftime=True)
    )
    dated = xr.open_zarr(store).drop_encoding().assign_coords(time=times)
    dated.to_netcdf(tmp_path / "far.nc")
    periods = {
        name: [f"{year:04d}{date[4:]}" for date in period] for name, period in PERIODS.items()
    }
    for source in (dated, str(tmp_path / "far.nc")):
        data = module(source, **periods, resample=window)
        data.setup("fit")
        assert str(data.times("train")[-1])[:10] == f"{year:04d}-01-25"
        days = np.datetime64(start, "D").astype(int) + np.arange(25)
        assert [float(data.dataset("train")[i].time) for i in range(25)] == (86400 * days).tolist()
        expected = module(store).dataset("train")
        torch.testing.assert_close(
            data.dataset("train")[7].coarse, expected[7].coarse, equal_nan=True
        )
