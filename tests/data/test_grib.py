from __future__ import annotations

import eccodes
import numpy as np
import pytest

from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

ROWS, COLUMNS = 3, 4


def write(path, messages):
    """Write GRIB2 messages on a 3x4 grid from 52 N, 5 W: (short name, step range, values, keys).

    Precipitation is taken in mm and stored in m, as ECMWF does.
    """
    with open(path, "wb") as file:
        for name, steps, values, keys in messages:
            message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            settings = {
                "Ni": COLUMNS,
                "Nj": ROWS,
                "latitudeOfFirstGridPointInDegrees": 52,
                "latitudeOfLastGridPointInDegrees": 51,
                "longitudeOfFirstGridPointInDegrees": 355,
                "longitudeOfLastGridPointInDegrees": 356.5,
                "iDirectionIncrementInDegrees": 0.5,
                "jDirectionIncrementInDegrees": 0.5,
                "dataDate": 20180501,
                "dataTime": 0,
                "shortName": name,
                **keys,
                "stepRange": steps,
                "bitsPerValue": 24,
            }
            for key, value in settings.items():
                eccodes.codes_set(message, key, value)
            stored = np.asarray(values, float).ravel() / (1000 if name == "tp" else 1)
            eccodes.codes_set_values(message, stored)
            eccodes.codes_write(message, file)
            eccodes.codes_release(message)


def fields(count, seed=0):
    return np.random.default_rng(seed).gamma(0.5, 4.0, (count, ROWS, COLUMNS))


ACCUMULATED = {"stepType": "accum"}


def test_mixed_levels_in_one_file(tmp_path):
    temperature, wind, upper = 280 + fields(2), fields(2, 1), 250 + fields(2, 2)
    isobaric = {"typeOfLevel": "isobaricInhPa"}
    write(
        tmp_path / "x.grib",
        [
            *(("2t", str(step), temperature[step], {}) for step in range(2)),
            *(("10u", str(step), wind[step], {}) for step in range(2)),
            *(
                ("t", "0", upper[n], {**isobaric, "level": level})
                for n, level in enumerate((500, 850))
            ),
            *(
                ("t", "1", upper[n] + 1, {**isobaric, "level": level})
                for n, level in enumerate((500, 850))
            ),
        ],
    )
    ds = open_source(tmp_path / "x.grib")
    np.testing.assert_allclose(ds["2m_temperature"], temperature, rtol=1e-5)
    np.testing.assert_allclose(ds["10m_u_component_of_wind"], wind, atol=1e-3)
    np.testing.assert_allclose(ds["temperature_850"], [upper[1], upper[1] + 1], rtol=1e-5)
    np.testing.assert_array_equal(ds["lat"], [52, 51.5, 51])
    np.testing.assert_allclose(ds["lon"] % 360, [355, 355.5, 356, 356.5])
    assert str(ds["time"].values[1]).startswith("2018-05-01T01:00")


def test_sums_from_the_start_of_the_run_are_differenced(tmp_path, caplog):
    amounts = fields(4)
    sums = amounts.cumsum(0)
    write(
        tmp_path / "x.grib",
        [("tp", f"0-{3 * (n + 1)}", sums[n], ACCUMULATED) for n in range(4)],
    )
    with caplog.at_level("INFO"):
        rain = open_source(tmp_path / "x.grib")["total_precipitation_3hr"]
    np.testing.assert_allclose(rain, amounts, atol=1e-3)
    assert rain.chunks is not None
    assert str(rain["time"].values[0]).startswith("2018-05-01T03:00")
    with pytest.raises(InputError, match="amounts over 3 h"):
        open_source(tmp_path / "x.grib", ["total_precipitation_24hr"])


