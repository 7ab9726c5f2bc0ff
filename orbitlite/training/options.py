"""Options of a run: those that cannot work, and values that cannot be, refused before it begins."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
from typing import Any, get_args

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.accelerators import AcceleratorRegistry

from orbitlite.errors import SharedError
from orbitlite.model.decoder import DECODERS
from orbitlite.model.saliency import SALIENCIES
from orbitlite.model.trunk import TRUNKS
from orbitlite.notice import notice
from orbitlite.registry import Registry
from orbitlite.training.arguments import device_count
from orbitlite.training.lightning_compat import explain_options, hide_options, typed_options
from orbitlite.training.losses import LOSSES

logger = logging.getLogger(__name__)

_CLOSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "trainer.strategy": (
        ("auto",),
        "parallel.data, parallel.tensor and parallel.sequence state how processes share the work",
    ),
    "trainer.plugins": ((None,), "precision, processes and checkpoints have options of their own"),
    "trainer.enable_checkpointing": ((None, True), "what is kept is stated in checkpoint"),
    "trainer.gradient_clip_algorithm": ((None, "norm"), "gradients are clipped by their norm"),
    "trainer.use_distributed_sampler": ((False,), "the data share samples out themselves"),
    "trainer.reload_dataloaders_every_n_epochs": ((0,), "the data do not change during a fit"),
    "trainer.overfit_batches": ((0.0,), "state short periods in data.train and data.validate"),
    "trainer.barebones": ((False,), "a run needs its callbacks"),
    "trainer.sync_batchnorm": ((False,), "the network has no batch normalisation"),
    "trainer.model_registry": ((None,), "a run keeps its model in its own folder"),
    "checkpoint.save_last": ((None, False), "last.ckpt is always kept"),
    "checkpoint.save_weights_only": ((False,), "no fit could go on from such a checkpoint"),
    "checkpoint.save_on_exception": ((False,), "a fit that is stopped saves where it stands"),
    "checkpoint.every_n_train_steps": ((None, 0), "recent.every keeps checkpoints by steps"),
    "checkpoint.train_time_interval": ((None,), "recent.every keeps checkpoints by steps"),
    "checkpoint.every_n_epochs": ((None, 1), "every validation tells whether it is the best"),
    "checkpoint.save_on_train_epoch_end": (
        (None,),
        "every validation tells whether it is the best",
    ),
    "checkpoint.enable_version_counter": ((False,), "a run has one folder for its checkpoints"),
    "optimizer": ((None,), "model.optimisation states optimiser and schedule"),
    "lr_scheduler": ((None,), "model.optimisation states optimiser and schedule"),
    "weights_only": ((None, True), "checkpoints are never read otherwise"),
}
"""Options that a run cannot honour, with the values at which they do nothing, and why."""

_NAMED: dict[str, Registry[Any]] = {
    "model.loss": LOSSES,
    "model.network.saliency": SALIENCIES,
    "model.network.trunk": TRUNKS,
    "model.network.decoder": DECODERS,
}
"""Options that take a name, and where it is looked up."""

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")

_NAME = 100
_PROCESSES_PER_CORE = 4


def close_options(parser: ArgumentParser) -> None:
    """Leave options that cannot work out of the help; configs that fits have recorded hold them.

    Those that take a name of a registry say which are known.
    """
    for name in ("optimizer", "lr_scheduler"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    hide_options(parser, _CLOSED)
    texts = {key: f"Known: {names.known}." for key, names in _NAMED.items()}
    texts["init"] = "Or a bundle, short for --init.bundle; --tune is short for --init.tune."
    explain_options(parser, texts)


def open_options(names: list[str]) -> list[str]:
    """Return those of some options that can work."""
    return [name for name in names if name not in _CLOSED]


def fill_sections(parser: ArgumentParser, config: Namespace) -> None:
    """Take the defaults of sections that are there and hold nothing: all their lines left out."""
    usual = parser.get_defaults()
    for name in ("trainer", "checkpoint", "ema", "step_line", "prediction_file", "recent",
                 "parallel", "init"):  # fmt: skip
        if config.get(name) is None:
            config[name] = usual[name]


def check_options(parser: ArgumentParser, config: Namespace) -> None:
    """Refuse what a run cannot honour, and options that hold nothing and need something.

    Raises
    ------
    SharedError
        The message names the option.
    """
    for name, (harmless, why) in _CLOSED.items():
        if (value := config.get(name)) not in harmless:
            raise SharedError(f"{name}: leave it out; {why}. Found {value!r}")
    for name, kind, default in typed_options(parser):
        if default is None or type(None) in get_args(kind):
            continue
        if config.get(name, default) is None:
            raise SharedError(f"{name}: expected a value, found none (null)")


def check_limits(trainer: Namespace) -> None:
    """Refuse numbers of epochs and steps of a fit that take none, or do not end.

    Raises
    ------
    SharedError
        The message names the option.
    """
    for name, unbound in (("max_epochs", None), ("max_steps", -1)):
        value = trainer[name]
        if value not in (unbound, -1) and value < 1:
            raise SharedError(f"trainer.{name}: expected 1 or more, found {value}")
    for name, least in (
        ("min_epochs", 0), ("min_steps", 0), ("check_val_every_n_epoch", 1),
        ("accumulate_grad_batches", 1), ("gradient_clip_val", 0), ("log_every_n_steps", 0),
        ("num_sanity_val_steps", -1),
    ):  # fmt: skip
        if (value := trainer[name]) is not None and not value >= least:
            raise SharedError(f"trainer.{name}: expected {least} or more, found {value}")
    if trainer.val_check_interval == 0:
        raise SharedError("trainer.val_check_interval: expected more than 0, found 0")
    endless = trainer.max_epochs == -1 or (trainer.max_epochs is None and trainer.max_time)
    if endless and trainer.max_steps == -1:
        raise SharedError(
            "trainer.max_epochs: the learning rate follows a schedule over the whole fit, which "
            "has to be known; state max_epochs or max_steps (max_time may end it before)"
        )
    if trainer.limit_train_batches == 0:
        raise SharedError("trainer.limit_train_batches: 0 leaves nothing to train on")


def check_batches(trainer: Namespace, batches: int, validated: int) -> None:
    """Refuse shares of the batches of a fit that hold none, and validations that never come.

    Parameters
    ----------
    trainer : Namespace
        The trainer's section.
    batches, validated : int
        Of the training and the validation period.

    Raises
    ------
    SharedError
        The message names the option.
    """
    for name, there in (("limit_train_batches", batches), ("limit_val_batches", validated)):
        share = trainer[name]
        if isinstance(share, float) and 0 < share < 1 and there and share * there < 1:
            raise SharedError(f"trainer.{name}: {share} of {there} batches is none")
    interval, every = trainer.val_check_interval, trainer.check_val_every_n_epoch
    limit = trainer.limit_train_batches
    taken = int(batches * limit) if isinstance(limit, float) else min(batches, limit or batches)
    if type(interval) is int and every is not None and interval > taken:
        raise SharedError(
            f"trainer.val_check_interval: an epoch has {taken} batches, and {interval} were to "
            "pass before a validation; state fewer, a share such as 0.5, or "
            "trainer.check_val_every_n_epoch"
        )


def check_checkpoints(config: Namespace) -> None:
    """Refuse names of checkpoints that are no names of files.

    Raises
    ------
    SharedError
        The message names the option.
    """
    name = config.checkpoint.filename
    if name is not None and (not name or set(name) & set("/\\{}") or len(name) > _NAME):
        raise SharedError(
            f"checkpoint.filename: expected a file name of 1 to {_NAME} characters without braces "
            f"and slashes, found {name[:_NAME]!r}"
        )
    if config.checkpoint.monitor == "":
        raise SharedError("checkpoint.monitor: expected the name of a score, found none")


def check_devices(config: Any) -> None:
    """Refuse accelerators and numbers of processes that this machine does not have.

    Parameters
    ----------
    config : mapping
        The trainer's section.

    Raises
    ------
    SharedError
        The message says what there is.
    """
    asked, devices = config.get("accelerator"), config.get("devices")
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    known = AcceleratorRegistry.available_accelerators()
    there = [n for n in known if AcceleratorRegistry[n]["accelerator"].is_available()]
    on_gpu = torch.cuda.is_available() and asked in ("auto", "gpu", "cuda")
    if asked not in ("auto", "gpu", *known):
        raise SharedError(
            f"trainer.accelerator: expected one of auto, gpu, {', '.join(sorted(known))}, found "
            f"{asked!r}"
        )
    if asked not in ("auto", *there) and not (asked == "gpu" and {"cuda", "mps"} & {*there}):
        raise SharedError(
            f"trainer.accelerator: there is no {asked} on this machine, which has "
            f"{', '.join(there)}; state one of these, or leave it out"
        )
    if on_gpu:
        _check_gpus(devices, torch.cuda.device_count())
        return
    most = max(8, _PROCESSES_PER_CORE * (os.cpu_count() or 1))
    if devices != "auto" and (type(devices) is not int or not 1 <= devices <= most):
        raise SharedError(
            f"trainer.devices: on the CPU it is the number of processes, from 1 to {most} here; "
            f"found {devices!r}"
        )


def _check_gpus(devices: Any, there: int) -> None:
    if devices in ("auto", -1, "-1"):
        return
    text = f"trainer.devices: this machine has {there} GPUs (0 to {there - 1}); "
    if type(devices) is int:
        if not 1 <= devices <= there:
            raise SharedError(f"{text}expected 1 to {there} of them, found {devices!r}")
        return
    parts = devices.split(",") if isinstance(devices, str) else devices
    try:
        places = [int(part) for part in parts or ()]
    except (TypeError, ValueError):
        places = []
    if not places or len({*places}) < len(places) or not all(0 <= p < there for p in places):
        raise SharedError(f"{text}expected their places, each once, found {devices!r}")


def chosen_seed(seed: bool | int, trainer: Any, earlier: Any = None) -> int | bool:
    """Choose a seed where `true` asks for one: that of the fit that goes on, or a random one.

    Parameters
    ----------
    seed : bool or int
        As the config states it.
    trainer : mapping
        The trainer's section.
    earlier : object
        Seed of the fit that goes on, if it is a number.

    Returns
    -------
    int or bool
        The seed; False for none.

    Raises
    ------
    SharedError
        If the seed is none that numpy takes, or several processes would choose one each.
    """
    if seed is True and type(earlier) is int:
        seed = earlier
    if type(seed) is int:
        if not 0 <= seed < 2**32:
            raise SharedError(f"seed_everything: expected 0 to {2**32 - 1}, found {seed}")
        return seed
    if device_count(trainer) * (trainer.get("num_nodes") or 1) > 1:
        raise SharedError(
            f"seed_everything: all processes of a run need the same seed, found {seed}; state a "
            "number"
        )
    if seed:
        seed = secrets.randbelow(2**32)
        notice(logger, f"This run takes the seed {seed}; seed_everything: {seed} repeats this run.")
    return seed
