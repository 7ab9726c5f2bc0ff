"""`orbitlite fit|validate|test|predict`: LightningCLI with plain errors and sane precedence."""

from __future__ import annotations

import logging
import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError, SharedError
from orbitlite.parallel.channels import inputs_of_rank
from orbitlite.parallel.mesh import ParallelConfig, check_network, is_up, layout, leave
from orbitlite.training.averaging import WeightEMA
from orbitlite.training.callbacks import (
    BundleWriter,
    LastCheckpoint,
    PredictionFile,
    RecentCheckpoints,
    StepLine,
)
from orbitlite.training.checkpoints import CheckpointFiles, last_checkpoint, read_checkpoint
from orbitlite.training.module import DownscalingModule
from orbitlite.training.strategy import MeshStrategy

logger = logging.getLogger(__name__)

COMMANDS = ("fit", "validate", "test", "predict")
_LINKED = ("inputs", "targets", "fine_statics", "factor")
_LOST = re.compile("closed by peer|reset by peer|Broken pipe|Timed out|timed out|NCCL|gloo")


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
            trainer_defaults={
                "log_every_n_steps": 10,
                "gradient_clip_val": 1.0,
                "use_distributed_sampler": False,
            },
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
                "checkpoint.filename": "best",
                "checkpoint.enable_version_counter": False,
            }
        )
        parser.add_lightning_class_args(WeightEMA, "ema")
        parser.add_lightning_class_args(StepLine, "step_line")
        parser.add_lightning_class_args(PredictionFile, "prediction_file")
        parser.add_lightning_class_args(RecentCheckpoints, "recent")
        parser.add_class_arguments(ParallelConfig, "parallel")
        for name in _LINKED:
            parser.link_arguments(f"model.network.{name}", f"data.{name}")

    def _parse_ckpt_path(self) -> None:
        """Nothing here: the checkpoint came in as defaults, before the config was read."""

    def instantiate_classes(self) -> None:
        """Open the data as well, so that a mistake in them is told before a folder is made."""
        super().instantiate_classes()
        self._share_work()
        self.datamodule.setup(self.subcommand)
        self.model.check_grid(self.datamodule)

    def _share_work(self) -> None:
        """Tell the data what this process reads; here a layout that does not fit ends the run."""
        config = self.config_init[self.subcommand]["parallel"]
        sizes = layout(config, self.trainer.num_devices * self.trainer.num_nodes)
        network = self.model.network.config
        check_network(network, sizes)
        if sizes.world_size == 1:
            return
        around: Any = getattr(self.trainer.strategy, "cluster_environment")  # noqa: B009
        rank = around.node_rank() * self.trainer.num_devices + around.local_rank()
        data, _, tensor = sizes.place(rank)
        self.datamodule.share(data, sizes.data)
        if sizes.tensor > 1:
            self.datamodule.restrict(inputs_of_rank(network, sizes.tensor, tensor))

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Log to CSV and to a progress bar unless the config says otherwise."""
        config = self.config_init[self.subcommand]["trainer"]
        if device_count(config) * (config.get("num_nodes") or 1) > 1:
            if config.get("strategy") not in (None, "auto"):
                raise InputError(
                    "trainer.strategy: leave it out; parallel.data, parallel.tensor and "
                    f"parallel.sequence state how processes share the work, found "
                    f"{config.get('strategy')!r}"
                )
            config["strategy"] = MeshStrategy(self.config_init[self.subcommand]["parallel"])
        else:
            config["plugins"] = [*(config.get("plugins") or []), CheckpointFiles()]
        root = config.get("default_root_dir") or "runs/default"
        config["default_root_dir"] = root
        for name in ("checkpoint", "recent"):
            keeper = self.config_init[self.subcommand][name]
            if keeper.dirpath is None:
                keeper.dirpath = str(Path(root) / "checkpoints")
        if config.get("logger") in (None, True):
            config["logger"] = CSVLogger(root, name="logs", version="")
        folder = self.config_init[self.subcommand]["checkpoint"].dirpath
        extra: list[Callback] = [BundleWriter(), LastCheckpoint(folder)]
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
        ".*recommended to use .*sync_dist=True.*",  # the sums over processes are made before
        ".*returned a view tensor.*",
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
        OrbitCLI(_with_last_checkpoint(arguments))
    except ArgumentError as error:
        shared = SharedError(plain_parser_error(error))
        shared.told = _rank() > 0
        raise shared from error
    except SharedError as error:
        error.told = _rank() > 0
        raise
    except (RuntimeError, OSError) as error:
        if is_up() and _LOST.search(str(error)):
            raise InputError(
                f"process {_rank()}: another process of the run is gone; its own message tells "
                "why. The same command with --ckpt_path last goes on from the last checkpoint"
            ) from error
        raise
    leave()
    return 0


def _rank() -> int:
    """Return this process's rank as its launcher states it; 0 for one that is alone."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return int(next((os.environ[name] for name in names if os.environ.get(name)), 0))


