"""log(1 + x) of the same channels in the statistics as in the network, whoever chooses them."""

import lightning
import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import orbitlite.cli as commands
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.bundle import load_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.notice import OrbitliteWarning
from orbitlite.training.losses import Scale
from orbitlite.training.module import DownscalingModule

RAIN, SNOW, WIND, LAKE = "total_precipitation_24hr", "snowfall", "10m_wind_speed", "lake_depth"
INPUTS, TARGETS, STATICS = [RAIN, SNOW, WIND, LAKE], [RAIN, WIND], [LAKE]
TRAIN = ["2001-01-01", "2001-01-20"]
NETWORK = {
    "inputs": INPUTS, "targets": TARGETS, "statics": STATICS, "factor": 2, "patch_size": 2,
    "embed_dim": 8, "depth": 1, "num_heads": 2,
}  # fmt: skip
CHOICES = [None, [RAIN, SNOW, WIND], [SNOW], [], [LAKE, WIND]]


@pytest.fixture(scope="module")
def fine():
    random = np.random.default_rng(7)
    dims = ("time", "lat", "lon")
    fields = {
        name: (dims, random.gamma(0.5, size, (30, 8, 12)).astype("f4"), attrs)
        for name, size, attrs in (
            (RAIN, 8.0, {"units": "mm"}),
            (SNOW, 2.0, {"units": "mm", "cell_methods": "time: sum (comment: over 1 hour)"}),
            (WIND, 6.0, {"units": "m s-1"}),
        )
    }
    fields[LAKE] = (dims[1:], random.gamma(0.5, 30, (8, 12)).astype("f4"), {"units": "m"})
    return xr.Dataset(
        fields,
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D"),
            "lat": ("lat", np.linspace(48.75, 45.25, 8), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(5.25, 10.75, 12), {"units": "degrees_east"}),
        },
    )


def fitted(fine, chosen):
    """Return a network after one step, and its data."""
    config = DownscalerConfig(**NETWORK, log1p=chosen)
    data = PairDataModule(
        fine, inputs=INPUTS, targets=TARGETS, static_names=STATICS, factor=2, log1p=chosen,
        train=TRAIN, batch_size=20,
    )  # fmt: skip
    model = DownscalingModule(config)
    trainer = lightning.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    return model.network, data


def moments(values, areas):
    """Area-weighted mean and standard deviation of (B, C, H, W), each of shape (C,)."""
    weights = torch.from_numpy(areas).expand(values.shape[0], 1, *values.shape[-2:])
    weights = weights / weights.sum()
    mean = (values * weights).sum(dim=(0, 2, 3))
    return mean, ((values - mean[:, None, None]).square() * weights).sum(dim=(0, 2, 3)).sqrt()


@pytest.mark.parametrize("chosen", CHOICES)
def test_what_the_network_sees_has_mean_zero_and_standard_deviation_one(fine, chosen):
    network, data = fitted(fine, chosen)
    expected = [RAIN, SNOW] if chosen is None else chosen
    assert set(network.config.log1p) == set(data.log1p) == set(expected)
    batch = next(iter(data.train_dataloader()))
    scale = Scale(network.log_target, network.target_mean, network.target_std, network.target_scale)
    statics = network._seen(batch, None).statics.values
    for values, grid in (
        (network._normalise(batch.coarse), data.pairs.grid),
        (scale.apply(batch.fine, "transformed"), data.pairs.fine_grid),
        (statics, data.pairs.fine_grid),
    ):
        mean, spread = moments(values.double(), grid.weights)
        np.testing.assert_allclose(mean, 0, atol=1e-5)
        np.testing.assert_allclose(spread, 1, atol=1e-5)


def test_data_that_were_told_otherwise_are_refused(fine):
    config = DownscalerConfig(**NETWORK, log1p=[WIND])
    data = PairDataModule(
        fine, inputs=INPUTS, targets=TARGETS, static_names=STATICS, factor=2, train=TRAIN
    )
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", logger=False)
    with pytest.raises(
        InputError, match=r"network takes log\(1 \+ x\) of 10m_wind_speed, the data"
    ):
        trainer.fit(DownscalingModule(config), data)


@pytest.mark.parametrize("chosen", CHOICES[:3])
def test_the_command_hands_the_choice_to_the_data(fine, chosen, tmp_path):
    fine.to_netcdf(tmp_path / "fine.nc")
    content = {
        "trainer": {
            "max_epochs": 1, "default_root_dir": str(tmp_path / "run"), "accelerator": "cpu",
            "enable_progress_bar": False, "enable_model_summary": False,
        },
        "model": {"network": NETWORK},
        "data": {
            "fine": str(tmp_path / "fine.nc"), "train": TRAIN,
            "validate": ["2001-01-21", "2001-01-25"], "batch_size": 20,
        },
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    words = [] if chosen is None else ["--model.network.log1p", f"[{', '.join(chosen)}]"]
    assert commands.main(["fit", "-c", str(path), *words]) == 0
    model = load_bundle(tmp_path / "run" / "bundle").model
    skewed = {RAIN, SNOW} if chosen is None else {*chosen}
    assert set(model.config.log1p) == skewed
    weights = np.cos(np.deg2rad(fine["lat"].values))[:, None] * np.ones(12)
    for number, name in enumerate(TARGETS):
        values = fine[name].values[:20].astype(np.float64)
        values = np.log1p(values) if name in skewed else values
        mean = np.average(values, weights=np.broadcast_to(weights, values.shape))
        assert model.target_mean[number].item() == pytest.approx(mean, rel=1e-5)


def test_the_command_says_what_cannot_be_taken_so(fine, tmp_path, capsys):
    content = {
        "model": {"network": {**NETWORK, "inputs": [RAIN, "u_component_of_wind_850"]}},
        "data": {},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    words = ["fit", "-c", str(path), "--model.network.log1p", "[u_component_of_wind_850]"]
    assert commands.main(words) == 2
    assert "log1p: u_component_of_wind_850 can be negative" in capsys.readouterr().err


def test_a_loss_that_weighs_nothing_says_so():
    with pytest.warns(OrbitliteWarning, match="intensity_weighted weighs .* there is none"):
        DownscalingModule(DownscalerConfig(**NETWORK, log1p=[SNOW]), loss="intensity_weighted")
