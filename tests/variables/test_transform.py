from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.batch import Batch
from orbitlite.data.statistics import statistics
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.record import config_of
from orbitlite.variables import VARIABLES, log1p_channels
from orbitlite.verification.quantity import Quantity

CHANNELS = [f"{name}_850" if row.on_levels else name for name, row in VARIABLES.items()]


@pytest.mark.parametrize("channel", CHANNELS)
def test_all_rooms_transform_a_row_alike(channel):
    """Statistics, network, loss and scores: what is written as log1p of two is log1p in all."""
    skewed = VARIABLES[channel.removesuffix("_850")].transform == "log1p"
    mean = np.log1p(2.0) if skewed else 2.0
    grid = LatLonGrid.from_edges(np.linspace(4, 0, 5), np.linspace(0, 4, 5))
    ds = xr.Dataset({channel: (("lat", "lon"), np.full(grid.shape, 2.0))}, grid.coordinates())
    assert statistics(ds, [channel], grid, progress=False).mean[0] == pytest.approx(mean)

    rain = "total_precipitation"
    targets = [rain] if VARIABLES[channel.removesuffix("_850")].classes else [channel]
    config = DownscalerConfig(
        inputs=[channel], targets=targets, statics=[], embed_dim=4, depth=0, num_heads=1
    )
    network = Downscaler(config)
    seen = network._normalise(torch.full((1, 1, 2, 2), 2.0))
    assert seen.mean().item() == pytest.approx(mean)
    if targets == [channel]:
        assert network.log_target.tolist() == [skewed]
    assert Quantity.of(channel).log1p == skewed
    # events are those of precipitation, whatever else is an amount of water
    words = ("total_precipitation", "convective_precipitation", "large_scale_precipitation")
    assert Quantity.of(channel).precipitation == channel.startswith(words)


def test_a_network_keeps_above_zero_what_has_no_negative_values():
    """By the variable, whether it is taken as log(1 + x) or not."""
    names = ["2m_temperature", "10m_wind_speed", "snowfall", "10m_u_component_of_wind"]
    settings = {"inputs": names, "targets": names, "statics": [], "embed_dim": 4,
                "depth": 0, "num_heads": 1}  # fmt: skip
    fine = torch.full((1, 4, 2, 2), -3.0)
    batch = Batch(coarse=fine)

    def kept(**changes):
        network = Downscaler(DownscalerConfig(**settings, **changes))
        return (network.constrain(batch, fine, torch.tensor(1.0))[0, :, 0, 0] >= 0).tolist()

    assert kept() == [False, True, True, False]
    assert kept(log1p=["10m_wind_speed"]) == [False, True, True, False]
    assert kept(nonnegative=["snowfall"]) == [False, False, True, False]
    assert kept(nonnegative=[]) == kept(constraint="none") == [False] * 4
    with pytest.raises(InputError, match="nonnegative: 'snowfal' is no target; did you mean"):
        DownscalerConfig(**settings, nonnegative=["snowfal"])


def test_the_record_of_version_0_1_is_refused():
    names = ["10m_wind_speed", "snowfall"]
    config = DownscalerConfig(inputs=names, targets=names, statics=[])
    assert config.nonnegative == ("10m_wind_speed", "snowfall")
    record = config.to_dict()
    assert DownscalerConfig.from_record(record) == config
    del record["decoder_features"]
    for read in (DownscalerConfig.from_record, lambda record: config_of("a", {"config": record})):
        with pytest.raises(InputError, match=r"of orbitlite 0\.1, which had another decoder"):
            read(record)


def test_snowfall_is_rain_that_is_not_called_so():
    channels = ["2m_temperature", "snowfall", "total_precipitation_24hr", "temperature_850"]
    assert log1p_channels(channels) == ("snowfall", "total_precipitation_24hr")


def test_what_is_chosen_counts_in_the_order_of_the_channels():
    channels = ["total_precipitation", "specific_humidity_500", "10m_wind_speed"]
    chosen = ["10m_wind_speed", "specific_humidity_500"]
    assert log1p_channels(channels, chosen) == ("specific_humidity_500", "10m_wind_speed")
    assert log1p_channels(channels, []) == ()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("10m_u_component_of_wind", "can be negative"),
        ("soil_type", "codes of classes"),
        ("snowfal", "did you mean 'snowfall'"),
        ("geopotential_500", "neither an input"),
    ],
)
def test_what_cannot_be_taken_so_is_refused(chosen, words):
    inputs = ["snowfall", "temperature_850", "10m_u_component_of_wind", "soil_type"]
    with pytest.raises(InputError, match=words):
        DownscalerConfig(inputs=inputs, targets=["snowfall"], log1p=["snowfall", chosen])


def test_a_config_of_before_keeps_what_it_says():
    """Bundles and checkpoints hold the list; snowfall was not in it."""
    values = {"inputs": ["snowfall", "total_precipitation"], "log1p": ["total_precipitation"]}
    assert DownscalerConfig.from_dict(values).log1p == ("total_precipitation",)


def test_channels_that_are_in_no_table_are_taken_as_they_are():
    config = DownscalerConfig(inputs=["channel1", "snowfall"], targets=["channel1"])
    assert config.log1p == ("snowfall",)
