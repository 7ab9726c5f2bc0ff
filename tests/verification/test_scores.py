"""Scores of single cells against hand-worked values and the `scores` package."""

import numpy as np
import pytest
import scores as oracle
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.verification.scores import Errors, Events, TailErrors

TRUTH = torch.tensor([[[0.0, 2.0], [4.0, 10.0]]], dtype=torch.float64)
PREDICTION = torch.tensor([[[1.0, 2.0], [1.0, 14.0]]], dtype=torch.float64)
WEIGHTS = torch.tensor([[[0.4, 0.3], [0.2, 0.1]]], dtype=torch.float64)


def rain(seed, shape=(12, 9, 14)):
    """Skewed, mostly dry fields whose prediction is correlated, biased and smoother."""
    generator = np.random.default_rng(seed)
    truth = np.maximum(generator.gamma(0.4, 9.0, shape) - 1.0, 0.0)
    prediction = 0.6 * truth + 0.7 * np.roll(truth, 1, axis=-1) * generator.random(shape) + 0.2
    lat = np.deg2rad(np.linspace(70, 20, shape[1]))
    weights = np.repeat(np.cos(lat)[:, None], shape[2], axis=1)
    weights = np.broadcast_to(weights / weights.sum(), shape) * (generator.random(shape) > 0.2)
    return tuple(torch.from_numpy(np.array(x)) for x in (prediction, truth, weights))


def run(accumulator, prediction, truth, weights, chunk=5):
    for start in range(0, len(truth), chunk):
        part = slice(start, start + chunk)
        accumulator.update(prediction[part], truth[part], weights[part])
    return accumulator.compute()


def arrays(*tensors):
    return [xr.DataArray(x.numpy(), dims=("time", "lat", "lon")) for x in tensors]


def test_errors_by_hand():
    found = run(Errors(center=3.0), PREDICTION, TRUTH, WEIGHTS)
    # errors 1, 0, -3, 4 with weights .4, .3, .2, .1
    assert found["bias"] == pytest.approx(0.4 - 0.6 + 0.4)
    assert found["mae"] == pytest.approx(0.4 + 0.6 + 0.4)
    assert found["rmse"] == pytest.approx(np.sqrt(0.4 + 1.8 + 1.6))
    # truth: mean 2.4, mean square 14.4
    assert found["r2"] == pytest.approx(1 - 3.8 / (14.4 - 2.4**2))
    # prediction: mean 2.6, mean square 21.4; mean product 16
    spread = np.sqrt((14.4 - 2.4**2) * (21.4 - 2.6**2))
    assert found["pearson"] == pytest.approx((16 - 2.4 * 2.6) / spread)


@pytest.mark.parametrize("seed", [0, 1])
def test_errors_agree_with_the_scores_package(seed):
    prediction, truth, weights = rain(seed)
    found = run(Errors(center=1.0), prediction, truth, weights)
    p, t, w = arrays(prediction, truth, weights)
    assert found["rmse"] == pytest.approx(float(oracle.continuous.rmse(p, t, weights=w)))
    assert found["mae"] == pytest.approx(float(oracle.continuous.mae(p, t, weights=w)))
    assert found["bias"] == pytest.approx(float(oracle.continuous.additive_bias(p, t, weights=w)))
    valid = weights.numpy() > 0
    repeated = np.round(weights.numpy()[valid] * 1e5).astype(int)
    p, t = (np.repeat(x.numpy()[valid], repeated) for x in (prediction, truth))
    assert found["pearson"] == pytest.approx(np.corrcoef(p, t)[0, 1], abs=1e-3)
    nse = oracle.continuous.nse(xr.DataArray(p, dims="x"), xr.DataArray(t, dims="x"))
    assert found["r2"] == pytest.approx(float(nse), abs=1e-3)


def test_rmse_is_the_root_of_the_mean_over_days_not_the_mean_of_roots():
    truth = torch.zeros(2, 1, 1, dtype=torch.float64)
    prediction = torch.tensor([[[0.0]], [[2.0]]], dtype=torch.float64)
    found = run(Errors(), prediction, truth, torch.ones_like(truth), chunk=1)
    assert found["rmse"] == pytest.approx(np.sqrt(2))


def test_swapping_shifting_and_scaling_change_the_errors():
    prediction, truth, weights = rain(3)
    right = run(Errors(), prediction, truth, weights)
    swapped = run(Errors(), truth, prediction, weights)
    assert swapped["bias"] == pytest.approx(-right["bias"])
    assert abs(swapped["r2"] - right["r2"]) > 0.05
    shifted = run(Errors(), prediction.roll(1, dims=-1), truth, weights)
    assert shifted["rmse"] > 1.2 * right["rmse"]
    assert shifted["pearson"] < right["pearson"] - 0.1
    scaled = run(Errors(), 2 * prediction, truth, weights)
    assert scaled["pearson"] == pytest.approx(right["pearson"])
    assert scaled["rmse"] > 1.2 * right["rmse"]


