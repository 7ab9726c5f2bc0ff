"""Fits on several sources: the same numbers over processes, and from within an epoch."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.dist, pytest.mark.slow]

RAIN = "total_precipitation_24hr"
SOURCES = {
    "small": {"fine": "world", "world": {"days": 20, "height": 16, "width": 32}, "weight": 2.0},
    "large": {
        "fine": "world", "world": {"days": 20, "height": 24, "width": 48, "seed": 1},
        "tile": 3, "halo": 1, "weight": 1.0,
    },
    "other levels": {
        "fine": "world", "weight": 1.0,
        "world": {"days": 20, "height": 16, "width": 32, "levels": [700], "seed": 2},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def words():
    sources = {name.replace(" ", "_"): own for name, own in SOURCES.items()}
    text = json.dumps(sources)
    return ["--data.fine", "null", "--data.world", "null", "--data.sources", text,
            "--trainer.max_epochs", 1]  # fmt: skip


@pytest.fixture(scope="module")
def alone(fits, words):
    fits.fit("sources", *words, *fits.each_step)
    return fits.column("sources", "train_loss")


@pytest.mark.parametrize("data", [2, 4])
def test_processes_are_one(fits, words, alone, data):
    folder = f"sources {data}"
    fits.fit(folder, *words, *fits.spread(data))
    assert fits.column(folder, "train_loss") == pytest.approx(alone, rel=1e-5)
    for name in ("val_rmse", "large/val_rmse", f"other_levels/val_bias/{RAIN}"):
        expected = fits.column("sources", name)
        assert len(expected) == 1
        assert fits.column(folder, name) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_fit_goes_on_within_an_epoch(fits, words, alone):
    kept = sorted(Path("sources/checkpoints").glob("*step*"), key=lambda path: path.stat().st_mtime)
    third = next(path for path in kept if "step=3" in path.name or "step3" in path.name)
    fits.fit("resumed", *words, "--ckpt_path", third)
    assert fits.column("resumed", "train_loss") == alone[3:]
    ours, theirs = (fits.tensors(f"{run}/checkpoints/last.ckpt") for run in ("resumed", "sources"))
    for name, value in theirs.items():
        assert ours[name].equal(value), name


def test_processes_that_share_channels_are_refused(fits, words):
    said = fits.fit("refused", *words, *fits.spread(1, 2), status=2)
    assert "processes that share the channels read those of one source" in " ".join(said.split())
