"""Missing in, missing out: in memory, lazily, in files, in tiles; said once, with counts."""

import logging
import warnings

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

RAIN, HEAT = "total_precipitation_24hr", "2m_temperature"
SAID = "values of the prediction"


@pytest.fixture
def holes(coarse):
    """Return the coarse fields without day 1, and without rain in one cell of day 3."""
    holes = coarse.copy(deep=True)
    for name in (RAIN, HEAT):
        holes[name][1] = np.nan
    holes[RAIN][3, 2, 4] = np.nan
    holes[HEAT][0] = np.nan  # rain is there: that is enough
    return holes


@pytest.fixture
def expected():
    """Tell the fine cells that miss."""
    gaps = np.zeros((5, 12, 16), bool)
    gaps[1] = True
    gaps[3, 4:6, 8:10] = True
    return gaps


def said(found):
    return [str(one.message) for one in found if issubclass(one.category, OrbitliteWarning)]


@pytest.mark.parametrize("options", [{}, {"tile": 2, "halo": 2}, {"batch_size": 1}])
def test_gaps_come_out_as_gaps(holes, bundle, expected, options):
    for _ in range(2):  # once per call, not once per process
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            fine = orbitlite.predict(holes, bundle, **options)
        assert [text for text in said(found) if SAID in text] == [
            "196 of 960 values of the prediction (20.4%) are missing: the coarse target, or every "
            "input that changes with time, is missing there. Set fill to let the network make them "
            "up."
        ]
    np.testing.assert_array_equal(np.isnan(fine[RAIN]), expected)


def test_rows_may_run_northward(holes, bundle, expected):
    fine = orbitlite.predict(holes.isel(lat=slice(None, None, -1)), bundle)
    np.testing.assert_array_equal(np.isnan(fine[RAIN]), expected[:, ::-1])


def test_whole_fields_say_nothing(coarse, bundle):
    with warnings.catch_warnings():
        warnings.simplefilter("error", OrbitliteWarning)
        assert np.isfinite(orbitlite.predict(coarse, bundle)[RAIN]).all()


def test_fill_predicts_everywhere_and_changes_nothing_else(holes, bundle, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error", OrbitliteWarning)
        filled = orbitlite.predict(holes, bundle, fill=True)
    assert np.isfinite(filled[RAIN]).all()
    fine = orbitlite.predict(holes, bundle)
    np.testing.assert_array_equal(filled[RAIN].values[~expected], fine[RAIN].values[~expected])


def test_lazy_blocks_tell_once(holes, bundle, expected):
    fine = orbitlite.predict(holes.chunk(time=1), bundle)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        values = fine[RAIN].values
    np.testing.assert_array_equal(np.isnan(values), expected)
    assert len(said(found)) == 1
    assert "values of the first block that misses any" in said(found)[0]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_files(holes, bundle, expected, tmp_path, suffix):
    with pytest.warns(OrbitliteWarning, match="196 of 960 values of the prediction"):
        orbitlite.downscale(holes, tmp_path / f"fine{suffix}", bundle, progress=False)
    with xr.open_dataset(tmp_path / f"fine{suffix}") as fine:
        np.testing.assert_array_equal(np.isnan(fine[RAIN]), expected)


def test_the_command(holes, bundle_path, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    holes.to_netcdf(tmp_path / "coarse.nc")
    words = ["downscale", str(tmp_path / "coarse.nc"), "--model", str(bundle_path)]
    assert main([*words, str(tmp_path / "fine.nc")]) == 0
    assert sum("196 of 960 values" in record.message for record in caplog.records) == 1
    assert main([*words, str(tmp_path / "filled.nc"), "--fill"]) == 0
    with xr.open_dataset(tmp_path / "filled.nc") as fine:
        assert np.isfinite(fine[RAIN]).all()


def test_a_job_that_fills_does_not_go_on_with_one_that_does_not(holes, bundle, tmp_path):
    from orbitlite.inference.options import PredictOptions
    from orbitlite.inference.prediction import Prediction
    from orbitlite.inference.proof import differences, identity

    one, other = (
        identity(Prediction.of(holes, bundle, PredictOptions(fill=fill))) for fill in (False, True)
    )
    assert differences(one, other) == "fill was False, is True"


def test_nothing_but_gaps(coarse, bundle):
    with pytest.warns(OrbitliteWarning, match=r"960 of 960 values .* \(100.0%\) are missing"):
        fine = orbitlite.predict(coarse.where(False).assign(
            {name: coarse[name].where(False).assign_attrs(coarse[name].attrs) for name in coarse}
        ), bundle)  # fmt: skip
    assert np.isnan(fine[RAIN]).all()


def test_data_without_the_coarse_target_are_refused(coarse, bundle):
    with pytest.raises(InputError, match=r"have no total_precipitation_24hr, .* or set fill"):
        orbitlite.predict(coarse[[HEAT]], bundle)
    assert np.isfinite(orbitlite.predict(coarse[[HEAT]], bundle, fill=True)[RAIN]).all()


def test_gaps_are_not_scored(holes, bundle, expected):
    fine = orbitlite.predict(holes, bundle)
    truth = orbitlite.predict(holes, bundle, fill=True)
    found = orbitlite.evaluate(fine, truth, progress=False)
    assert found.scores[RAIN]["orbitlite"]["skipped_cells"] == expected.sum()
    assert found.scores[RAIN]["orbitlite"]["cells"] == (~expected).sum()
