"""Scores of ensembles against direct double sums and hand-worked values."""

import itertools

import numpy as np
import pytest
import scores as oracle
import torch
import xarray as xr

from orbitlite.verification.ensembles import Members
from orbitlite.verification.pools import Pools
from orbitlite.verification.probabilities import Probabilities
from orbitlite.verification.ranks import RankHistogram
from orbitlite.verification.spread import CrpsMap, SpreadBins


def rain(seed=0, members=5, shape=(7, 18, 21)):
    """Mostly dry members and truth, areas that shrink with latitude, a tenth of it missing."""
    generator = np.random.default_rng(seed)
    days, *cells = shape
    fields = np.maximum(generator.gamma(0.5, 8.0, (days, members, *cells)) - 1, 0)
    truth = np.maximum(generator.gamma(0.6, 8.0, shape) - 1, 0)
    weights = np.cos(np.deg2rad(np.linspace(70, 20, cells[0])))[:, None] * np.ones(cells[1])
    weights = weights / weights.sum() * (generator.random(shape) > 0.1)
    weights[2] = 0.0
    weights[:, 4:8, 8:12] = 0.0
    return fields, truth, weights


def run(score, members, truth, weights, chunk=3):
    for start in range(0, len(truth), chunk):
        part = slice(start, start + chunk)
        score.update(*(torch.tensor(x[part]) for x in (members, truth, weights)))
    return score


def fair_crps(members, truth):
    """Of arrays (M, ...) and (...), pair by pair."""
    count = len(members)
    error = sum(abs(member - truth) for member in members) / count
    if count == 1:
        return error
    pairs = sum(abs(a - b) for a, b in itertools.product(members, members))
    return error - pairs / (2 * count * (count - 1))


def pooled(members, truth, weights, width, mean):
    """Square by square, cell by cell."""
    total = area = 0.0
    for day, top, left in itertools.product(
        range(len(truth)), range(0, truth.shape[1], width), range(0, truth.shape[2], width)
    ):
        square = (slice(top, top + width), slice(left, left + width))
        w = weights[day][square]
        used = w > 0
        if not used.any():
            continue
        if mean:
            values = [np.average(field[square][used], weights=w[used]) for field in members[day]]
            expected = np.average(truth[day][square][used], weights=w[used])
        else:
            values = [field[square][used].max() for field in members[day]]
            expected = truth[day][square][used].max()
        total += w.sum() * fair_crps(np.array(values), expected)
        area += w.sum()
    return total / area


def test_crps_and_spread_are_direct_sums():
    members, truth, weights = rain()
    found = run(Members(), members, truth, weights).compute()
    cells = fair_crps(members.swapaxes(0, 1), truth)
    assert found["crps"] == pytest.approx(np.average(cells, weights=weights), rel=1e-10)
    spread = np.average(members.var(1, ddof=1), weights=weights) * 6 / 5
    error = np.average((members.mean(1) - truth) ** 2, weights=weights)
    assert found["spread_skill"] == pytest.approx(np.sqrt(spread / error), rel=1e-10)
    left = error - np.average(members.var(1, ddof=1), weights=weights) / 5
    assert found["rmse_unlimited"] == pytest.approx(np.sqrt(left), rel=1e-10)


def test_the_error_of_unlimited_members_does_not_depend_on_how_many_are_drawn():
    """Where truth and members are normal around one mean, it is their standard deviation."""
    generator = np.random.default_rng(7)
    centre, weights = generator.normal(size=(40, 1, 20, 20)), np.ones((40, 20, 20))
    truth = centre[:, 0] + 2 * generator.normal(size=(40, 20, 20))
    for count in (2, 16):
        members = centre + 2 * generator.normal(size=(40, count, 20, 20))
        found = run(Members(), members, truth, weights).compute()
        assert found["rmse_unlimited"] == pytest.approx(2.0, rel=0.03)
        error = np.sqrt(np.mean((members.mean(1) - truth) ** 2))
        assert error == pytest.approx(2 * np.sqrt(1 + 1 / count), rel=0.03)


def test_the_error_of_unlimited_members_is_missing_where_nothing_is_left():
    members, weights = np.array([-5.0, 5.0]).reshape(1, 2, 1, 1), np.ones((1, 1, 1))
    found = run(Members(), members, np.zeros((1, 1, 1)), weights).compute()
    assert np.isnan(found["rmse_unlimited"])


