"""Fits that begin with a bundle, through the command: what learns, what is told, how they go on."""

import logging
import shutil

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import orbitlite
from orbitlite.cli import main
from orbitlite.info import info
from orbitlite.model.bundle import load_bundle, save_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.training.checkpoints import read_checkpoint
from orbitlite.training.cli import OrbitCLI
from orbitlite.training.provenance import export
from orbitlite.training.sources import data_of_config

RAIN, WARM, WIND, WET = (
    "total_precipitation_24hr", "2m_temperature", "10m_u_component_of_wind",
    "specific_humidity_850",
)  # fmt: skip
SETTINGS = {
    "inputs": [RAIN, WARM, WIND], "targets": [RAIN], "statics": ["orography"], "factor": 2,
    "embed_dim": 8, "depth": 2, "num_heads": 2, "decoder_features": 8, "decoder_blocks": 1,
}  # fmt: skip


def write(folder):
    """Write data of three channels, and configs of fits of eight steps with two and with three."""
    random = np.random.default_rng(5)
    dims = ("time", "lat", "lon")
    times = np.datetime64("2001-01-01", "ns") + np.arange(16) * np.timedelta64(1, "D")
    axes = {
        "time": times,
        "lat": ("lat", np.linspace(49.75, 46.25, 8), {"units": "degrees_north"}),
        "lon": ("lon", np.linspace(5.25, 8.75, 8), {"units": "degrees_east"}),
    }
    values = {
        RAIN: (random.gamma(0.5, 6.0, (16, 8, 8)), "mm"),
        WARM: (random.normal(285, 5, (16, 8, 8)), "K"),
        WIND: (random.normal(0, 5, (16, 8, 8)), "m s-1"),
    }
    xr.Dataset(
        {
            name: (dims, field.astype("f4"), {"units": unit})
            for name, (field, unit) in values.items()
        },
        axes,
    ).to_netcdf(folder / "fine.nc")
    content = {
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "logger": False,
                    "num_sanity_val_steps": 0, "enable_progress_bar": False,
                    "enable_model_summary": False},
        "recent": {"every": 3, "count": 9},
        "model": {
            "optimisation": {"lr": 0.02},
            "network": {"inputs": [RAIN, WARM], "targets": [RAIN], "statics": [], "factor": 2,
                        "embed_dim": 8, "depth": 1, "num_heads": 2},
        },
        "data": {"fine": str(folder / "fine.nc"), "batch_size": 2,
                 "train": ["2001-01-01", "2001-01-08"], "validate": ["2001-01-09", "2001-01-12"],
                 "test": ["2001-01-13", "2001-01-16"]},
    }  # fmt: skip
    (folder / "two.yaml").write_text(yaml.safe_dump(content))
    content["model"]["network"]["inputs"] = [WIND, WARM, RAIN]
    content["data"]["train"] = ["2001-01-03", "2001-01-08"]
    (folder / "three.yaml").write_text(yaml.safe_dump(content))


