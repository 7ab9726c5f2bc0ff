"""A coarse input whose cells are not made of the fine ones."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import orbitlite
from orbitlite.data.regrid import regrid
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.notice import OrbitliteWarning
from orbitlite.verification.blocks import blocks_for
from orbitlite.verification.evaluation import evaluate

RAIN = "total_precipitation_24hr"
FINE = LatLonGrid.from_edges(60 - 0.5 * np.arange(25), 5 + 0.5 * np.arange(33))
BASELINES = {"nearest", "bilinear", "bicubic"}


def fields(grid, days=6, seed=0, start="2001-01-01"):
    """Smooth rain, the same function of place on every grid."""
    amounts = np.random.default_rng(seed).gamma(2.0, 4.0, days)[:, None, None]
    lat, lon = np.radians(grid.lat)[:, None], np.radians(grid.lon)
    values = amounts * (2 + np.cos(20 * lat) * np.sin(17 * lon))
    times = pd.date_range(start, periods=days)
    data = (("time", "lat", "lon"), values.astype("f4"), {"units": "mm"})
    return xr.Dataset({RAIN: data}, {"time": times, **grid.coordinates()})


def shifted(step=2.0, rows=8, columns=11):
    """Cells of no whole number of fine cells, and elsewhere."""
    return LatLonGrid.from_edges(
        61.3 - step * np.arange(rows + 1), 3.3 + step * np.arange(columns + 1)
    )


def scores(coarse, training=None, method="linear", fine=FINE):
    truth = fields(fine)
    prediction = truth + 1
    return evaluate(prediction, truth, coarse, training, regrid=method, progress=False).scores[RAIN]


@pytest.mark.parametrize("method", ["linear", "conservative"])
@pytest.mark.parametrize("step", [2.0, 1.9, 2.2])
def test_scores_are_those_of_the_interpolated_input(method, step):
    coarse = fields(shifted(step))
    expected = scores(regrid(coarse, FINE.coarsen(4), method), method=None)
    found = scores(coarse, method=method)
    assert set(found) == {"orbitlite"} | BASELINES
    for system, values in expected.items():
        assert found[system] == pytest.approx(values, nan_ok=True)
    with pytest.raises(InputError, match="set regrid to linear or conservative"):
        scores(coarse, method=None)


def test_an_input_that_nests_is_left_as_it_is():
    coarse = fields(FINE.coarsen(2))
    assert blocks_for(FINE.coarsen(2), FINE, None) is None
    assert scores(coarse, method="conservative") == scores(coarse, method=None)


@pytest.mark.parametrize(
    ("step", "factor"), [(0.5, 1), (0.7, 1), (0.8, 2), (1.9, 4), (2.0, 4), (2.4, 5), (3.1, 6)]
)
def test_the_factor_is_the_nearest_whole_ratio_of_the_spacings(step, factor):
    found = blocks_for(shifted(step, 20, 20), FINE, None)
    assert found.grid.factor_to(found.fine_grid) == factor


def test_the_factor_of_the_training_comes_first():
    training = fields(FINE.coarsen(2)), fields(FINE)
    found = blocks_for(shifted(), FINE, training)
    assert found.grid.factor_to(found.fine_grid) == 2
    apart = fields(shifted()), fields(FINE)
    found = blocks_for(shifted(), FINE, apart)
    assert found.grid.factor_to(found.fine_grid) == 4


@pytest.mark.parametrize("nests", [True, False])
def test_quantile_mapping_of_interpolated_fields(nests):
    """The training input is brought onto the same blocks."""
    days = {"days": 40, "seed": 3, "start": "2000-01-01"}
    past = fields(FINE.coarsen(4) if nests else shifted(), **days), fields(FINE, **days)
    found = scores(fields(shifted()), past)
    assert set(found) == {"orbitlite", "quantile_mapped"} | BASELINES
    same = regrid(past[0], FINE.coarsen(4), "linear"), past[1]
    expected = scores(regrid(fields(shifted()), FINE.coarsen(4), "linear"), same, None)
    assert found["quantile_mapped"]["rmse"] == pytest.approx(
        expected["quantile_mapped"]["rmse"], rel=1e-4
    )


def test_fine_cells_without_a_whole_block_are_not_scored():
    fine = LatLonGrid.from_edges(60 - 0.5 * np.arange(27), 5 + 0.5 * np.arange(34))
    with pytest.warns(OrbitliteWarning, match="2 fine row.* no whole block of 4 and were dropped"):
        found = scores(fields(shifted()), fine=fine)
    assert found == scores(fields(shifted()))


def test_what_the_coarse_input_does_not_cover_is_said_and_not_scored():
    part = shifted(2.0, 4, 11)
    with pytest.warns(OrbitliteWarning, match="covers 24 of the 48 coarse cells"):
        found = scores(fields(part))
    assert np.isfinite(found["bilinear"]["rmse"])
    far = LatLonGrid.from_edges(20.0 - np.arange(9), 3.3 + np.arange(12))
    with pytest.raises(InputError, match="no cell in common"):
        scores(fields(far))


def test_an_option_without_use_is_said():
    truth = fields(FINE)
    with pytest.warns(OrbitliteWarning, match="regrid concerns the coarse input"):
        evaluate(truth, truth, regrid="linear", progress=False)


def test_uneven_latitudes_are_let_through():
    lat, lon = [61.0, 59.2, 57.0, 54.7, 52.1, 49.9, 47.6], np.arange(4.0, 24, 2.5)
    uneven = xr.Dataset(coords={"lat": lat, "lon": lon})
    coarse = fields(LatLonGrid.from_dataset(uneven)).drop_vars(["lat_bnds", "lon_bnds"])
    truth = fields(FINE)
    words = {"coarse": coarse, "progress": False}
    with pytest.raises(InputError, match=r"irregular.*set regrid to linear or conservative"):
        orbitlite.evaluate(truth, truth, **words)
    found = truth.orbitlite.evaluate(truth, regrid="linear", **words)
    assert set(found.scores[RAIN]) == {"orbitlite"} | BASELINES
    assert 0 < found.scores[RAIN]["bilinear"]["rmse"] < 10
