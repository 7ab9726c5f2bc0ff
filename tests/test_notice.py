from __future__ import annotations

import logging
import warnings

import pytest

from orbitlite.notice import OrbitliteWarning, at_end, muted, notice, one_call, warn

logger = logging.getLogger("orbitlite.data.test")


def test_a_notice_is_given_once_per_call(caplog):
    caplog.set_level("INFO")
    for _ in range(2):
        with one_call():
            for message in ("first fact", "second fact", "first fact"):
                notice(logger, message)
    assert [record.message for record in caplog.records] == ["first fact", "second fact"] * 2


def test_a_call_within_a_call_belongs_to_the_outer_one(caplog):
    caplog.set_level("INFO")
    with one_call():
        notice(logger, "a fact")
        with one_call():
            notice(logger, "a fact")
        notice(logger, "a fact")
    assert len(caplog.records) == 1


def test_what_was_dropped_is_a_python_warning_in_every_call():
    with warnings.catch_warnings(record=True) as found:
        warnings.resetwarnings()
        warnings.filterwarnings("always", category=OrbitliteWarning, append=True)
        for _ in range(3):
            with one_call():
                warn(logger, "3 times were dropped")
                warn(logger, "3 times were dropped")
    assert [str(one.message) for one in found] == ["3 times were dropped"] * 3
    assert {one.filename for one in found} == {__file__}


def test_filters_of_the_user_come_first():
    with warnings.catch_warnings():
        warnings.simplefilter("error", OrbitliteWarning)
        with pytest.raises(OrbitliteWarning, match="dropped"):
            warn(logger, "dropped")


def test_without_a_log_a_warning_is_printed_once(capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger("orbitlite"), "propagate", False)
    with pytest.warns(OrbitliteWarning, match="a guess"):
        warn(logger, "a guess")
    assert "a guess" not in capfd.readouterr().err


def test_muted(caplog):
    caplog.set_level("INFO")
    with muted():
        notice(logger, "a fact")
        warn(logger, "a guess")
    assert not caplog.records


def test_last_words_are_said_when_a_call_ends_well():
    said = []
    at_end(lambda: said.append("outside"))
    with one_call():
        with one_call():
            at_end(lambda: said.append("inner"))
        assert not said
    assert said == ["inner"]

    def fails():
        with one_call():
            at_end(lambda: said.append("failed"))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert said == ["inner"]
