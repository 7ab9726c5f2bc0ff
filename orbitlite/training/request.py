"""Request: what the config of a fit asks for, to be planned; nothing is built or read in full."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from orbitlite.configs import read_config
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.pair_source import CACHE_BYTES, PairSource
from orbitlite.data.splits import positions, shares
from orbitlite.data.tiles import Tile, TilePlan
from orbitlite.errors import InputError
from orbitlite.model.outline import count_weights
from orbitlite.planning.upkeep import FORTY_YEARS, Upkeep, sample_bytes
from orbitlite.planning.workload import Workload
from orbitlite.training.arguments import check_precision
from orbitlite.training.sources import data_of_config, network_of_config
from orbitlite.training.tuning import InitConfig, check_init

_DAYS, _HEIGHT, _WIDTH = 400, 64, 128  # of the embedded world, where a config does not say


@dataclass(frozen=True)
class Request:
    """A fit that is planned.

    Attributes
    ----------
    work : Workload
    halo : int
        Coarse cells of context around a tile.
    upkeep : Upkeep
    remarks : tuple of str
        What has to be said of it.
    """

    work: Workload
    halo: int
    upkeep: Upkeep
    remarks: tuple[str, ...]

    @classmethod
    def of(cls, options: argparse.Namespace) -> Request:
        """Read a config, with the options of `orbitlite plan`.

        Raises
        ------
        InputError
            If the config is wrong, or an option is.
        """
        data, config = data_of_config(options.config), network_of_config(options.config)
        sections = read_config(options.config)
        remarks, trainer = [], sections.get("trainer") or {}
        if options.grid is not None:
            part, tile = data.first, _tile(data.first, *_grid(options.grid))
        else:
            windows = [(one, _tile_of(one)) for one in data.parts.values()]
            part, tile = max(
                windows, key=lambda own: own[0].batch_size * own[1].height * own[1].width
            )
            if len(windows) > 1:
                names = dict(zip(map(id, data.parts.values()), data.parts, strict=True))
                remarks.append(
                    f"Of {len(windows)} sources {names[id(part)]!r} has the largest batches: it "
                    "decides memory and time."
                )
        if part.task is not None:
            others = count_weights(config) - count_weights(config.of_tasks[part.task])
            remarks.append(
                f"The plan is of task {part.task}, whose batches are the largest; decoders of "
                f"other tasks add {others:,} weights to it."
            )
        config = config.of_tasks[part.task or ""]
        members = (sections.get("model") or {}).get("members")
        precision = options.precision or trainer.get("precision") or "32-true"
        check_precision(precision)
        init = _init(sections)
        lora = init.tune == "lora"
        work = Workload(
            config, tile.height, tile.width, options.batch_size or part.batch_size,
            half="bf16" in str(precision), device="cpu" if options.gpu == "cpu" else "cuda",
            core=tile.core_shape, tune=init.tune or "full", rank=init.rank if lora else 0,
            **({} if members is None else {"members": members}),
        )  # fmt: skip
        _ = work.tokens  # a budget that does not fit is told before anything else
        if work.tune != "full":
            learning = sum(unit.padded(1, learning=True) for unit in work.units)
            remarks.append(
                f"init.tune {work.tune}: {learning:,} weights learn, if all of the bundle suits; "
                "gradients and moments are theirs alone."
            )
        return cls(work, part.halo, _upkeep(options, data, work, sections), tuple(remarks))


def _init(sections: Mapping[str, Any]) -> InitConfig:
    section = sections.get("init") or {}
    known = [field.name for field in fields(InitConfig)]
    if unknown := [name for name in section if name not in known]:
        raise InputError(f"init has no key {unknown[0]!r}; it has {', '.join(known)}")
    init = InitConfig(**section)
    check_init(init)
    return init


def _upkeep(
    options: argparse.Namespace, data: PairDataModule, work: Workload, sections: Mapping[str, Any]
) -> Upkeep:
    """Find how many samples there are, and how they are read."""
    stand_in = options.grid is not None
    count = options.data_samples or (
        FORTY_YEARS if stand_in else sum(map(_samples, data.parts.values()))
    )
    kept = all(
        part.cache is True or (part.cache == "auto" and sample_bytes(work) * count < CACHE_BYTES)
        for part in data.parts.values()
    )
    return Upkeep(
        options.storage * 1e9,
        ahead=stand_in or data.num_workers > 0,
        data=count,
        every=(sections.get("recent") or {}).get("every", 0),
        in_memory=kept,
        known=options.data_samples is not None or not stand_in,
    )


def _samples(part: PairSource) -> int:
    """Return the samples of an epoch; the embedded world need not be made for it."""
    if part.pairing.fine != "world":
        return part.samples("train")
    world = part.world
    times = pd.date_range(world.get("start", "2000-01-01"), periods=world.get("days", _DAYS))
    period = part.periods.get("train") or shares(times)["train"]
    height, width = world.get("height", _HEIGHT), world.get("width", _WIDTH)
    factor = part.pairing.factor
    plan = TilePlan(height // factor, width // factor, part.tile, part.halo, wraps=True)
    return len(positions("train", period, times)) * len(plan.tiles)


def _tile_of(part: PairSource) -> Tile:
    """Return a window of a source; the embedded world need not be made for it."""
    if part.pairing.fine != "world":
        return part.first_tile()
    height, width = part.world.get("height", _HEIGHT), part.world.get("width", _WIDTH)
    factor = part.pairing.factor
    return _tile(part, height // factor, width // factor)


def _tile(part: PairSource, height: int, width: int) -> Tile:
    return TilePlan(height, width, part.tile, part.halo, wraps=True).tiles[0]


def _grid(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"--grid: expected rows x columns such as 180x360, found {text!r}")
    return int(parts[0]), int(parts[1])
