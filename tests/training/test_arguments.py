"""Arguments of version 0.1 mean what they meant, with one warning for each old name."""

import pytest
import yaml

from orbitlite.notice import OrbitliteWarning, one_call
from orbitlite.training.arguments import with_current_names
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


def test_arguments_of_today_stay(tmp_path, recwarn):
    path = tmp_path / "new.yaml"
    path.write_text(yaml.safe_dump({"data": {"fine": "world", "resample": "24h"}}))
    words = ["fit", "-c", str(path), "--data.train", "['2000-01-01', '2000-02-01']", "--data",
             "{tile: 4", "--trainer.devices=2", "--ckpt_path", "last"]  # fmt: skip
    assert with_current_names(words) == words
    assert not said(recwarn)
