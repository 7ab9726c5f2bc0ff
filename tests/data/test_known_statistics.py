"""Statistics in a file: the numbers that a fit would find, refused where data are other."""

import json

import numpy as np
import pytest
import yaml

from orbitlite.cli import main
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.known_statistics import write_statistics
from orbitlite.data.world import generate
from orbitlite.errors import InputError

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
TRAIN = ["2000-01-01", "2000-01-09"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a store, and statistics of it."""
    path = tmp_path_factory.mktemp("statistics")
    world = generate(12, 16, 32)
    world[RAIN][2:4, 3:7] = np.nan
    world.to_netcdf(path / "world.nc")
    data = opened(path)
    data.setup("fit")
    write_statistics(path / "known.json", data.parts)
    return path


def opened(folder, fine="world.nc", **changes):
    settings = {
        "inputs": [RAIN, WARM, "sea_surface_temperature"], "targets": [RAIN], "factor": 4,
        "static_names": ["orography"], "train": TRAIN,
    }  # fmt: skip
    return PairDataModule(str(folder / fine), **(settings | changes))


KINDS = {
    "inputs": lambda data: data.joint.inputs, "targets": lambda data: data.joint.of("targets", ""),
    "statics": lambda data: data.joint.of("statics", ""),
}  # fmt: skip
NUMBERS = ("mean", "std", "valid", "low", "high")


def test_a_fit_takes_what_was_found_and_reads_nothing(folder, monkeypatch):
    expected = opened(folder)
    expected.setup("fit")

    def refuse(*_):
        raise AssertionError("values were read")

    monkeypatch.setattr("orbitlite.data.statistics._summed", refuse)
    data = opened(folder, statistics=str(folder / "known.json"))
    data.setup("fit")
    for kind, known in KINDS.items():
        for name in NUMBERS:
            ours, theirs = (getattr(known(one), name) for one in (data, expected))
            assert ours.tolist() == theirs.tolist(), (kind, name)
    assert data.input_statistics.low[2] == np.inf  # of a channel that no source has
    ours, theirs = (one.first.moments("targets").valid for one in (data, expected))
    assert ours.tolist() == theirs.tolist()


def test_a_part_of_the_channels_is_enough(folder):
    data = opened(folder, statistics=str(folder / "known.json"))
    data.restrict([WARM])
    data.setup("fit")
    whole = opened(folder)
    whole.setup("fit")
    assert data.input_statistics.mean.tolist() == whole.input_statistics.mean[1:2].tolist()


@pytest.mark.parametrize(
    ("number", "value", "message"),
    [
        ("mean", float("inf"), "has no finite values there"),
        ("squares", -1.0, "there are those of no data"),
        ("share", -1.0, "there are those of no data"),
        ("low", 1e9, "there are those of no data"),
        ("units", "degC", "is in degC there, in K here"),
    ],
)
def test_numbers_that_no_data_have_are_refused(folder, tmp_path, number, value, message):
    known = json.loads((folder / "known.json").read_text())
    known["sources"][""]["inputs"][WARM][number] = value
    (tmp_path / "odd.json").write_text(json.dumps(known))
    with pytest.raises(InputError, match=f"{WARM} {message}|the values of {WARM} {message}"):
        opened(folder, statistics=str(tmp_path / "odd.json")).setup("fit")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ["2000-01-01", "2000-01-08"]}, "times .*-09.*, 9. there, .*-08.*, 8. here"),
        ({"factor": 2}, "coarse_grid .*4, 8.* there, .*8, 16.* here"),
        ({"fine": "south.nc"}, "coarse_grid .*corners"),
        ({"inputs": [RAIN, WARM, "temperature_850"]}, "temperature_850 is among the inputs here"),
        ({"log1p": []}, f"log1p of {RAIN} is True there, False here"),
        ({"resample": "48h"}, "times |resample None there, 48h here"),
        ({"statistics": "none.json"}, "there is no file .*none.json; `orbitlite statistics"),
        ({"statistics": "bad.json"}, "it is no file of statistics"),
        ({"statistics": "holes.json"}, f"{WARM} has no finite values there"),
    ],
)
def test_other_data_are_refused(folder, changes, message):
    world = generate(12, 16, 32)
    if "fine" in changes and not (folder / "south.nc").exists():
        world = world.assign_coords(longitude=world.longitude + 45.0)
        world.to_netcdf(folder / "south.nc")
    (folder / "bad.json").write_text("[1, 2")
    known = json.loads((folder / "known.json").read_text())
    known["sources"][""]["inputs"][WARM]["mean"] = None
    (folder / "holes.json").write_text(json.dumps(known))
    name = changes.get("statistics", "known.json")
    with pytest.raises(InputError, match=message) as found:
        opened(folder, **(changes | {"statistics": str(folder / name)})).setup("fit")
    assert "\n" not in str(found.value)


def test_the_command_writes_what_a_config_then_reads(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = {
        "model": {"network": {"inputs": [RAIN, WARM], "targets": [RAIN], "factor": 4,
                              "statics": ["orography"]}},
        "data": {"sources": {"a": {"fine": str(folder / "world.nc"), "train": TRAIN},
                             "b": {"fine": "world", "world": {"days": 9, "height": 16, "width": 32},
                                   "train": ["2000-01-01", "2000-01-05"]}},
                 "statistics": "known.json"},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    assert main(["statistics", "-c", "config.yaml", "-o", "known.json"]) == 0
    sources = json.loads((tmp_path / "known.json").read_text())["sources"]
    assert list(sources) == ["a", "b"]
    rain = sources["a"]["targets"][RAIN]
    store = generate(12, 16, 32)[RAIN][:9].values
    store[2:4, 3:7] = np.nan
    assert rain["high"] == pytest.approx(1000 * float(np.nanmax(store)))  # mm
    assert rain["log1p"] is True
    assert main(["statistics", "-c", "config.yaml", "-o", "nowhere/known.json"]) == 2
    assert "cannot write nowhere/known.json" in capsys.readouterr().err
    monkeypatch.setattr(PairDataModule, "setup", lambda *_: pytest.fail("it was read first"))
    for place in (".", str(tmp_path)):
        assert main(["statistics", "-c", "config.yaml", "-o", place]) == 2
        assert "is a folder; expected a file" in capsys.readouterr().err
    for place in ("config.yaml", str(folder / "world.nc")):
        assert main(["statistics", "-c", "config.yaml", "-o", place]) == 2
        assert f"{place}, which is an input." in " ".join(capsys.readouterr().err.split())