def run(folder, config, name, *words, command="fit"):
    place = ["--trainer.default_root_dir", f"{folder}/{name}"]
    status = main([command, "-c", f"{folder}/{config}.yaml", *place, *map(str, words)])
    logging.getLogger("orbitlite").handlers = []
    return status


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with configs, the bundle of a fit of two channels, and fits tuned to three."""
    folder = tmp_path_factory.mktemp("tuning")
    write(folder)
    assert run(folder, "two", "first") == 0
    return folder


@pytest.fixture(scope="module")
def tuned(folder):
    """Return a function: the folder of a fit that is tuned so; each is made once."""
    made = {}

    def fit(tune):
        if tune not in made:
            words = ("--init", folder / "first/bundle", f"--tune={tune}", "--ema.decay=0")
            assert run(folder, "three", tune, *words) == 0
            made[tune] = folder / tune
        return made[tune]

    return fit


def weights(place):
    return load_bundle(place / "bundle").model.state_dict()


@pytest.mark.parametrize("tune", ["full", "head", "lora"])
def test_what_learns(folder, tuned, tune):
    before, after = weights(folder / "first"), weights(tuned(tune))
    assert after.keys() == before.keys()
    rows = {"embed_weight": 0, "embed_bias": 0, "sum_weight": 0}
    for name, value in after.items():
        rest = name.split(".")[-1]
        if name.endswith(("_mean", "_std")):
            continue
        if rest in rows:  # wind, warm, rain here; rain, warm there
            assert not torch.equal(value[0], torch.zeros_like(value[0])), name
            same = torch.equal(value[1:], before[name].flip(0))
        else:
            same = torch.equal(value, before[name])
        still = name == "channels.empty_token"  # no patch is without any channel
        if name.startswith(("decoder.", "blend")):
            assert not same, name
        elif tune == "full":
            assert not same or still, name
        elif tune == "lora" and name.startswith("blocks.") and name.endswith("weight"):
            assert same == ("norm" in name), name
        else:
            assert same, name


@pytest.mark.parametrize("tune", ["full", "head", "lora"])
def test_the_optimiser_has_what_learns(tuned, tune):
    state = read_checkpoint(tuned(tune) / "checkpoints/last.ckpt")
    names = [name.removeprefix("network.") for name in state["optimizer_states"][0]["state"]]
    parts = {name.split(".")[0] for name in names}
    blocks = [name for name in names if name.startswith("blocks.")]
    assert ("norm" in parts) == (tune == "full")
    assert "decoder" in parts
    assert "channels.groups.0.sum_weight" in names
    assert ("channels.groups.0.query" in names) == (tune == "full")
    assert all("lora" in name for name in blocks) == (tune != "full")
    assert bool(blocks) == (tune != "head")


def test_normalisation_is_that_of_the_bundle(folder, tuned, tmp_path):
    there, kept = weights(folder / "first"), weights(tuned("full"))
    assert run(folder, "three", "anew", "--init", folder / "first/bundle",
               "--init.statistics=new", "--trainer.max_epochs=1") == 0  # fmt: skip
    new = weights(folder / "anew")
    for part in ("mean", "std"):
        assert torch.equal(kept[f"input_{part}"][1:], there[f"input_{part}"].flip(0))
        assert torch.equal(kept[f"target_{part}"], there[f"target_{part}"])
        assert float(kept[f"input_{part}"][0]) == float(new[f"input_{part}"][0])
        assert not (new[f"input_{part}"][1:] == there[f"input_{part}"].flip(0)).any()
        assert not torch.equal(new[f"target_{part}"], there[f"target_{part}"])


def test_a_bundle_tells_what_it_was_tuned_from(folder, tuned):
    first = load_bundle(folder / "first/bundle")
    bundle = load_bundle(tuned("lora") / "bundle")
    expected = {"path": f"{folder}/first/bundle", "identity": first.identity, "tune": "lora"}
    assert bundle.metadata["training"]["init"] == expected
    card = (tuned("lora") / "bundle/README.md").read_text()
    assert f"fine-tuned (lora) from the bundle {folder}/first/bundle" in card
    assert first.identity in card
    table = info(str(tuned("lora") / "bundle"))
    assert "tuned from" in [str(cell) for cell in table.columns[0]._cells]
    assert "fine-tuned" not in (folder / "first/bundle/README.md").read_text()


def test_the_table_says_what_is_taken(folder, capsys, monkeypatch):
    monkeypatch.setattr(OrbitCLI, "_run_subcommand", lambda self, subcommand: None)
    assert run(folder, "three", "none", "--init", folder / "first/bundle", "--tune", "head",
               "--model.network.noise=2", "--model.loss=crps") == 0  # fmt: skip
    rows = {}
    for line in capsys.readouterr().err.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("│┃").replace("┃", "│").split("│")]
        if len(cells) > 5:
            rows[cells[0]] = cells[1:]
    # per channel 8 x 4 weights of the patch, 8 of the bias, 1 of the sum
    assert rows["channels"] == ["82", "41", "0", "frozen, 1",
                                "2 of 3 by name; new: 10m_u_component_of_wind"]  # fmt: skip
    assert rows["positions"][:4] == ["432", "0", "0", "frozen"]
    assert rows["decoder, coarse grid"][3] == "0.3"
    taken, new = rows["noise"][:2]
    assert (taken, rows["noise"][3:]) == ("0", ["1", "none at first"])
    assert int(new) > 50
    told = "of the bundle for 2 of 3 inputs, 1 of 1 targets; else of the data"
    assert rows["normalisation"][-1] == told
    whole = Downscaler(DownscalerConfig(
        inputs=[WIND, WARM, RAIN], targets=[RAIN], statics=[], factor=2, embed_dim=8, depth=1,
        num_heads=2, noise=2,
    ))  # fmt: skip
    learning = sum(p.numel() for p in whole.decoder.parameters()) + 1 + 41
    assert rows["all"][-1] == f"{learning:,} weights learn"


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_it_goes_on_without_the_bundle(folder, tuned, tune):
    """To the same weights, bit for bit, as the fit that was not interrupted."""
    whole = tuned(tune)
    part = folder / f"part of {tune}"
    (part / "checkpoints").mkdir(parents=True)
    kept = (whole / "checkpoints").glob("*.ckpt")
    middle = next(path for path in kept if read_checkpoint(path)["global_step"] == 3)
    shutil.copy(middle, part / "checkpoints/last.ckpt")
    shutil.move(folder / "first", folder / "away")
    try:
        words = ["--ckpt_path", "last", "--ema.decay=0"]
        words += ["--init", folder / "first/bundle"] if tune == "full" else []
        assert run(folder, "three", part.name, *words) == 0
    finally:
        shutil.move(folder / "away", folder / "first")
    expected, found = (read_checkpoint(p / "checkpoints/last.ckpt") for p in (whole, part))
    assert found["global_step"] == expected["global_step"] == 6
    for name, value in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value), name
    assert found["initialisation"]["taken"] == expected["initialisation"]["taken"]
    assert found["provenance"]["metadata"]["training"]["init"]["tune"] == tune


def test_checkpoints_with_adapters_predict_as_their_bundle(folder, tuned, tmp_path):
    place = tuned("lora")
    export(place / "checkpoints/last.ckpt", tmp_path / "bundle")
    words = ("--init", folder / "nowhere", "--tune=full")  # what began it does not matter now
    assert run(folder, "three", "lora", "--ckpt_path", place / "checkpoints/last.ckpt", *words,
               command="predict") == 0  # fmt: skip
    with xr.open_dataset(place / "prediction.nc") as found:
        coarse = data_of_config(folder / "three.yaml").coarse_dataset("test")
        expected = orbitlite.predict(coarse.load(), str(tmp_path / "bundle"))
        np.testing.assert_allclose(found[RAIN].values, expected[RAIN].values, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """The bundle of a network that has nothing in common with those of the configs."""
    path = tmp_path_factory.mktemp("foreign") / "bundle"
    config = DownscalerConfig(inputs=[WET], targets=[WET], statics=[], factor=3, embed_dim=6,
                              depth=0, num_heads=2, decoder_features=4)  # fmt: skip
    save_bundle(path, Downscaler(config), metadata={})
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--init {folder}/nowhere", "init.bundle: "),
        ("--init {folder}", "init.bundle: "),
        ("--init {folder}/first/checkpoints/last.ckpt", "is a checkpoint; `orbitlite export"),
        ("--init {foreign}", "suits the network of the config"),
        ("--init=", "init.bundle: expected the path or URL"),
        ("--tune head", "init.tune head: there is nothing to tune; state the bundle"),
        ("--init.rate 0.1", "init.rate 0.1: there is nothing to tune"),
        ("--init {first} --tune heads", "init.tune: expected"),
        ("--init {first} --init.rate 0", "init.rate: expected a ratio"),
        ("--init {first} --init.decay 2", "init.decay: expected a ratio"),
        ("--init {first} --init.rank 0", "init.rank: expected 1 or more"),
        ("--init {first} --tune lora --init.rank 9", "init.rank: expected 1 to embed_dim 8"),
        ("--init {first} --init.alpha -1", "init.alpha: expected more than 0"),
        ("--init {first} --init.statistics old", "init.statistics: expected"),
        ("--init {first} --init.rates 1", "did you mean 'init.rate'?"),
        ("--init {first} --tune lora --model.network.depth 0", "the network has none (depth 0)"),
        ("--init {first} --ckpt_path {plain}", "which did not begin with a bundle"),
        ("--init {foreign} --ckpt_path {full}", "which began with"),
        ("--tune lora --ckpt_path {full}", "whose weights are others"),
    ],
)
def test_refused_with_one_line(folder, tuned, foreign, words, expected, capsys, monkeypatch):
    places = {"folder": folder, "foreign": foreign, "first": folder / "first/bundle",
              "plain": folder / "first/checkpoints/last.ckpt"}  # fmt: skip
    if "{full}" in words:
        places["full"] = tuned("full") / "checkpoints/last.ckpt"
    monkeypatch.setattr(OrbitCLI, "_run_subcommand", lambda self, subcommand: None)
    capsys.readouterr()
    given = [word.format(**places) for word in words.split()]
    config = "two" if "{plain}" in words else "three"
    assert run(folder, config, "refused", *given) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("orbitlite:")]
    assert len(lines) == 1
    assert expected in lines[0]
    assert not (folder / "refused").exists()


def test_other_commands_need_the_checkpoint_of_a_fit(folder, capsys):
    words = ("--init", folder / "first/bundle")
    assert run(folder, "three", "none", *words, command="validate") == 2
    assert "is what a fit begins with; state the checkpoint" in capsys.readouterr().err


def test_a_config_states_it(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(OrbitCLI, "_run_subcommand", lambda self, subcommand: None)
    content = yaml.safe_load((folder / "three.yaml").read_text())
    content["init"] = {"bundle": str(folder / "first/bundle"), "tune": "head", "rate": 0.1}
    (folder / "stated.yaml").write_text(yaml.safe_dump(content))
    assert run(folder, "stated", "none") == 0
    said = capsys.readouterr().err
    assert "tune head" in said
    assert " 0.1 " in said