def test_one_file_per_step(tmp_path):
    amounts, temperature = fields(3), 280 + fields(3)
    sums = amounts.cumsum(0)
    for n in range(3):
        messages = [
            ("2t", str(n + 1), temperature[n], {}),
            ("tp", f"0-{n + 1}", sums[n], ACCUMULATED),
        ]
        write(tmp_path / f"{n}.grib", messages)
    ds = open_source(tmp_path / "*.grib", ["2m_temperature", "total_precipitation"])
    np.testing.assert_allclose(ds["total_precipitation"], amounts, atol=1e-3)
    np.testing.assert_allclose(ds["2m_temperature"], temperature, rtol=1e-5)
    with pytest.raises(InputError, match="same step of the same run"):
        open_source([tmp_path / "0.grib", tmp_path / "0.grib"], ["total_precipitation"])


def test_amounts_per_step_are_left_as_they_are(tmp_path):
    amounts = fields(3)
    write(tmp_path / "x.grib", [("tp", f"{n}-{n + 1}", amounts[n], ACCUMULATED) for n in range(3)])
    rain = open_source(tmp_path / "x.grib", ["total_precipitation"])["total_precipitation"]
    np.testing.assert_allclose(rain, amounts, atol=1e-3)


def test_noise_of_the_packing_becomes_zero(tmp_path):
    sums = np.full((2, ROWS, COLUMNS), 5.0)
    sums[1, 0, 0] -= 0.01
    sums[1, 1, 1] += 2
    write(tmp_path / "x.grib", [("tp", f"0-{n + 1}", sums[n], ACCUMULATED) for n in range(2)])
    rain = open_source(tmp_path / "x.grib")["total_precipitation"].values
    assert rain[1, 0, 0] == 0
    assert rain[1, 1, 1] == pytest.approx(2, abs=1e-3)


def test_uneven_steps_are_an_error(tmp_path):
    sums = fields(3).cumsum(0)
    ends = (1, 2, 6)
    write(
        tmp_path / "x.grib",
        [("tp", f"0-{e}", s, ACCUMULATED) for e, s in zip(ends, sums, strict=True)],
    )
    with pytest.raises(InputError, match="'tp' is accumulated over steps of 1, 4 h"):
        open_source(tmp_path / "x.grib")


def test_statics_have_no_time_and_no_index_file_is_left(tmp_path):
    mask = np.arange(12).reshape(3, 4) / 12
    write(tmp_path / "x.grib", [("lsm", "0", mask, {})])
    ds = open_source(tmp_path / "x.grib")
    assert ds["land_sea_mask"].dims == ("lat", "lon")
    np.testing.assert_allclose(ds["land_sea_mask"], mask, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["x.grib"]


def test_grib_is_known_by_its_content_and_read_over_http(tmp_path, serve):
    write(tmp_path / "analysis", [("2t", "0", 280 + fields(1), {})])
    assert "2m_temperature" in open_source(tmp_path / "analysis")
    ds = open_source(f"{serve()}/analysis")
    np.testing.assert_allclose(ds["2m_temperature"], 280 + fields(1), rtol=1e-5)


@pytest.mark.parametrize("kept", [0.4, 0.9])
def test_truncated_grib(tmp_path, kept):
    path = tmp_path / "x.grib"
    write(path, [("2t", str(n), 280 + fields(1), {}) for n in range(4)])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=r"Could not open .*x\.grib"):
        open_source(path)


def objects(path):
    """Return the file as cfgrib gives it, in memory, without the start of its steps."""
    import cfgrib

    return cfgrib.open_dataset(path, backend_kwargs={"indexpath": ""}).load()


@pytest.fixture
def runs(tmp_path):
    """Return amounts (run, step, lat, lon) and the file of their totals since the start."""
    amounts = fields(8).reshape(2, 4, ROWS, COLUMNS)
    sums = amounts.cumsum(1)
    messages = [
        ("tp", f"0-{6 * (n + 1)}", sums[run, n], {**ACCUMULATED, "dataDate": 20180501 + run})
        for run in range(2)
        for n in range(4)
    ]
    write(tmp_path / "runs.grib", messages)
    return amounts, tmp_path / "runs.grib"


