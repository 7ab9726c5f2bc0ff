"""Fine-tuning over processes: the same numbers as on one, and goes on without the bundle."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orbitlite.model.bundle import load_bundle
from orbitlite.training.checkpoints import read_checkpoint

pytestmark = [pytest.mark.dist, pytest.mark.slow]

MORE = "--model.network.inputs+=specific_humidity_500"


@pytest.fixture(scope="module")
def runs(fits):
    """The fit of a bundle, of one epoch."""
    fits.fit("first", "--trainer.max_epochs", 1)
    return fits


@pytest.mark.parametrize(
    ("tune", "layouts"),
    [
        ("full", [{"data": 2}, {"tensor": 2}]),
        ("head", [{"data": 2}, {"tensor": 2}]),
        ("lora", [{"data": 2}, {"sequence": 2}]),
    ],
)
def test_two_processes_are_one(runs, tune, layouts):
    words = ["--init", "first/bundle", "--tune", tune, MORE]
    identity = load_bundle("first/bundle").identity
    runs.fit(tune, *words)
    expected = runs.column(tune, "train_loss")
    assert len(expected) == 4
    for sizes in layouts:
        name = f"{tune} {sizes}"
        said = runs.fit(name, *words, *runs.spread(**sizes))
        assert said.count(f"Begins with first/bundle ({identity}), tune {tune}") == 1
        for column in ("train_loss", "val_loss"):
            expected = runs.column(tune, column)
            assert runs.column(name, column) == pytest.approx(expected, rel=1e-5, abs=1e-7)
        one, two = (load_file(f"{run}/bundle/model.safetensors") for run in (tune, name))
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-3, atol=1e-4)
        # what does not learn has no state
        state = runs.tensors(f"{name}/checkpoints/last.ckpt")
        moments = {key.split("/")[1] for key in state if key.startswith("optimizer/")}
        same = runs.tensors(f"{tune}/checkpoints/last.ckpt")
        assert moments == {key.split("/")[1] for key in same if key.startswith("optimizer/")}
        blocks = [key for key in moments if key.startswith("network.blocks.")]
        assert all(key.endswith(("lora_a", "lora_b")) for key in blocks) == (tune != "full")


def test_another_layout_goes_on_without_the_bundle(runs):
    words = ["--init", "first/bundle", "--tune", "lora", MORE]
    runs.fit("two", *words, *runs.spread(2), *runs.each_step)
    shutil.move("first", "away")
    try:
        middle = next(
            path for path in Path("two/checkpoints").glob("*.ckpt")
            if read_checkpoint(path, weights=False)["global_step"] == 2
        )  # fmt: skip
        runs.fit("on", "--ckpt_path", middle, MORE, *runs.spread())
    finally:
        shutil.move("away", "first")
    expected = runs.column("two", "val_loss")
    assert runs.column("on", "val_loss")[-1] == pytest.approx(expected[-1], rel=1e-5)


def test_adapters_are_not_split_over_columns(runs):
    words = ["--init", "first/bundle", "--tune", "lora", MORE]
    said = runs.fit("split", *words, *runs.spread(tensor=2), status=2)
    assert said.count("orbitlite: parallel.tensor 2: adapters (init.tune lora)") == 1
