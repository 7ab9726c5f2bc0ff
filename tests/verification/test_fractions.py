"""Fractions skill scores against hand-worked values, loops, SciPy and the `scores` package."""

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from scores.spatial import fss_2d_single_field

from orbitlite.verification.fractions import EnsembleFractions, Fractions


def fss(prediction, truth, weights=None, widths=(3,), wraps=False, threshold=10.0):
    weights = torch.ones_like(truth) if weights is None else weights
    score = Fractions(threshold, widths, wraps)
    for start in range(0, len(truth), 2):
        part = slice(start, start + 2)
        score.update(prediction[part], truth[part], weights[part])
    return {int(name.split("_")[-1][:-5]): value for name, value in score.compute().items()}


def point(row, column, shape=(1, 9, 11)):
    field = torch.zeros(shape, dtype=torch.float64)
    field[:, row, column] = 25.0
    return field


def rain(seed, shape=(3, 16, 21)):
    generator = np.random.default_rng(seed)
    truth = generator.gamma(0.5, 9.0, shape)
    prediction = np.roll(truth, 1, axis=-1) * 0.8 + generator.gamma(0.2, 5.0, shape)
    return torch.from_numpy(prediction), torch.from_numpy(truth)


def test_shifted_point_by_hand():
    # Boxes of 3 x 3 around points one column apart: 6 cells in both, 3 in each alone.
    found = fss(point(4, 5), point(4, 4), widths=(1, 3))
    assert found[1] == 0.0
    assert found[3] == pytest.approx(1 - 6 / 18)
    assert fss(point(4, 5), point(4, 5))[3] == 1.0