@pytest.mark.parametrize("period", [None, "6h", "24h"])
@pytest.mark.parametrize("form", ["object", "lazy", "netcdf", "shuffled"])
def test_totals_of_runs_as_an_object(runs, tmp_path, period, form):
    amounts, path = runs
    ds = objects(path)
    if form == "netcdf":
        ds.to_netcdf(tmp_path / "x.nc")
    source = {
        "object": ds,
        "lazy": ds.chunk(step=1),
        "netcdf": tmp_path / "x.nc",
        "shuffled": ds.isel(step=[2, 0, 3, 1]),
    }[form]
    with pytest.warns(OrbitliteWarning, match="accumulated from the start of the run"):
        rain = open_source(source, ["total_precipitation_6hr"], accumulation_period=period)
    expected = open_source(path, ["total_precipitation_6hr"])
    np.testing.assert_array_equal(rain["time"], expected["time"])
    rain = rain["total_precipitation_6hr"]
    np.testing.assert_allclose(rain, amounts.reshape(8, ROWS, COLUMNS), atol=1e-3)
    np.testing.assert_allclose(rain, expected["total_precipitation_6hr"], atol=1e-4)
    assert (rain.chunks is not None) == (form in ("lazy", "netcdf"))


def test_totals_of_runs_with_a_step_before_which_nothing_fell(tmp_path):
    amounts = fields(3)
    sums = np.concatenate([0 * amounts[:1], amounts.cumsum(0)])
    write(tmp_path / "x.grib", [("tp", f"0-{n}", s, ACCUMULATED) for n, s in enumerate(sums)])
    found = open_source(objects(tmp_path / "x.grib"), ["total_precipitation"])
    expected = open_source(tmp_path / "x.grib", ["total_precipitation"])
    np.testing.assert_array_equal(found["time"], expected["time"])
    np.testing.assert_allclose(found["total_precipitation"], amounts, atol=1e-3)


def test_uneven_steps_of_an_object_are_an_error(runs):
    with pytest.raises(InputError, match="'tp' is accumulated over steps of 6, 12 h"):
        open_source(objects(runs[1]).isel(step=[0, 2, 3]), ["total_precipitation_6hr"])


def test_amounts_per_step_as_an_object(tmp_path):
    """As in ERA5, whose forecasts count from hour to hour: only the path tells."""
    amounts = fields(6)
    write(tmp_path / "x.grib", [("tp", f"{n}-{n + 1}", amounts[n], ACCUMULATED) for n in range(6)])
    ds = objects(tmp_path / "x.grib")
    with pytest.raises(InputError, match=r"falls along 'step'.*by its path"):
        open_source(ds, ["total_precipitation"])
    with pytest.warns(OrbitliteWarning, match="taken as amounts per step over 1h"):
        rain = open_source(ds, ["total_precipitation"], accumulation_period="1h")[
            "total_precipitation"
        ]
    np.testing.assert_allclose(rain, amounts, atol=1e-3)
    known = ds.assign_coords(startStep=("step", np.arange(6)))
    rain = open_source(known, ["total_precipitation"])["total_precipitation"]
    np.testing.assert_allclose(rain, amounts, atol=1e-3)
    ds["tp"].attrs["accumulation_hours"] = 1
    rain = open_source(ds, ["total_precipitation"])["total_precipitation"]
    np.testing.assert_allclose(rain, amounts, atol=1e-3)
    lazy = open_source(
        objects(tmp_path / "x.grib").chunk(), ["total_precipitation"], accumulation_period="1h"
    )
    with pytest.raises(InputError, match="falls by up to"):
        lazy.compute()


def test_one_step_of_an_object(runs):
    amounts, path = runs
    ds = objects(path).isel(step=1)
    for period in (None, "6h"):
        with pytest.raises(InputError, match=r"up to a lead time of 12 h.*accumulation_hours"):
            open_source(ds, ["total_precipitation_12hr"], accumulation_period=period)
    ds["tp"].attrs["accumulation_hours"] = 12
    rain = open_source(ds, ["total_precipitation_12hr"])["total_precipitation_12hr"]
    np.testing.assert_allclose(rain, amounts[:, :2].sum(1), atol=1e-3)
    first = open_source(
        objects(path).isel(step=[0]), ["total_precipitation_6hr"], accumulation_period="6h"
    )
    np.testing.assert_allclose(first["total_precipitation_6hr"], amounts[:, 0], atol=1e-3)
