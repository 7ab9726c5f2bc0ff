"""One list of options: functions, accessor and command show and take the same."""

import argparse
import inspect
import pydoc
from dataclasses import FrozenInstanceError, fields
from typing import get_type_hints

import cftime
import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.accessor import OrbitliteAccessor
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.inference import options as module
from orbitlite.inference.options import (
    FileKeywords,
    FileOptions,
    PredictKeywords,
    PredictOptions,
    add_options,
    keywords_of,
)
from orbitlite.notice import OrbitliteWarning
from orbitlite.renamed import current_words

# Spelled out here: what users type, with what it is without them.
PREDICT = {
    "task": None, "statics": None, "accumulation_period": None, "resample": None, "between": None,
    "regrid": None, "tile": None, "halo": None, "tokens": None, "batch_size": None,
    "device": None, "precision": "float32", "members": None, "seed": 0, "statistics": None,
    "fill": False, "progress": True,
}  # fmt: skip
FILE = PREDICT | {"resume": False, "overwrite": False, "part": None}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (orbitlite.predict, PREDICT),
        (OrbitliteAccessor.predict, PREDICT),
        (orbitlite.downscale, FILE),
    ],
)
def test_signature_and_help_list_every_option(function, expected):
    parameters = inspect.signature(function).parameters.values()
    shown = {one.name: one.default for one in parameters if one.kind == one.KEYWORD_ONLY}
    assert shown == expected
    assert all(one.annotation is not one.empty for one in parameters if one.name != "self")
    text = pydoc.plain(pydoc.render_doc(function))
    assert "**options" not in text
    for name in expected:
        assert f"{name}: '" in text  # its type in the signature
        entry = text.partition("tile, halo : " if name in ("tile", "halo") else f"\n    {name} : ")
        assert len(entry[2].partition("\n")[2].partition("\n")[0].strip()) > 20


@pytest.mark.parametrize(
    ("keywords", "options"), [(PredictKeywords, PredictOptions), (FileKeywords, FileOptions)]
)
def test_checkers_of_types_see_the_same(keywords, options):
    known = {one.name: one.type for one in fields(options)}
    kinds = {k: getattr(v, "__forward_arg__", v) for k, v in keywords.__annotations__.items()}
    assert kinds == known
    assert not keywords.__required_keys__
    assert get_type_hints(module.add_options)["parser"] is argparse.ArgumentParser


def test_the_command_takes_them():
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert keywords_of(parser.parse_args([])) == {k: v for k, v in FILE.items() if k != "progress"}
    words = (
        "--task rain --statics s --accumulation-period 1h --resample 24h --between 1990/1991 "
        "--regrid linear "
        "--tile 8 --halo 2 --tokens 0.25 --batch-size 3 --device cpu --precision bf16 "
        "--members 4 --seed 7 --statistics mean,q95 --fill --resume --overwrite --part 2/4"
    )
    found = keywords_of(parser.parse_args(words.split()))
    assert found == {
        "task": "rain", "statics": "s", "accumulation_period": "1h", "resample": "24h",
        "between": "1990/1991",
        "regrid": "linear", "tile": 8, "halo": 2, "tokens": 0.25, "batch_size": 3,
        "device": "cpu", "precision": "bf16", "members": 4, "seed": 7, "statistics": "mean,q95",
        "fill": True, "resume": True, "overwrite": True,
        "part": "2/4",
    }  # fmt: skip
    assert isinstance(keywords_of(parser.parse_args(["--tokens", "64"]))["tokens"], int)
    assert FileOptions.of(found).batch_size == 3


