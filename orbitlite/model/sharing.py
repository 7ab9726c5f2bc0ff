"""Sharing: the networks of several tasks that have one trunk, as one config states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from orbitlite.errors import InputError
from orbitlite.model.groups import plain_groups
from orbitlite.model.ranges import names
from orbitlite.suggest import did_you_mean
from orbitlite.tasks import KEYS, read_tasks
from orbitlite.variables import declare_variables, declared, log1p_channels

if TYPE_CHECKING:
    from orbitlite.model.config import DownscalerConfig


def settings_of(config: DownscalerConfig) -> dict[str, Any]:
    """Return the names of channels that a config with tasks states, checked and in one form.

    Raises
    ------
    InputError
        If a value cannot be.
    """
    tasks = read_tasks(config.tasks)
    inputs = names("inputs", config.inputs)
    if config.variables:
        declare_variables(config.variables)
    own = {
        task: {key: names(f"tasks.{task}.{key}", stated.get(key, getattr(config, key)))
               for key in ("targets", "statics")}
        for task, stated in tasks.items()
    }  # fmt: skip
    channels = [*inputs, *(name for one in own.values() for part in one.values() for name in part)]
    chosen = None if config.log1p is None else names("log1p", config.log1p)
    for task, stated in tasks.items():
        stated |= own[task]
        if stated.get("nonnegative") is not None:
            stated["nonnegative"] = names(f"tasks.{task}.nonnegative", stated["nonnegative"])
    plain = ("targets", "statics", "nonnegative", "saliency_channels")
    beside = {
        key: names(key, value) for key in plain if (value := getattr(config, key)) is not None
    }
    return beside | {
        "tasks": tasks, "inputs": inputs, "variables": declared(channels),
        "log1p": log1p_channels(channels, chosen),
        "channel_groups": plain_groups(config.channel_groups),
    }  # fmt: skip


def configs_of(config: DownscalerConfig) -> dict[str, DownscalerConfig]:
    """Return the network of each task: the trunk, and what the task states of itself.

    Raises
    ------
    InputError
        If one cannot be, they cannot share a trunk, or they do not mean the same by a name.
    """
    if config.trunk != "vit":
        raise InputError(f"tasks share the trunk vit, found trunk {config.trunk}: leave one out")
    if config.ridge is not None:
        raise InputError("ridge is of one decoder, and there are tasks: leave one of the two out")
    found = {}
    for task, own in (config.tasks or {}).items():
        if hasattr(nn.ModuleDict, task):
            raise InputError(f"model.network.tasks: a module of torch has a {task}; choose another")
        channels = {*config.inputs, *own["targets"], *own["statics"]}
        looked_at = config.saliency_channels
        if looked_at is not None:
            looked_at = tuple(name for name in looked_at if name in channels) or None
        own = {key: own.get(key, getattr(config, key)) for key in KEYS}
        if own["nonnegative"] is not None:  # stated for all: each has its own of them
            own["nonnegative"] = _of_targets(config, task, own)
        log1p = tuple(name for name in config.log1p or () if name in channels)
        try:
            found[task] = replace(
                config, tasks=None, log1p=log1p, saliency_channels=looked_at, **own
            )
        except InputError as error:
            raise InputError(f"model.network.tasks.{task}: {error}") from error
    _check_saliency(config, found)
    _check_meanings(found)
    return found


def _of_targets(config: DownscalerConfig, task: str, own: Mapping[str, Any]) -> Any:
    """Return the targets of a task that are stated to have no negative values."""
    if "nonnegative" in (config.tasks or {})[task]:
        return own["nonnegative"]
    stated = names("nonnegative", config.nonnegative)
    return tuple(name for name in own["targets"] if name in stated)


def _check_saliency(config: DownscalerConfig, tasks: Mapping[str, DownscalerConfig]) -> None:
    offered = {name for own in tasks.values() for name in (*own.inputs, *own.statics)}
    for name in config.saliency_channels or ():
        if name not in offered:
            raise InputError(
                f"saliency_channels: {name!r} is neither an input nor a fine static of a task"
                f"{did_you_mean(name, offered)}"
            )


def _check_meanings(tasks: Mapping[str, DownscalerConfig]) -> None:
    """Refuse a target that is an amount in one task and of both signs in another."""
    seen: dict[str, tuple[str, bool]] = {}
    for task, own in tasks.items():
        for name in own.targets:
            amount = name in (own.nonnegative or ())
            other, theirs = seen.setdefault(name, (task, amount))
            if theirs != amount:
                without, free = (other, task) if theirs else (task, other)
                raise InputError(
                    f"model.network.tasks: {name} has no negative values in {without} and may have "
                    f"some in {free}: state nonnegative alike in both"
                )


def conflicts_of(config: DownscalerConfig, other: DownscalerConfig) -> list[str]:
    """Return the settings in which the weights of two networks with tasks differ.

    See `DownscalerConfig.conflicts`.
    """
    ours, theirs = config.of_tasks, other.of_tasks
    if ours.keys() != theirs.keys():
        return ["tasks"]
    found = {key for name, own in ours.items() for key in own.conflicts(theirs[name])}
    return [*sorted(found - {*KEYS}), *(["tasks"] if found & {*KEYS} else [])]
