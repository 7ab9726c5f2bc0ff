"""Classes that a config may name: nothing else is imported, wherever it stands."""

import sys

import pytest
import yaml
from jsonargparse import ArgumentError

from orbitlite.training.classes import ALLOWED, allow_classes
from orbitlite.training.cli import OrbitCLI
from orbitlite.training.messages import plain_parser_error

LAMBDA = "lightning.pytorch.callbacks.LambdaCallback"
OTHER = {"class_path": "marker.Other"}


@pytest.fixture(scope="module")
def parser():
    """Return the parser of a fit, which a config goes through."""
    allow_classes()
    found = []

    def keep(cli, parser, args):
        found.append(cli._subcommand_parsers["fit"])
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OrbitCLI, "parse_arguments", keep)
        with pytest.raises(KeyboardInterrupt):
            OrbitCLI(["fit"])
    return found[0]


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """Put a module in the way of imports; return the file that its import writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "imported"
    (tmp_path / "marker.py").write_text(
        f"open({str(file)!r}, 'w')\nfrom lightning import Callback\nclass Other(Callback): pass\n"
    )
    yield file
    sys.modules.pop("marker", None)


@pytest.fixture
def parse(parser):
    """Return a function that parses arguments; it gives the line of complaint."""

    def run(*words):
        try:
            given = ["--model.network.inputs=[2m_temperature]", "--data.fine=world"]
            found = parser.parse_args([*given, *words])
            parser.instantiate_classes(found)
        except (ArgumentError, ImportError, ValueError) as error:
            return plain_parser_error(error)
        return ""

    return run


@pytest.mark.parametrize("value", [OTHER, "marker.Other", [OTHER], [[OTHER]], {"x": OTHER}])
@pytest.mark.parametrize(
    "key",
    [
        "trainer.callbacks", "trainer.logger", "trainer.plugins", "trainer.strategy",
        "trainer.profiler", "trainer.accelerator", "data.fine", "data.statics", "data.world",
        "model.optimisation", "model.network", "model.network.variables", "optimizer",
    ],
)  # fmt: skip
def test_no_value_of_a_config_imports(parse, marker, tmp_path, key, value):
    content = value
    for part in reversed(key.split(".")):
        content = {part: content}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    told = parse("--config", "config.yaml")
    assert not marker.exists()
    if value == OTHER and not key.startswith(("data", "optimizer", "model.network.v")):
        assert "marker.Other is none of the classes" in told


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.callbacks=marker.Other"],
        ["--trainer.callbacks+=marker.Other"],
        ["--trainer.callbacks.class_path=marker.Other"],
        ["--trainer.logger.help=marker.Other"],
        ["--trainer.logger.help", "marker.Other"],
        ["--trainer", "trainer.yaml"],
        ["--trainer.callbacks", "other.yaml"],
        ["--config", "{trainer: {logger: {class_path: marker.Other}}}"],
        ["--trainer.callbacks=os.system"],
        [f"--trainer.callbacks+={LAMBDA}", "--trainer.callbacks.setup=marker.Other"],
        [f"--trainer.callbacks+={LAMBDA}", "--trainer.callbacks.setup=os.system"],
        ["--trainer.callbacks=lightning.pytorch.callbacks.model_checkpoint.os.system"],
        ["--trainer.callbacks=LambdaCallback"],
    ],
)
def test_no_argument_imports(parse, marker, tmp_path, words):
    (tmp_path / "trainer.yaml").write_text(yaml.safe_dump({"callbacks": [OTHER]}))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(OTHER))
    assert "is none of the classes that a config may name" in parse(*words)
    assert not marker.exists()


def test_known_classes_are_taken(parse):
    assert {"EarlyStopping", "CSVLogger", "SimpleProfiler"} <= {*ALLOWED}
    words = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_rmse"]
    words += ["--trainer.callbacks+=lightning.pytorch.callbacks.LearningRateMonitor"]
    words += ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=x"]
    assert parse(*words, "--trainer.profiler=SimpleProfiler", "--model.optimisation.lr=1e-3") == ""
