"""`orbitlite predict`: the period of a config, through the engine of `downscale`."""

import logging

import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.cli import main
from orbitlite.data.datamodule import PairDataModule
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.inference.journal import Journal
from orbitlite.model.bundle import load_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.training.checkpoints import read_checkpoint

RAIN = "total_precipitation_24hr"


class Fault(BaseException):
    """Ends a job at once, as a kill does."""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, write_config):
    folder = tmp_path_factory.mktemp("fitted")
    write_config(folder, recent={"every": 4, "count": 9})
    assert run("fit", folder, "run") == 0
    return folder


def run(command, folder, name, *words):
    place = ["--trainer.default_root_dir", f"{folder}/{name}"]
    status = main([command, "-c", f"{folder}/config.yaml", *place, *map(str, words)])
    logging.getLogger("orbitlite").handlers = []
    return status


def predicted(path):
    with xr.open_dataset(path) as ds:
        return ds[RAIN].load()


@pytest.fixture
def failing(monkeypatch):
    """Return a function that lets the network fail after some pieces, and what was counted."""
    counted, whole = [], PlacedNetwork.cores

    def after(count):
        def cores(self, windows, tiles, *more):
            if len(counted) >= count:
                raise Fault
            counted.append(tiles)
            return whole(self, windows, tiles, *more)

        monkeypatch.setattr(PlacedNetwork, "cores", cores)
        return counted

    return after


def by_hand(folder, checkpoint):
    """Put the batches of the period through the network."""
    state = read_checkpoint(checkpoint)
    network = Downscaler(DownscalerConfig.from_dict(state["hyper_parameters"]["network"]))
    weights = {name.removeprefix("network."): value for name, value in state["state_dict"].items()}
    network.load_state_dict(weights)
    data = PairDataModule(
        str(folder / "fine.nc"), inputs=[RAIN], targets=[RAIN], static_names=[], factor=2,
        train=["2001-01-01", "2001-01-08"], test=["2001-01-13", "2001-01-16"],
    )  # fmt: skip
    samples = data.dataset("predict")
    with torch.inference_mode():
        found = [network.eval()(samples.__getitems__([i, i + 1])[0]) for i in (0, 2)]
    return torch.cat(found).reshape(4, 8, 8).numpy()


@pytest.mark.filterwarnings("ignore")
def test_it_is_the_network_on_the_period(fitted, tmp_path):
    checkpoint = fitted / "run/checkpoints/best.ckpt"
    words = ["--ckpt_path", checkpoint, "--trainer.default_root_dir", tmp_path]
    assert run("predict", fitted, "run", *words) == 0
    found = predicted(tmp_path / "prediction.nc")
    assert found.dims == ("time", "lat", "lon")
    assert str(found.time.values[0])[:10] == "2001-01-13"
    np.testing.assert_array_equal(found, by_hand(fitted, checkpoint))
    assert [path.name for path in tmp_path.iterdir()] == ["prediction.nc"]


@pytest.mark.filterwarnings("ignore")
def test_tiles_of_the_fit_are_not_those_of_the_prediction_and_that_is_told(
    fitted, tmp_path, caplog
):
    checkpoint = fitted / "run/checkpoints/best.ckpt"
    words = ["--ckpt_path", checkpoint, "--trainer.default_root_dir", tmp_path]
    caplog.set_level("INFO", logger="orbitlite")
    assert run("predict", fitted, "run", *words) == 0
    assert "data.tile" not in caplog.text
    assert run("predict", fitted, "run", *words, "--data.tile", 2, "--data.halo", 0) == 0
    assert "data.tile 2 is of the fit" in caplog.text
    np.testing.assert_array_equal(
        predicted(tmp_path / "prediction.nc"), by_hand(fitted, checkpoint)
    )


@pytest.mark.filterwarnings("ignore")
def test_the_range_of_training_goes_into_the_bundle_and_is_looked_at(fitted, tmp_path, caplog):
    with xr.open_dataset(fitted / "fine.nc") as ds:
        wild = ds.load()
    wild[RAIN][12:] *= 3
    wild.to_netcdf(tmp_path / "wild.nc")
    areas = np.cos(np.deg2rad(wild.lat)) * xr.ones_like(wild[RAIN])
    sums = (part.coarsen(lat=2, lon=2).sum() for part in (wild[RAIN] * areas, areas))
    coarse = (next(sums) / next(sums)).transpose("time", "lat", "lon").values
    low, high = coarse[:8].min(), coarse[:8].max()
    checkpoint = fitted / "run/checkpoints/best.ckpt"
    assert main(["export", str(checkpoint), str(tmp_path / "exported")]) == 0
    for folder in (fitted / "run/bundle", tmp_path / "exported"):
        ranges = load_bundle(folder).metadata["training"]["ranges"]
        assert ranges == {RAIN: pytest.approx([low, high], rel=1e-5)}
    words = ["--ckpt_path", checkpoint, "--trainer.default_root_dir", tmp_path, "--data.fine"]
    assert run("predict", fitted, "run", *words, tmp_path / "wild.nc") == 0
    count = ((coarse[12:] < low) | (coarse[12:] > high)).sum()
    said = [r.message for r in caplog.records if "beyond the training" in r.message]
    assert [f"{RAIN}: {count} of 64 values beyond the" in text for text in said] == [True]


