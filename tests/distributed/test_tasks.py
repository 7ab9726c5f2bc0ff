"""Several tasks on one trunk over processes: the numbers of one, and from within an epoch."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.dist, pytest.mark.slow]

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
TASKS = {
    "rain": {"factor": 4},
    "heat": {"targets": [WARM], "statics": ["orography"], "factor": 2, "decoder_features": 16},
}
SOURCES = {
    "small": {"fine": "world", "world": {"days": 20, "height": 16, "width": 32}, "weight": 2.0,
              "task": "rain"},
    "large": {
        "fine": "world", "world": {"days": 20, "height": 24, "width": 48, "seed": 1},
        "tile": 3, "halo": 1, "weight": 1.0, "task": "rain",
    },
    "dry": {
        "fine": "world", "weight": 1.0, "task": "heat",
        "world": {"days": 20, "height": 16, "width": 32, "levels": [700], "seed": 2},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def words():
    return ["--data.fine", "null", "--data.world", "null", "--data.sources", json.dumps(SOURCES),
            "--model.network.tasks", json.dumps(TASKS), "--trainer.max_epochs", 1]  # fmt: skip


@pytest.fixture(scope="module")
def alone(fits, words):
    fits.fit("tasks", *words, *fits.each_step)
    return fits.column("tasks", "train_loss")


@pytest.mark.parametrize(("data", "shard"), [(2, 2), (4, 4), (4, 2)])
def test_processes_are_one(fits, words, alone, data, shard):
    """A step leaves the decoders of other tasks out, on all processes alike."""
    folder = f"tasks {data} {shard}"
    kept = fits.each_step if data == 2 else ()  # another test goes on from them
    fits.fit(folder, *words, *fits.spread(data), "--parallel.shard", shard, *kept)
    assert fits.column(folder, "train_loss") == pytest.approx(alone, rel=1e-5)
    for name in ("val_rmse", f"large/val_rmse/{RAIN}", f"dry/val_bias/{WARM}"):
        expected = fits.column("tasks", name)
        assert len(expected) == 1
        assert fits.column(folder, name) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    ours, theirs = (fits.tensors(f"{run}/checkpoints/last.ckpt") for run in (folder, "tasks"))
    assert ours.keys() == theirs.keys()
    steps = [name for name in theirs if name.endswith("/step")]
    assert len({float(theirs[name]) for name in steps}) == 3  # of the trunk and of each decoder
    assert [float(ours[name]) for name in steps] == [float(theirs[name]) for name in steps]


def test_tokens_are_shared_too(fits, words, alone):
    fits.fit("sequence", *words, *fits.spread(1, 1, 2))
    assert fits.column("sequence", "train_loss") == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("data", [1, 2])
def test_a_fit_goes_on_within_an_epoch(fits, words, alone, data):
    """At the first step one of the two decoders has not taken any."""
    folder = "tasks" if data == 1 else "tasks 2 2"
    if not Path(folder).exists():
        fits.fit(folder, *words, *fits.spread(data), *fits.each_step)
    kept = [*Path(folder, "checkpoints").glob("*step*")]
    for step in (1, 3):
        path = next(p for p in kept if p.name.endswith(f"step={step}.ckpt"))
        name = f"resumed {data} {step}"
        fits.fit(name, *words, *fits.spread(data), "--ckpt_path", path)
        assert fits.column(name, "train_loss") == fits.column(folder, "train_loss")[step:]
        ours, theirs = (fits.tensors(f"{run}/checkpoints/last.ckpt") for run in (name, folder))
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key].equal(value), key


def test_processes_that_share_channels_are_refused(fits, words):
    said = fits.fit("refused", *words, *fits.spread(1, 2), status=2)
    assert "the channels of a network with tasks are not split" in " ".join(said.split())
