"""Sources without truth over processes: the same losses, gradients, scores and checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors import safe_open

pytestmark = [pytest.mark.dist, pytest.mark.slow]

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
STEADY = ["--trainer.max_epochs", 1, "--model.network.dropout", 0,
          "--trainer.gradient_clip_val", 1e9]  # fmt: skip


@pytest.fixture(scope="module")
def coarse(fits):
    """Write coarse fields with gaps; of nine days the last batch has one, for one process."""
    random = np.random.default_rng(7)
    shape, dims = (17, 6, 10), ("time", "lat", "lon")
    warm = 280 + 5 * random.standard_normal(shape)
    warm[::3, 2:4, 1:5] = np.nan
    rain = random.gamma(0.6, 4.0, shape)
    rain[4] = np.nan
    xr.Dataset(
        {RAIN: (dims, rain.astype("f4"), {"units": "mm"}),
         WARM: (dims, warm.astype("f4"), {"units": "K"})},
        {"time": np.datetime64("2001-01-01", "ns") + np.arange(17) * np.timedelta64(1, "D"),
         "lat": ("lat", 60.5 - np.arange(6), {"units": "degrees_north"}),
         "lon": ("lon", 5.5 + np.arange(10), {"units": "degrees_east"})},
    ).to_netcdf("coarse.nc")  # fmt: skip
    return {"coarse": "coarse.nc", "train": ["2001-01-01", "2001-01-09"],
            "validate": ["2001-01-14", "2001-01-17"]}  # fmt: skip


@pytest.fixture(scope="module")
def alone(coarse):
    """Return the words of a fit on coarse fields alone."""
    periods = (word for name in ("train", "validate") for word in
               (f"--data.{name}", json.dumps(coarse[name])))  # fmt: skip
    return ["--data.fine", "null", "--data.world", "null", "--data.test", "null",
            "--data.coarse", "coarse.nc", "--model.reconstruction", "{}",
            *periods, *STEADY]  # fmt: skip


@pytest.fixture(scope="module")
def both(coarse):
    """Return the words of a fit on tiles of coarse fields, and pairs."""
    world = {"days": 20, "height": 16, "width": 32}
    sources = {"plain": coarse | {"weight": 2.0, "tile": 4, "halo": 1},
               "pairs": {"fine": "world", "world": world, "weight": 1.0}}  # fmt: skip
    return ["--data.fine", "null", "--data.world", "null", "--data.test", "null",
            "--model.reconstruction", json.dumps({"weight": 0.5}),
            "--data.sources", json.dumps(sources), *STEADY]  # fmt: skip


def compare(fits, words, kind, sizes):
    """Fit on one process and spread; compare what is logged, and the first step's gradients."""
    if not Path(kind).exists():
        fits.fit(kind, *words, *fits.each_step)
    folder = f"{kind} {sizes}"
    fits.fit(folder, *words, *fits.spread(*sizes), *fits.each_step)
    for name in ("train_reconstruction", "train_loss"):
        expected = fits.column(kind, name)
        assert fits.column(folder, name) == pytest.approx(expected, rel=2e-5)
    for name in ("val_reconstruction", "val_reconstruction_mean", "val_reconstruction_nearest"):
        (expected,) = fits.column(kind, name)
        assert fits.column(folder, name) == pytest.approx([expected], rel=1e-4)
    firsts = [
        fits.tensors(
            next(p for p in Path(run, "checkpoints").glob("*step*") if "step=1.ckpt" in p.name)
        )
        for run in (kind, folder)
    ]
    moments = [{n: t for n, t in one.items() if n.endswith("/exp_avg")} for one in firsts]
    assert moments[0].keys() == moments[1].keys()
    size = max(float(value.abs().max()) for value in moments[0].values())
    for name, value in moments[0].items():
        torch.testing.assert_close(moments[1][name], value, rtol=1e-4, atol=2e-5 * size)
    return fits.column(kind, "train_reconstruction"), fits.column(kind, "train_loss")


@pytest.mark.parametrize("sizes", [(2,), (4,), (1, 1, 2)], ids=["two", "four", "sequence"])
def test_processes_are_one_without_truth(fits, alone, sizes):
    rebuilt, learned = compare(fits, alone, "alone", sizes)
    assert (len(rebuilt), len(learned)) == (2, 0)


@pytest.mark.parametrize("sizes", [(2,), (4,)], ids=["two", "four"])
def test_processes_are_one_beside_pairs(fits, both, sizes):
    rebuilt, learned = compare(fits, both, "both", sizes)
    assert len(rebuilt) > 5
    assert len(learned) > 2


def test_a_folder_goes_on_and_its_bundle_has_no_head(fits, both):
    words = [*both, *fits.spread(2)]
    fits.fit("two", *words, *fits.each_step)
    path = next(p for p in Path("two/checkpoints").glob("*step*") if "step=4.ckpt" in p.name)
    fits.fit("resumed", *words, "--ckpt_path", path)
    kept, whole = (fits.column(run, "train_reconstruction") for run in ("resumed", "two"))
    assert kept
    assert kept == whole[-len(kept) :]
    ours, theirs = (fits.tensors(f"{run}/checkpoints/last.ckpt") for run in ("resumed", "two"))
    for name, value in theirs.items():
        assert ours[name].equal(value), name
    assert any("network.reconstruction." in name for name in theirs)
    with safe_open("two/bundle/model.safetensors", "pt") as bundle:
        assert not any(name.startswith("reconstruction") for name in bundle.keys())  # noqa: SIM118


def test_processes_that_share_channels_are_refused(fits, alone):
    said = fits.fit("refused", *alone, *fits.spread(1, 2), status=2)
    assert "processes that share the channels do not hide them" in " ".join(said.split())