def test_crps_agrees_with_the_scores_package():
    members, truth, weights = rain(1)
    dims = ("time", "m", "lat", "lon")
    cells = oracle.probability.crps_for_ensemble(
        xr.DataArray(members, dims=dims), xr.DataArray(truth, dims=("time", "lat", "lon")), "m",
        method="fair", preserve_dims="all",
    ).transpose("time", "lat", "lon")  # fmt: skip
    found = run(Members(), members, truth, weights).compute()["crps"]
    assert found == pytest.approx(np.average(cells.values, weights=weights), rel=1e-10)
    field = run(CrpsMap(truth.shape[1:]), members, truth, weights).mean().numpy()
    days = weights.sum(0)
    assert np.array_equal(np.isnan(field), days == 0)
    wanted = np.sum(cells.values * weights, axis=0)[days > 0] / days[days > 0]
    assert field[days > 0] == pytest.approx(wanted, rel=1e-9)


def test_the_crps_of_one_member_is_its_absolute_error_and_it_has_no_spread():
    members, truth, weights = rain(members=1)
    found = run(Members(alone=True), members, truth, weights).compute()
    wanted = np.average(abs(members[:, 0] - truth), weights=weights)
    assert found == {"crps": pytest.approx(wanted)}


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("shift", [0.0, -300.0])
def test_pooled_scores_are_direct_sums(count, shift):
    members, truth, weights = rain(3, count)
    members, truth = members + shift, truth + shift
    found = run(Pools((4, 16)), members, truth, weights).compute()
    assert set(found) == {f"crps_{kind}_{width}" for kind in ("mean", "max") for width in (4, 16)}
    for width, mean in itertools.product((4, 16), (True, False)):
        wanted = pooled(members, truth, weights, width, mean)
        name = f"crps_{'mean' if mean else 'max'}_{width}"
        assert found[name] == pytest.approx(wanted, rel=1e-8), name


def test_squares_of_one_cell_are_the_cells():
    members, truth, weights = rain(4)
    found = run(Pools((1,)), members, truth, weights).compute()
    crps = run(Members(), members, truth, weights).compute()["crps"]
    assert found["crps_mean_1"] == pytest.approx(crps)
    assert found["crps_max_1"] == pytest.approx(crps)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_brier_score_is_a_direct_sum(count):
    members, truth, weights = rain(5, count)
    found = run(Probabilities(count, (1.0, 10.0)), members, truth, weights).compute()
    for event in (1.0, 10.0):
        p, o = (members >= event).mean(1), truth >= event
        cells = (p - o) ** 2 - (p * (1 - p) / (count - 1) if count > 1 else 0)
        wanted = np.average(cells, weights=weights)
        assert found[f"brier_{event:g}mm"] == pytest.approx(wanted, rel=1e-10)


def test_the_fair_brier_score_agrees_with_the_scores_package():
    members, truth, _ = rain(6)
    cells = oracle.probability.brier_score_for_ensemble(
        xr.DataArray(members, dims=("time", "m", "lat", "lon")),
        xr.DataArray(truth, dims=("time", "lat", "lon")), "m", 10.0, fair_correction=True,
    )  # fmt: skip
    found = run(Probabilities(5, (10.0,)), members, truth, np.ones_like(truth)).compute()
    assert found["brier_10mm"] == pytest.approx(float(cells.squeeze()), rel=1e-10)


def test_reliability_is_what_was_seen_with_each_number_of_members():
    members, truth, weights = rain(7, 3)
    shares = run(Probabilities(3, (2.0,)), members, truth, weights).reliability()[2.0].numpy()
    counts = (members >= 2.0).sum(1)
    for count in range(4):
        area = weights * (counts == count) / weights.sum()
        assert shares[0, count] == pytest.approx(area.sum())
        assert shares[1, count] == pytest.approx((area * (truth >= 2.0)).sum())


def test_ranks_by_hand():
    members = np.array([1.0, 2.0, 2.0, 5.0]).reshape(1, 4, 1, 1) * np.ones((1, 4, 1, 4))
    truth = np.array([[[0.5, 2.0, 5.0, 9.0]]])
    weights = np.array([[[0.4, 0.3, 0.2, 0.1]]])
    score = run(RankHistogram(4), members, truth, weights)
    # 2 may have the ranks 1, 2, 3; 5 the ranks 3 and 4
    wanted = [0.4, 0.1, 0.1, 0.1 + 0.1, 0.1 + 0.1]
    assert score.frequencies().tolist() == pytest.approx(wanted)
    distance = sum(abs(value - 0.2) for value in wanted)
    assert score.compute()["rank_distance"] == pytest.approx(distance)