def device_count(config: Any) -> int:
    """Return the number of processes per node that a trainer's section asks for."""
    devices, accelerator = config.get("devices"), config.get("accelerator")
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    if isinstance(devices, (list, tuple)):
        return len(devices)
    if isinstance(devices, str) and devices != "auto":
        return len(devices.split(","))
    if isinstance(devices, int) and devices >= 0:
        return devices
    on_gpu = accelerator in (None, "auto", "gpu", "cuda")
    return max(1, torch.cuda.device_count()) if on_gpu else 1


def _with_last_checkpoint(arguments: list[str]) -> list[str]:
    """Put the path of the run's last whole checkpoint in place of the word `last`."""
    if _value_of(arguments, "--ckpt_path") != "last":
        return arguments
    folder = _checkpoint_folder(arguments)
    path = last_checkpoint(folder)
    if path is None and arguments[0] != "fit":
        raise InputError(f"--ckpt_path last: there is no checkpoint in {folder}")
    if path is None:
        logger.info("There is no checkpoint in %s yet; the fit begins anew", folder)
    kept = []
    words = iter(arguments)
    for word in words:
        if word == "--ckpt_path":
            next(words)
        elif not word.startswith("--ckpt_path="):
            kept.append(word)
    return kept if path is None else [*kept, "--ckpt_path", str(path)]


def _checkpoint_folder(arguments: list[str]) -> Path:
    """Return where the checkpoints of a run lie, from its arguments and configs."""
    import yaml

    folder, root = None, "runs/default"
    for position, word in enumerate(arguments[:-1]):
        if word in ("-c", "--config") and Path(arguments[position + 1]).is_file():
            config = yaml.safe_load(Path(arguments[position + 1]).read_text()) or {}
            folder = (config.get("checkpoint") or {}).get("dirpath", folder)
            root = (config.get("trainer") or {}).get("default_root_dir", root)
    folder = _value_of(arguments, "--checkpoint.dirpath") or folder
    root = _value_of(arguments, "--trainer.default_root_dir") or root
    return Path(folder or Path(root) / "checkpoints")


def _with_checkpoint_defaults(arguments: list[str]) -> list[str]:
    """Put a checkpoint's hyper-parameters before the user's arguments, as a first config file."""
    path = _value_of(arguments, "--ckpt_path")
    if path is None or (arguments[0] == "fit" and not Path(path).exists()):
        return arguments
    import yaml

    state = read_checkpoint(path, weights=False)
    data = {k: v for k, v in state.get("datamodule_hyper_parameters", {}).items()
            if k not in _LINKED}  # fmt: skip
    text = yaml.safe_dump({"model": _plain(state["hyper_parameters"]), "data": _plain(data)})
    logger.info("Settings not stated are those of %s", path)
    return [arguments[0], "--config", text, *arguments[1:]]


def _value_of(arguments: list[str], key: str) -> str | None:
    for position, text in enumerate(arguments):
        if text.startswith(f"{key}="):
            return text.split("=", 1)[1]
        if text == key and position + 1 < len(arguments):
            return arguments[position + 1]
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if not str(k).startswith("_")}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
