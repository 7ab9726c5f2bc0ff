"""Values that are none, on the three ways that they can take: predict, evaluate, fit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
HOLE = {"time": 2, "lat": slice(1, 4), "lon": slice(2, 4)}
WHERE = "the first is at time 2001-01-03 00:00, lat 48.5, lon 7.5"


def with_hole(ds, value, name=WARM):
    ds = ds.copy(deep=True)
    ds[name][HOLE] = value
    return ds


def wild(ds, name=WARM):
    """Put many values that cannot be into the hole."""
    return with_hole(ds, 20 + np.arange(6).reshape(3, 2), name)


@pytest.mark.parametrize("value", [-9999, 1e20, -32767, np.inf, 9.969209968386869e36])
def test_predict(coarse, bundle, tmp_path, value):
    good, bad = with_hole(coarse, np.nan), with_hole(coarse, value)
    paths = [tmp_path / "good.nc", tmp_path / "bad.nc"]
    for ds, path in zip((good, bad), paths, strict=True):
        ds.to_netcdf(path, encoding={WARM: {"_FillValue": None}})
    # each like its own kind, so that both go through the network in the same batches
    forms = ((good, bad), (good.chunk(time=1), bad.chunk(time=1)), paths)
    for whole, source in forms:
        with pytest.warns(OrbitliteWarning, match=f"{WARM}: 6 of .* {WHERE}"):
            found = orbitlite.predict(source, bundle).compute()
        xr.testing.assert_allclose(found, orbitlite.predict(whole, bundle).compute())


def test_predict_refuses_other_values(coarse, bundle):
    for source in (wild(coarse), wild(coarse).chunk(time=1)):
        with pytest.raises(InputError, match=f"{WARM}: 6 of .* beyond the limits 100 to 400 K"):
            orbitlite.predict(source, bundle).compute()


@pytest.fixture
def scores(coarse, bundle):
    """Return a function from a truth to the scores of a prediction of rain."""
    fine = orbitlite.predict(coarse, bundle)
    truth = (0.8 * fine + 1).assign({RAIN: (0.8 * fine[RAIN] + 1).assign_attrs(fine[RAIN].attrs)})
    return lambda change: orbitlite.evaluate(fine, change(truth), progress=False).scores[RAIN]


def test_evaluate(scores):
    """One -9999 made the range of the truth so wide that any field was like any other."""
    right = scores(lambda truth: with_hole(truth, np.nan, RAIN))["orbitlite"]
    with pytest.warns(OrbitliteWarning, match=f"{RAIN}: 6 of 960 values are -9999 mm"):
        found = scores(lambda truth: with_hole(truth, -9999, RAIN))["orbitlite"]
    assert found == pytest.approx(right, nan_ok=True)
    assert found["skipped_cells"] == 6
    with pytest.raises(InputError, match=f"{RAIN}: 6 of 960 values are beyond"):
        scores(lambda truth: with_hole(truth, 1e4 + np.arange(6).reshape(3, 2), RAIN))


def pairs(source, **options):
    return PairDataModule(
        source, inputs=[RAIN, WARM], targets=[RAIN], static_names=[], factor=2, train=[2001, 2001],
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("value", [-9999, np.inf, 1e35])
def test_statistics_and_samples_of_a_fit(coarse, cache, value):
    expected = pairs(with_hole(coarse, np.nan))
    found = pairs(with_hole(coarse, value), cache=cache)
    with pytest.warns(OrbitliteWarning, match=f"{WARM}: 6 of .* {WHERE}"):
        found.setup("fit")
    expected.setup("fit")
    for name in ("mean", "std"):
        np.testing.assert_allclose(
            getattr(found.input_statistics, name), getattr(expected.input_statistics, name)
        )
    ours, theirs = found.dataset("train")[2].coarse, expected.dataset("train")[2].coarse
    np.testing.assert_array_equal(ours, theirs)
    assert ours.isnan().any()


def test_a_fit_refuses_other_values(coarse):
    for cache in (True, False):
        with pytest.raises(InputError, match=f"{WARM}: 6 of .* beyond the limits 100 to 400 K"):
            pairs(wild(coarse), cache=cache).setup("fit")


def test_workers_of_a_loader_refuse_in_one_sentence(coarse, tmp_path):
    """The process that reads hands on a traceback for a message."""
    wild(coarse).to_netcdf(tmp_path / "bad.nc")
    data = pairs(str(tmp_path / "bad.nc"), cache=False, num_workers=1)
    loader = data.train_dataloader()
    with pytest.raises(InputError) as error:
        list(loader)
    assert str(error.value).startswith(f"{WARM}: 6 of ")
    assert "Traceback" not in str(error.value)
