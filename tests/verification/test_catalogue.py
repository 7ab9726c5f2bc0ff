"""Which value of a score is the best."""

import math

import pytest

from orbitlite.verification.catalogue import best_of, catalogue


@pytest.mark.parametrize(
    ("score", "values", "best"),
    [
        ("bias", {"a": -0.2, "b": 0.1, "c": -3.0}, {"b"}),
        ("rmse", {"a": 2.0, "b": 1.0}, {"b"}),
        ("r2", {"a": -2.0, "b": 0.3}, {"b"}),
        ("psnr", {"a": math.inf, "b": 30.0}, {"a"}),
        ("p99_ratio", {"a": 0.5, "b": 1.9, "c": 0.0}, {"b"}),
        ("ssim", {"a": math.nan, "b": 0.1}, {"b"}),
        ("csi_1mm", {"a": 0.5, "b": 0.5, "c": 0.4}, {"a", "b"}),
        ("mae", {"a": math.nan}, set()),
        ("cells", {"a": 3.0, "b": 5.0}, set()),
        ("wet_day_frequency", {"a": 0.1, "b": 0.2}, set()),
    ],
)
def test_best_value(score, values, best):
    assert best_of(score, values) == best


def test_every_score_of_the_task_is_there():
    assert {f"csi_{amount}mm" for amount in (1, 10, 20)} <= set(catalogue())
    assert {f"rmse_above_p{level}" for level in (68.27, 95.45, 99.73)} <= set(catalogue())
    assert {f"p{level}_ratio" for level in (95, 99, 99.9)} <= set(catalogue())
    assert {f"fss_10mm_{width}cells" for width in (3, 5, 9)} <= set(catalogue())
