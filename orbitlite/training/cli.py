"""`orbitlite fit|validate|test|predict`: LightningCLI with plain errors and sane precedence."""

from __future__ import annotations

import logging
import os
import re
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning import Callback
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import SIGTERMException

from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.mixture import lacks_truth
from orbitlite.errors import InputError, SharedError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.lora import is_adapter
from orbitlite.model.tasks import Tasks
from orbitlite.notice import muted
from orbitlite.parallel.channels import inputs_of_rank
from orbitlite.parallel.launch import by_srun, by_torchrun, check_environment, process_rank
from orbitlite.parallel.mesh import (
    Layout,
    ParallelConfig,
    check_network,
    is_up,
    layout,
)
from orbitlite.planning.estimate import memory_warning
from orbitlite.planning.workload import Workload
from orbitlite.training.arguments import (
    LINKED,
    check_configs,
    check_precision,
    device_count,
    with_current_names,
    with_init,
)
from orbitlite.training.averaging import WeightEMA
from orbitlite.training.beginning import begin, go_on
from orbitlite.training.callbacks import (
    BundleWriter,
    StepLine,
    check_callbacks,
)
from orbitlite.training.checkpoints import CheckpointFiles, read_checkpoint
from orbitlite.training.classes import allow_classes
from orbitlite.training.continuation import (
    RUN,
    seed_of,
    with_checkpoint_settings,
    with_last_checkpoint,
)
from orbitlite.training.fresh_weights import outlined
from orbitlite.training.interruption import Interruption, Stopped
from orbitlite.training.keepers import LastCheckpoint, RecentCheckpoints
from orbitlite.training.lightning_compat import OpenCLI
from orbitlite.training.messages import plain_causes, plain_parser_error, plain_trainer
from orbitlite.training.metrics import metrics_files
from orbitlite.training.module import DownscalingModule
from orbitlite.training.options import (
    check_batches,
    check_checkpoints,
    check_devices,
    check_limits,
    check_options,
    chosen_seed,
    close_options,
    fill_sections,
)
from orbitlite.training.prediction import PredictionFile, predict_period
from orbitlite.training.reconstruction_scores import SCORE
from orbitlite.training.record import RunRecord
from orbitlite.training.stated import Stated
from orbitlite.training.strategy import MeshStrategy
from orbitlite.training.surroundings import surroundings
from orbitlite.training.truth import check_head, check_truth
from orbitlite.training.tuning import InitConfig, check_init
from orbitlite.training.yardstick import Yardstick

logger = logging.getLogger(__name__)

COMMANDS = ("fit", "validate", "test", "predict")
_LOST = re.compile("closed by peer|reset by peer|Broken pipe|Timed out|timed out|NCCL|gloo")


