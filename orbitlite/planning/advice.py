"""What to do about a prediction, as flags of `orbitlite fit`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from orbitlite.errors import InputError
from orbitlite.planning.clusters import Gpu
from orbitlite.planning.estimate import RESERVE, Estimate, estimates
from orbitlite.planning.workload import Workload

_BUDGET = 0.25
_TILES = (2, 4, 8)
_MORE = (2, 4, 8, 16)
_MATTERS = 0.1
"""Share of step or memory from which on something is told."""


def flags(estimate: Estimate) -> str:
    """Return the flags of a layout; empty for the defaults."""
    work = estimate.work
    layout, words = work.layout, []
    for name in ("tensor", "sequence"):
        if (size := getattr(layout, name)) > 1:
            words.append(f"--parallel.{name} {size}")
    if layout.shard != layout.data:
        words.append(f"--parallel.shard {layout.shard}")
    if work.activation_checkpointing != "none":
        words.append(f"--parallel.activation_checkpointing {work.activation_checkpointing}")
    return " ".join(words)


def advice(found: list[Estimate]) -> str:
    """Say in a sentence which flags to use, of estimates as `estimates` ranks them."""
    best = found[0]
    if not best.work.half and best.gpu.half > best.gpu.single:
        more = "; --trainer.precision bf16-mixed would be faster"
    else:
        more = ""
    more += _limits(best)
    words = flags(best)
    if not words:
        return f"Advice: the defaults do, every GPU takes other samples{more}."
    return f"Advice: use {words}{more}."


def _limits(best: Estimate) -> str:
    """Say what of a step is neither computing nor exchange, where it matters."""
    told = []
    seconds, step = best.seconds, best.step
    if seconds["input"] > _MATTERS * step:
        need = best.upkeep.reading(best.work, best.gpu.per_node) / (step - seconds["input"])
        ahead = "" if best.upkeep.ahead else " and reading ahead (data.num_workers 4)"
        told.append(
            f"{100 * seconds['input'] / step:.0f} % of a step waits for samples, which need "
            f"{need * best.upkeep.storage / 1e9:.1f} GB/s a node{ahead}"
        )
    if seconds["launches"] > _MATTERS * step:
        told.append(
            f"{100 * seconds['launches'] / step:.0f} % of it waits for kernels to be launched: "
            "--parallel.compile true, or more samples at once"
        )
    if seconds["checkpoints"] > _MATTERS * step:
        told.append(
            f"{100 * seconds['checkpoints'] / step:.0f} % of it goes to checkpoints: validate "
            "less often"
        )
    time, room = best.repeated
    if max(time, room) > _MATTERS:
        told.append(
            "ranks that share a sample compute its decoder each and hold all its patches: "
            f"{100 * time:.0f} % of the step and {100 * room:.0f} % of the memory"
        )
    return "".join(f". {text[0].upper()}{text[1:]}" for text in told)


def too_large(found: list[Estimate], gpus: int, halo: int) -> str:
    """Say what is too large, and what would help.

    Parameters
    ----------
    found : list of Estimate
        None of which fits.
    gpus : int
    halo : int
        Coarse cells of context around a tile.
    """
    least = found[0]
    part = max(least.memory, key=least.memory.__getitem__)
    helps = [f"{words} {flags(best)}".strip() for words, best in _helps(least, gpus, halo)]
    return (
        f"Nothing fits {least.gpu.memory / 2**30:.0f} GiB, {100 * RESERVE:.0f} % of it kept free: "
        "the smallest layout takes "
        f"{least.bytes / 2**30:.1f} GiB, most of it for {part} "
        f"({least.memory[part] / 2**30:.1f} GiB). "
        + (f"What would fit: {'; or '.join(helps)}." if helps else "A smaller network would help.")
    )


def _helps(least: Estimate, gpus: int, halo: int) -> list[tuple[str, Estimate]]:
    """Return single changes after which something fits; if there is none, changes together."""
    kinds = [list(_milder(least.work)), list(tiles(least.work, halo))]
    singles = [
        *(_tried(words, work, gpus, least) for words, work in kinds[0]),
        _first(_tried(words, work, gpus, least) for words, work in kinds[1]),
        _first(_tried(f"{n * gpus} GPUs", least.work, n * gpus, least) for n in _MORE),
    ]
    if found := [single for single in singles if single is not None]:
        return found
    together, work = [], least.work
    for _ in kinds[0]:
        words, work = next(_milder(work))
        together.append(words)
    start = " ".join(together)
    choices = [(start, work), *((f"{start} {words}", tile) for words, tile in tiles(work, halo))]
    last = _first(
        _tried(words if n == 1 else f"{n * gpus} GPUs, {words}", changed, n * gpus, least)
        for n in (1, *_MORE)
        for words, changed in choices
    )
    return [] if last is None else [last]


def _milder(work: Workload) -> Iterator[tuple[str, Workload]]:
    if not work.half:
        yield "--trainer.precision bf16-mixed", replace(work, half=True)
    if work.config.tokens is None:
        config = replace(work.config, tokens=_BUDGET)
        yield f"--model.network.tokens {_BUDGET}", replace(work, config=config)
    if work.batch > 1:
        yield "--data.batch_size 1", replace(work, batch=1)


def tiles(work: Workload, halo: int) -> Iterator[tuple[str, Workload]]:
    """Give options that cut a sample into more and more windows, each with the workload of one."""
    for parts in _TILES:
        tile = max(work.height, work.width) // parts
        side = tile + 2 * halo
        change = replace(
            work, height=min(work.height, side), width=min(work.width, side),
            core=(min(work.height, tile), min(work.width, tile)),
        )  # fmt: skip
        yield f"--data.tile {tile}", change


def _tried(words: str, work: Workload, gpus: int, least: Estimate) -> tuple[str, Estimate] | None:
    try:
        best = estimates(work, gpus, least.gpu)[0]
    except InputError:  # such as a budget that the grid is too small for
        return None
    return (words, best) if best.fits else None


def _first(tried: Iterable[tuple[str, Estimate] | None]) -> tuple[str, Estimate] | None:
    return next((one for one in tried if one is not None), None)


def node(gpu: Gpu, gpus: int, nodes: int | None) -> Gpu:
    """Return the GPU with as many to a node as a cluster has.

    Raises
    ------
    InputError
        If the GPUs do not fill the nodes.
    """
    if gpus < 1 or (nodes is not None and nodes < 1):
        raise InputError(f"gpus and nodes: expected 1 or more, found {gpus} and {nodes}")
    if nodes is None:
        return replace(gpu, per_node=min(gpu.per_node, gpus))
    if gpus % nodes:
        raise InputError(f"nodes: {gpus} GPUs do not fill {nodes} nodes; each has as many")
    return replace(gpu, per_node=gpus // nodes)
