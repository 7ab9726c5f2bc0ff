"""Inputs beyond the range of training: counted, and told once in every way to predict."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.cli import main
from orbitlite.data.tiles import TilePlan
from orbitlite.errors import InputError
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.inference.excess import Excess
from orbitlite.model.bundle import load_bundle, save_bundle
from orbitlite.notice import OrbitliteWarning

RAIN, HEAT = "total_precipitation_24hr", "2m_temperature"
SAID = "goes beyond the training"


class Fault(BaseException):
    """Ends a job at once, as a kill does."""


@pytest.fixture
def trained(globe, globe_bundle):
    """Return the bundle as if trained on the globe, and a globe that goes beyond it."""
    ranges = {name: [float(globe[name].min()), float(globe[name].max())] for name in (RAIN, HEAT)}
    wild = globe.copy(deep=True)
    wild[RAIN][0, 5, 10:30] = ranges[RAIN][1] + np.linspace(0.1, 90, 20)
    wild[RAIN][1, 20, 3] = ranges[RAIN][1] + 150
    wild[HEAT][0, 7, 7] = ranges[HEAT][0] - 40
    return replace(globe_bundle, metadata={"training": {"ranges": ranges}}), wild


def expected(globe, wild, where="The input"):
    """Count with numpy."""
    parts = []
    for name, unit in ((RAIN, "mm"), (HEAT, "K")):
        low, high = float(globe[name].min()), float(globe[name].max())
        values = wild[name].values
        above, below = values > high, values < low
        ends = [f"down to {values[below].min():.6g}"] if below.any() else []
        ends += [f"up to {values[above].max():.6g}"] if above.any() else []
        if not ends:
            continue
        parts.append(
            f"{name}: {(above | below).sum():,} of {np.isfinite(values).sum():,} values beyond the "
            f"{low:.6g} to {high:.6g} {unit} of training ({' and '.join(ends)} {unit})"
        )
    return f"{where} {SAID}, where the network can only guess: {'; '.join(parts)}."


def said(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    texts = [str(one.message) for one in found if issubclass(one.category, OrbitliteWarning)]
    return [text for text in texts if SAID in text]


OPTIONS = [{}, {"tile": 7, "halo": 4, "batch_size": 2}, {"tile": 16, "halo": 2, "batch_size": 1}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("northward", [False, True])
def test_every_value_is_counted_once_in_one_warning_per_call(trained, globe, options, northward):
    bundle, wild = trained
    source = wild.isel(lat=slice(None, None, -1)) if northward else wild
    for _ in range(2):
        assert said(lambda: orbitlite.predict(source, bundle, **options)) == [expected(globe, wild)]
    assert said(lambda: source.orbitlite.predict(bundle, **options)) == [expected(globe, wild)]


@pytest.mark.parametrize("options", [{}, {"tile": 20, "halo": 4, "batch_size": 1}])
def test_files_and_the_command(trained, globe, tmp_path, caplog, options):
    bundle, wild = trained
    found = said(lambda: orbitlite.downscale(wild, tmp_path / "f.zarr", bundle, **options))
    assert found == [expected(globe, wild)]
    caplog.clear()
    wild.to_netcdf(tmp_path / "coarse.nc")
    save_bundle(tmp_path / "b", bundle.model, metadata=bundle.metadata, statics=bundle.statics)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    words += ["--model", str(tmp_path / "b")]
    assert main(["downscale", str(tmp_path / "coarse.nc"), str(tmp_path / "f.nc"), *words]) == 0
    assert [r.message for r in caplog.records if SAID in r.message] == [expected(globe, wild)]


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_within_the_range_and_nothing_of_a_bundle_without_one(
    trained, globe, globe_bundle, tmp_path, options
):
    bundle, wild = trained
    assert said(lambda: orbitlite.predict(globe, bundle, **options)) == []
    assert said(lambda: orbitlite.predict(globe.chunk(), bundle, **options).load()) == []
    assert said(lambda: orbitlite.predict(wild, globe_bundle, **options)) == []
    old = replace(globe_bundle, metadata={})
    assert said(lambda: orbitlite.predict(wild, old, **options)) == []


def test_lazy_blocks_tell_of_the_first(trained, globe):
    bundle, wild = trained
    fine = orbitlite.predict(wild.chunk(time=1), bundle, batch_size=1)
    [text] = said(lambda: fine[RAIN].load(scheduler="synchronous"))
    where = "The input of the first block of which this holds"
    assert text in [expected(globe, wild.isel(time=[day]), where) for day in (0, 1)]
    assert said(lambda: fine[RAIN].load()) == []


def test_a_job_that_goes_on_tells_of_what_it_reads(trained, globe, tmp_path, monkeypatch):
    bundle, wild = trained
    options = {"tile": 16, "halo": 2, "batch_size": 1, "progress": False}
    whole, done = PlacedNetwork.cores, []

    def failing(self, windows, tiles, *more):
        if len(done) == 5:
            raise Fault
        done.extend(tiles)
        return whole(self, windows, tiles, *more)

    with monkeypatch.context() as patch:
        patch.setattr(PlacedNetwork, "cores", failing)
        with pytest.raises(Fault):
            orbitlite.downscale(wild, tmp_path / "f.zarr", bundle, **options)
    monkeypatch.setattr(
        PlacedNetwork,
        "cores",
        lambda self, w, tiles, *more: done.append(tiles) or whole(self, w, tiles, *more),
    )
    done.clear()
    found = said(
        lambda: orbitlite.downscale(wild, tmp_path / "f.zarr", bundle, resume=True, **options)
    )
    counted = np.zeros((2, 40, 80), bool)
    assert len(done) < 30
    plan = TilePlan(40, 80, 16, 2, True, 2)
    items = [(day, tile) for day in range(2) for tile in plan.tiles]
    for day, tile in items[-len(done) :]:
        counted[(day, *tile.core)] = True
    left = wild.where(xr.DataArray(counted, dims=("time", "lat", "lon")))
    where = "The input of what was predicted now"
    assert found == [expected(globe, left, where)]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.0, 60.0], []),
        ([60.0005] * 9, []),  # rounding
        ([60.01] * 2, ["2 of 1,000"]),  # 2 in a thousand
        ([60.01], []),  # few, and not far
        ([65.9], []),
        ([66.1], ["1 of 1,000"]),  # a tenth of the range further
        ([-6.1], ["1 of 1,000"]),
        ([np.inf, np.nan], []),  # missing, for the network as well
    ],
)
def test_what_is_told(values, told):
    excess = Excess([RAIN], {RAIN: [0.0, 60.0]})
    fields = np.full((10, 1, 10, 10), 30.0, np.float32)
    fields[0, 0, 0, : len(values)] = values
    excess.update(fields, TilePlan(10, 10).tiles[0])
    found = said(excess.tell)
    assert len(found) == len(told)
    assert all(text in found[0] for text in told)


def test_a_constant_and_a_channel_that_training_had_not():
    inputs = [RAIN, HEAT, "land_sea_mask", "orography"]
    excess = Excess(inputs, {HEAT: [280.0, 280.0], "land_sea_mask": [1.0, 1.0], RAIN: [0.0, 9.0]})
    fields = np.ones((4, 2, 5), np.float32)
    fields[1], fields[2, 0, :3], fields[3, 1] = 280.0, 0.0, np.nan
    excess.update(fields, TilePlan(2, 5).tiles[0])
    [text] = said(excess.tell)
    assert text.endswith(
        "guess: land_sea_mask: 3 of 10 values beyond the 1 to 1 of training (down to 0); "
        "orography: 5 of 5 values, of which training had none."
    )


def test_a_channel_of_which_training_had_no_value_is_missing_to_the_network(trained, globe):
    bundle, _ = trained
    rain = {RAIN: bundle.metadata["training"]["ranges"][RAIN]}
    other = replace(bundle, metadata={"training": {"ranges": rain}})
    with pytest.warns(OrbitliteWarning, match=f"training had no value of them: {HEAT}") as found:
        fine = orbitlite.predict(globe, other)
    assert SAID not in "".join(str(one.message) for one in found)
    without = orbitlite.predict(globe.drop_vars(HEAT), other)
    np.testing.assert_array_equal(fine[RAIN], without[RAIN])
    assert not np.array_equal(fine[RAIN], orbitlite.predict(globe, bundle)[RAIN])


def test_of_many_channels_the_rest_are_named():
    inputs = [f"temperature_{level}" for level in range(100, 1100, 100)]
    excess = Excess(inputs, {name: [200.0, 300.0] for name in inputs})
    excess.update(np.full((10, 2, 2), 350, np.float32), TilePlan(2, 2).tiles[0])
    [text] = said(excess.tell)
    assert text.count("4 of 4") == 8
    assert text.endswith("; and as well temperature_900, temperature_1000.")


def test_several_models_tell_once_what_is_beyond_any(trained, globe, tmp_path):
    bundle, _ = trained
    ranges = [{RAIN: [0, 9], HEAT: [270, 300]}, {RAIN: [1, 12]}, {}]
    paths = [tmp_path / str(number) for number in range(3)]
    for path, one in zip(paths, ranges, strict=True):
        save_bundle(path, bundle.model, metadata={"training": {"ranges": one}},
                    statics=bundle.statics)  # fmt: skip
    with pytest.warns(OrbitliteWarning) as found:
        orbitlite.predict(globe, paths)
    [text] = [str(one.message) for one in found if SAID in str(one.message)]
    rain = globe[RAIN].values
    count = ((rain < 1 - 1e-4) | (rain > 9 + 1e-4)).sum()
    assert f"{RAIN}: {count:,} of {np.isfinite(rain).sum():,} values beyond the 1 to 9 mm" in text
    heat = globe[HEAT].values
    count = ((heat < 270 - 0.03) | (heat > 300 + 0.03)).sum()
    assert (
        f"{HEAT}: {count:,} of {np.isfinite(heat).sum():,} values beyond the 270 to 300 K" in text
    )
    [left] = [str(one.message) for one in found if "Left out" in str(one.message)]
    assert left.endswith(
        f"of the 3 models (how many), because their training had no value of them: {HEAT} (1)."
    )
    assert said(lambda: orbitlite.predict(globe, [paths[2], paths[2]])) == []


def test_of_several_models_each_does_without_what_it_has_not_seen(trained, globe, tmp_path):
    bundle, _ = trained
    ranges = [{RAIN: [0, 9], HEAT: [270, 300]}, {RAIN: [0, 9]}]
    paths = [tmp_path / str(number) for number in range(2)]
    for path, one in zip(paths, ranges, strict=True):
        save_bundle(path, bundle.model, metadata={"training": {"ranges": one}},
                    statics=bundle.statics)  # fmt: skip
    mean = orbitlite.predict(globe, paths)[RAIN]
    apart = [orbitlite.predict(globe, path)[RAIN] for path in paths]
    assert not np.array_equal(*apart)
    xr.testing.assert_allclose(mean, (apart[0] + apart[1]) / 2, rtol=1e-5)


def test_a_bundle_says_it_on_its_card(trained, tmp_path):
    bundle, _ = trained
    ranges = {RAIN: [0.0, 55.25], "no_channel": [1, 2]}
    save_bundle(tmp_path / "b", bundle.model, metadata={"training": {"ranges": ranges}})
    card = (tmp_path / "b/README.md").read_text()
    assert f"- {RAIN}: 0 to 55.25 mm in training\n- {HEAT}\n" in card
    assert "ranges" not in card
    assert load_bundle(tmp_path / "b").metadata["training"]["ranges"] == ranges


@pytest.mark.parametrize("wrong", [3, [], {RAIN: 3}, {RAIN: [1]}, {RAIN: [2, 1]}, {RAIN: [0, None]},
                                   {RAIN: [0, float("inf")]}, {RAIN: [float("nan"), 1]},
                                   {RAIN: [0, "1"]}, {RAIN: [False, True]}])  # fmt: skip
def test_ranges_that_are_none_are_refused(trained, tmp_path, wrong):
    bundle, _ = trained
    save_bundle(tmp_path / "b", bundle.model, metadata={"training": {"ranges": None}})
    load_bundle(tmp_path / "b")
    record = json.loads((tmp_path / "b/config.json").read_text())
    record["metadata"]["training"]["ranges"] = wrong
    (tmp_path / "b/config.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="ranges: expected a smallest and a largest value by name"):
        load_bundle(tmp_path / "b")
