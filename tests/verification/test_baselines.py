"""Baselines against NumPy, and the documented treatment of dry days and unseen values."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from orbitlite.verification import baselines
from orbitlite.verification.baselines import QuantileMap, fit_quantile_map, interpolate


def series(seed, shape, dry=0.4):
    generator = np.random.default_rng(seed)
    values = generator.gamma(0.8, 6.0, shape) * (generator.random(shape) > dry)
    return torch.from_numpy(values.astype(np.float32))


def fit(coarse, fine, factor=2, wraps=False, nonnegative=True):
    shape = tuple(coarse.shape)
    return fit_quantile_map(
        lambda rows: coarse[:, rows], lambda rows: fine[:, rows], shape, factor, wraps, nonnegative
    )


def one_cell(source, target, nonnegative=True):
    pair = [torch.tensor(x, dtype=torch.float32)[None, None] for x in (source, target)]
    return QuantileMap(*pair, torch.full((1, 1), len(source)), nonnegative)


def apply(mapping, values):
    return mapping.apply(torch.tensor(values)[:, None, None]).flatten().tolist()


def test_bilinear_agrees_with_scipy_inside():
    coarse = series(0, (2, 5, 6))
    fine = interpolate(coarse, 4, False, "bilinear")
    centres = [(np.arange(n) + 0.5) for n in (5, 6)]
    at = [(np.arange(4 * n) + 0.5) / 4 for n in (5, 6)]
    inner = np.stack(np.meshgrid(at[0][2:-2], at[1][2:-2], indexing="ij"), axis=-1)
    for day in range(2):
        wanted = RegularGridInterpolator(centres, coarse[day].numpy())(inner)
        assert fine[day, 2:-2, 2:-2].numpy() == pytest.approx(wanted, rel=1e-5)


def test_nearest_repeats_and_bicubic_is_clipped_only_where_asked():
    coarse = torch.zeros(1, 5, 5)
    coarse[0, 2, 3] = 9.0
    nearest = interpolate(coarse, 3, False, "nearest")
    assert torch.equal(nearest, coarse.repeat_interleave(3, 1).repeat_interleave(3, 2))
    assert float(interpolate(coarse, 3, False, "bicubic").min()) < 0.0
    assert float(interpolate(coarse, 3, False, "bicubic", nonnegative=True).min()) == 0.0


def test_fitted_map_agrees_with_numpy_quantiles_per_cell():
    coarse, fine = series(1, (60, 3, 4)), 1.7 * series(2, (60, 6, 8), dry=0.6)
    mapping = fit(coarse, fine)
    bilinear = interpolate(coarse, 2, False, "bilinear")
    for row, column in [(0, 0), (3, 5), (5, 7)]:
        levels = np.linspace(0, 1, 60)
        for table, data in ((mapping.source, bilinear), (mapping.target, fine)):
            wanted = np.quantile(data[:, row, column].numpy(), levels)
            assert table[row, column].numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_training_values_take_the_distribution_of_the_truth():
    coarse, fine = 5 + series(3, (80, 2, 2), dry=0.0), series(4, (80, 4, 4), dry=0.5)
    mapped = fit(coarse, fine).apply(interpolate(coarse, 2, False, "bilinear"))
    assert mapped.sort(dim=0).values.numpy() == pytest.approx(
        fine.sort(dim=0).values.numpy(), abs=1e-4
    )


def test_values_between_levels_by_hand():
    mapping = one_cell([1.0, 3.0, 7.0], [10.0, 20.0, 60.0])
    assert apply(mapping, [1.0, 2.0, 3.0, 4.0, 7.0]) == pytest.approx([10, 15, 20, 30, 60])


def test_beyond_training_the_correction_stays_constant():
    mapping = one_cell([1.0, 3.0, 7.0], [0.5, 20.0, 60.0])
    assert apply(mapping, [9.0, 0.75, 0.25]) == pytest.approx([62.0, 0.25, 0.0])
    signed = one_cell([1.0, 3.0, 7.0], [0.5, 20.0, 60.0], nonnegative=False)
    assert apply(signed, [0.25]) == pytest.approx([-0.25])


def test_dry_days_stay_dry_and_drizzle_becomes_dry():
    # The truth is dry on more days than the coarse field: drizzle up to 0.4 is removed.
    drizzly = one_cell([0.0, 0.2, 0.4, 5.0], [0.0, 0.0, 0.0, 8.0])
    assert apply(drizzly, [0.0, 0.1, 0.4]) == [0.0, 0.0, 0.0]
    # The coarse field is dry on more days: zero maps to the lowest of its levels.
    dry = one_cell([0.0, 0.0, 0.0, 5.0], [0.0, 1.0, 3.0, 8.0])
    assert apply(dry, [0.0]) == [0.0]
    assert apply(dry, [2.5]) == pytest.approx([5.5])


def test_missing_values_stay_missing_and_cells_without_truth_stay_bilinear():
    coarse, fine = series(5, (30, 2, 3)), series(6, (30, 4, 6))
    fine[:, 1, 2] = torch.nan
    fine[::2, 0, 0] = torch.nan
    mapping = fit(coarse, fine)
    bilinear = interpolate(coarse, 2, False, "bilinear")
    assert torch.equal(mapping.apply(bilinear)[:, 1, 2], bilinear[:, 1, 2])
    wanted = np.quantile(fine[1::2, 0, 0].numpy(), np.linspace(0, 1, 30))
    assert mapping.target[0, 0].numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    # A day without coarse field counts in neither distribution.
    coarse[:7] = torch.nan
    wanted = np.quantile(fine[7:, 3, 3].numpy(), np.linspace(0, 1, 30))
    assert fit(coarse, fine).target[3, 3].numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    gap = bilinear.clone()
    gap[3, 2, 2] = torch.nan
    mapped = mapping.apply(gap)
    assert torch.isnan(mapped[3, 2, 2])
    assert int(torch.isnan(mapped).sum()) == 1


@pytest.mark.parametrize("wraps", [False, True])
def test_bands_give_the_same_map_as_the_whole(monkeypatch, wraps):
    coarse, fine = series(7, (25, 5, 4)), series(8, (25, 10, 8))
    whole = fit(coarse, fine, wraps=wraps)
    monkeypatch.setattr(baselines, "_BAND_BYTES", 1)
    reads = []
    banded = fit_quantile_map(
        lambda rows: coarse[:, rows],
        lambda rows: (reads.append(rows), fine[:, rows])[1],
        (25, 5, 4), 2, wraps, True,
    )  # fmt: skip
    assert len(reads) == 5
    assert torch.allclose(banded.source, whole.source, atol=1e-6)
    assert torch.equal(banded.target, whole.target)


def test_a_long_training_period_keeps_few_levels_dense_in_the_tails(monkeypatch):
    monkeypatch.setattr(baselines, "_MOST_LEVELS", 101)
    coarse, fine = series(9, (3000, 1, 1), dry=0.0), 2 * series(10, (3000, 2, 2), dry=0.0)
    mapping = fit(coarse, fine)
    assert mapping.target.shape == (2, 2, 101)
    bilinear = interpolate(coarse, 2, False, "bilinear")
    mapped = mapping.apply(bilinear)[:, 0, 0].numpy()
    for level, tolerance in ((0.5, 0.02), (0.99, 0.03), (0.999, 0.1)):
        wanted = np.quantile(fine[:, 0, 0].numpy(), level)
        assert np.quantile(mapped, level) == pytest.approx(wanted, rel=tolerance)
    assert mapped.max() == pytest.approx(float(fine[:, 0, 0].max()), rel=1e-5)


def test_quantile_mapping_is_not_symmetric():
    coarse, fine = series(11, (50, 2, 2)), 3 * series(12, (50, 4, 4))
    mapped = fit(coarse, fine).apply(interpolate(coarse, 2, False, "bilinear"))
    assert float(mapped.mean()) == pytest.approx(float(fine.mean()), rel=0.05)


def test_a_map_knows_on_how_much_it_was_fitted():
    coarse, fine = series(1, (40, 3, 4)), series(2, (40, 6, 8))
    assert fit(coarse, fine).basis == "40 times"
    assert fit(coarse, fine).doubts == []
    holes = fine.clone()
    holes[:15, 0] = torch.nan
    assert fit(coarse, holes).basis == "25 to 40 times, by cell,"
    holes[:, 5] = torch.nan
    assert fit(coarse, holes).basis == "25 to 40 times, by cell,"
    assert fit(coarse, holes).doubts == ["8 cells have none and keep the bilinear value"]
    few = fit(coarse[:6], fine[:6])
    assert (few.basis, few.idle) == ("6 times", "")
    assert few.doubts == ["fewer than 30 tell little of the tails"]


@pytest.mark.parametrize("value", [torch.nan, 0.0, 3.0])
def test_a_map_that_changes_nothing_says_why(value):
    coarse = torch.full((6, 3, 4), value)
    same = fit(coarse, torch.full((6, 6, 8), value))
    reason = "no value at the same time" if value != value else "would be the bilinear field"
    assert reason in same.idle
    assert fit(torch.full((6, 3, 4), 1.0), torch.full((6, 6, 8), 2.0)).idle == ""
