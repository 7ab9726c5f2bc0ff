"""Weighted quantiles against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orbitlite.verification.quantiles import Quantiles

LEVELS = [0.01, 0.3, 0.6827, 0.9545, 0.99, 1.0]


def sketch(values, weights, pieces=1):
    quantiles = Quantiles()
    for part in np.array_split(np.arange(len(values)), pieces):
        quantiles.update(torch.from_numpy(values[part]), torch.from_numpy(weights[part]))
    return quantiles


@settings(max_examples=25, deadline=None)
@given(
    values=hnp.arrays(
        np.float32, st.integers(1, 40), elements=st.sampled_from(np.float32([-3.5, 0, 0.25, 1, 80]))
    ),
    seed=st.integers(0, 99),
)
def test_few_distinct_values_are_exact(values, seed):
    weights = np.random.default_rng(seed).integers(1, 9, values.size).astype(float)
    wanted = np.quantile(values, LEVELS, weights=weights, method="inverted_cdf")
    assert sketch(values, weights, pieces=3).at(LEVELS) == pytest.approx(wanted)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e5])
def test_many_values_agree_within_a_bin(scale):
    generator = np.random.default_rng(1)
    values = (generator.gamma(0.3, 8.0, 200_000) * scale).astype(np.float32)
    weights = generator.random(values.size)
    wanted = np.quantile(values, LEVELS, weights=weights, method="inverted_cdf")
    assert sketch(values, weights, pieces=4).at(LEVELS) == pytest.approx(wanted, rel=1.3e-4)


def test_negative_values_keep_their_order():
    values = np.float32([-30.0, -1.0, -0.001, 0.0, 5.0])
    levels = [0.2, 0.4, 0.6, 0.8, 1.0]
    assert sketch(values, np.ones(5)).at(levels) == pytest.approx(values)


def test_weight_moves_the_quantile_and_weight_zero_hides_a_value():
    values = np.float32([1.0, 2.0, 900.0])
    assert sketch(values, np.array([1.0, 1.0, 0.0])).at([0.5, 1.0]).tolist() == [1.0, 2.0]
    assert sketch(values, np.array([1.0, 8.0, 0.0])).at([0.5]).tolist() == [2.0]


def test_ties_are_not_above_their_own_quantile():
    values = np.full(1000, np.float32(0.1))
    threshold = sketch(values, np.full(1000, 1 / 3)).at([0.9])[0]
    assert not (torch.from_numpy(values).double() > threshold).any()


def test_nothing_added_is_nan():
    assert np.isnan(Quantiles().at([0.5])).all()