class OrbitCLI(OpenCLI):
    """The LightningCLI of orbitlite.

    The data module takes its channels from the network. A checkpoint's settings are
    defaults; config files and the command line win over them.
    """

    def __init__(self, arguments: list[str]) -> None:
        stated = Stated(arguments)
        self._from = stated.value("ckpt_path")
        self._monitors = "checkpoint.monitor" in stated
        super().__init__(
            DownscalingModule,
            PairDataModule,
            save_config_callback=RunRecord,
            trainer_defaults={
                "log_every_n_steps": 10,
                "gradient_clip_val": 1.0,
                "use_distributed_sampler": False,
            },
            seed_everything_default=0,
            parser_kwargs={"exit_on_error": False},
            auto_configure_optimizers=False,
            args=with_checkpoint_settings(arguments),
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
        parser.add_class_arguments(PredictionFile, "prediction_file")
        parser.add_lightning_class_args(RecentCheckpoints, "recent")
        parser.add_class_arguments(ParallelConfig, "parallel")
        parser.add_class_arguments(InitConfig, "init")
        for name, of_data in LINKED.items():
            parser.link_arguments(f"model.network.{name}", f"data.{of_data}")

    def finish_parser(self, parser: LightningArgumentParser) -> None:
        """Leave out of the help what cannot work."""
        close_options(parser)

    def before_instantiate_classes(self) -> None:
        """Check options and machine before anything is built."""
        config = self.config[self.subcommand]
        check_options(self.parser_of(str(self.subcommand)), config)
        check_devices(config.trainer)
        if self.subcommand == "fit":
            check_limits(config.trainer)
            check_checkpoints(config)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and say what is wrong with files, or with the settings of a checkpoint."""
        try:
            super().parse_arguments(parser, args)
        except (UnicodeError, RecursionError, OSError) as error:
            raise SharedError(f"a config cannot be read: {error}") from error
        except (ArgumentError, ImportError) as error:  # the latter: a class that may not be named
            if self._from:
                self._check_settings(parser, args[:3])
            raise SharedError(plain_parser_error(error)) from error
        name = self.config.subcommand
        fill_sections(self.parser_of(name), self.config[name])
        own = self.config[name]
        if not self._monitors:
            own.checkpoint.monitor = _judged_by(own)

    def _check_settings(self, parser: LightningArgumentParser, args: list[str]) -> None:
        try:
            parser.parse_args(args)
        except (ArgumentError, ImportError) as error:
            raise SharedError(
                f"the settings that {self._from} holds cannot be used: {plain_parser_error(error)}"
            ) from error

    def choose_seed(self) -> None:
        """Choose a seed where `true` asks for one, and say so: the run's config records it."""
        config = self.config[self.subcommand]
        earlier = seed_of(self._from) if self._from and config.seed_everything is True else None
        config.seed_everything = chosen_seed(config.seed_everything, config.trainer, earlier)

    def instantiate_classes(self) -> None:
        """Open the data as well, so that a mistake in them is told before a folder is made."""
        trainer = self.config[self.subcommand].trainer
        nodes = trainer.num_nodes
        several = device_count(trainer) * nodes > 1
        with plain_causes(), outlined(nodes) if several else nullcontext():
            super().instantiate_classes()
        if self.subcommand == "fit":
            network = self.model.network
            data = self.datamodule
            targets = [n for own in network.config.of_tasks.values() for n in own.targets]
            untruthful = [name for name in data.parts if name not in data.truthful]
            check_callbacks(
                self.trainer, targets, network.stochastic, list(data.truthful), untruthful
            )
        self._begin(self._check_checkpoint())
        sizes = self._share_work()
        check_truth(self.model, self.datamodule, sizes, str(self.subcommand))
        if self.subcommand == "predict":
            file = self.config_init["predict"]["prediction_file"]
            self.datamodule.choose(file.task, "prediction_file.task")
        self.datamodule.setup(self.subcommand)
        self.model.check_grid(self.datamodule)
        if self.subcommand == "fit":
            data = self.datamodule
            validated = data.val_dataloader()
            loaders = validated if isinstance(validated, list) else [validated]
            counts = len(data.train_dataloader()), min(map(len, loaders), default=0)
            check_batches(self.config.fit.trainer, *counts)
            self._check_memory(sizes)

    def _begin(self, state: dict[str, Any] | None) -> None:
        """Take the weights of a bundle; or say what learns, as the checkpoint `state` has it."""
        config = self.config_init[self.subcommand]
        options, network, fresh = config["init"], self.model.network, self.model.fresh_weights
        check_init(options)
        if isinstance(network, Tasks):
            if options.bundle is not None and self.subcommand == "fit":
                raise SharedError(
                    f"init.bundle {options.bundle}: a fit of several tasks (model.network.tasks) "
                    "begins with random weights; leave out --init, or the tasks"
                )
            return
        if state is not None:
            record, fitting = state.get("initialisation"), self.subcommand == "fit"
            path = config["ckpt_path"]
            self.model.tuning = go_on(network, options, record, path, fitting, fresh)
        elif options.bundle is not None and self.subcommand != "fit":
            raise SharedError(
                f"init.bundle {options.bundle} is what a fit begins with; state the checkpoint of "
                "one, --ckpt_path FILE"
            )
        elif options.bundle is not None:
            self.model.tuning = begin(network, options, fresh, bool(self.datamodule.truthful))

    def _check_checkpoint(self) -> dict[str, Any] | None:
        """Compare the network of a checkpoint that is to be loaded with that of the config."""
        path = self.config_init[self.subcommand]["ckpt_path"]
        if path is None:
            return None
        if not Path(path).exists():
            raise SharedError(f"no checkpoint {path}; expected a .ckpt of a fit")
        ours = self.model.network.config
        state = read_checkpoint(path, weights=False)
        check_head(self.model, state, path)
        theirs = DownscalerConfig.from_record(state["hyper_parameters"]["network"])
        if names := ours.conflicts(theirs):
            told = "; ".join(
                f"{name} {getattr(theirs, name)} there, {getattr(ours, name)} here"
                for name in names
            )
            raise SharedError(
                f"{path} is of another network than the config: {told}. State the checkpoint's "
                "settings, leave them out (they are then taken from it), or fit anew"
            )
        return state

    def _share_work(self) -> Layout:
        """Tell the data what this process reads; here a layout that does not fit ends the run."""
        config = self.config_init[self.subcommand]["parallel"]
        sizes = layout(config, self.trainer.num_devices * self.trainer.num_nodes)
        if self.subcommand == "predict" and sizes.world_size > 1:
            raise SharedError("orbitlite predict runs on one process; pass --trainer.devices 1")
        network = self.model.network.config
        check_network(network, sizes)
        if self.model.tuning is not None:
            self.model.tuning.check_layout(sizes)
        self.model.parallel = config
        if sizes.world_size == 1:
            return sizes
        around: Any = getattr(self.trainer.strategy, "cluster_environment")  # noqa: B009
        rank = around.node_rank() * self.trainer.num_devices + around.local_rank()
        data, _, tensor = sizes.place(rank)
        self.datamodule.share(data, sizes.data)
        if sizes.tensor > 1 and len(self.datamodule.parts) > 1:
            raise SharedError(
                f"parallel.tensor {sizes.tensor}: processes that share the channels read those of "
                f"one source, and data.sources has {len(self.datamodule.parts)}: state "
                "parallel.tensor 1"
            )
        if sizes.tensor > 1:
            self.datamodule.restrict(inputs_of_rank(network, sizes.tensor, tensor))
        return sizes

    def predict(
        self,
        model: DownscalingModule,
        datamodule: PairDataModule,
        ckpt_path: str | None = None,
        **_: Any,
    ) -> None:
        """Take the place of the trainer's loop (LightningCLI calls it)."""
        file = self.config_init["predict"]["prediction_file"]
        predict_period(self.trainer, model, datamodule, ckpt_path, file)

    def _check_memory(self, sizes: Layout) -> None:
        """Warn of a fit that is predicted not to fit its GPU; one process does."""
        device = self.trainer.strategy.root_device
        if device.type != "cuda" or process_rank():
            return
        data, config = self.datamodule, self.config_init[self.subcommand]
        largest = data.largest
        tile = largest.first_tile()
        network = self.model.network.config.of_tasks[largest.task or ""]
        work = Workload(
            network, tile.height, tile.width, largest.batch_size, sizes,
            config["parallel"].activation_checkpointing, "bf16" in str(self.trainer.precision),
            members=self.model.objective.members, core=tile.core_shape, **self._learning(),
        )  # fmt: skip
        available = torch.cuda.get_device_properties(device).total_memory
        if text := memory_warning(work, available, config["ema"].decay > 0):
            logger.warning(text)

    def _learning(self) -> dict[str, Any]:
        """Return what of the network learns, as its memory is predicted."""
        tuning = self.model.tuning
        if tuning is None or tuning.tune == "full":
            return {}
        learns = [n for n, _ in self.model.network.named_parameters() if tuning.rate(n)]
        if any(not name.startswith("decoder.") and not is_adapter(name) for name in learns):
            return {}  # new parts below, such as channels: gradients go all the way back
        return {"tune": tuning.tune, "rank": tuning.options.rank * (tuning.tune == "lora")}

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Log to CSV and to a progress bar unless the config says otherwise."""
        config = self.config_init[self.subcommand]["trainer"]
        check_precision(config.get("precision"))
        devices, nodes = device_count(config), config["num_nodes"]
        config["plugins"] = surroundings(devices, nodes)
        if devices * nodes > 1:
            config["strategy"] = MeshStrategy(self.config_init[self.subcommand]["parallel"])
        else:
            config["plugins"].append(CheckpointFiles())
        root = config.get("default_root_dir")
        root = RUN if root is None else root
        _check_place("trainer.default_root_dir", root)
        config["default_root_dir"] = root
        self.config[self.subcommand]["trainer"]["default_root_dir"] = root
        for name in ("checkpoint", "recent"):
            keeper = self.config_init[self.subcommand][name]
            if keeper.dirpath is None:
                keeper.dirpath = str(Path(root) / "checkpoints")
            _check_place(f"{name}.dirpath", keeper.dirpath)
        config["logger"] = metrics_files(config.get("logger"), root, str(self.subcommand))
        extra: list[Callback] = [BundleWriter(), Yardstick()]
        if config.get("enable_progress_bar") is not False:
            extra.append(RichProgressBar(leave=False))
        config["callbacks"] = [*(config.get("callbacks") or []), *extra]
        with plain_trainer():
            trainer: Any = super().instantiate_trainer(**kwargs)
        last = LastCheckpoint(self.config_init[self.subcommand]["checkpoint"].dirpath)
        trainer.callbacks += [last, Interruption(last)]  # behind all that save
        return trainer


def main(arguments: list[str]) -> int:
    """Run a subcommand of the trainer.

    Parameters
    ----------
    arguments : list of str
        `["fit", "-c", "configs/iberia.yaml", ...]`.

    Returns
    -------
    int
        Exit status. 130 and 143: stopped by Ctrl-C and by SIGTERM.

    Raises
    ------
    InputError
        If a config or an argument is wrong; the message starts with the cause.
    """
    for text in (
        ".*does not have many workers.*",
        ".*LightningCLI's args parameter.*",
        ".*recommended to use .*sync_dist=True.*",  # the sums over processes are made before
        ".*returned a view tensor.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*The number of training batches.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*The dirpath has changed from.*",
    ):
        warnings.filterwarnings("ignore", text)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage()
    )
    torch.set_float32_matmul_precision("high")
    allow_classes()
    check_environment()
    try:
        arguments = with_init(arguments)
        check_configs(arguments)
        arguments = with_current_names(arguments)
        with muted() if process_rank() else nullcontext():
            arguments = with_last_checkpoint(arguments)
        OrbitCLI(arguments)
    except Stopped as stop:
        if process_rank() == 0:
            logger.warning("orbitlite: %s", stop)
        return _status(stop.status)
    except SIGTERMException:
        logger.warning("orbitlite: stopped by SIGTERM")
        return _status(143)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # as Lightning ends
            raise KeyboardInterrupt from None
        raise
    except ArgumentError as error:
        shared = SharedError(plain_parser_error(error))
        shared.told = process_rank() > 0
        raise shared from error
    except MisconfigurationException as error:  # what Lightning says of its own options
        shared = SharedError(" ".join(str(error).split()))
        shared.told = process_rank() > 0
        raise shared from error
    except SharedError as error:
        error.told = process_rank() > 0
        if not _status(2):
            return 0
        raise
    except (RuntimeError, OSError) as error:
        if is_up() and _LOST.search(str(error)):
            raise InputError(
                f"process {process_rank()}: another process of the run is gone; its own message "
                "tells why. The same command with --ckpt_path last goes on from the last checkpoint"
            ) from error
        raise
    return 0


def _judged_by(config: Any) -> str:
    """Return the score by which the best checkpoint is chosen, unless another is stated."""
    if lacks_truth(config.data.as_dict()):
        return SCORE
    if config.model.network.get("noise"):
        return "val_crps"
    before = str(config.checkpoint.monitor)  # the usual one, or that of a checkpoint's fit
    return "val_rmse" if before == SCORE else before


def _check_place(option: str, folder: str) -> None:
    """Find out whether a run can be written where it is to be."""
    if not folder or "://" in folder:
        raise SharedError(f"{option}: expected a folder of this machine, found {folder!r}")
    path = Path(folder).absolute()
    nearest = next(place for place in (path, *path.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        why = "may not be written to" if nearest.is_dir() else "is a file"
        raise SharedError(f"{option} {folder}: {nearest} {why}; state another folder")


def _status(status: int) -> int:
    """Return the exit status of a run that all its processes end alike.

    Where Lightning has started the others, the first process states it: at the first one that
    fails, Lightning kills the first process, in the middle of what it has to say.
    """
    own = not (by_torchrun() or by_srun())
    return 0 if own and process_rank() else status
