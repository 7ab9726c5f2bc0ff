"""What the package takes from behind Lightning's face does what it is said to, and is one place."""

import ast
import csv
import inspect
from datetime import timedelta
from functools import cache
from pathlib import Path

import jsonargparse
import lightning
import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

import orbitlite
from orbitlite.training import lightning_compat as compat

PACKAGE = Path(orbitlite.__file__).parent
PLACE = PACKAGE / "training" / "lightning_compat.py"


class Plain(lightning.LightningModule):
    """A weight that is trained on eight numbers, in batches of two."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, batch_idx):
        loss = (self.weight * batch).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val", batch.sum())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self):
        return DataLoader(torch.arange(8.0), batch_size=2)

    val_dataloader = train_dataloader


def fit(folder, *callbacks, module=None, ckpt_path=None, **options):
    options = {"max_epochs": 1, "logger": False, "enable_checkpointing": False,
               "log_every_n_steps": 1} | options  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", default_root_dir=folder, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=list(callbacks), **options,
    )  # fmt: skip
    trainer.fit(module or Plain(), ckpt_path=ckpt_path)
    return trainer


class AtBatchEnd(Callback):
    """Collects what a function of the trainer returns at the end of each batch."""

    def __init__(self, function):
        self.function, self.found = function, []

    def on_train_batch_end(self, trainer, *_):
        self.found.append(self.function(trainer))


class Learner(lightning.LightningModule):
    def __init__(self, size: int = 3, name: str | None = None):
        super().__init__()


class CLI(compat.OpenCLI):
    def finish_parser(self, parser):
        parser.add_argument("--ours", type=int, default=1)
        compat.hide_options(parser, ("model.size", "trainer"))

    def choose_seed(self):
        self.config[self.subcommand].seed_everything = 7

    def instantiate_classes(self):  # what is looked at comes before
        self.found = self.config[self.subcommand]

    def _run_subcommand(self, subcommand):
        """Nothing to run."""


@pytest.fixture
def cli(tmp_path):
    lightning.seed_everything(1)
    torch.save({"hyper_parameters": {"size": 9}}, tmp_path / "a.ckpt")
    arguments = ["validate", f"--ckpt_path={tmp_path / 'a.ckpt'}", "--ours=5"]
    return CLI(Learner, args=arguments, seed_everything_default=3)


def test_command_line_has_our_option_and_seed_and_reads_no_checkpoint(cli):
    assert cli.found.ours == 5
    assert torch.initial_seed() == 7
    assert cli.found.model.size == 3


def test_hidden_options_are_not_in_the_help_and_work(cli):
    parser = cli.parser_of("validate")
    told = parser.format_help()
    assert "--model.size" not in told
    assert "--model.name" in told
    assert parser.parse_args(["--model.size=4"]).model.size == 4


def test_typed_options_are_those_with_a_type(cli):
    found = {name: (kind, value) for name, kind, value in
             compat.typed_options(cli.parser_of("validate"))}  # fmt: skip
    assert found["ours"] == (int, 1)
    assert found["model.size"] == (int, 3)
    assert found["model.name"] == (str | None, None)
    assert "config" not in found


def test_keeper_saves_a_step_once(tmp_path):
    keeper = compat.Keeper(tmp_path / "kept", filename="{step}", save_top_k=-1, every_n_epochs=9)
    steps = AtBatchEnd(lambda trainer: (keeper.save(trainer), keeper.save(trainer)))
    before = keeper.saved_step
    fit(tmp_path, steps, keeper, enable_checkpointing=True)
    assert (before, keeper.saved_step) == (0, 4)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        f"step={step}.ckpt" for step in (1, 2, 3, 4)
    ]


def test_keeper_saves_nothing_in_a_trial_run(tmp_path):
    keeper = compat.Keeper(tmp_path / "kept")
    trial = AtBatchEnd(keeper.save)
    fit(tmp_path, trial, keeper, enable_checkpointing=True, fast_dev_run=True)
    assert len(trial.found) == 1
    assert not (tmp_path / "kept").exists()


def test_time_limit():
    assert compat.time_limit(Timer({"minutes": 2})) == 120
    assert compat.time_limit(Timer(timedelta(0))) == 0
    assert compat.time_limit(Timer(None)) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"val_check_interval": 2}, [False, True, False, True]),
        ({}, [False, False, False, True]),
        ({"limit_val_batches": 0}, [False] * 4),
    ],
)
def test_validation_follows(tmp_path, options, expected):
    seen = AtBatchEnd(compat.validation_follows)
    fit(tmp_path, seen, **options)
    assert seen.found == expected


def test_stepped_is_where_the_count_of_steps_rises(tmp_path):
    """Of three batches in pairs, the last is a step of its own."""
    seen = AtBatchEnd(lambda trainer: (compat.stepped(trainer), trainer.global_step))
    fit(tmp_path, seen, accumulate_grad_batches=2, limit_train_batches=3)
    assert seen.found == [(False, 0), (True, 1), (True, 2)]


def test_row_of_step_is_what_the_logger_gets(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    seen = AtBatchEnd(compat.row_of_step)
    fit(tmp_path, seen, logger=logger, log_every_n_steps=1, accumulate_grad_batches=2)
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train_loss"]]
    found = [row for row in seen.found if row is not None]
    assert [place for place, row in enumerate(seen.found) if row] == [1, 3]
    assert len(rows) == 2
    for (step, row), written in zip(found, rows, strict=True):
        assert {"step": step} | row == {name: float(written[name]) for name in (*row, "step")}


def test_no_row_is_due_between(tmp_path):
    seen = AtBatchEnd(compat.row_of_step)
    logger = CSVLogger(tmp_path, name="", version="")
    fit(tmp_path, seen, logger=logger, log_every_n_steps=3)
    assert [row is not None for row in seen.found] == [False, False, True, False]


@pytest.mark.parametrize(("forgotten", "made"), [(False, 1), (True, 2)])
def test_loader_is_made_anew(tmp_path, forgotten, made):
    class Counting(Plain):
        count = 0

        def train_dataloader(self):
            self.count += 1
            return super().train_dataloader()

        def configure_optimizers(self):
            assert self.trainer.estimated_stepping_batches == 4
            if forgotten:
                compat.forget_train_loader(self.trainer)
            return super().configure_optimizers()

    module = Counting()
    fit(tmp_path, module=module, limit_val_batches=0)
    assert module.count == made


@pytest.mark.parametrize(
    ("moment", "ours"),
    [("on_train_batch_end", True), ("on_train_epoch_end", True), ("on_train_batch_end", False)],
)
def test_next_epoch_begins_behind_an_end(tmp_path, moment, ours):
    """The last case is Lightning's own count: once it is right, the function may go."""

    class Saving(Callback):
        def on_train_batch_end(self, trainer, *_):
            if moment == "on_train_batch_end" and trainer.global_step == 4:
                trainer.save_checkpoint(tmp_path / "a.ckpt")

        def on_train_epoch_end(self, trainer, *_):
            if moment == "on_train_epoch_end" and trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "a.ckpt")

    class Going(Callback):
        def on_train_start(self, trainer, module):
            if ours:
                compat.begin_next_epoch(trainer)

    class Seen(Callback):
        def __init__(self):
            self.epochs = []

        def on_train_epoch_start(self, trainer, module):
            self.epochs.append((trainer.current_epoch, trainer.global_step))

    fit(tmp_path, Saving(), limit_val_batches=0)
    seen = Seen()
    trainer = fit(tmp_path, Going(), seen, ckpt_path=tmp_path / "a.ckpt", max_epochs=3,
                  limit_val_batches=0)  # fmt: skip
    counts = trainer.fit_loop.epoch_progress.current
    right = seen.epochs == [(1, 4), (2, 8)] and counts.started == counts.processed == 3
    assert right == ours


