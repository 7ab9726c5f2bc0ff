"""Fits of the benchmark: its files, periods and units; what a user states wins."""

import json
import shutil

import pytest
import yaml

from orbitlite.cli import main
from orbitlite.cordex.task import PREDICTORS, UNITS
from orbitlite.data.source import open_source
from orbitlite.model.record import read_record


@pytest.mark.slow
def test_a_fit_leaves_its_bundle(nz):
    run = nz / "runs/NZ/ESD_pseudo_reality"
    training = json.loads((run / "bundle/config.json").read_text())["metadata"]["training"]
    root = str(nz / "data/NZ/NZ_domain/train/ESD_pseudo_reality")
    assert training["sources"] == {
        "coarse": f"{root}/predictors/ACCESS-CM2_1961-1980.nc",
        "fine": f"{root}/target/pr_tasmax_ACCESS-CM2_1961-1980.nc",
        "static": f"{root}/predictors/Static_fields.nc",
    }
    assert [text[:10] for text in training["period"]] == ["1961-01-01", "1962-01-10"]
    data = yaml.safe_load((run / "logs/config.yaml").read_text())["data"]
    assert (data["train"], data["validate"]) == (["1961", "1977"], ["1978", "1978"])
    assert [text[:10] for text in training["validation"]] == ["1978-01-01", "1978-01-10"]
    record = read_record(str(run / "bundle"))
    assert record["config"]["targets"] == ["total_precipitation_24hr", "2m_temperature_max"]
    assert record["config"]["noise"] == 4


@pytest.mark.slow
def test_a_fit_goes_on(nz, kit, small, tmp_path):
    shutil.copytree(nz / "runs", tmp_path / "runs")
    (tmp_path / "data").symlink_to(nz / "data")
    words = kit.fit_words(tmp_path, "NZ", kit.ESD, small)
    assert main([*words, "--ckpt_path", "last", "--trainer.max_epochs", "9"]) == 0
    curve = (tmp_path / "runs/NZ" / kit.ESD / "logs/metrics.csv").read_text().splitlines()
    epochs = [line.split(",")[curve[0].split(",").index("epoch")] for line in curve[1:]]
    assert {*epochs} == {*map(str, range(9))}


@pytest.mark.slow
def test_the_config_takes_a_step_on_whole_grids(kit, tmp_path):
    made = kit.Made(tmp_path / "data", "NZ", kit.regular(128))
    made.training("Emulator_hist_future")
    words = [
        "cordex-bench", "fit", str(tmp_path / "data"), "--domain", "NZ", "--experiment",
        "Emulator_hist_future", "--output", str(tmp_path / "runs"), "--trainer.fast_dev_run",
        "true", "--trainer.enable_progress_bar", "false", "--data.batch_size=2",
    ]  # fmt: skip
    assert main(words) == 0


def test_every_predictor_is_recognised(kit, tmp_path):
    made = kit.Made(tmp_path, "NZ", kit.regular())
    made.predictors(kit.days(1961, 3), "predictors.nc", "noleap")
    ds = open_source(made.root / "predictors.nc", units=UNITS)
    expected = {
        f"{name}_{level}"
        for name in ("geopotential", "u_component_of_wind", "v_component_of_wind", "temperature",
                     "specific_humidity")
        for level in (850, 700, 500)
    }  # fmt: skip
    assert {*ds.data_vars} == expected
    assert len(PREDICTORS) == 15
    assert float(ds["geopotential_500"].mean()) == pytest.approx(5600 * 9.80665, rel=0.01)


@pytest.mark.slow
def test_what_cannot_be_fitted_is_refused(kit, fails, tmp_path, small, capsys):
    made = kit.Made(tmp_path / "data", "NZ", kit.regular())
    words = kit.fit_words(tmp_path, "NZ", kit.ESD, small)
    assert "3 lacking: " in fails(*words)
    made.training(kit.ESD)
    assert "max_epochz" in fails(*words, "--trainer.max_epochz", "3")
    assert "expected 1 or more" in fails(*words, "--trainer.max_epochs", "0")
    for option, wrong in (("--domain", "Alps"), ("--experiment", "ESD")):
        with pytest.raises(SystemExit) as end:
            main([*words, option, wrong])
        assert end.value.code == 2
        assert f"invalid choice: '{wrong}'" in capsys.readouterr().err


def test_other_steps_take_no_options_of_a_fit(capsys):
    with pytest.raises(SystemExit) as end:
        main(["cordex-bench", "submit", "data", "runs", "out", "--trainer.max_epochs", "3"])
    assert end.value.code == 2
    assert "unrecognized arguments: --trainer.max_epochs 3" in capsys.readouterr().err
