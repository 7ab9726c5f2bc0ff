from __future__ import annotations

import pandas as pd
import pytest

from orbitlite.data.splits import positions, read_period, read_periods, shares
from orbitlite.errors import InputError

TIMES = pd.date_range("2000-01-01", "2001-12-31", freq="6h")


@pytest.mark.parametrize(
    ("text", "first", "last", "count"),
    [
        (["2000", "2000"], "2000-01-01 00:00", "2000-12-31 18:00", 366 * 4),
        ([2001, "2001-01"], "2001-01-01 00:00", "2001-01-31 18:00", 31 * 4),
        (["2000-02-28", "2000-02-29"], "2000-02-28 00:00", "2000-02-29 18:00", 8),
        (["2000-01-01T06", "2000-01-01 12:00"], "2000-01-01 06:00", "2000-01-01 12:00", 2),
    ],
)
def test_both_ends_are_included(text, first, last, count):
    found = TIMES[positions("train", read_period("train", text), TIMES)]
    assert (found[0], found[-1]) == (pd.Timestamp(first), pd.Timestamp(last))
    assert len(found) == count


@pytest.mark.parametrize("text", [[850, "850-02"], ["0850-01", "850-02-28"]])
def test_years_of_three_digits(text):
    times = pd.date_range("0849-12-01", "0850-12-31", freq="D", unit="s")
    found = times[positions("train", read_period("train", text), times)]
    assert (str(found[0]), str(found[-1])) == ("0850-01-01 00:00:00", "0850-02-28 00:00:00")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (["2000"], "two dates"),
        ("2000", "two dates"),
        (["soon", "2000"], "two dates such as"),
        (["2001", "2000"], "after its end"),
    ],
)
def test_mistaken_periods(text, words):
    with pytest.raises(InputError, match=f"validate.*{words}"):
        read_period("validate", text)


def test_overlap_names_both():
    with pytest.raises(InputError, match=r"train \['2000', '2000-06'\] and test .* overlap"):
        read_periods({"train": ["2000", "2000-06"], "validate": None, "test": ["2000-06-30", 2001]})
    read_periods({"train": ["2000", "2000-06"], "test": ["2000-07-01", 2001]})


def test_empty_period_says_what_there_is():
    with pytest.raises(
        InputError, match=r"test .* holds no time: .* 2000-01-01 00:00 to 2001-12-31"
    ):
        positions("test", read_period("test", ["1999", "1999"]), TIMES)


def test_shares_are_in_order_and_whole():
    periods = shares(TIMES)
    found = [positions(name, period, TIMES) for name, period in periods.items()]
    assert list(periods) == ["train", "validate", "test"]
    assert sum(map(len, found)) == len(TIMES)
    assert found[0][-1] + 1 == found[1][0]
    assert found[1][-1] + 1 == found[2][0]
    with pytest.raises(InputError, match="too few"):
        shares(TIMES[:3])
