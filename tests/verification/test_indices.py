"""Indices of climate against plain loops over the days of each cell, and against xarray."""

import datetime
import math

import cftime
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.notice import OrbitliteWarning
from orbitlite.verification import series
from orbitlite.verification.catalogue import best_of, label
from orbitlite.verification.evaluation import evaluate
from orbitlite.verification.indices import Indices
from orbitlite.verification.quantity import Quantity
from orbitlite.verification.timeline import Timeline
from orbitlite.verification.upper_tail import UpperTail

RAIN = "total_precipitation_24hr"
NAMES = ["rx1day", "sdii", "cdd", "cwd", "lag1", "cell_p98", "cell_p99.9"]


def quantile(values, level):
    """Linear between the neighbours of (n - 1) level among sorted values."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * level
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def correlation(pairs):
    if not pairs:
        return math.nan
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    spread = a.std() * b.std()
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 1e-9 else math.nan


def expected(days):
    """Indices of one cell, day by day: `days` are pairs of a date and a value, NaN if missing."""
    tops, dry, wet, pairs, amounts = {}, {}, {}, [], []
    before, spells = None, {False: 0, True: 0}
    for date, value in days:
        if math.isnan(value):
            spells = {False: 0, True: 0}
        else:
            amounts.append(value)
            follows = before is not None and date - before[0] == datetime.timedelta(days=1)
            if follows and not math.isnan(before[1]):
                pairs.append((before[1], value))
            if not follows or date.year != before[0].year:
                spells = {False: 0, True: 0}
            rains = value >= 1.0
            spells = {rains: spells[rains] + 1, not rains: 0}
            tops[date.year] = max(tops.get(date.year, value), value)
            dry[date.year] = max(dry.get(date.year, 0), spells[False])
            wet[date.year] = max(wet.get(date.year, 0), spells[True])
        before = date, value
    rainy = [value for value in amounts if value >= 1.0]
    mean = {name: np.mean([*found.values()]) if found else math.nan
            for name, found in (("rx1day", tops), ("cdd", dry), ("cwd", wet))}  # fmt: skip
    return mean | {
        "sdii": np.mean(rainy) if rainy else math.nan,
        "lag1": correlation(pairs),
        "cell_p98": quantile(amounts, 0.98) if amounts else math.nan,
        "cell_p99.9": quantile(amounts, 0.999) if amounts else math.nan,
    }


def rain(seed, shape):
    """Amounts with dry and wet spells, many of them zero, as float32 has them."""
    generator = np.random.default_rng(seed)
    spells = generator.random(shape).cumsum(0) % 4 < 2.2
    amounts = np.where(spells, generator.gamma(0.7, 6.0, shape), generator.gamma(0.2, 0.5, shape))
    return amounts.astype(np.float32).astype(np.float64)


def indices(fields, weights, days, chunk=5):
    """Indices of fields (S, T, M, H, W) with weights (S, T, H, W), fed chunk by chunk."""
    count, times, members, *cells = fields.shape
    found = Indices(Timeline.of(days), 1.0, (count, members, *cells))
    for start in range(0, times, chunk):
        window = slice(start, min(start + chunk, times))
        part = (torch.tensor(x[:, window]).flatten(0, 1) for x in (fields, weights))
        found.update(*part, window)
    return found


def cells(values, days):
    """Indices of one series of values (T, H, W), NaN where missing, by loops: name to (H, W)."""
    rows = [
        [expected(zip(days, values[:, row, column].tolist(), strict=True))
         for column in range(values.shape[2])]
        for row in range(values.shape[1])
    ]  # fmt: skip
    return {name: np.array([[cell[name] for cell in row] for row in rows]) for name in NAMES}


def winters(years=3, start=2001):
    spans = [pd.date_range(f"{start + n}-12-01", f"{start + n + 1}-02-28") for n in range(years)]
    return spans[0].append(spans[1:])


@pytest.mark.parametrize("chunk", [1, 4, 500])
def test_a_cell_by_hand(chunk):
    days = pd.DatetimeIndex(
        ["2001-12-29", "2001-12-30", "2001-12-31", "2002-01-01", "2002-01-02", "2002-01-03",
         "2002-01-10", "2002-01-11", "2002-01-12", "2002-01-13", "2002-01-14"]
    )  # fmt: skip
    amounts = np.array([2.0, 1.0, 5.0, 3.0, 1.5, 0.0, 0.9, 0.2, 9.0, 0.0, 0.0])
    weights = np.full((1, 11, 1, 1), 0.7)
    weights[0, 8] = 0.0
    found = indices(amounts.reshape(1, -1, 1, 1, 1), weights, days, chunk).fields()
    found = {name: float(values.squeeze()) for name, values in found.items()}
    # 9 mm are missing. Runs of wet days: 3 in 2001, 2 in 2002, as the year cuts them; of dry days:
    # none in 2001, in 2002 one, two, two, as a week and a value are missing.
    assert found["rx1day"] == pytest.approx((5 + 3) / 2)
    assert found["cwd"] == 2.5
    assert found["cdd"] == 1.0
    assert found["sdii"] == pytest.approx((2 + 1 + 5 + 3 + 1.5) / 5)
    before, after = [2, 1, 5, 3, 1.5, 0.9, 0], [1, 5, 3, 1.5, 0, 0.2, 0]
    assert found["lag1"] == pytest.approx(np.corrcoef(before, after)[0, 1])
    # ten values: place 8.82 of 0 to 9
    assert found["cell_p98"] == pytest.approx(3 + 0.82 * 2)
    assert found["cell_p99.9"] == pytest.approx(3 + 0.991 * 2)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    kept=st.lists(st.booleans(), min_size=2, max_size=60).filter(any),
    lost=st.floats(0, 1),
    chunk=st.integers(1, 70),
    members=st.integers(1, 3),
)
def test_any_gaps_missing_values_and_chunks(seed, kept, lost, chunk, members):
    days = pd.date_range("1999-12-10", periods=len(kept))[kept]
    fields = rain(seed, (2, len(days), members, 2, 3))
    there = np.random.default_rng(seed).random((2, len(days), 2, 3)) >= lost
    found = indices(fields, 0.1 * there, days, chunk).fields()
    seen = np.where(there[:, :, None], fields, np.nan)
    for one in range(2):
        for member in range(members):
            for name, wanted in cells(seen[one, :, member], days).items():
                mine = found[name][one, member].numpy()
                assert mine == pytest.approx(wanted, rel=2e-6, abs=1e-7, nan_ok=True), name


def test_winters_are_not_bridged():
    days = winters()
    wet = np.full((1, len(days), 1, 1, 1), 4.0)
    found = indices(wet, np.ones((1, len(days), 1, 1)), days, 40).fields()
    # 31 days in the first year, 59 in the middle ones, 59 in the last: December apart from January.
    assert float(found["cwd"]) == pytest.approx(np.mean([31, 59, 59, 59]))
    assert float(found["cdd"]) == 0.0
    fields = rain(5, (1, len(days), 1, 4, 5))
    found = indices(fields, np.ones((1, len(days), 4, 5)), days, 17).fields()
    for name, wanted in cells(fields[0, :, 0], days).items():
        assert found[name][0, 0].numpy() == pytest.approx(wanted, rel=2e-6), name


def test_without_gaps_they_are_those_of_the_benchmark():
    """As xarray has them, by the year, by the quantile of the days and by the shifted series."""
    days = pd.date_range("2001-01-01", "2003-12-31")
    fields = rain(6, (1, len(days), 1, 3, 4))
    found = indices(fields, np.ones((1, len(days), 3, 4)), days, 100).fields()
    data = xr.DataArray(fields[0, :, 0], {"time": days}, ("time", "lat", "lon"))
    years = data.resample(time="1YE")

    def longest(group):
        ends = (~group).astype(int).cumsum("time")
        return xr.apply_ufunc(
            lambda flags, blocks: max(flags[blocks == b].sum() for b in np.unique(blocks)),
            group, ends, input_core_dims=[["time"]] * 2, vectorize=True,
        )  # fmt: skip

    wanted = {
        "rx1day": years.max().mean("time"),
        "sdii": data.where(data >= 1).mean("time"),
        "cdd": (data < 1).resample(time="1YE").map(longest).mean("time"),
        "cwd": (data >= 1).resample(time="1YE").map(longest).mean("time"),
        "lag1": xr.corr(data, data.shift(time=1), dim="time"),
        "cell_p98": data.quantile(0.98, dim="time"),
        "cell_p99.9": data.quantile(0.999, dim="time"),
    }
    for name, values in wanted.items():
        assert found[name][0, 0].numpy() == pytest.approx(values.values, rel=2e-6), name


def test_bias_and_ratio_are_means_by_area_over_cells_and_members():
    days = pd.date_range("2001-11-01", periods=90).delete(range(30, 35))
    fields, truth = rain(7, (2, len(days), 3, 3, 4)), rain(8, (2, len(days), 1, 3, 4))
    fields[:, :, :, 0, 1] = 0.3  # never wet and constant: neither SDII nor autocorrelation
    truth[1, :, :, 2, 2] = 0.0
    generator = np.random.default_rng(9)
    area = np.array([0.5, 0.3, 0.2])[:, None] * np.ones(4)
    weights = area * (generator.random((2, len(days), 3, 4)) > 0.2)
    weights[0, :, 1, 3] = 0.0
    seen = np.where(weights[:, :, None] > 0, fields, np.nan)
    sure = np.where(weights[:, :, None] > 0, truth, np.nan)
    scores = indices(fields, weights, days).compute(indices(truth, weights, days, 9))
    for name in NAMES:
        total = mean = base = 0.0
        for one in range(2):
            theirs = cells(sure[one, :, 0], days)[name]
            for member in range(3):
                ours = cells(seen[one, :, member], days)[name]
                used = area * np.isfinite(ours + theirs)
                total += used.sum()
                mean += (used * np.nan_to_num(ours)).sum()
                base += (used * np.nan_to_num(theirs)).sum()
        assert scores[f"{name}_bias"] == pytest.approx((mean - base) / total, rel=1e-5, abs=1e-7)
        if name != "lag1":
            assert scores[f"{name}_ratio"] == pytest.approx(mean / base, rel=1e-5)
    assert "lag1_ratio" not in scores
    assert set(scores) == set(Indices.entries)


def test_no_more_is_kept_than_the_quantile_needs():
    values = torch.tensor(rain(3, (1000, 1, 1, 2, 2)))
    tail, there = UpperTail(1000, 0.98, (1, 1, 2, 2)), torch.ones(1000, 1, 1, 2, 2) > 0
    for start in range(0, 1000, 7):
        tail.update(values[start : start + 7], there[start : start + 7])
        assert sum(map(len, tail._held)) < 2 * 21
    for level in (0.98, 0.985, 0.999, 1.0):
        wanted = np.quantile(values.numpy(), level, axis=0)
        assert tail.at(level).numpy() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_days_of_any_calendar_follow_one_another(calendar):
    last = 28 if calendar != "360_day" else 30
    dates = [cftime.datetime(2001, 2, last, 12, calendar=calendar),
             cftime.datetime(2001, 3, 1, 12, calendar=calendar),
             cftime.datetime(2001, 3, 3, 12, calendar=calendar)]  # fmt: skip
    found = Timeline.of(xr.CFTimeIndex(dates))
    assert found.joined.tolist() == [False, True, False]
    assert found.years.tolist() == [2001] * 3


def test_nothing_scored_and_nothing_wet_is_nan():
    days = pd.date_range("2001-01-01", periods=6)
    dry = np.zeros((1, 6, 1, 2, 2))
    nothing = indices(dry, np.zeros((1, 6, 2, 2)), days)
    assert all(np.isnan(value) for value in nothing.compute(nothing).values())
    none = indices(dry, np.ones((1, 6, 2, 2)), days)
    scores = none.compute(none)
    assert {name for name, value in scores.items() if not np.isnan(value)} == {
        "rx1day_bias", "cdd_bias", "cdd_ratio", "cwd_bias", "cell_p98_bias", "cell_p99.9_bias",
    }  # fmt: skip
    assert scores["cdd_ratio"] == 1.0


def dataset(values, times, grid, name=RAIN):
    dims = ("realization", "time", "lat", "lon")[-values.ndim :]
    coords = {"time": times, "lat": grid.lat, "lon": grid.lon}
    return xr.Dataset({name: (dims, values.astype(np.float32))}, coords)


GRID = LatLonGrid.from_edges(60.0 - np.arange(5.0), 3.0 + np.arange(7.0))


def scores(prediction, truth, system="orbitlite"):
    [row] = evaluate(prediction, truth, progress=False).scores.values()
    return row[system]


def of_indices(row):
    return {name: value for name, value in row.items() if name in Indices.entries}


def test_from_datasets_with_gaps_and_missing_values():
    days = winters().delete([3, 60, 61])
    truth, prediction = rain(1, (len(days), 4, 6)), rain(2, (len(days), 4, 6))
    truth[20:24, 1, 2] = np.nan
    prediction[5, 3] = np.nan
    truth[:, 0, 0] = np.nan
    with pytest.warns(OrbitliteWarning, match="6 values of the truth are not scored"):
        row = scores(dataset(prediction, days, GRID), dataset(truth, days, GRID))
    both = np.isfinite(truth + prediction)
    ours, theirs = (cells(np.where(both, x, np.nan), days) for x in (prediction, truth))
    for name in NAMES:
        used = GRID.weights * np.isfinite(ours[name] + theirs[name])
        bias = np.nansum(used * (ours[name] - theirs[name])) / used.sum()
        assert row[f"{name}_bias"] == pytest.approx(bias, rel=1e-5, abs=1e-7), name


def test_members_count_one_by_one(monkeypatch):
    days = pd.date_range("2001-12-01", periods=45)
    truth, members = rain(3, (45, 4, 6)), rain(4, (3, 45, 4, 6))
    known, whole = dataset(truth, days, GRID), dataset(members, days, GRID)
    row = of_indices(scores(whole, known, "members"))
    alone = [scores(dataset(member, days, GRID), known) for member in members]
    for name, value in row.items():
        assert value == pytest.approx(np.mean([one[name] for one in alone]), rel=1e-5), name
    ours = of_indices(scores(whole, known))
    mean = dataset(members.astype(np.float32).mean(0), days, GRID)
    assert ours == pytest.approx(of_indices(scores(mean, known)), rel=1e-5, abs=1e-6)
    # a mean over members has fewer dry days and smaller extremes than any of them
    assert ours["rx1day_ratio"] < row["rx1day_ratio"]
    assert ours["cdd_ratio"] < row["cdd_ratio"]
    monkeypatch.setattr(series, "_CHUNK_CELLS", 4 * 3 * 24)
    assert of_indices(scores(whole, known, "members")) == pytest.approx(row, rel=1e-6)


def test_a_perfect_prediction_and_one_that_is_late():
    days = pd.date_range("2001-01-01", periods=120)
    field = rain(5, (121, 4, 6))
    truth = dataset(field[1:], days, GRID)
    perfect = of_indices(scores(truth, truth))
    for name, value in perfect.items():
        assert value == (0.0 if name.endswith("bias") else pytest.approx(1.0, rel=1e-12)), name
    late = of_indices(scores(dataset(field[:-1], days, GRID), truth))
    for name, value in late.items():
        assert value == pytest.approx(perfect[name], abs=0.3), name


@pytest.mark.parametrize(
    ("name", "freq"),
    [
        ("total_precipitation", "1h"),
        ("total_precipitation_6hr", "6h"),
        (RAIN, "12h"),
        (RAIN, "2D"),
        (RAIN, "MS"),
        ("2m_temperature", "1D"),
    ],
)
def test_only_daily_precipitation_has_them(name, freq):
    times = pd.date_range("2001-01-01", periods=8, freq=freq)
    field = dataset(rain(1, (8, 4, 6)) + 1, times, GRID, name)
    assert not of_indices(scores(field, field))


def test_the_time_of_the_day_does_not_matter_but_the_order_of_days_does():
    days = pd.date_range("2001-01-01", periods=40)
    truth, prediction = rain(1, (40, 4, 6)), rain(2, (40, 4, 6))
    wanted = of_indices(scores(dataset(prediction, days, GRID), dataset(truth, days, GRID)))
    noon = days + pd.Timedelta(hours=12)
    found = scores(dataset(prediction, noon, GRID), dataset(truth, noon, GRID))
    assert of_indices(found) == wanted
    mixed = np.random.default_rng(0).permutation(40)
    turned = dataset(prediction, days, GRID).isel(time=mixed)
    assert of_indices(scores(turned, dataset(truth, days, GRID))) == pytest.approx(wanted)


def test_one_day_has_none_and_two_have_no_autocorrelation():
    days = pd.date_range("2001-01-01", periods=2)
    truth, prediction = (dataset(rain(seed, (2, 4, 6)) + 1, days, GRID) for seed in (1, 2))
    assert not of_indices(scores(prediction.isel(time=[0]), truth))
    row = scores(prediction, truth)
    assert np.isnan(row["lag1_bias"])
    assert np.isfinite(row["rx1day_bias"])


def test_times_that_are_not_shared_are_an_error():
    first, second = (pd.date_range(start, periods=3) for start in ("2001-01-01", "2002-01-01"))
    field = rain(1, (3, 4, 6))
    with pytest.raises(InputError, match="No time is in all"):
        evaluate(dataset(field, first, GRID), dataset(field, second, GRID), progress=False)


def test_rows_of_the_table():
    quantity = Quantity.of(RAIN)
    assert label("rx1day_bias", quantity) == "Rx1day, bias (mm/day)"
    assert label("cdd_bias", quantity) == "CDD, bias (days)"
    assert label("lag1_bias", quantity) == "Lag-1 autocorrelation, bias"
    assert label("cell_p99.9_ratio", quantity) == "Percentile 99.9 of cells, ratio to truth"
    assert best_of("cwd_bias", {"a": -2.0, "b": 1.0}) == {"b"}
    assert best_of("sdii_ratio", {"a": 0.5, "b": 1.6}) == {"b"}
