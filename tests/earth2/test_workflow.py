"""Bundles in the workflows of Earth2Studio itself, where that is installed."""

import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.earth2 import Earth2Downscaler
from orbitlite.earth2.lexicon import LEVELS, TERMS, term_of
from orbitlite.errors import InputError
from orbitlite.model.bundle import save_bundle

REASON = "earth2studio is not installed (pip install 'orbitlite[earth2studio]')"
data, io, lexicon, dx, px, run = (
    pytest.importorskip(f"earth2studio.{name}", reason=REASON)
    for name in ("data", "io", "lexicon.base", "models.dx", "models.px", "run")
)

ROOT = Path(__file__).parents[2]
RAIN = "total_precipitation_24hr"
STARTS = np.array(["2001-01-02", "2001-01-04"], "datetime64[ns]")
DAY = np.timedelta64(24, "h")
CPU = torch.device("cpu")


class Fields:
    """A source of data: rain and temperature of ERA5, called as in Earth2Studio."""

    def __init__(self, era5):
        parts = [era5[name].rename(latitude="lat", longitude="lon") for name in ("tp", "t2m")]
        self.array = xr.concat(parts, "variable").assign_coords(variable=["tp24", "t2m"])

    def __call__(self, time, variable):
        found = self.array.sel(time=np.atleast_1d(time), variable=np.atleast_1d(variable))
        return found.transpose("time", "variable", "lat", "lon")

    @property
    def space(self):
        return OrderedDict((axis, self.array[axis].values) for axis in ("lat", "lon"))

    def persistence(self):
        return px.Persistence(["t2m", "tp24"], self.space, dt=DAY)


@pytest.fixture
def source(era5):
    return Fields(era5)


@pytest.fixture
def model(bundle_for, grid):
    """Return a function that makes a model of rain and temperature."""

    def make(grid=grid, network=None, **options):
        bundle = bundle_for(grid, [RAIN, "2m_temperature"], [RAIN], **(network or {}))
        return Earth2Downscaler.load(bundle, **options)

    return make


def predicted(model, era5, valid, **options):
    """Return in metres what `predict` makes of the fields of the starts, as of other times."""
    there = era5[["tp", "t2m"]].sel(time=STARTS).assign_coords(time=valid)
    found = there.orbitlite.predict(model.bundle, **options)[RAIN]
    return (found.values.astype("f8") / 1000).astype("f4")


def forecast(model, source, steps, backend=io.KVBackend):
    """Run the workflow from both starts."""
    prognostic, store = source.persistence(), backend()
    run.diagnostic(STARTS, steps, prognostic, model, source, store, verbose=False, device=CPU)
    return store


@pytest.mark.parametrize("backend", [io.KVBackend, io.ZarrBackend])
@pytest.mark.parametrize("noise", [0, 2])
def test_diagnostic_workflow(model, source, era5, backend, noise):
    one = model(network={"noise": noise})
    assert isinstance(one, dx.DiagnosticModel)
    store = forecast(one, source, 2, backend)
    assert np.asarray(store["tp24"]).shape == (2, 3, 12, 16)
    for step in range(3):
        expected = predicted(one, era5, STARTS + step * DAY)
        assert np.array_equal(np.asarray(store["tp24"])[:, step], expected)
    assert np.array_equal(np.asarray(store["lat"]), one.output_coords(one.input_coords())["lat"])


def test_diagnostic_workflow_of_a_region(model, source, era5, grid):
    one = model(grid.select(np.arange(1, 5), np.arange(2, 6)))
    store = forecast(one, source, 1)
    assert np.array_equal(store["tp24"][:, 1], predicted(one, era5, STARTS + DAY))


def test_a_workflow_on_other_cells_is_refused_and_not_served_the_nearest(model, era5):
    north = era5.assign_coords(latitude=era5["latitude"] + 0.25)
    source = Fields(north)
    with pytest.raises(InputError, match="do not cover this region"):
        forecast(model(), source, 1)
    one = model(regrid="linear")
    x, coords = data.fetch_data(source, STARTS, one.input_coords()["variable"])
    assert [*coords] == ["time", "lead_time", "variable", "lat", "lon"]
    fine, _ = one(x, coords)
    expected = predicted(one, north, STARTS, regrid="linear")
    assert np.array_equal(fine[:, 0, 0], expected, equal_nan=True)


def test_forecasts_of_an_ensemble(model, source, era5):
    one = model(network={"noise": 2}, members=2, seed=1)
    x, coords = data.fetch_data(source, STARTS, one.input_coords()["variable"])
    coords = OrderedDict(ensemble=np.arange(4, 6), **coords)
    fine, found = one(torch.stack([x, x]), coords)
    assert [*found] == ["ensemble", "time", "lead_time", "sample", "variable", "lat", "lon"]
    for place, number in enumerate((4, 5)):
        expected = predicted(one, era5, STARTS, members=2, seed=1 + number)
        assert np.array_equal(fine[place, :, 0, :, 0].transpose(0, 1), expected)


def test_wrapped_with_a_prognostic_model(model, source, era5):
    one = model()
    wrapped = px.DiagnosticWrapper(source.persistence(), one)
    x, coords = data.fetch_data(source, STARTS, np.array(["t2m", "tp24"]))
    fine, found = wrapped(x, coords)
    assert found["variable"].tolist() == ["tp24"]
    assert np.array_equal(fine[:, 0, 0], predicted(one, era5, STARTS + DAY))


def test_the_lexicon_is_that_of_earth2studio():
    said = {"0 - 1": "1", "0-1": "1", "m of water equivalent": "m", "m³/m³": "m3 m-3"}
    levels = {name for name in lexicon.E2STUDIO_VOCAB if re.fullmatch(r"[a-z]+\d+", name)}
    levels = {name for name in levels if re.sub(r"\d", "", name) in LEVELS}
    assert len(levels) > 100
    for name in {*TERMS, *levels} - {"t2m_max", "t2m_min"}:
        text, term = lexicon.E2STUDIO_VOCAB[name], term_of(name)
        units = [said.get(unit, unit) for unit in re.findall(r"\(([^()]*)\)", text)]
        assert term.units in units or name in ("lsm", "sdor", "slor"), name
        past = re.search(r"past (\d+) hour", text)
        assert term.hours == (int(past[1]) if past else None), name
        level = re.search(r"at (\d+) hPa", text)
        assert name in TERMS or term.channel.endswith(f"_{level[1]}"), name


def test_the_readme(model, source, era5, tmp_path, monkeypatch):
    one = model()
    monkeypatch.chdir(tmp_path)
    save_bundle("bundle", one.bundle.model, metadata={"training": {}}, statics=one.bundle.statics)
    monkeypatch.setattr(data, "WB2ERA5", lambda: source)
    readme = (ROOT / "README.md").read_text().split("\n## Earth2Studio\n")[1].split("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", readme, flags=re.S)
    names = {"prognostic": source.persistence()}
    exec(compile(code, "README.md", "exec"), names)
    assert names["fine"].shape == (1, 1, 1, 12, 16)
    there = xr.open_zarr("fine.zarr", consolidated=False)
    assert np.array_equal(there["tp24"][0, 0], names["fine"][0, 0, 0])
    assert there["tp24"].sizes["lead_time"] == 5
