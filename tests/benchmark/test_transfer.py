"""The benchmark of transfer: years, variants, rows, command."""

import json

import pandas as pd
import pytest
import torch

from orbitlite.benchmark import learning_curve
from orbitlite.benchmark.learning_curve import last_years
from orbitlite.benchmark.session import Session
from orbitlite.benchmark.task import Task
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.model.bundle import save_bundle
from orbitlite.training.sources import data_of_config

RAIN = "total_precipitation_24hr"
NETWORK = {
    "inputs": [RAIN, "2m_temperature"], "targets": [RAIN], "statics": ["orography"], "factor": 2,
    "patch_size": 2, "embed_dim": 8, "depth": 1, "num_heads": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def config(write_task):
    return write_task(model={"network": NETWORK})


@pytest.fixture(scope="module")
def bundle(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("transfer") / "bundle"
    torch.manual_seed(4)
    network = Task.of(config, torch.device("cpu")).fresh().network
    save_bundle(path, network, metadata={"training": {}})
    return path


def test_the_last_years_are_learned_from():
    data = data_of_config_of("1982-12", "1992-03")
    found = last_years(data, 2).periods["train"]
    assert found[0] == pd.Timestamp("1990-04-01")
    assert str(found[1]).startswith("1992-03-31 23:59:59")
    assert last_years(data_of_config_of("1982-12", "1992-03"), 9).periods["train"][0] == (
        pd.Timestamp("1983-04-01")
    )
    with pytest.raises(InputError, match="--years 12: the training period is shorter"):
        last_years(data_of_config_of("1982-12", "1992-03"), 12)


def data_of_config_of(start, end):
    from orbitlite.data.datamodule import PairDataModule

    return PairDataModule(
        "world", inputs=[RAIN], targets=[RAIN], static_names=[], factor=2, train=[start, end]
    )


@pytest.mark.slow
def test_rows_of_the_command(config, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("orbitlite.benchmark.learning_curve.last_years", lambda data, years: data)
    path = tmp_path / "transfer.json"
    words = ["--config", str(config), "--init", str(bundle), "--years", "1", "--seconds", "0.2"]
    assert main(["benchmark", "transfer", *words, "--json", str(path)]) == 0
    rows = {row["variant"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(rows) == ["scratch", "head", "lora", "full"]
    whole = rows["scratch"]["learning"]
    assert whole == rows["scratch"]["parameters"] == rows["full"]["learning"]
    assert rows["head"]["learning"] < rows["lora"]["learning"] < whole
    for row in rows.values():
        assert row["samples"] > 0
        assert row["members"] == 1
        assert row["rmse_mean"] > 0
        assert row["rmse_unlimited"] == pytest.approx(row["rmse_mean"], rel=1e-9)
        assert row["crps"] == pytest.approx(row["mae"], rel=1e-6)  # that of a single member


@pytest.mark.slow
def test_a_stochastic_network_is_scored_by_its_members(bundle, write_task, monkeypatch):
    monkeypatch.setattr(learning_curve, "last_years", lambda data, years: data)
    config = write_task(model={"network": NETWORK | {"noise": 2}, "loss": "crps"})
    with Session("cpu", 1, 1, progress=False) as session:
        (row,) = learning_curve.rows(
            str(config), str(bundle), [1], ["full"], [0.5], [0], "test", 4, session
        )
    assert row["members"] == 4
    assert 0 < row["crps"] < row["mae"]
    assert row["spread_skill"] > 0
    assert row["rmse_unlimited"] < row["rmse_mean"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--years", "0"], "--years: expected 1 or more, found 0"),
        (["--years", "3"], "--years 3: the training period is shorter"),
        (["--years", "1", "--init", "nowhere"], "the training period is shorter"),
        (["--members", "1"], "--members: expected 2 or more, found 1"),
    ],
)
def test_what_makes_no_sense(config, bundle, words, text, capsys):
    options = ["--config", str(config), "--init", str(bundle), *words]
    assert main(["benchmark", "transfer", *options]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_several_sources_are_refused(write_task, tmp_path):
    plain = write_task(model={"network": NETWORK})
    fine = data_of_config(plain).pairing.fine
    config = write_task(
        model={"network": NETWORK},
        data={"fine": None, "train": None, "validate": None, "test": None,
              "sources": {"one": {"fine": fine}, "two": {"fine": fine}}},
    )  # fmt: skip
    with pytest.raises(InputError, match="2 sources, and benchmarks are of one"):
        Task.of(config, torch.device("cpu"))


def test_tasks_and_coarse_fields_alone_are_refused(write_task, capsys):
    named = write_task(
        model={"network": NETWORK | {"tasks": {"one": {}}}},
        data={"fine": None, "train": None, "validate": None, "test": None,
              "sources": {"a": {"fine": str(data_of_config(write_task()).pairing.fine)}}},
    )  # fmt: skip
    with pytest.raises(InputError, match="benchmarks are of networks without named tasks"):
        Task.of(named, torch.device("cpu"))
    assert main(["benchmark", "scaling", "--config", str(named), "--parts", "sizes"]) == 2
    assert "without named tasks" in " ".join(capsys.readouterr().err.split())
    plain = write_task(model={"network": NETWORK, "reconstruction": {}})
    with pytest.raises(InputError, match=r"model\.reconstruction is for sources without truth"):
        Task.of(plain, torch.device("cpu"))
    fine = data_of_config(plain).pairing.fine
    coarse = write_task(
        model={"network": NETWORK, "reconstruction": {}}, data={"fine": None, "coarse": fine}
    )
    with pytest.raises(InputError, match=r"compare with truth, and data\.fine is not stated"):
        Task.of(coarse, torch.device("cpu"))
