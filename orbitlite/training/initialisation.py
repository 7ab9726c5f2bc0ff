"""Initialisation: the weights of a bundle that a new fit begins with, by name and meaning."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from orbitlite.model.channels import ChannelAttention, LinearAggregation
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler

PER_CHANNEL = ("embed_weight", "embed_bias", "sum_weight", "channel_weight")
"""Weights of a channel group that have a row for each of its channels."""
_GROUP = re.compile(r"channels\.groups\.(\d+)\.(.+)")
_SOLVED = "ridge."
DECODING = ("decoder.", "blend")
"""What makes fine fields of tokens: the weights whose names begin so."""

_MEANING: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"decoder\.head\.", ("decoder", "patch_size", "decoder_features")),
    (r"decoder\.join\.", ("decoder", "targets", "statics", "factor", "base")),
    (r"decoder\.body\.", ("decoder",)),
    (r"decoder\.stages\.\d+\.products\.", ("decoder", "statics", "factor")),
    (r"decoder\.stages\.", ("decoder", "factor")),
    (r"decoder\.out\.", ("decoder", "targets", "factor", "base")),
    (r"decoder\.", ("decoder", "decoder_options", "targets", "statics", "factor", "base")),
    (r"blend", ("targets",)),
    (r"noise_size", ()),
    (r"blocks\.", ("num_heads",)),
    (r"channels\.", ("num_heads", "group_aggregation", "patch_size")),
    (r"compression\.", ("saliency",)),
    (r"trunk\.", ("trunk", "trunk_options", "inputs", "statics", "patch_size")),
)
"""What settings say of the meaning of a weight, beside its name and shape; the first one that
matches the name. Weights that are not here mean the same in all networks."""


@dataclass
class Taken:
    """What a network takes of a bundle.

    Attributes
    ----------
    whole : dict of str to str
        Weights that are taken as they are, and what they are called in the bundle.
    rows : dict of str to dict
        Of each weight with a row per channel the rows that are taken: row, and name and row in
        the bundle.
    moved : list of str
        Channels whose group is made of another one than theirs was.
    statistics : dict of str to dict
        Rows of the normalisation that the bundle has: of `input_mean` and the like, by row.
    """

    whole: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[int, tuple[str, int]]] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)
    statistics: dict[str, dict[int, float]] = field(default_factory=dict)

    def record(self) -> dict[str, list[int] | None]:
        """Return, by name, which rows are taken; None: all of the weight. Plain values."""
        return {**dict.fromkeys(self.whole), **{n: sorted(rows) for n, rows in self.rows.items()}}


def take(
    network: Downscaler, source: Downscaler, unseen: Collection[str] = (), decoded: bool = True
) -> Taken:
    """Give a network the weights of another, wherever name, shape and meaning agree.

    Parameters
    ----------
    network : Downscaler
        Whole; is changed.
    source : Downscaler
    unseen : collection of str
        Inputs of it that had no value in training: its weights and its normalisation of them mean
        nothing, so that they are new.
    decoded : bool
        Whether the decoder of `source` has learned anything; else nothing of it is taken.

    Returns
    -------
    Taken
    """
    found = match(network, source, unseen, decoded)
    give(found, network, source.state_dict())
    return found


def match(
    network: Downscaler, source: Downscaler, unseen: Collection[str] = (), decoded: bool = True
) -> Taken:
    """Find the weights of another network that suit one: name, shape and meaning agree.

    Weights per input channel are taken by the name of the channel, whatever their order and group.
    What a channel group has in common is that of the group most of its channels come from.

    Parameters
    ----------
    network : Downscaler
        Whole, or its outline.
    source : Downscaler
    unseen, decoded : collection of str and bool
        As for `take`.

    Returns
    -------
    Taken
    """
    ours, theirs = network.config, source.config
    state, given = network.state_dict(), source.state_dict()
    found = Taken()
    for name, value in state.items():
        if _is_statistic(name) or name.startswith(_SOLVED) or _GROUP.match(name):
            continue
        if not decoded and name.startswith(DECODING):
            continue
        if name in given and _fits(name, value, given[name], ours, theirs):
            found.whole[name] = name
    if network.config.trunk == source.config.trunk == "vit":
        _match_groups(found, state, given, ours, theirs, unseen)
    _match_statistics(found, given, ours, theirs, unseen)
    return found


@torch.no_grad()
def give(found: Taken, module: nn.Module, given: Mapping[str, Tensor], prefix: str = "") -> None:
    """Give a network, or a part of it, the weights that are taken.

    The rows of a channel that is new to a group that is taken are set so that the group's token is
    what it was (`ChannelAttention.ignore`).

    Parameters
    ----------
    found : Taken
    module : Module
        Is changed, but for what is on the meta device.
    given : mapping of str to Tensor
        Weights of the bundle.
    prefix : str
        What the names of the weights begin with in the network.
    """
    for own, value in module.state_dict(prefix=prefix).items():
        if value.is_meta:
            continue
        if own in found.whole:
            value.copy_(given[found.whole[own]])
        for row, (origin, place) in found.rows.get(own, {}).items():
            value[row].copy_(given[origin][place])
    for path, unit in module.named_modules():
        if (
            isinstance(unit, (ChannelAttention, LinearAggregation))
            and not unit.embed_weight.is_meta
        ):
            where = f"{prefix}{path}." if path else prefix
            taken = found.rows.get(f"{where}embed_weight")
            if taken and (new := sorted({*range(len(unit.embed_weight))} - {*taken})):
                unit.ignore(new)


def substance(taken: Taken, state: Mapping[str, Tensor]) -> int:
    """Count the weights that are taken in matrices: what is left of a network without is none."""
    whole = sum(state[name].numel() for name in taken.whole if state[name].ndim > 1)
    parts = (len(rows) * state[name][0].numel() for name, rows in taken.rows.items()
             if state[name].ndim > 1)  # fmt: skip
    return whole + sum(parts)


def _fits(
    name: str, value: Tensor, other: Tensor, ours: DownscalerConfig, theirs: DownscalerConfig
) -> bool:
    """Tell whether a weight has the same shape and meaning in two networks."""
    if ours.decoder != "convolutional":  # nothing is known of the parts of others
        name = re.sub(r"^decoder\..*", "decoder.", name)
    settings = next((keys for pattern, keys in _MEANING if re.match(pattern, name)), ())
    return value.shape == other.shape and all(
        _meaning(ours, key) == _meaning(theirs, key) for key in settings
    )


def _meaning(config: DownscalerConfig, key: str) -> Any:
    if key in ("inputs", "targets", "statics"):
        return [described(config, name) for name in getattr(config, key)]
    if key == "base":  # what corrections are of
        return config.ridge is not None and config.noise > 0
    return getattr(config, key)


def described(config: DownscalerConfig, name: str) -> tuple[Any, ...]:
    """Return what a channel is to a network: name, transform, sign, declaration."""
    own: Mapping[str, Any] = config.variables or {}  # type: ignore[assignment]
    amounts = name in (config.nonnegative or ()) if name in config.targets else None
    return name, name in (config.log1p or ()), amounts, own.get(name)


def _match_groups(
    found: Taken,
    state: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    ours: DownscalerConfig,
    theirs: DownscalerConfig,
    unseen: Collection[str],
) -> None:
    """Find for each channel group what it has in common, and for each channel its rows."""
    places = {
        theirs.inputs[column]: (group, row)
        for group, columns in enumerate(theirs.groups)
        for row, column in enumerate(columns)
        if theirs.inputs[column] not in unseen
        and _same_channel(ours, theirs, theirs.inputs[column])
    }
    for number, columns in enumerate(ours.groups):
        names = [ours.inputs[column] for column in columns]
        counted = Counter(places[name][0] for name in names if name in places)
        if not counted:
            continue
        donor = counted.most_common(1)[0][0]
        found.moved += [name for name in names if name in places and places[name][0] != donor]
        for name in (n for n in state if n.startswith(f"channels.groups.{number}.")):
            rest = name.split(".", 3)[3]
            if rest not in PER_CHANNEL:
                origin = f"channels.groups.{donor}.{rest}"
                if origin in given and _fits(name, state[name], given[origin], ours, theirs):
                    found.whole[name] = origin
                continue
            rows = {}
            for row, channel in enumerate(names):
                group, place = places.get(channel, (None, 0))
                origin = f"channels.groups.{group}.{rest}"
                if origin in given and _fits(name, state[name][0], given[origin][0], ours, theirs):
                    rows[row] = origin, place
            if rows:
                found.rows[name] = rows


def _same_channel(ours: DownscalerConfig, theirs: DownscalerConfig, name: str) -> bool:
    """Tell whether an input of the bundle is one here, with the same transform."""
    if name not in ours.inputs:
        return False
    one, other = described(ours, name), described(theirs, name)
    return (one[1], one[3]) == (other[1], other[3])


def _match_statistics(
    found: Taken,
    given: Mapping[str, Tensor],
    ours: DownscalerConfig,
    theirs: DownscalerConfig,
    unseen: Collection[str],
) -> None:
    """Find the channels whose normalisation the bundle's weights were trained with."""
    inputs = {
        ours.inputs[ours.groups[int(match[1])][row]]
        for name, rows in found.rows.items()
        if (match := _GROUP.match(name))
        for row in rows
    }
    if any(name.startswith("trunk.") for name in found.whole):
        inputs = {*ours.inputs} - {*unseen}
    decoded = any(name.startswith("decoder.") for name in found.whole)
    for kind, own, others, kept in (
        ("input", ours.inputs, theirs.inputs, inputs),
        ("target", ours.targets, theirs.targets, {*ours.targets} if decoded else set()),
        ("static", ours.statics, theirs.statics, {*ours.statics} if decoded else set()),
    ):
        for row, name in enumerate(own):
            if name not in kept or name not in others:
                continue
            if kind != "input" and described(ours, name) != described(theirs, name):
                continue
            place = list(others).index(name)
            for part in (f"{kind}_mean", f"{kind}_std"):
                found.statistics.setdefault(part, {})[row] = float(given[part][place])


def _is_statistic(name: str) -> bool:
    return name.endswith(("_mean", "_std")) and "." not in name
