"""`orbitlite fit|validate|test|predict`: LightningCLI with plain errors and sane precedence."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.training.callbacks import BundleWriter, PredictionFile, StepLine, WeightEMA
from orbitlite.training.module import DownscalingModule
from orbitlite.training.provenance import read_checkpoint

logger = logging.getLogger(__name__)

COMMANDS = ("fit", "validate", "test", "predict")
_LINKED = ("inputs", "targets", "fine_statics", "factor")


class OrbitCLI(LightningCLI):
    """The LightningCLI of orbitlite.

    The data module takes its channels from the network. A checkpoint's hyper-parameters are
    defaults; config files and the command line win over them (LightningCLI 2.6 lets the checkpoint
    win).
    """

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        super().__init__(
            DownscalingModule,
            PairDataModule,
            save_config_callback=SaveConfigCallback,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"log_every_n_steps": 10, "gradient_clip_val": 1.0},
            seed_everything_default=0,
            parser_kwargs={"exit_on_error": False},
            args=_with_checkpoint_defaults(arguments),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks of every run, and the links from the network to the data."""
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val_rmse",
                "checkpoint.mode": "min",
                "checkpoint.save_last": True,
                "checkpoint.filename": "best",
                "checkpoint.enable_version_counter": False,
            }
        )
        parser.add_lightning_class_args(WeightEMA, "ema")
        parser.add_lightning_class_args(StepLine, "step_line")
        parser.add_lightning_class_args(PredictionFile, "prediction_file")
        for name in _LINKED:
            parser.link_arguments(f"model.network.{name}", f"data.{name}")

    def _parse_ckpt_path(self) -> None:
        """Nothing here: the checkpoint came in as defaults, before the config was read."""

    def instantiate_classes(self) -> None:
        """Open the data as well, so that a mistake in them is told before a folder is made."""
        super().instantiate_classes()
        self.datamodule.setup(self.subcommand)
        self.model.check_grid(self.datamodule)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Log to CSV and to a progress bar unless the config says otherwise."""
        config = self.config_init[self.subcommand]["trainer"]
        root = config.get("default_root_dir") or "runs/default"
        config["default_root_dir"] = root
        checkpoint = self.config_init[self.subcommand]["checkpoint"]
        if checkpoint.dirpath is None:
            checkpoint.dirpath = str(Path(root) / "checkpoints")
        if config.get("logger") in (None, True):
            config["logger"] = CSVLogger(root, name="logs", version="")
        extra: list[Callback] = [BundleWriter()]
        if config.get("enable_progress_bar") is not False:
            extra.append(RichProgressBar(leave=False))
        config["callbacks"] = [*(config.get("callbacks") or []), *extra]
        return super().instantiate_trainer(**kwargs)


def main(arguments: list[str]) -> int:
    """Run a subcommand of the trainer.

    Parameters
    ----------
    arguments : list of str
        `["fit", "-c", "configs/iberia.yaml", ...]`.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    InputError
        If a config or an argument is wrong; the message starts with the cause.
    """
    from orbitlite.training.messages import plain_parser_error

    for text in (
        ".*does not have many workers.*",
        ".*LightningCLI's args parameter.*",
        ".*using the WeightAveraging callback, but loading.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*The number of training batches.*",
        ".*Checkpoint directory .* exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", text)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage()
    )
    torch.set_float32_matmul_precision("high")
    from jsonargparse import ArgumentError

    try:
        OrbitCLI(arguments)
    except ArgumentError as error:
        raise InputError(plain_parser_error(error)) from error
    return 0


def _with_checkpoint_defaults(arguments: list[str]) -> list[str]:
    """Put a checkpoint's hyper-parameters before the user's arguments, as a first config file."""
    path = _checkpoint_of(arguments)
    if path is None or (arguments[0] == "fit" and not Path(path).is_file()):
        return arguments
    import yaml

    state = read_checkpoint(path)
    data = {k: v for k, v in state.get("datamodule_hyper_parameters", {}).items()
            if k not in _LINKED}  # fmt: skip
    text = yaml.safe_dump({"model": _plain(state["hyper_parameters"]), "data": _plain(data)})
    logger.info("Settings not stated are those of %s", path)
    return [arguments[0], "--config", text, *arguments[1:]]


def _checkpoint_of(arguments: list[str]) -> str | None:
    for position, text in enumerate(arguments):
        if text.startswith("--ckpt_path="):
            return text.split("=", 1)[1]
        if text == "--ckpt_path" and position + 1 < len(arguments):
            return arguments[position + 1]
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if not str(k).startswith("_")}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
