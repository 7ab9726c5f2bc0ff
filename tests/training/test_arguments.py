"""Arguments of version 0.1 mean what they meant, with one warning for each old name."""

import pytest
import yaml

from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning, one_call
from orbitlite.training.arguments import check_configs, with_current_names, with_init
from orbitlite.training.sources import data_of_config, network_of_config
from orbitlite.training.stated import Stated

RAIN = "total_precipitation_24hr"


def said(recwarn):
    ours = [one for one in recwarn if one.category is OrbitliteWarning]
    return sorted(str(one.message).split(";")[0] for one in ours)


def test_options(recwarn):
    words = ["fit", "--data.period", "1h", "--data.accumulate=24h", "--model.loss", "heavy_rain",
             "--parallel.recompute=full", "--data", "{interpolate: linear, tile: 4}",
             "--model.network.fine_statics=[orography]", "--trainer.max_epochs=2"]  # fmt: skip
    with one_call():
        found = Stated(with_current_names(words))
    assert found.value("data.accumulation_period") == "1h"
    assert found.value("data.resample") == "24h"
    assert found.value("data.regrid") == "linear"
    assert found.value("data.tile") == 4
    assert found.value("model.loss") == "intensity_weighted"
    assert found.value("model.network.statics") == ["orography"]
    assert found.value("parallel.activation_checkpointing") == "full"
    assert found.value("trainer.max_epochs") == 2
    assert said(recwarn) == [
        "data.accumulate is now data.resample", "data.interpolate is now data.regrid",
        "data.period is now data.accumulation_period",
        "model.loss: heavy_rain is now intensity_weighted",
        "model.network.fine_statics is now model.network.statics",
        "parallel.recompute is now parallel.activation_checkpointing",
    ]  # fmt: skip


@pytest.mark.parametrize("words", [["-c", "{}"], ["--config={}"], ["--config", "{}"]])
def test_a_config(tmp_path, recwarn, words):
    path = tmp_path / "old.yaml"
    content = {
        "model": {"network": {"inputs": [RAIN], "fine_statics": [], "factor": 2}},
        "data": {"fine": "world", "period": "1h", "static": None},
    }
    path.write_text(yaml.safe_dump(content))
    given = ["fit", *(word.format(path) for word in words), "--trainer.max_epochs", "1"]
    found = Stated(with_current_names(given))
    assert found.value("data.accumulation_period") == "1h"
    assert "data.period" not in found
    assert found.value("trainer.max_epochs") == 1
    assert len(said(recwarn)) == 3
    assert network_of_config(path).statics == ()
    assert data_of_config(path).pairing.accumulation_period == "1h"


@pytest.mark.parametrize("equal", [" ", "="])
@pytest.mark.parametrize(
    ("section", "content"), [("init", {"bundle": "x", "tune": "head"}), ("parallel", {"tensor": 2})]
)
def test_a_file_of_a_section_is_given_as_what_it_holds(tmp_path, section, content, equal):
    """The parser takes none of these, and called its name that of a class."""
    path = tmp_path / "section.yaml"
    path.write_text(yaml.safe_dump(content))
    words = with_init(["fit", *f"--{section}{equal}{path}".split()])
    check_configs(words)
    given = with_current_names(words)
    assert str(path) not in " ".join(given)
    found = Stated(given)
    assert {key: found.value(f"{section}.{key}") for key in content} == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the config .*: there is no such file"),
        ("[1]", r"expected keys and values of init, found \[1\]"),
        ("init: {bundle: x}", "expects the keys and values of init alone, .*; give it as -c"),
    ],
)
def test_no_file_of_a_section(tmp_path, content, message):
    path = tmp_path / "section.yaml"
    if content:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        check_configs(with_init(["fit", "--init", str(path)]))


def test_arguments_of_today_stay(tmp_path, recwarn):
    path = tmp_path / "new.yaml"
    path.write_text(yaml.safe_dump({"data": {"fine": "world", "resample": "24h"}}))
    words = ["fit", "-c", str(path), "--data.train", "['2000-01-01', '2000-02-01']", "--data",
             "{tile: 4", "--trainer.devices=2", "--ckpt_path", "last"]  # fmt: skip
    assert with_current_names(words) == words
    assert not said(recwarn)
