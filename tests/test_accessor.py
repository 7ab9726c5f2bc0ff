"""`ds.orbitlite`."""

import inspect
import subprocess
import sys

import pytest
import xarray as xr

import orbitlite
from orbitlite import api
from orbitlite.accessor import OrbitliteAccessor
from orbitlite.errors import InputError

RAIN = "total_precipitation_24hr"


def test_methods_are_the_functions(coarse, bundle):
    fine = coarse.orbitlite.predict(bundle)
    xr.testing.assert_equal(fine[RAIN], orbitlite.predict(coarse, bundle)[RAIN])
    found = fine.orbitlite.evaluate(fine, coarse=coarse, progress=False)
    assert found.scores[RAIN]["orbitlite"]["rmse"] == 0


@pytest.mark.filterwarnings("ignore:Not in the data")
def test_a_named_array_has_it(coarse, bundle):
    fine = coarse[RAIN].orbitlite.predict(bundle)
    xr.testing.assert_equal(fine[RAIN], orbitlite.predict(coarse[[RAIN]], bundle)[RAIN])
    found = fine[RAIN].orbitlite.evaluate(fine[RAIN], progress=False)
    assert found.scores[RAIN]["orbitlite"]["rmse"] == 0
    for call in (lambda a: a.orbitlite.predict(bundle), lambda a: a.orbitlite.evaluate(fine)):
        with pytest.raises(InputError, match="The array has no name"):
            call(coarse[RAIN].rename(None))


def test_options_are_those_of_the_functions():
    for name in ("predict", "evaluate"):
        method = inspect.signature(getattr(OrbitliteAccessor, name)).parameters
        function = inspect.signature(getattr(api, name)).parameters
        options = [{k: p.default for k, p in s.items() if p.kind == p.KEYWORD_ONLY}
                   for s in (method, function)]  # fmt: skip
        assert options[0] == options[1]


def test_any_dataset_has_it():
    assert isinstance(xr.Dataset().orbitlite, OrbitliteAccessor)
    assert isinstance(xr.DataArray().orbitlite, OrbitliteAccessor)


def test_import_is_light():
    code = (
        "import sys, orbitlite, xarray; xarray.Dataset().orbitlite;"
        "heavy = {'torch', 'lightning', 'dask.array', 'scipy', 'matplotlib', 'zarr', 'netCDF4'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
