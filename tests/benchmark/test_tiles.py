"""The benchmark of tiles: its rows, its command, its pictures."""

import argparse
import json

import pytest
import xarray as xr

from orbitlite.benchmark import tiles, tiling
from orbitlite.benchmark.session import Session
from orbitlite.cli import main
from orbitlite.errors import InputError


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(tiles, "_GRIDS", ((64, 128), (64, 160)))
    monkeypatch.setattr(tiling, "_LARGEST_WHOLE", 64 * 128)


@pytest.mark.slow
def test_rows_of_cost():
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(tiling.cost_rows(((64, 128),), session))
    assert [row["tiled"] for row in rows] == [True, False]
    for row in rows:
        assert row["seconds"] > 0
        assert row["peak_mib"] > 0
        assert 0 <= row["waiting_share"] < 1
        assert row["seconds_per_cell"] == row["seconds"] / (16 * 64 * 128)


def test_rows_of_seams():
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(tiling.seam_rows(tiling.small_network(), (0, 16), session, (64, 96)))
    assert rows[1]["seam_error"] < rows[0]["seam_error"]
    assert all(row["jump_ratio"] > 0 for row in rows)


def test_one_tile_has_no_seam_error():
    with Session("cpu", threads=1, repeats=1) as session:
        row = next(tiling.seam_rows(tiling.small_network(), (64,), session, (32, 64)))
    # the windows are the whole grid, two cores of it are kept
    assert row["seam_error"] < 1e-5


@pytest.mark.slow
def test_command_and_pictures(quiet, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rain = tiling.noise(tiling.small_network().model, 36, 72)
    rain[["total_precipitation_24hr"]].to_netcdf("rain.nc")
    words = ["--repeats", "1", "--threads", "1", "--json", "tiles.json", "--report", "figures"]
    words += ["--parts", "cost", "seams", "headline", "--source", "rain.nc", "--grid", "80", "160"]
    assert main(["benchmark", "tiles", *words]) == 0
    result = json.loads((tmp_path / "tiles.json").read_text())
    assert [row["part"] for row in result["rows"]].count("cost") == 3
    headline = result["rows"][-1]
    assert headline["cells"] == 16 * 80 * 160
    assert headline["tokens_per_second"] == pytest.approx(80 * 160 / 4 / headline["seconds"])
    assert headline["resident_mib"] > 100
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"cost.png", "seams.png"}
    assert "jump_ratio" in capsys.readouterr().out


def test_the_headline_needs_a_source():
    parser = argparse.ArgumentParser()
    tiles.add_arguments(parser)
    options = parser.parse_args(["--parts", "headline"])
    options.quiet = True
    with pytest.raises(InputError, match="state --source"):
        tiles.BENCHMARK.run(options)


def test_noise_is_the_same_each_time():
    model = tiling.small_network().model
    one, other = (tiling.noise(model, 16, 32).compute() for _ in range(2))
    xr.testing.assert_identical(one, other)


def test_noise_has_the_statistics_of_the_inputs():
    found = tiling.noise(tiling.small_network().model, 32, 64).compute()
    warm = found["2m_temperature"]
    assert float(warm.mean()) == pytest.approx(279, abs=1)
    assert float(warm.std()) == pytest.approx(21, rel=0.05)
    assert float(found["total_precipitation_24hr"].min()) == 0
    assert warm.attrs["units"] == "K"