def test_all_but_dry_is_a_tie():
    members = np.full((1, 3, 1, 2), 0.05)
    truth, weights = np.array([[[0.0, 0.099]]]), np.full((1, 1, 2), 0.5)
    dry = run(RankHistogram(3, dry=0.1), members, truth, weights)
    assert dry.frequencies().tolist() == pytest.approx([0.25] * 4)
    sharp = run(RankHistogram(3), members, truth, weights)
    assert sharp.frequencies().tolist() == pytest.approx([0.5, 0, 0, 0.5])


def calibrated(members=6, spread=1.0, size=40_000):
    """Truth and members of one distribution about a signal, half of it dry; or too close to it."""
    generator = np.random.default_rng(8)
    signal = generator.normal(size=size)
    fields = signal + spread * generator.normal(size=(members, size))
    truth = signal + generator.normal(size=size)
    shape = (10, 50, size // 500)
    return (
        np.maximum(fields, 0).reshape(members, *shape).swapaxes(0, 1),
        np.maximum(truth, 0).reshape(shape),
        np.full(shape, 1 / size),
    )


def test_a_calibrated_ensemble_has_flat_ranks_and_lies_on_the_diagonals():
    data = calibrated()
    assert run(RankHistogram(6), *data).frequencies().numpy() == pytest.approx(1 / 7, abs=0.006)
    assert run(Members(), *data).compute()["spread_skill"] == pytest.approx(1.0, abs=0.02)
    spread, error, share = run(SpreadBins(), *data).bins().numpy()
    assert spread[0] == 0
    used = (share > 0.01) & (spread > 0)
    # a chance estimate of the spread: neither follows the other exactly
    assert np.average(spread[used] ** 2, weights=share[used]) == pytest.approx(
        np.average(error[used] ** 2, weights=share[used]), rel=0.05
    )
    shares = run(Probabilities(6, (1.0,)), *data).reliability()[1.0].numpy()
    # the truth is one more member: of k of M with the event it has it with nearly k / M
    assert shares[1].sum() == pytest.approx((shares[0] * np.arange(7) / 6).sum(), abs=0.01)


def test_members_too_close_together_are_seen():
    data = calibrated(spread=0.4)
    found = run(RankHistogram(6), *data)
    assert found.frequencies()[0] > 0.15
    assert found.frequencies()[-1] > 0.2
    assert found.compute()["rank_distance"] > 0.2
    assert run(Members(), *data).compute()["spread_skill"] < 0.5
    spread, error, share = run(SpreadBins(), *data).bins().numpy()
    assert (error > 1.2 * spread)[share > 0.02].all()


def test_fair_scores_do_not_depend_on_the_number_of_members():
    few, many = calibrated(3), calibrated(24)
    for score, name in ((lambda m: Members(), "crps"),
                        (lambda m: Probabilities(m, (1.0,)), "brier_1mm")):  # fmt: skip
        values = [run(score(m), *data).compute()[name] for m, data in ((3, few), (24, many))]
        assert values[0] == pytest.approx(values[1], rel=0.03)


def test_spread_bins_are_direct_means():
    members, truth, weights = rain(9)
    spread, error, share = run(SpreadBins(), members, truth, weights).bins().numpy()
    variance = members.var(1, ddof=1) * 6 / 5
    squares = (members.mean(1) - truth) ** 2
    assert share.sum() == pytest.approx(1.0)
    for at in (np.argmax(share), len(share) // 2):
        place = np.floor(2 * np.log2(np.maximum(variance, 1e-30)))
        inside = weights * (place == np.floor(4 * np.log2(spread[at])))
        assert share[at] == pytest.approx(inside.sum() / weights.sum())
        assert spread[at] == pytest.approx(np.sqrt(np.average(variance, weights=inside)))
        assert error[at] == pytest.approx(np.sqrt(np.average(squares, weights=inside)))


SCORES = [
    Members, lambda: Pools((4, 16)), lambda: RankHistogram(5, 0.1),
    lambda: Probabilities(5, (1.0, 10.0)),
]  # fmt: skip


@pytest.mark.parametrize("begin", SCORES)
def test_chunks_hidden_values_and_the_sum_of_weights_do_not_matter(begin):
    members, truth, weights = rain(10)
    whole = run(begin(), members, truth, weights, chunk=7).compute()
    assert all(np.isfinite(value) for value in whole.values())
    hidden = np.where(weights[:, None] > 0, members, 1e4)
    for chunk in (1, 2, 5):
        found = run(begin(), hidden, np.where(weights > 0, truth, -5.0), 3 * weights, chunk)
        assert found.compute() == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("begin", SCORES)
def test_nothing_scored_is_nan(begin):
    members, truth, weights = rain(11)
    for score in (begin(), run(begin(), members, truth, 0 * weights)):
        assert all(np.isnan(value) for value in score.compute().values())