def test_csv_options_are_those_given(tmp_path):
    given = {"save_dir": str(tmp_path), "name": "logs", "version": "v", "prefix": "a",
             "flush_logs_every_n_steps": 7}  # fmt: skip
    assert compat.csv_options(CSVLogger(**given)) == given


def test_rows_spare_an_earlier_file(tmp_path):
    class Logger(compat.RowsLogger):
        def make_rows(self):
            return compat.KeptRows(self.log_dir)

    (tmp_path / "logs").mkdir()
    earlier = tmp_path / "logs" / "metrics.csv"
    earlier.write_text("step,a\n1,2.0\n")
    logger = Logger(tmp_path, name="logs", version="")
    logger.finalize("success")  # nothing was logged
    assert earlier.read_text() == "step,a\n1,2.0\n"
    rows = logger.experiment
    assert logger.experiment is rows
    assert earlier.read_text() == "step,a\n1,2.0\n"
    logger.log_metrics({"a": 3.0}, 5)
    logger.finalize("success")
    assert "3.0,5" in earlier.read_text()


def test_axes_are_laid_between_joining_and_the_module(monkeypatch):
    told = []

    class Strategy(compat.OpenStrategy):
        def before_joining(self, backend, timeout):
            told.append(("before", backend, timeout, torch.distributed.is_initialized()))

        def lay_axes(self):
            told.append(("axes", torch.distributed.get_world_size()))
            return torch.distributed.init_device_mesh("cpu", (1,))

    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    strategy = Strategy()
    trainer = Trainer(accelerator="cpu", devices=1, strategy=strategy, logger=False,
                      enable_checkpointing=False, enable_progress_bar=False)  # fmt: skip
    module = Plain()
    trainer.strategy.connect(module)
    try:
        strategy.setup_environment()
        assert told == [("before", "gloo", timedelta(minutes=30), False), ("axes", 1)]
        assert module.device_mesh is strategy.device_mesh
        assert strategy.device_mesh.size() == 1
    finally:
        torch.distributed.destroy_process_group()