@pytest.mark.filterwarnings("ignore")
def test_what_is_unfinished_is_gone_on_with(fitted, failing, caplog):
    caplog.set_level("INFO")
    checkpoint, output = fitted / "run/checkpoints/best.ckpt", fitted / "run/some.zarr"
    words = ["--ckpt_path", checkpoint, "--prediction_file.name", output.name]
    failing(1)
    with pytest.raises(Fault):
        run("predict", fitted, "run", *words)
    assert len(Journal(output).done) == 1
    counted = failing(9)
    assert run("predict", fitted, "run", *words) == 0
    assert len(counted) == 2
    assert "1 pieces are done" in caplog.text
    np.testing.assert_array_equal(predicted(output), by_hand(fitted, checkpoint))
    # again: it is replaced, as by a run that nothing happened to
    counted.clear()
    assert run("predict", fitted, "run", *words) == 0
    assert len(counted) == 2


@pytest.mark.filterwarnings("ignore")
def test_what_is_unfinished_of_other_weights_is_begun_anew(fitted, failing, caplog):
    caplog.set_level("INFO")
    output = fitted / "run/other.nc"
    words = ["--prediction_file.name", output.name, "--ckpt_path"]
    checkpoint = fitted / "run/checkpoints/best.ckpt"
    best = by_hand(fitted, checkpoint)
    steps = (fitted / "run/checkpoints").glob("step=*.ckpt")
    other = next(path for path in steps if not np.array_equal(by_hand(fitted, path), best))
    failing(1)
    with pytest.raises(Fault):
        run("predict", fitted, "run", *words, other)
    counted = failing(9)
    counted.clear()
    assert run("predict", fitted, "run", *words, checkpoint) == 0
    assert len(counted) == 2
    assert "is another job: model was" in caplog.text
    assert "it starts from the beginning" in caplog.text
    np.testing.assert_array_equal(predicted(output), by_hand(fitted, checkpoint))


def test_members_are_kept_and_an_untrained_network_is_told_of(tmp_path, write_config, caplog):
    write_config(tmp_path)
    with xr.open_dataset(tmp_path / "fine.nc") as ds:
        rain = ds[RAIN].load()
    both = xr.concat([rain, rain + 1], "number").assign_coords(number=[3, 7])
    both.assign_attrs(rain.attrs).to_dataset(name=RAIN).to_netcdf(tmp_path / "fine.nc")
    assert run("predict", tmp_path, "run") == 0
    assert "the network is an untrained one" in caplog.text
    found = predicted(tmp_path / "run/prediction.nc")
    assert found.dims == ("number", "time", "lat", "lon")
    assert found.number.values.tolist() == [3, 7]


@pytest.mark.filterwarnings("ignore")
def test_several_processes_are_refused_before_anything(fitted, capsys):
    before = sorted(path.name for path in (fitted / "run").iterdir())
    words = ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--ckpt_path"]
    checkpoint = fitted / "run/checkpoints/best.ckpt"
    assert run("predict", fitted, "run", *words, checkpoint) == 2
    assert "orbitlite predict runs on one process; pass --trainer.devices 1" in (
        capsys.readouterr().err
    )
    assert before == sorted(path.name for path in (fitted / "run").iterdir())


@pytest.mark.filterwarnings("ignore")
def test_members_of_the_period(fitted, tmp_path, capsys):
    """As `downscale` draws them from the bundle; the noise of the fit was calibrated."""
    noise = ["--model.network.noise", 2, "--model.loss", "crps"]
    assert run("fit", fitted, "drawn", *noise) == 0
    checkpoint = fitted / "drawn/checkpoints/best.ckpt"
    words = ["--ckpt_path", checkpoint, "--trainer.default_root_dir", tmp_path, *noise]
    assert run("predict", fitted, "drawn", *words, "--prediction_file.members", 3) == 0
    found = predicted(tmp_path / "prediction.nc")
    assert found.dims == ("realization", "time", "lat", "lon")
    bundle = load_bundle(fitted / "drawn/bundle")
    assert float(bundle.model.noise_size) != 1
    data = PairDataModule(
        str(fitted / "fine.nc"), inputs=[RAIN], targets=[RAIN], static_names=[], factor=2,
        train=["2001-01-01", "2001-01-08"], test=["2001-01-13", "2001-01-16"],
    )  # fmt: skip
    expected = orbitlite.predict(data.coarse_dataset("predict"), bundle, members=3)[RAIN]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    more = ["--prediction_file.statistics", "q90", "--prediction_file.name", "high.nc"]
    assert run("predict", fitted, "drawn", *words, *more) == 0
    with xr.open_dataset(tmp_path / "high.nc") as high:
        assert {name for name in high.data_vars if "time" in high[name].dims} == {f"{RAIN}_q90"}
    assert run("predict", fitted, "drawn", *words, "--prediction_file.members", 0) == 2
    assert "members: expected a whole number of 1 or more, found 0" in capsys.readouterr().err
