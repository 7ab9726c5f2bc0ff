"""Submissions: the tree, the files in it, what is kept, what is refused, and the archive."""

import itertools
import shutil
import zipfile

import netCDF4
import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.cli import main
from orbitlite.cordex import drawing
from orbitlite.cordex.drawing import Predictors, draw
from orbitlite.cordex.form import Form
from orbitlite.cordex.submission import archive
from orbitlite.cordex.task import DOMAINS, EXPERIMENTS, PERIODS, UNITS
from orbitlite.data.unstated import with_units
from orbitlite.errors import InputError
from orbitlite.model.bundle import Bundle, load_bundle, save_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler

pytestmark = pytest.mark.slow
FOLDER = "NZ_Domain/ESD_pseudo_reality"


def files(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_every_test_period_is_there(submitted):
    expected = sorted(
        f"{FOLDER}/{period}/{condition}/Predictions_pr_tasmax_{gcm}_{years}.nc"
        for (period, years), condition, gcm in itertools.product(
            {"historical": "1981-1982", "mid_century": "2041-2042", "end_century": "2080-2081"}
            .items(), ("perfect", "imperfect"), ("ACCESS-CM2", "EC-Earth3"),
        )
    )  # fmt: skip
    assert files(submitted / "out") == expected


def test_a_part_is_not_zipped(submitted):
    assert not (submitted / "out.zip").exists()


@pytest.mark.parametrize("condition", ["perfect", "imperfect"])
def test_a_file_has_the_coordinates_of_the_target_and_the_times_of_the_predictors(
    submitted, condition
):
    root = submitted / "data/NZ/NZ_domain"
    path = submitted / "out" / FOLDER / f"historical/{condition}"
    name = "ACCESS-CM2_1981-1982.nc"
    predictors = root / "test/historical/predictors" / condition / name
    with (
        netCDF4.Dataset(path / f"Predictions_pr_tasmax_{name}") as found,
        netCDF4.Dataset(predictors) as given,
        netCDF4.Dataset(
            root / "train/ESD_pseudo_reality/target/pr_tasmax_ACCESS-CM2_1961-1980.nc"
        ) as target,
    ):
        assert {*found.variables} == {"pr", "tasmax", "lat", "lon", "time", "member"}
        for variable, unit in (("pr", "mm/day"), ("tasmax", "K")):
            assert found[variable].dimensions == ("member", "time", "lat", "lon")
            assert found[variable].shape == (10, 16, 16, 16)
            assert found[variable].units == unit
        np.testing.assert_array_equal(found["member"][:], range(1, 11))
        for axis in ("lat", "lon"):
            np.testing.assert_array_equal(found[axis][:], target[axis][:])
            assert found[axis].dtype == target[axis].dtype
            assert found[axis].units == target[axis].units
        np.testing.assert_array_equal(found["time"][:], given["time"][:])
        assert (found["time"].units, found["time"].calendar) == (
            given["time"].units, {"perfect": "standard", "imperfect": "noleap"}[condition],
        )  # fmt: skip


def test_values_are_those_of_a_prediction(submitted):
    name = "EC-Earth3_2080-2081.nc"
    path = submitted / "data/NZ/NZ_domain/test/end_century/predictors/perfect" / name
    bundle = submitted / "runs/NZ/ESD_pseudo_reality/bundle"
    with xr.open_dataset(path) as ds:
        days = with_units(ds.load(), UNITS).isel(time=slice(3, 5))
    fine = orbitlite.predict(days, bundle, members=10, progress=False)
    place = submitted / "out" / FOLDER / f"end_century/perfect/Predictions_pr_tasmax_{name}"
    with xr.open_dataset(place) as found:
        assert (found.time.dt.hour == 12).all()
        part = found.isel(time=slice(3, 5))
        for ours, channel in (("pr", "total_precipitation_24hr"), ("tasmax", "2m_temperature_max")):
            wanted = fine[channel].sortby("lat").rename(realization="member")
            np.testing.assert_allclose(part["lat"], wanted["lat"], atol=1e-5)
            values = wanted.transpose("member", "time", "lat", "lon")
            np.testing.assert_allclose(part[ours], values, rtol=1e-4, atol=1e-4)
            spread = part[ours].std("member")
            assert (part[ours].std(["time", "lat"]) > 0.05).any()
            assert (spread > 1e-3).any()


def test_parts_of_a_series_make_the_same_file(submitted, monkeypatch, tmp_path):
    monkeypatch.setattr(drawing, "_BYTES", 4 * 2 * 10 * 16 * 16 * 5)  # 5 days at once
    root, name = submitted / "data/NZ/NZ_domain", "ACCESS-CM2_1981-1982.nc"
    predictors = Predictors.of(root / "test/historical/predictors/imperfect" / name)
    target = root / "train/ESD_pseudo_reality/target/pr_tasmax_ACCESS-CM2_1961-1980.nc"
    bundle = load_bundle(str(submitted / "runs/NZ/ESD_pseudo_reality/bundle"))
    done = []
    draw(bundle, predictors, Form.of(target), tmp_path / "parts.nc", {}, done.append)
    assert done == [5, 5, 5, 1]
    whole = submitted / "out" / FOLDER / "historical/imperfect" / f"Predictions_pr_tasmax_{name}"
    with xr.open_dataset(tmp_path / "parts.nc") as ours, xr.open_dataset(whole) as wanted:
        for name in ("pr", "tasmax"):
            np.testing.assert_allclose(ours[name], wanted[name], rtol=1e-4, atol=1e-4)


def test_what_is_there_stays(submitted, kit, monkeypatch, caplog):
    monkeypatch.setattr(drawing, "predict", None)
    before = {path: path.stat().st_mtime_ns for path in (submitted / "out").rglob("*.nc")}
    assert main(kit.words(submitted, "submit", "out", *kit.ONE)) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_model_does_not_go_on(submitted, kit, fails, tmp_path):
    data, runs = submitted / "data", tmp_path / "runs"
    shutil.copytree(submitted / "runs", runs)
    path = runs / "NZ/ESD_pseudo_reality/bundle"
    bundle = load_bundle(str(path))
    bundle.model.decoder.out.weight.data += 0.1
    shutil.rmtree(path)
    save_bundle(path, bundle.model, metadata=bundle.metadata, statics=bundle.statics)
    said = fails("cordex-bench", "submit", data, runs, submitted / "out", *kit.ONE)
    assert "is of another model: choose another OUT" in said


def test_an_end_in_the_midst_leaves_no_file(submitted, kit, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing, "_check_whole", interrupted)
    out = tmp_path / "out"
    words = kit.words(submitted, "submit", "out", *kit.ONE)
    assert main([*words[:4], str(out), *words[5:]]) == 130
    assert files(out) == []


def test_what_cannot_be_submitted_is_refused(submitted, kit, fails, tmp_path):
    data, runs = submitted / "data", submitted / "runs"
    out, step = tmp_path / "out", ("cordex-bench", "submit")
    assert "24 lacking: " in fails(*step, data, runs, out)
    said = fails(*step, data, runs, out, *kit.ONE, "--experiment", "Emulator_hist_future")
    assert "NZ/Emulator_hist_future/bundle is not there: fit it first" in said
    said = fails(*step, data, runs, data / "out", *kit.ONE)
    assert "would replace" in said
    said = fails(*step, data, runs, out, *kit.ONE, "--templates", tmp_path)
    assert "No such file or folder" in said
    assert not out.exists()


def test_times_of_other_years_are_refused(submitted, tmp_path):
    path = submitted / "data/NZ/NZ_domain/test/historical/predictors/perfect"
    path /= "ACCESS-CM2_1981-1982.nc"
    with pytest.raises(InputError, match="its name says 1981-2000, and its times are of 1981-1982"):
        Predictors.of(path).check_years("1981-2000")
    with xr.open_dataset(path) as ds:
        ds.isel(time=[1, 0, 2, -1]).to_netcdf(tmp_path / "turned.nc")
        ds.isel(time=0, drop=True).to_netcdf(tmp_path / "timeless.nc")
    with pytest.raises(InputError, match="its times should ascend"):
        Predictors.of(tmp_path / "turned.nc").check_years("1981-1982")
    with pytest.raises(InputError, match="has no times"):
        Predictors.of(tmp_path / "timeless.nc")


def test_cells_without_predictors_are_refused(submitted, kit, fails, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(submitted / "data", data)
    path = data / "NZ/NZ_domain/test/historical/predictors/perfect/ACCESS-CM2_1981-1982.nc"
    with netCDF4.Dataset(path, "a") as file:
        for name in ("z_700", "t_850", "u_500"):  # all that the small network looks at
            file[name][2] = np.nan
    said = fails("cordex-bench", "submit", data, submitted / "runs", tmp_path / "out", *kit.ONE)
    assert "pr is missing in 2560 of 40960 values" in said
    assert files(tmp_path / "out") == []


def test_a_model_without_members_gives_one_field(submitted, kit, tmp_path):
    runs = tmp_path / "runs"
    save(runs / "NZ/ESD_pseudo_reality/bundle", submitted, noise=0)
    out = tmp_path / "out"
    step = ["cordex-bench", "submit", str(submitted / "data"), str(runs), str(out), *kit.ONE]
    assert main(step) == 0
    with xr.open_dataset(next(out.rglob("*.nc"))) as ds:
        assert ds["pr"].dims == ("time", "lat", "lon")


def test_a_model_of_other_targets_is_refused(submitted, kit, fails, tmp_path):
    runs = tmp_path / "runs"
    path = runs / "NZ/ESD_pseudo_reality/bundle"
    save(path, submitted, targets=["total_precipitation_24hr"])
    said = fails("cordex-bench", "submit", submitted / "data", runs, tmp_path / "out", *kit.ONE)
    assert "predicts total_precipitation_24hr, and the benchmark asks for" in said


def save(path, submitted, **changes):
    """Save a bundle like the fitted one, with another network and without training."""
    fitted: Bundle = load_bundle(str(submitted / "runs/NZ/ESD_pseudo_reality/bundle"))
    model = Downscaler(DownscalerConfig.from_dict({**fitted.model.config.to_dict(), **changes}))
    ends = np.zeros(3), np.ones(3)
    model.set_statistics(input_mean=ends[0], input_std=ends[1])
    save_bundle(path, model.eval(), metadata=fitted.metadata, statics=fitted.statics)


@pytest.fixture
def whole(tmp_path):
    """Return a submission that has all its files, of nothing."""
    out = tmp_path / "mine"
    for domain, experiment, period, condition in itertools.product(
        DOMAINS.values(), EXPERIMENTS, PERIODS, ("perfect", "imperfect")
    ):
        folder = out / f"{domain.name}_Domain" / experiment / period / condition
        folder.mkdir(parents=True)
        for gcm in domain.gcms:
            member(folder / f"Predictions_pr_tasmax_{gcm}_1981-2000.nc")
    return out


def member(path, name="member"):
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension(name, 10)


def test_what_is_whole_is_zipped(whole):
    (whole / "ALPS_Domain/.Predictions_pr_tasmax_CNRM-CM5_1981-2000.nc.partial1").touch()
    archive(whole)
    with zipfile.ZipFile(whole.with_name("mine.zip")) as found:
        names = found.namelist()
        assert found.testzip() is None
    assert sorted(names) == [f"mine/{name}" for name in files(whole) if "partial" not in name]
    assert len(names) == 72


def test_what_is_not_whole_is_not_zipped(whole):
    path = next(whole.rglob("*NorESM2-MM*.nc"))
    path.unlink()
    with pytest.warns(orbitlite.notice.OrbitliteWarning, match="1 files lack, such as .*NorESM2"):
        archive(whole)
    member(path, "time")
    with pytest.raises(InputError, match=r"has members and .* has none"):
        archive(whole)
    assert not whole.with_name("mine.zip").exists()


def test_lambert(kit, template, tmp_path, small):
    made = kit.Made(tmp_path / "data", "ALPS", kit.lambert(template("ALPS")))
    made.training(kit.ESD)
    made.tests()
    one = ["--domain", "ALPS", "--experiment", kit.ESD]
    assert main(kit.fit_words(tmp_path, "ALPS", kit.ESD, small)) == 0
    assert main(kit.words(tmp_path, "submit", "out", *one)) == 0
    place = f"out/ALPS_Domain/{kit.ESD}/end_century/imperfect"
    path = tmp_path / place / "Predictions_pr_tasmax_CNRM-CM5_2080-2081.nc"
    with xr.open_dataset(path) as ds, xr.open_dataset(template("ALPS")) as whole:
        assert ds["pr"].dims == ("member", "time", "y", "x")
        part = whole.isel(y=slice(50, 66), x=slice(40, 56))
        for name in ("y", "x", "lat", "lon"):
            np.testing.assert_array_equal(ds[name], part[name])
            assert ds[name].attrs["units"] == part[name].attrs["units"]
        predictors = made.root / "test/end_century/predictors/imperfect/CNRM-CM5_2080-2081.nc"
        with xr.open_dataset(predictors) as given:
            days = with_units(given.load(), UNITS)
        model = tmp_path / "runs/ALPS" / kit.ESD / "bundle"
        fine = orbitlite.predict(days, model, members=10, progress=False).sortby("y")
        wanted = fine["2m_temperature_max"].transpose("realization", "time", "y", "x")
        np.testing.assert_allclose(fine["lat"], ds["lat"], atol=1e-4)
        np.testing.assert_allclose(ds["tasmax"], wanted, rtol=1e-4)


@pytest.mark.parametrize("domain", ["ALPS", "NZ", "SA"])
def test_templates_give_the_coordinates(template, domain):
    path = template(domain)
    form = Form.of(path)
    assert form.shape == (128, 128)
    assert form.turned  # rows from south to north
    with xr.open_dataset(path, decode_times=False) as ds:
        assert form.dims == ds["pr"].dims[1:]
        assert {*form.coordinates} == {*ds.coords} - {"time"}
        for name, variable in form.coordinates.items():
            np.testing.assert_array_equal(variable.values, ds[name].values)
            assert variable.dtype == ds[name].dtype
