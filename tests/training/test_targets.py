"""Several targets, and targets that are no inputs: the same on a regular grid and on a mesh."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import orbitlite
from orbitlite.cli import main
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.crs import Crs
from orbitlite.grids.mesh import Axes, MeshGrid
from orbitlite.grids.reading import read_grid
from orbitlite.model.interpolation import upsample

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RAIN, WARM, HIGH = "total_precipitation_24hr", "2m_temperature", "temperature_850"
POLE = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
HEIGHT, WIDTH, DAYS = 16, 20, 10
TRAIN = slice(0, 6)


def regular():
    return ("lat", "lon"), {
        "lat": ("lat", 50 - 0.25 * np.arange(HEIGHT), {"units": "degrees_north"}),
        "lon": ("lon", 5 + 0.25 * np.arange(WIDTH), {"units": "degrees_east"}),
    }


def rotated():
    said = {a: {"standard_name": f"grid_{n}", "units": "degrees"}
            for a, n in (("y", "latitude"), ("x", "longitude"))}  # fmt: skip
    edges = 0.25 * np.arange(HEIGHT, -1, -1.0), 4 + 0.25 * np.arange(WIDTH + 1.0)
    found = MeshGrid.from_axes(Axes(*edges, said, Crs(POLE))).coordinates()
    return ("y", "x"), {name: found[name] for name in ("y", "x", "lat", "lon", "crs")}


GRIDS = {"regular": regular, "rotated": rotated}


def made(grid):
    """Return fine fields; temperature at 850 hPa is only for their coarse counterpart."""
    random = np.random.default_rng(3)
    dims, coords = GRIDS[grid]()
    time = np.datetime64("2001-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D")
    shape = DAYS, HEIGHT, WIDTH
    mapping = {"grid_mapping": "crs"} if grid == "rotated" else {}
    fields = {
        RAIN: (random.gamma(0.5, 8.0, shape), "mm"),
        WARM: (280 + random.normal(0, 5, shape), "K"),
        HIGH: (270 + random.normal(0, 5, shape), "K"),
    }
    return xr.Dataset(
        {name: (("time", *dims), values.astype("f4"), {"units": units, **mapping})
         for name, (values, units) in fields.items()}
        | {"orography": (dims, random.random(shape[1:]).astype("f4") * 900, {"units": "m"})},
        {"time": time, **coords},
    )  # fmt: skip


def write(folder, grid, coarse, network, **data):
    """Write files and a config of a fit of one epoch that changes next to nothing."""
    fine = made(grid)
    fine.drop_vars(HIGH).to_netcdf(folder / "fine.nc")
    canonical = orbitlite.open_source(fine)
    coarsen(canonical[coarse], read_grid(canonical), 2).to_netcdf(folder / "coarse.nc")
    content = {
        "trainer": {"max_epochs": 1, "default_root_dir": str(folder / "run"), "accelerator": "cpu",
                    "enable_progress_bar": False, "enable_model_summary": False},
        "model": {
            "optimisation": {"lr": 1e-9},
            "network": {"statics": ["orography"], "factor": 2, "patch_size": 2, "embed_dim": 8,
                        "depth": 1, "num_heads": 2, **network},
        },
        "data": {
            "fine": str(folder / "fine.nc"), "coarse": str(folder / "coarse.nc"),
            "train": ["2001-01-01", "2001-01-06"], "validate": ["2001-01-07", "2001-01-10"],
            **data,
        },
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return canonical


def fit(folder, *words):
    return main(["fit", "-c", str(folder / "config.yaml"), *words])


@pytest.fixture(scope="module", params=GRIDS)
def fitted(request, tmp_path_factory):
    """Return a fit of temperature, that the inputs have, and rain, that they do not have."""
    folder = tmp_path_factory.mktemp("targets")
    network = {"inputs": [WARM, HIGH], "targets": [WARM, RAIN], "constraint": "none"}
    fine = write(folder, request.param, [WARM, HIGH], network)
    assert fit(folder) == 0
    found = orbitlite.predict(folder / "coarse.nc", folder / "run/bundle", progress=False)
    return SimpleNamespace(
        folder=folder,
        fine=fine,
        grid=read_grid(fine),
        raw=found,
        found=orbitlite.open_source(found),
    )


def test_only_what_has_a_coarse_field_begins_with_it(fitted):
    """A target without one begins with its mean over the training period and the grid."""
    assert fitted.raw[WARM].attrs["units"] == "K"
    assert fitted.raw[RAIN].attrs["units"] == "mm"
    assert fitted.found[RAIN].dims == ("time", *fitted.grid.dims)
    assert read_grid(fitted.found).same_cells(fitted.grid)
    logs = np.log1p(fitted.fine[RAIN][TRAIN].values.astype(float))
    mean = np.expm1((logs * fitted.grid.weights).sum((1, 2)).mean())
    np.testing.assert_allclose(fitted.found[RAIN], mean, rtol=1e-3)

    coarse = torch.from_numpy(orbitlite.open_source(fitted.folder / "coarse.nc")[WARM].values)
    wraps = torch.zeros(DAYS, dtype=torch.bool)
    linear, cubic = (upsample(coarse[:, None], 2, wraps, mode)[:, 0].numpy().astype(float)
                     for mode in ("bilinear", "bicubic"))  # fmt: skip
    warm = fitted.found[WARM].values
    share = np.vdot(warm - linear, cubic - linear) / np.vdot(cubic - linear, cubic - linear)
    assert 0 <= share <= 1
    np.testing.assert_allclose(warm, linear + share * (cubic - linear), atol=2e-3)


def test_scores_of_both(fitted):
    folder = fitted.folder
    pair = folder / "coarse.nc", folder / "fine.nc"
    result = orbitlite.evaluate(fitted.raw, pair[1], coarse=pair[0], training=pair, progress=False)
    for name in (WARM, RAIN):
        error = (fitted.found[name] - fitted.fine[name]).values.astype(float)
        rmse = np.sqrt((fitted.grid.weights * error**2).sum((1, 2)).mean())
        assert result.scores[name]["orbitlite"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert [*result.scores[RAIN]] == ["orbitlite"]
    assert {"bilinear", "quantile_mapped"} <= {*result.scores[WARM]}
    # a coarse input that has neither is one more without baselines
    other = orbitlite.open_source(pair[0])[[HIGH]]
    alone = orbitlite.evaluate(
        fitted.raw, pair[1], coarse=other, training=(other, pair[1]), progress=False
    )
    assert [[*alone.scores[name]] for name in (WARM, RAIN)] == [["orbitlite"]] * 2
    assert "the coarse input lacks this variable" in str(alone.table())


@pytest.mark.parametrize("grid", GRIDS)
def test_conserve_keeps_the_means_of_all_targets(grid, tmp_path):
    network = {"inputs": [WARM, RAIN], "targets": [RAIN, WARM], "constraint": "conserve"}
    fine = write(tmp_path, grid, [WARM, RAIN], network)
    assert fit(tmp_path, "--model.optimisation.lr", "0.02") == 0
    found = orbitlite.predict(tmp_path / "coarse.nc", tmp_path / "run/bundle", progress=False)
    found = orbitlite.open_source(found)
    ours, theirs = (coarsen(ds[[RAIN, WARM]], read_grid(fine), 2) for ds in (found, fine))
    xr.testing.assert_allclose(ours, theirs.drop_attrs(), rtol=1e-4)
    for name, plain in (("bilinear", ours), ("nearest", theirs)):
        assert not np.allclose(found[RAIN], np.kron(plain[RAIN], np.ones((1, 2, 2)))), name


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([WARM, HIGH], f"needs the coarse field of each target among the inputs; add {RAIN}"),
        ([WARM, HIGH, RAIN], f"no source has that of {RAIN}"),
    ],
)
@pytest.mark.parametrize("grid", GRIDS)
def test_conserve_needs_coarse_fields(grid, inputs, words, tmp_path, capsys):
    """Of every target: among the inputs, and in a source."""
    network = {"inputs": inputs, "targets": [WARM, RAIN], "constraint": "conserve"}
    write(tmp_path, grid, [WARM, HIGH], network)
    assert fit(tmp_path) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("orbitlite:")]
    assert len(said) == 1
    assert words in said[0]


@pytest.mark.parametrize("source", ["fine alone", "global"])
@pytest.mark.parametrize("grid", GRIDS)
def test_no_target_is_an_input(grid, source, tmp_path):
    """Learned from fine fields alone or with those of other cells; in tiles, with members."""
    network = {"inputs": [HIGH], "targets": [RAIN, WARM], "noise": 4}
    fine = write(tmp_path, grid, [HIGH], network)
    made(grid).to_netcdf(tmp_path / "all.nc")
    values = np.random.default_rng(0).normal(270, 5, (DAYS, 20, 40)).astype("f4")
    xr.Dataset(
        {HIGH: (("time", "lat", "lon"), values, {"units": "K"})},
        {"time": fine.time.values, "lat": np.arange(40.0, 60), "lon": np.arange(0.0, 40)},
    ).to_netcdf(tmp_path / "global.nc")
    words, coarse, regrid = {
        "fine alone": (["--data.coarse", "null", "--data.fine", "all.nc"], "coarse.nc", None),
        "global": (
            ["--data.coarse", "global.nc", "--data.regrid", "linear"],
            "global.nc",
            "linear",
        ),
    }[source]
    words = [str(tmp_path / word) if word.endswith(".nc") else word for word in words]
    more = ["--model.loss", "crps", "--model.optimisation.lr", "0.02"]
    assert fit(tmp_path, *words, *more) == 0
    found = orbitlite.predict(
        tmp_path / coarse, tmp_path / "run/bundle", members=2, tile=4, halo=4, regrid=regrid,
        progress=False,
    ).load()  # fmt: skip
    result = orbitlite.evaluate(found, tmp_path / "fine.nc", progress=False)
    canonical = orbitlite.open_source(found)
    assert read_grid(canonical).same_cells(read_grid(fine))
    for name in (RAIN, WARM):
        assert canonical[name].shape == (2, DAYS, HEIGHT, WIDTH)
        assert np.isfinite(canonical[name]).all()
        errors = (canonical[name] - fine[name]).transpose("realization", ...).values.astype(float)
        rmse = np.sqrt((read_grid(fine).weights * errors.mean(0) ** 2).sum((1, 2)).mean())
        assert result.scores[name]["orbitlite"]["rmse"] == pytest.approx(rmse, rel=1e-4)