@cache
def private_names():
    """Return the private names that Lightning and jsonargparse define."""
    folders = [Path(lightning.__file__).parent / part for part in ("pytorch", "fabric")]
    folders.append(Path(jsonargparse.__file__).parent)
    return {name for folder in folders for path in folder.rglob("*.py")
            for name in defined(ast.parse(path.read_text()))}  # fmt: skip


OF_OTHERS = ("_type",)
"""Names that torch has as well, for what is not Lightning's."""


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in ("_", *OF_OTHERS)


def defined(tree):
    """Return the private names that a file defines: functions, classes, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names = [node.attr]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        else:
            continue
        yield from filter(is_private, names)


def touches(path):
    """Return the private names of others that a file touches on something else than itself."""
    tree = ast.parse(path.read_text())
    own = set(defined(tree)) - {
        node.attr for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not of_self and node.attr not in own and node.attr in private_names():
                yield f"{node.attr} (line {node.lineno})"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("attr"):
            name = getattr(node.args[1], "value", None)  # getattr(x, "_y")
            if is_private(str(name)) and name in private_names():
                yield f"{name!r} (line {node.lineno})"
        elif isinstance(node, ast.ImportFrom | ast.Import):
            module = getattr(node, "module", None) or ""
            for name in (f"{module}.{alias.name}" for alias in node.names):
                top, *parts = name.strip(".").split(".")
                if top in ("lightning", "jsonargparse") and any(map(is_private, parts)):
                    yield f"{name} (line {node.lineno})"


def own_of_a_class(kind):
    """Return the private names of Lightning's classes that a class of ours uses or defines."""
    theirs, ours = set(), set()
    for base in kind.__mro__:
        top = base.__module__.split(".")[0]
        if top in ("lightning", "jsonargparse"):
            theirs |= set(defined(ast.parse(inspect.cleandoc("\n" + inspect.getsource(base)))))
    for node in ast.walk(ast.parse(inspect.getsource(kind))):
        if isinstance(node, ast.Attribute):
            ours.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            ours.add(node.name)
    return sorted(filter(is_private, ours & theirs))


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PLACE)


def test_yaml_is_read_in_one_place():
    readers = [
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.endswith("load")
        and isinstance(node.value, ast.Name) and node.value.id == "yaml"
    ]  # fmt: skip
    assert readers == ["configs.py"]


def test_lint_sees_what_it_looks_for(tmp_path):
    seen = {touch.split()[0] for touch in touches(PLACE)}
    assert seen >= {"_actions", "'_typehint'", "_data_fetcher", "_duration"}
    assert "_save_topk_checkpoint" in own_of_a_class(compat.Keeper)
    assert "_set_seed" in own_of_a_class(compat.OpenCLI)
    file = tmp_path / "a.py"
    file.write_text("from lightning.pytorch import _logger\ntrainer._run(1)\n"
                    "loop._mine = 3\nloop._combined_loader = None\n")  # fmt: skip
    assert len(list(touches(file))) == 3


def test_no_file_touches_lightnings_private_names():
    found = {str(path.relative_to(PACKAGE)): names for path in FILES if (names := [*touches(path)])}
    assert not found


def test_no_class_uses_private_names_of_its_bases():
    found = {}
    for path in FILES:
        text = path.read_text()
        if "from lightning" not in text and "lightning_compat" not in text:
            continue
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        module = __import__(name, fromlist=["_"])
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == name and (own := own_of_a_class(kind)):
                found[f"{name}.{kind.__name__}"] = own
    assert not found
