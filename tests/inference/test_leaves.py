"""Pictures of the leaves, and the leaf budget at prediction."""

import logging

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference.leaves import draw_leaves
from orbitlite.model import compression

RAIN = "total_precipitation_24hr"


def test_leaves_are_drawn_for_rows_of_either_order(coarse, bundle, tmp_path):
    pictures = []
    for number, ds in enumerate((coarse, coarse.isel(lat=slice(None, None, -1)))):
        path = draw_leaves(
            orbitlite.open_source(ds), bundle, tmp_path / f"{number}.png", tokens=0.75
        )
        pictures.append(np.asarray(Image.open(path).convert("L"), float))
    assert pictures[0].std() > 20
    np.testing.assert_array_equal(*pictures)


def test_the_budget_of_a_prediction(coarse, bundle):
    plain = coarse.orbitlite.predict(bundle)
    whole = coarse.orbitlite.predict(bundle, tokens=1.0)
    np.testing.assert_allclose(whole[RAIN], plain[RAIN], rtol=1e-4, atol=1e-4)
    less = coarse.orbitlite.predict(bundle, tokens=0.75)
    assert np.abs(less[RAIN] - plain[RAIN]).max() > 1e-4
    lazy = coarse.chunk(lat=3).orbitlite.predict(bundle, tokens=0.75)
    xr.testing.assert_allclose(lazy.compute(), less, rtol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "expected"), [(2.5, "share of the patches"), (500, "take 6 to 12"), (1, "take 6")]
)
def test_a_budget_that_does_not_fit_is_refused_at_once(coarse, bundle, tokens, expected):
    with pytest.raises(InputError, match=expected):
        orbitlite.predict(coarse.chunk(time=1), bundle, tokens=tokens)


def test_a_budget_that_does_not_come_out_is_told_once(coarse, bundle, caplog):
    compression._tell.cache_clear()
    with caplog.at_level(logging.INFO):
        orbitlite.predict(coarse, bundle, tokens=8, batch_size=1)
    assert [r.message for r in caplog.records if "leaves" in r.message] == [
        "8 leaves do not come out on 3 x 4 patches (roots and threes): 6 are used."
    ]