def test_weight_zero_hides_a_value():
    prediction, truth, weights = rain(4)
    spoiled = torch.where(weights > 0, prediction, 1e6)
    assert run(Errors(), spoiled, truth, weights) == run(Errors(), prediction, truth, weights)


@settings(deadline=None, max_examples=40)
@given(chunk=st.integers(1, 12), factor=st.floats(0.01, 100), center=st.floats(-50, 50))
def test_errors_do_not_depend_on_chunks_weight_sum_or_center(chunk, factor, center):
    prediction, truth, weights = rain(5)
    whole = run(Errors(), prediction, truth, weights, chunk=12)
    found = run(Errors(center), prediction, truth, weights * factor, chunk)
    assert found == pytest.approx(whole, rel=1e-9)


def test_large_values_keep_their_digits():
    prediction, truth, weights = rain(6)
    small = run(Errors(), prediction, truth, weights)
    large = run(Errors(center=1e5), prediction + 1e5, truth + 1e5, weights)
    assert large == pytest.approx(small, rel=1e-6)


def test_constant_fields_have_no_correlation():
    truth = torch.full((1, 2, 2), 0.1, dtype=torch.float64)
    found = run(Errors(), truth + 1, truth, WEIGHTS)
    assert np.isnan(found["r2"])
    assert np.isnan(found["pearson"])
    assert found["bias"] == pytest.approx(1.0)


def test_nothing_scored_is_nan():
    found = run(Errors(), PREDICTION, TRUTH, torch.zeros_like(WEIGHTS))
    assert all(np.isnan(value) for value in found.values())


def test_tail_errors_by_hand():
    found = run(TailErrors((2.0, 4.0, 99.0), ("a", "b", "c")), PREDICTION, TRUTH, WEIGHTS)
    assert found["a"] == pytest.approx(np.sqrt((0.2 * 9 + 0.1 * 16) / 0.3))
    assert found["b"] == pytest.approx(4.0)
    assert np.isnan(found["c"])


def test_tail_errors_follow_the_truth_and_agree_with_the_scores_package():
    prediction, truth, weights = rain(7)
    found = run(TailErrors((5.0,), ("tail",)), prediction, truth, weights)["tail"]
    p, t, w = arrays(prediction, truth, weights)
    masked = w.where(t > 5.0, 0.0)
    assert found == pytest.approx(float(oracle.continuous.rmse(p, t, weights=masked)))
    swapped = run(TailErrors((5.0,), ("tail",)), truth, prediction, weights)["tail"]
    assert abs(swapped - found) > 0.1


def test_events_by_hand():
    found = run(Events((2.0, 10.0), wet=1.0), PREDICTION, TRUTH, WEIGHTS)
    # >= 2: truth .3 + .2 + .1, prediction .3 + .1, both .4
    assert found["csi_2mm"] == pytest.approx(0.4 / 0.6)
    assert found["csi_10mm"] == pytest.approx(1.0)
    assert found["wet_day_frequency"] == pytest.approx(1.0)
    assert found["wet_day_frequency_ratio"] == pytest.approx(1.0 / 0.6)


def test_events_agree_with_the_scores_package():
    prediction, truth, weights = rain(8)
    weights = torch.ones_like(weights)
    found = run(Events((1.0, 10.0), wet=1.0), prediction, truth, weights)
    p, t, _ = arrays(prediction, truth, weights)
    for threshold in (1.0, 10.0):
        operator = oracle.categorical.ThresholdEventOperator(default_event_threshold=threshold)
        table = operator.make_contingency_manager(p, t)
        csi = float(table.critical_success_index())
        assert found[f"csi_{threshold:g}mm"] == pytest.approx(csi)
    assert found["wet_day_frequency_ratio"] == pytest.approx(float((p >= 1).sum() / (t >= 1).sum()))


def test_swapping_inverts_the_wet_day_ratio_and_keeps_csi():
    prediction, truth, weights = rain(9)
    right = run(Events((10.0,), 1.0), prediction, truth, weights)
    swapped = run(Events((10.0,), 1.0), truth, prediction, weights)
    ratio = right["wet_day_frequency_ratio"]
    assert ratio != pytest.approx(1.0, abs=0.05)
    assert swapped["wet_day_frequency_ratio"] == pytest.approx(1 / ratio)
    assert swapped["csi_10mm"] == pytest.approx(right["csi_10mm"])
    shifted = run(Events((10.0,), 1.0), prediction.roll(2, dims=-1), truth, weights)
    assert shifted["csi_10mm"] < 0.6 * right["csi_10mm"]


def test_an_event_that_never_happens_has_no_csi():
    found = run(Events((50.0,), 40.0), PREDICTION, TRUTH, WEIGHTS)
    assert np.isnan(found["csi_50mm"])
    assert np.isnan(found["wet_day_frequency_ratio"])
