"""Old names of settings work, with one warning each."""

import pytest

from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning, one_call
from orbitlite.renamed import KEYS, current

OLD = {
    "model": {"network": {"fine_statics": ["orography"], "factor": 2}, "loss": "heavy_rain"},
    "data": {"period": "1h", "accumulate": "24h", "interpolate": "linear", "static": "a.nc"},
    "parallel": {"recompute": "full"},
}
NEW = {
    "model": {"network": {"statics": ["orography"], "factor": 2}, "loss": "intensity_weighted"},
    "data": {"accumulation_period": "1h", "resample": "24h", "regrid": "linear", "statics": "a.nc"},
    "parallel": {"activation_checkpointing": "full"},
}


def test_a_config_of_version_0_1():
    with one_call(), pytest.warns(OrbitliteWarning) as warned:
        assert current(OLD, "config") == NEW
    texts = sorted(str(warning.message) for warning in warned)
    assert len(texts) == 7
    assert texts[0] == (
        "data.accumulate is now data.resample; the old name works through version 0.2"
    )
    assert texts[-2].startswith("model.network.fine_statics is now model.network.statics")


def test_names_of_today_pass_without_a_word(recwarn):
    assert current(NEW, "config") == NEW
    assert current({"tile": 4, "regrid": None}) == {"tile": 4, "regrid": None}
    assert not recwarn


def test_files_of_earlier_versions_are_read_without_a_word(recwarn):
    assert current(OLD, "config", tell=False) == NEW
    assert not recwarn


def test_keywords():
    with pytest.warns(OrbitliteWarning, match="^period is now accumulation_period;"):
        assert current({"period": "1h", "tile": 3}) == {"accumulation_period": "1h", "tile": 3}


@pytest.mark.parametrize("section", ["", "data"])
def test_both_names_are_refused(section):
    with pytest.raises(InputError, match=r"period is the old name of .*accumulation_period: state"):
        current({"period": "1h", "accumulation_period": "1h"}, section)


def test_no_name_is_renamed_twice():
    for names in KEYS.values():
        assert not set(names) & set(names.values())