def test_border_box_counts_the_cells_inside():
    truth, prediction = point(0, 0), point(0, 1)
    # Shares with rows 0-1, columns 0-3 that the boxes reach: corner box has 4 cells, others 6, 9.
    share_t = {(0, 0): 1 / 4, (0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 9}
    share_p = {(0, 0): 1 / 4, (0, 1): 1 / 6, (0, 2): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 9,
               (1, 2): 1 / 9}  # fmt: skip
    cells = set(share_t) | set(share_p)
    apart = sum((share_t.get(c, 0) - share_p.get(c, 0)) ** 2 for c in cells)
    most = sum(share_t.get(c, 0) ** 2 + share_p.get(c, 0) ** 2 for c in cells)
    assert fss(prediction, truth)[3] == pytest.approx(1 - apart / most)


def test_wrapping_joins_the_first_and_last_column():
    east, west = point(4, 10), point(4, 0)
    assert fss(east, west)[3] == 0.0
    assert fss(east, west, wraps=True)[3] == pytest.approx(1 - 6 / 18)


@pytest.mark.parametrize("width", [3, 5, 9])
def test_agrees_with_scipy_with_missing_cells_and_area_weights(width):
    prediction, truth = rain(0)
    generator = np.random.default_rng(5)
    weights = torch.from_numpy(
        generator.random(truth.shape) * (generator.random(truth.shape) > 0.3)
    )
    valid = weights.numpy() > 0
    apart = most = 0.0
    for p, t, v, w in zip(prediction.numpy(), truth.numpy(), valid, weights.numpy(), strict=True):
        count = uniform_filter(v.astype(float), width, mode="constant")
        shares = [
            uniform_filter(((x >= 10.0) & v).astype(float), width, mode="constant")
            / np.where(v, count, 1.0)
            for x in (p, t)
        ]
        apart += (w * (shares[0] - shares[1]) ** 2).sum()
        most += (w * (shares[0] ** 2 + shares[1] ** 2)).sum()
    found = fss(prediction, truth, weights, widths=(width,))[width]
    assert found == pytest.approx(1 - apart / most, rel=1e-6)


@pytest.mark.parametrize("width", [3, 5])
def test_agrees_with_the_scores_package_away_from_the_border(width):
    prediction, truth = rain(1, shape=(1, 16, 21))
    inner = torch.zeros_like(truth)
    inner[:, 5:-5, 5:-5] = 1.0
    prediction, truth = prediction * inner, truth * inner
    wanted = fss_2d_single_field(
        prediction[0].numpy(), truth[0].numpy(), event_threshold=10.0,
        window_size=(width, width), zero_padding=True,
    )  # fmt: skip
    assert fss(prediction, truth, widths=(width,))[width] == pytest.approx(float(wanted))


def test_score_grows_with_the_width_and_falls_with_a_shift():
    prediction, truth = rain(2)
    found = fss(prediction, truth, widths=(1, 3, 9))
    assert found[1] < found[3] < found[9]
    assert fss(prediction.roll(4, dims=-2), truth)[3] < found[3] - 0.05


def test_no_event_is_nan():
    assert np.isnan(fss(point(1, 1), point(2, 2), threshold=30.0)[3])


def ensemble_fss(members, truth, weights=None, widths=(3,), wraps=False, threshold=10.0, chunk=2):
    """Of tensors (T, M, H, W) and (T, H, W)."""
    weights = torch.ones_like(truth) if weights is None else weights
    score = EnsembleFractions(threshold, widths, wraps)
    for start in range(0, len(truth), chunk):
        part = slice(start, start + chunk)
        score.update(members[part], truth[part], weights[part])
    return {int(name.split("_")[-1][:-5]): value for name, value in score.compute().items()}


def by_loops(members, truth, weights, width, wraps):
    """Square by square, cell by cell, member by member."""
    days, count, height, length = members.shape
    apart = most = 0.0
    for day, row, column in itertools.product(range(days), range(height), range(length)):
        there, wet, seen = 0, 0, 0
        for down, right in itertools.product(range(-(width // 2), width // 2 + 1), repeat=2):
            y, x = row + down, column + right
            x = x % length if wraps else x
            if not (0 <= y < height and 0 <= x < length) or weights[day, y, x] == 0:
                continue
            there += 1
            wet += sum(members[day, member, y, x] >= 10.0 for member in range(count))
            seen += truth[day, y, x] >= 10.0
        if there:
            probability, share = wet / (there * count), seen / there
            apart += weights[day, row, column] * (probability - share) ** 2
            most += weights[day, row, column] * (probability**2 + share**2)
    return 1 - apart / most


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("chunk", [1, 3])
def test_the_score_of_an_ensemble_is_a_direct_sum(wraps, chunk):
    generator = np.random.default_rng(1)
    truth = generator.gamma(0.6, 9.0, (3, 7, 8))
    members = generator.gamma(0.6, 9.0, (3, 4, 7, 8)) + 0.5 * truth[:, None]
    weights = generator.random(truth.shape) * (generator.random(truth.shape) > 0.2)
    hidden = np.where(weights[:, None] > 0, members, 99.0)
    found = ensemble_fss(
        *map(torch.tensor, (hidden, truth, weights)), widths=(1, 3, 5), wraps=wraps, chunk=chunk
    )
    for width in (1, 3, 5):
        wanted = by_loops(members, truth, weights, width, wraps)
        assert found[width] == pytest.approx(wanted, rel=1e-10), width


def test_two_members_by_hand():
    # One member has the point, the other nothing: P is half of O wherever O is.
    truth, dry = point(4, 4), torch.zeros(1, 9, 11, dtype=torch.float64)
    found = ensemble_fss(torch.stack([truth, dry], dim=1), truth)[3]
    assert found == pytest.approx(1 - 0.25 / 1.25)


def test_of_one_member_or_equal_ones_it_is_the_score_of_the_field():
    prediction, truth = rain(3)
    alone = fss(prediction, truth, widths=(3, 9))
    assert ensemble_fss(prediction[:, None], truth, widths=(3, 9)) == alone
    equal = prediction[:, None].expand(-1, 5, -1, -1)
    assert ensemble_fss(equal, truth, widths=(3, 9)) == pytest.approx(alone, rel=1e-12)


def test_probabilities_are_better_than_single_members():
    generator = torch.Generator().manual_seed(0)
    chance = torch.rand(4, 1, 20, 24, generator=generator, dtype=torch.float64)
    drawn = torch.rand(4, 9, 20, 24, generator=generator, dtype=torch.float64)
    events = torch.where(drawn < chance**3, 25.0, 0.0)
    truth, members = events[:, 0], events[:, 1:]
    found = ensemble_fss(members, truth)[3]
    singles = [ensemble_fss(members[:, [one]], truth)[3] for one in range(8)]
    assert found > max(singles) + 0.03


def test_an_ensemble_without_the_event_is_nan():
    members = torch.stack([point(1, 1), point(2, 2)], dim=1)
    assert np.isnan(ensemble_fss(members, point(3, 3), threshold=30.0)[3])
    assert np.isnan(ensemble_fss(members, point(3, 3), torch.zeros(1, 9, 11))[3])


def test_a_neighbourhood_may_go_round_a_narrow_globe():
    """Three columns are as good as the same ones over and over."""
    narrow = rain(4, (3, 6, 3))
    wide = (field.repeat(1, 1, 5) for field in narrow)
    assert fss(*narrow, widths=(3, 9), wraps=True) == pytest.approx(
        fss(*wide, widths=(3, 9), wraps=True)
    )
