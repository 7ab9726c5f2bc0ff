"""Inventory: the table that says, before a fit, what it takes of a bundle and what learns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.lora import is_adapter
from orbitlite.model.reconstruction import PREFIX
from orbitlite.tables import PlainTable
from orbitlite.training.initialisation import DECODING, PER_CHANNEL, Taken
from orbitlite.training.tuning import Tuning

_PARTS: tuple[tuple[str, str], ...] = (
    (rf"channels\.groups\.\d+\.({'|'.join(PER_CHANNEL)})$", "channels"),
    (r"channels\.", "channel groups"),
    (r"position\.", "positions"),
    (r"compression\.", "saliency"),
    (r"blocks\.|norm\.", "blocks, norm"),
    (r"trunk\.", "trunk"),
    (r"decoder\.(head|join|body)\.", "decoder, coarse grid"),
    (r"decoder\.stages\.\d+\.conditioning\.|noise_size", "noise"),
    (r"decoder\.stages\.", "decoder, finer grids"),
    (r"decoder\.|blend", "decoder, corrections"),
    (r"ridge\.", "regression"),
    (re.escape(PREFIX), "reconstruction"),
)
_MOST = 6


@dataclass
class _Part:
    taken: int = 0
    new: int = 0
    left: int = 0
    rates: set[float] = field(default_factory=set)


def inventory(
    network: Downscaler, source: Downscaler, taken: Taken, tuning: Tuning, decodes: bool = True
) -> PlainTable:
    """Say what a fit begins with, per part of the network, in numbers of weights.

    Parameters
    ----------
    network : Downscaler
        As it begins.
    source : Downscaler
        Of the bundle.
    taken : Taken
    tuning : Tuning
    decodes : bool
        Whether any source of the fit has truth; else the decoder does not learn.

    Returns
    -------
    PlainTable
    """
    still = () if decodes else DECODING
    parts = _counted(network, source, taken, tuning, still)
    table = PlainTable(
        title=f"Begins with {tuning.origin['path']} ({tuning.origin['identity']}), "
        f"tune {tuning.tune}",
        title_justify="left",
    )
    table.add_column("part", style="bold", no_wrap=True)
    for name in ("taken", "new", "left", "lr x"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    notes = dict(_notes(network.config, source.config, taken))
    for name in dict.fromkeys([*(name for _, name in _PARTS), "adapters"]):
        if name in parts:
            part = parts[name]
            numbers = (f"{count:,}" for count in (part.taken, part.new, part.left))
            table.add_row(name, *numbers, _rates(part.rates), notes.get(name, ""))
    total = _Part(*(sum(getattr(part, key) for part in parts.values())
                    for key in ("taken", "new", "left")))  # fmt: skip
    table.add_section()
    table.add_row("all", f"{total.taken:,}", f"{total.new:,}", f"{total.left:,}", "",
                  f"{_learning(network, tuning, still):,} weights learn")  # fmt: skip
    table.add_row("normalisation", "", "", "", "", _normalisation(network.config, tuning))
    return table


def _counted(
    network: Downscaler, source: Downscaler, taken: Taken, tuning: Tuning, still: tuple[str, ...]
) -> dict[str, _Part]:
    """Count the weights of each part; parts that `still` begins learn nothing."""
    ours, theirs = _weights(network), _weights(source)
    parts: dict[str, _Part] = {}
    used = {name: theirs[name].numel() for name in taken.whole.values()}
    for rows in taken.rows.values():
        for origin, _ in rows.values():
            used[origin] = used.get(origin, 0) + theirs[origin][0].numel()
    for name, value in ours.items():
        part = parts.setdefault(_part(name), _Part())
        count = value.numel() if name in taken.whole else 0
        if rows_here := taken.rows.get(name):
            count = len(rows_here) * value[0].numel()
        part.taken += count
        part.new += value.numel() - count
        if name.startswith(still):
            part.rates.add(0.0)
        elif not name.startswith(("ridge.", "noise_size")):
            part.rates |= {tuning.rate(name)} if count < value.numel() else set()
            part.rates |= {tuning.rate_of_taken(name)} if count else set()
    for name, value in theirs.items():
        if left := value.numel() - used.get(name, 0):
            parts.setdefault(_part(name), _Part()).left += left
    return parts


def _weights(network: Downscaler) -> dict[str, Tensor]:
    """Return what a network has learned, without its normalisation."""
    return {
        name: value
        for name, value in network.state_dict().items()
        if "." in name or not name.endswith(("_mean", "_std"))
    }


def _part(name: str) -> str:
    if is_adapter(name):
        return "adapters"
    return next(part for pattern, part in _PARTS if re.match(pattern, name))


def _rates(rates: Iterable[float]) -> str:
    told = ["frozen" if not rate else f"{rate:.2g}" for rate in sorted(rates)]
    return ", ".join(told) if len(told) < 4 else f"{told[0]} to {told[-1]}"


def _learning(network: Downscaler, tuning: Tuning, still: tuple[str, ...]) -> int:
    """Count the weights that learn."""
    count = 0
    for name, weight in network.named_parameters():
        if tuning.rate(name) and not name.startswith(still):
            count += weight.numel()
            if (rows := tuning.taken.get(name)) and not tuning.rate_of_taken(name):
                count -= len(rows) * weight[0].numel()
    return count


def _notes(
    ours: DownscalerConfig, theirs: DownscalerConfig, taken: Taken
) -> Iterator[tuple[str, str]]:
    """Say of parts why, and what of."""
    found = _channels(ours, taken)
    new = [name for name in ours.inputs if name not in found]
    gone = [name for name in theirs.inputs if name not in found]
    told = [f"{len(found)} of {len(ours.inputs)} by name"]
    for word, names in (("new", new), ("left", gone), ("of another group", taken.moved)):
        if names:
            told.append(f"{word}: {_some(names)}")
    yield "channels", "; ".join(told)
    if len(ours.groups) != len(theirs.groups):
        yield "channel groups", f"{len(theirs.groups)} there, {len(ours.groups)} here"
    numbers = {name.split(".")[1] for name in taken.whole if name.startswith("blocks.")}
    if ours.depth or theirs.depth:
        yield "blocks, norm", f"{len(numbers)} blocks taken of {theirs.depth}; {ours.depth} here"
    others = [key for key in ("targets", "statics", "factor") if _differ(ours, theirs, key)]
    told = [f"other {' and '.join(others)}"] if others else []
    if not ours.statics and not theirs.statics:
        pass
    elif "statics" not in others:
        told.append(f"statics as there: {_some(ours.statics)}")
    yield "decoder, coarse grid", "; ".join(told)
    if bool(ours.noise) != bool(theirs.noise):
        yield "noise", "none at first" if ours.noise else "the network is deterministic"
    yield "regression", "solved anew" if ours.ridge else "none here"
    yield "reconstruction", "of this fit; a bundle has none"
    yield "adapters", "zero at first; a bundle has them merged"


def _differ(ours: DownscalerConfig, theirs: DownscalerConfig, key: str) -> bool:
    return bool(getattr(ours, key) != getattr(theirs, key))


def _channels(config: DownscalerConfig, taken: Taken) -> set[str]:
    """Return the inputs whose weights are taken."""
    found = set()
    for name, rows in taken.rows.items():
        group = config.groups[int(name.split(".")[2])]
        found |= {config.inputs[group[row]] for row in rows}
    return {*config.inputs} if any(name.startswith("trunk.") for name in taken.whole) else found


def _normalisation(config: DownscalerConfig, tuning: Tuning) -> str:
    told = []
    for kind, names in (("input", config.inputs), ("target", config.targets),
                        ("static", config.statics)):  # fmt: skip
        if names:
            kept = len(tuning.statistics.get(f"{kind}_mean", {}))
            told.append(f"{kept} of {len(names)} {kind}s")
    return f"of the bundle for {', '.join(told)}; else of the data"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
