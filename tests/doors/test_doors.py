"""Parts from outside the package: a fit from a YAML, a bundle, a prediction, an evaluation."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import orbitlite
import orbitlite.cli as commands
from orbitlite.batch import Batch
from orbitlite.data.source import open_source
from orbitlite.errors import InputError, SharedError
from orbitlite.model.bundle import load_bundle, save_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.mesh import Layout, ParallelConfig, Ranks, check_network
from orbitlite.parallel.sharding import parallelize
from orbitlite.registry import Registry
from orbitlite.training.checkpoints import read_checkpoint

HERE = str(Path(__file__).parent)
RAIN = "total_precipitation_24hr"


def fine_rain(days=16):
    random = np.random.default_rng(5)
    rain = random.gamma(0.5, 6.0, (days, 10, 12)).astype("f4")
    return xr.Dataset(
        {RAIN: (("time", "lat", "lon"), rain, {"units": "mm"})},
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D"),
            "lat": ("lat", np.linspace(49.75, 45.25, 10), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(5.25, 10.75, 12), {"units": "degrees_east"}),
        },
    )


@pytest.fixture
def config(tmp_path):
    """Return a function: write data and a config with some settings of network and model."""

    def write(network, **model):
        fine_rain().to_netcdf(tmp_path / "fine.nc")
        content = {
            "trainer": {
                "max_steps": 4, "accelerator": "cpu", "logger": False, "num_sanity_val_steps": 0,
                "enable_progress_bar": False, "enable_model_summary": False,
                "default_root_dir": str(tmp_path / "run"),
            },
            "model": model | {
                "optimisation": {"lr": 0.02},
                "network": {"inputs": [RAIN], "targets": [RAIN], "statics": [], "factor": 2,
                            "embed_dim": 8, "depth": 1, "num_heads": 2} | network,
            },
            "data": {
                "fine": str(tmp_path / "fine.nc"), "batch_size": 2,
                "train": ["2001-01-01", "2001-01-08"], "validate": ["2001-01-09", "2001-01-12"],
                "test": ["2001-01-13", "2001-01-16"],
            },
        }  # fmt: skip
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return write


def forget(parts):
    """Leave the registries as if the module had not been imported."""
    sys.modules.pop("parts")
    for registry in (value for value in vars(parts).values() if isinstance(value, Registry)):
        for name in [
            n for n, part in registry.items() if getattr(part, "__module__", "") == "parts"
        ]:
            del registry._parts[name]


def coarse_rain():
    return fine_rain(3).coarsen(lat=2, lon=2).mean()


def small(**settings):
    usual = {"inputs": [RAIN], "statics": [], "factor": 2, "embed_dim": 8, "depth": 1,
             "num_heads": 2}  # fmt: skip
    return DownscalerConfig(**(usual | settings))


@pytest.mark.slow
def test_a_unet_is_trained_saved_loaded_and_predicts(config, tmp_path, parts, capsys):
    path = config({"trunk": "unet", "trunk_options": {"widths": [4, 6]}})
    forget(parts)
    assert commands.main(["fit", "-c", path]) == 2
    assert "trunk: expected vit, found 'unet'" in capsys.readouterr().err
    assert commands.main(["fit", "--import", "parts", "-c", path]) == 0
    parts = sys.modules["parts"]
    bundle = orbitlite.load(tmp_path / "run" / "bundle")
    assert isinstance(bundle.model.trunk, parts.UNet)
    assert bundle.model.config.trunk_options == {"widths": [4, 6]}
    assert bundle.model.get_parameter("trunk.down.0.weight").shape == (4, 2, 3, 3)
    save_bundle(tmp_path / "again", bundle.model, metadata=bundle.metadata)
    fields = [coarse_rain().orbitlite.predict(one) for one in (bundle, tmp_path / "again")]
    xr.testing.assert_identical(fields[0][RAIN], fields[1][RAIN])
    assert fields[0][RAIN].shape == (3, 10, 12)
    assert np.isfinite(fields[0][RAIN]).all()
    torch.manual_seed(0)
    moved = orbitlite.load(tmp_path / "again")
    for weight in moved.model.trunk.parameters():
        torch.nn.init.normal_(weight)
    assert not np.allclose(coarse_rain().orbitlite.predict(moved)[RAIN], fields[0][RAIN])


def test_without_its_module_a_bundle_is_refused(parts, tmp_path, monkeypatch, capsys):
    save_bundle(tmp_path / "bundle", Downscaler(small(trunk="unet")), metadata={"training": {}})
    monkeypatch.delitem(parts.TRUNKS._parts, "unet")
    with pytest.raises(InputError, match=r"trunk: expected vit, found 'unet'.*--import MODULE"):
        load_bundle(tmp_path / "bundle")
    assert commands.main(["info", str(tmp_path / "bundle")]) == 0
    assert "unet" in capsys.readouterr().out


@pytest.mark.slow
def test_no_config_imports_code(config, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    sys.modules.pop("parts", None)
    assert commands.main(["fit", "-c", config({"trunk": "parts.UNet"})]) == 2
    options = {"class_path": "parts.UNet", "init_args": {}}
    assert commands.main(["fit", "-c", config({"trunk": options})]) == 2
    assert commands.main(["fit", "-c", config({"trunk_options": options})]) == 2
    assert "parts" not in sys.modules


def test_imported_modules(capsys, parts):
    assert commands.main(["--import", "nowhere.at_all", "info", "x"]) == 2
    assert "there is no module nowhere.at_all; install its package" in capsys.readouterr().err
    assert commands.main(["info", "x", "--import=../x"]) == 2
    assert "expected the name of a module, found '../x'" in capsys.readouterr().err
    assert commands.main(["info", "x", "--import"]) == 2
    assert "found ''" in capsys.readouterr().err
    sys.modules.pop("parts")
    for registry in (parts.TRUNKS, parts.DECODERS, parts.SALIENCIES, parts.LOSSES, parts.SCORES,
                     parts.BASELINES, parts.READERS):  # fmt: skip
        for name in (
            "unet",
            "two_draws",
            "northern",
            "spread",
            "largest_error",
            "blended",
            "table",
        ):
            registry._parts.pop(name, None)
    assert commands.main(["info", "nowhere", "--import", "parts"]) == 2
    assert "unet" in parts.TRUNKS


@pytest.mark.slow
def test_two_members_pass_loss_and_validation(config, tmp_path, parts):
    path = config({"decoder": "two_draws", "decoder_options": {"spread": 0.3}}, loss="spread")
    assert commands.main(["fit", "-c", path]) == 0
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")["state_dict"]
    spread = float(state["network.decoder.spread"])
    assert spread > 0
    assert spread != pytest.approx(0.3)  # the loss has looked at both members
    model = load_bundle(tmp_path / "run" / "bundle").model
    assert model.members == 2
    assert commands.main(["validate", "-c", path, "--ckpt_path", "last"]) == 0
    fine = coarse_rain().orbitlite.predict(model)
    assert np.isfinite(fine[RAIN]).all()


def test_a_saliency_and_a_foreign_trunk_without_budgets(parts):
    model = Downscaler(small(saliency="northern", tokens=0.5)).eval()
    batch = Batch(
        coarse=torch.rand(1, 1, 16, 16), lat_edges=torch.linspace(60, 44, 17)[None],
        lon_edges=torch.linspace(0, 16, 17)[None],
    )  # fmt: skip
    leaves, _ = model.leaves(batch, 0.5)
    size = leaves.level.gather(1, leaves.index).view(8, 8).float()
    assert size[:2].mean() < size[-2:].mean()
    with pytest.raises(InputError, match="tokens: the trunk unet takes no leaf budget"):
        Downscaler(small(trunk="unet", tokens=0.5))
    other = Downscaler(small(trunk="unet"))
    with pytest.raises(InputError, match="tokens: the trunk unet takes no leaf budget"):
        other(batch, 0.5)
    with pytest.raises(InputError, match="trunk_options: unet takes widths, found 'width'"):
        Downscaler(small(trunk="unet", trunk_options={"width": [1, 2]}))


def test_what_is_not_known_of_a_foreign_trunk(config, parts, capsys, monkeypatch):
    unet = small(trunk="unet")
    check_network(unet, Layout(data=2))
    with pytest.raises(SharedError, match=r"only the trunk vit .* found trunk unet; state 1 for"):
        check_network(unet, Layout(data=1, tensor=2))
    with pytest.raises(
        SharedError, match=r"parallel.activation_checkpointing full .* found trunk unet"
    ):
        parallelize(Downscaler(unet), Ranks(), ParallelConfig(activation_checkpointing="full"))
    assert commands.main(["plan", "--gpus", "1", "-c", config({"trunk": "unet"})]) == 2
    assert "the trunk UNet does not state its costs" in capsys.readouterr().err


def test_a_foreign_trunk_of_the_wrong_shape(parts, monkeypatch):
    model = Downscaler(small(trunk="unet"))
    monkeypatch.setattr(model.trunk, "forward", lambda seen: torch.zeros(1, 3, 3, 8))
    batch = Batch(
        coarse=torch.rand(1, 1, 6, 6), lat_edges=torch.linspace(6, 0, 7)[None],
        lon_edges=torch.linspace(0, 6, 7)[None],
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"of shape \(1, 1, 3, 3, 8\), found \(1, 3, 3, 8\)"):
        model(batch)


def test_a_score_and_a_baseline(parts):
    truth = fine_rain(3)
    found = orbitlite.evaluate(truth + 2, truth, coarse=coarse_rain()).scores[RAIN]
    assert found["orbitlite"]["largest_error"] == pytest.approx(2, rel=1e-5)
    near, smooth, both = (found[name] for name in ("nearest", "bilinear", "blended"))
    assert both["mae"] <= (near["mae"] + smooth["mae"]) / 2
    assert both["bias"] == pytest.approx((near["bias"] + smooth["bias"]) / 2, abs=1e-6)


def test_a_score_states_all_that_it_computes(parts, monkeypatch):
    monkeypatch.setattr(parts.LargestError, "entries", {})
    with pytest.raises(ValueError, match="LargestError computes largest_error: no entry of it"):
        orbitlite.evaluate(fine_rain(3), fine_rain(3))


def test_a_reader(parts, tmp_path):
    rows = [f"{day} {lat} {lon} {day_number + lat / 10 + lon / 100}"
            for day_number, day in enumerate(("2001-01-01", "2001-01-02"))
            for lat in (1.0, 2.0) for lon in (5.0, 6.0)]  # fmt: skip
    (tmp_path / "rain.table").write_text("\n".join(["day lat lon mm", *rows]))
    found = open_source(tmp_path / "rain.table", [RAIN], accumulation_period="24h")[RAIN]
    assert float(found.sel(time="2001-01-02", lat=2, lon=5).values.item()) == pytest.approx(1.25)
    (tmp_path / "rain.table").write_text("")
    with pytest.raises(InputError, match="Could not open"):
        open_source(tmp_path / "rain.table", [RAIN])
