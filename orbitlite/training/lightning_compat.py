"""All that the package touches of Lightning behind its public face: its private attributes.

Each function and class says what it is written for; `tests/training/test_lightning_compat.py` runs
each, and refuses private names of Lightning and jsonargparse elsewhere. Written for Lightning 2.6
and jsonargparse 4.52.
"""

from __future__ import annotations

import argparse
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Any

from jsonargparse import ArgumentParser
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.strategies import ModelParallelStrategy


class OpenCLI(LightningCLI):
    """LightningCLI with a say in its parsers and its seed, which reads no checkpoint by itself.

    Lightning 2.6 lets the settings of a checkpoint win over config files and the command line; here
    whoever wants them puts them in front of the arguments.
    """

    def finish_parser(self, parser: LightningArgumentParser) -> None:
        """Change the parser of a subcommand before its method's options are described."""

    def choose_seed(self) -> None:
        """Change `seed_everything` of the config before it is used."""

    def parser_of(self, command: str) -> LightningArgumentParser:
        """Return the parser of a subcommand."""
        return self._parser(command)

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        self.finish_parser(parser)
        return parser

    def _set_seed(self) -> None:
        self.choose_seed()
        super()._set_seed()

    def _parse_ckpt_path(self) -> None:
        """Nothing here."""


def hide_options(parser: ArgumentParser, names: Collection[str]) -> None:
    """Leave options out of a parser's help; argparse keeps them in `_actions`."""
    for action in parser._actions:
        if action.dest.removesuffix(".help") in names:
            action.help = argparse.SUPPRESS


def explain_options(parser: ArgumentParser, texts: Mapping[str, str]) -> None:
    """Add a sentence to the help of options, by name."""
    for action in parser._actions:
        if text := texts.get(action.dest):
            action.help = f"{action.help} {text}"


def typed_options(parser: ArgumentParser) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and default of the options of a parser that jsonargparse knows a type of."""
    for action in parser._actions:
        if (kind := getattr(action, "_typehint", None)) is not None:
            yield action.dest, kind, action.default


class Keeper(ModelCheckpoint):
    """A ModelCheckpoint that saves when it is told to."""

    def save(self, trainer: Trainer) -> None:
        """Save, unless this step was saved already, or a trial run or sanity check is under way."""
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

    @property
    def saved_step(self) -> int:
        """Step of the last save; 0 before the first."""
        return self._last_global_step_saved


def time_limit(timer: Timer) -> float | None:
    """Return the seconds that a Timer leaves a run (`trainer.max_time`); None if it has no end."""
    return timer._duration


def validation_follows(trainer: Trainer) -> bool:
    """Tell, at the end of a batch of a fit, whether a validation is next."""
    loop = trainer.fit_loop
    fetcher = loop._data_fetcher
    return fetcher is not None and loop.epoch_loop._should_check_val_fx(fetcher)


def stepped(trainer: Trainer) -> bool:
    """Tell, at the end of a batch of a fit, whether the optimiser has stepped with it."""
    return not trainer.fit_loop._should_accumulate()


def row_of_step(trainer: Trainer) -> tuple[int, dict[str, Any]] | None:
    """Return, at the end of a batch, the step and the row that loggers will be given for it.

    None where the optimiser has not stepped, or no row is due (`trainer.log_every_n_steps`).
    """
    connector, loop = trainer._logger_connector, trainer.fit_loop
    if not stepped(trainer) or not connector.should_update_logs:
        return None
    row: dict[str, Any] = {name: float(value) for name, value in connector.metrics["log"].items()}
    return loop.epoch_loop._batches_that_stepped, {"epoch": trainer.current_epoch} | row


def forget_steps(trainer: Trainer) -> None:
    """Forget what training steps have logged: a row repeats what its own step does not log."""
    trainer.fit_loop.epoch_loop._results.reset(fx="training_step")


def forget_train_loader(trainer: Trainer) -> None:
    """Have the loader of a fit made anew: `estimated_stepping_batches` makes it.

    That is before a checkpoint could tell where in an epoch it stands.
    """
    trainer.fit_loop._combined_loader = None


def begin_next_epoch(trainer: Trainer) -> None:
    """Begin the next epoch if the checkpoint that a fit goes on from is of the end of one.

    For a checkpoint of an epoch's last batch or of its end, Lightning would not count the next
    epoch as begun, or pass an empty one before it. For `on_train_start`.
    """
    loop: Any = trainer.fit_loop
    epoch = loop.epoch_progress.current
    if epoch.started != epoch.processed:
        return
    if loop.restarted_on_epoch_end:
        loop.epoch_loop.restarting = False
        epoch.completed = epoch.processed
    loop.reset_restart_stage()


class KeptRows(ExperimentWriter):
    """Lightning's rows of a CSV file, which spare the file of an earlier run."""

    def _check_log_dir_exists(self) -> None:
        """Nothing here: Lightning deletes the file."""


class RowsLogger(CSVLogger):
    """Lightning's CSV logger over rows that a subclass makes."""

    @abstractmethod
    def make_rows(self) -> KeptRows:
        """Return the rows, when they are first asked for."""

    @property
    def experiment(self) -> Any:
        """Return the rows that are written."""
        if self._experiment is None:
            self._experiment = self.make_rows()
        return self._experiment


def csv_options(logger: CSVLogger) -> dict[str, Any]:
    """Return the arguments that a CSV logger was made with."""
    return {
        "save_dir": logger.save_dir,
        "name": logger.name,
        "version": logger.version,
        "prefix": logger._prefix,
        "flush_logs_every_n_steps": logger._flush_logs_every_n_steps,
    }


class OpenStrategy(ModelParallelStrategy):
    """Lightning's model-parallel strategy, with axes that a subclass lays over the processes."""

    @abstractmethod
    def before_joining(self, backend: str, timeout: timedelta | None) -> None:
        """Do what has to be done before the processes find each other."""

    @abstractmethod
    def lay_axes(self) -> Any:
        """Return the device mesh, now that the processes know each other."""

    def setup_environment(self) -> None:
        """Let the processes find each other and lay the axes over them."""
        self.before_joining(self._get_process_group_backend(), self._timeout)
        self._setup_distributed()
        self._device_mesh = self.lay_axes()
        assert self.lightning_module is not None
        self.lightning_module._device_mesh = self._device_mesh