def test_the_command_helps(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["downscale", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        "[--regrid {linear,conservative}] [--tile TILE] [--halo HALO] [--tokens N]",
        "--batch-size N windows per pass: steps, or tiles side by side (default: what memory",
        "--resample WINDOW sum or average sub-daily fields over windows such as 24h, or 24h+9h",
        "--resume go on with an OUT whose making was interrupted",
    ):
        assert text in shown
    assert "progress" not in shown


@pytest.mark.parametrize("function", [orbitlite.predict, orbitlite.downscale])
def test_an_unknown_option_is_told(coarse, bundle, function, tmp_path):
    path = [] if function is orbitlite.predict else [tmp_path / "fine.nc"]
    with pytest.raises(TypeError, match="there is no option 'tlie'; did you mean 'tile'"):
        function(coarse, *path, bundle, tlie=4)
    with pytest.raises(
        TypeError, match="there is no option 'xyz'; there are task, statics, accumulation_period"
    ):
        function(coarse, *path, bundle, xyz=4)
    assert not list(tmp_path.glob("*fine*"))
    if function is orbitlite.predict:
        with pytest.raises(TypeError, match="there is no option 'resume'"):
            function(coarse, bundle, resume=True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"batch_size": 0}, "batch_size should be 1 or more"),
        ({"tile": 0}, "tile: expected 1 or more"),
        ({"halo": -1}, "halo: expected 0 or more"),
        ({"regrid": "cubic"}, "regrid: expected one of linear, conservative"),
    ],
)
def test_values_are_checked_once_and_stay(option, message):
    with pytest.raises(InputError, match=message):
        PredictOptions(**option)
    with pytest.raises(FrozenInstanceError):
        PredictOptions().tile = 3


@pytest.mark.parametrize("lazy", [False, True])
def test_between_predicts_some_times(coarse, bundle, tmp_path, lazy):
    ds = coarse.rename(time="valid_time", lat="latitude").isel(latitude=slice(None, None, -1))
    whole = orbitlite.predict(ds, bundle, batch_size=1)
    ds = ds.chunk(valid_time=2) if lazy else ds
    first, last = (str(ds.valid_time.values[i])[:10] for i in (1, 3))
    options = {"between": f"{first}/{last}", "batch_size": 1}
    found = orbitlite.predict(ds, bundle, **options)
    orbitlite.downscale(ds, tmp_path / "fine.nc", bundle, **options)
    for fine in (
        found,
        orbitlite.open_source(tmp_path / "fine.nc").isel(lat=slice(None, None, -1)),
    ):
        rain = fine["total_precipitation_24hr"]
        expected = whole["total_precipitation_24hr"][1:4]
        np.testing.assert_allclose(rain, expected, rtol=1e-6, atol=1e-6)
    assert found["total_precipitation_24hr"].dims == ("valid_time", "latitude", "lon")
    np.testing.assert_array_equal(found.valid_time, whole.valid_time[1:4])


def test_between_of_another_calendar(coarse, bundle):
    times = [cftime.DatetimeNoLeap(2001, 2, day) for day in range(25, 29)]
    ds = coarse.isel(time=slice(4)).assign_coords(time=times)
    found = orbitlite.predict(ds, bundle, between="2001-02-26/2001-03")
    assert [time.day for time in found.time.values] == [26, 27, 28]


@pytest.mark.parametrize(
    ("between", "message"),
    [
        ("1990", "between should be two dates"),
        ("1991/1990", "between begins at 1991, after its end 1990"),
        ("1850/1860", "between 1850/1860: the data have times from"),
    ],
)
def test_between_that_holds_nothing(coarse, bundle, between, message):
    with pytest.raises(InputError, match=message):
        orbitlite.predict(coarse, bundle, between=between)


@pytest.mark.filterwarnings("ignore:The input has no time")
def test_between_without_time(coarse, bundle):
    with pytest.raises(InputError, match="the data have no time to choose from"):
        orbitlite.predict(coarse.isel(time=0, drop=True), bundle, between="1990/1991")


def test_old_names_work(coarse, bundle):
    expected = orbitlite.predict(coarse, bundle, accumulation_period="24h", progress=False)
    with pytest.warns(OrbitliteWarning, match="^period is now accumulation_period; the old name"):
        found = orbitlite.predict(coarse, bundle, period="24h", progress=False)
    xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
    with pytest.raises(InputError, match="period is the old name of accumulation_period"):
        orbitlite.predict(coarse, bundle, period="24h", accumulation_period="24h")


def test_old_flags_work():
    with pytest.warns(OrbitliteWarning, match="^--batch is now --batch-size; the old name"):
        words = current_words(["downscale", "--batch", "3", "--period=1h"])
    assert words == ["downscale", "--batch-size", "3", "--accumulation-period=1h"]
