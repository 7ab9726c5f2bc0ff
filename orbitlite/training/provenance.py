"""Where a model comes from: what its bundle tells about its training, and the fine statics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from orbitlite.addresses import without_secrets
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.pair_source import PairSource
from orbitlite.model.bundle import save_bundle, save_tasks
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.outline import count_weights, outline
from orbitlite.model.reconstruction import PREFIX
from orbitlite.model.record import RECONSTRUCTION
from orbitlite.model.statics import Statics
from orbitlite.model.tasks import Tasks, network_of
from orbitlite.notice import notice
from orbitlite.training.checkpoints import read_checkpoint
from orbitlite.training.tuning import without_adapters

logger = logging.getLogger(__name__)


def provenance(
    network: Downscaler | Tasks,
    data: PairDataModule,
    ranges: Mapping[str, list[float]],
    init: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe a training run in plain values and tensors.

    Parameters
    ----------
    network : Downscaler or Tasks
    data : PairDataModule
        Set up for fitting.
    ranges : mapping
        Smallest and largest value of each input in training, in the units of the table.
    init : mapping, optional
        Path and identity of the bundle that the fit began with, and what of it learned.

    Returns
    -------
    dict
        `metadata` (JSON-ready) and `statics` (tensors, see `Statics`, or None). Of a network with
        tasks, `metadata` has under `tasks` what is of one of them, and `statics` is by task.
    """
    metadata: dict[str, Any] = {
        "orbitlite_version": version("orbitlite"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        # Of the whole network, of which a process may hold a part.
        "parameters": count_weights(network.config),
    }
    if network.config.tasks is None:
        metadata["training"] = _training(data.first, data.parts, ranges, init)
        return {"metadata": metadata, "statics": statics_of(network.config, data.first)}
    metadata["tasks"], statics = {}, {}
    for task, own in network.config.of_tasks.items():
        first = data.first_of(task)
        parts = {name: data.parts[name] for name in data.assignment.sources(task)}
        training = _training(first, parts, ranges, init)
        metadata["tasks"][task] = {"parameters": count_weights(own), "training": training}
        if (fields := statics_of(own, first)) is not None:
            statics[task] = fields
    return {"metadata": metadata, "statics": statics}


def _training(
    first: PairSource,
    parts: Mapping[str, PairSource],
    ranges: Mapping[str, list[float]],
    init: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Describe what a task was trained on: its sources, and period and grid of the first."""
    grid, plane = first.pairs.grid, first.pairs.fine_grid.plane
    times = first.times("train")
    lat, lon = grid.centres
    sources = {
        f"{prefix}.{name}" if prefix else name: (
            _address(source) if isinstance(source, (str, list, type(None))) else "opened in Python"
        )
        for prefix, part in parts.items()
        for name, source in (
            ("fine", part.pairing.fine),
            ("coarse", part.pairing.coarse),
            ("static", part.pairing.statics),
        )
    }
    return {
        "period": [str(times.min()), str(times.max())],
        "times": len(times),
        **_validation(first),
        "grid": {
            "lat": [float(lat.min()), float(lat.max())],
            "lon": [float(lon.min()), float(lon.max())],
            "shape": list(grid.shape),
            "spacing": grid.spacing[0],
            **({"plane": plane} if plane else {}),
        },
        "sources": sources,
        "accumulate": first.pairing.resample,
        "interpolate": first.pairing.regrid,
        "context": first.pairing.context,
        "ranges": dict(ranges),
        **({"init": {**init, "path": _address(init["path"])}} if init else {}),
        **({} if first.has_truth else {"objective": RECONSTRUCTION}),
        **({"reconstructed": hidden} if (hidden := _reconstructed(parts, ranges)) else {}),
    }


def _validation(first: PairSource) -> dict[str, list[str]]:
    """Return the first and the last time that chose the checkpoint, where there were any."""
    if first.period("validate") is None:
        return {}
    times = first.times("validate")
    return {"validation": [str(times.min()), str(times.max())]}


def _address(source: Any) -> Any:
    """Return the paths and URLs of a source without secrets; others may read a bundle."""
    if isinstance(source, list):
        return [_address(one) for one in source]
    if not isinstance(source, str) or (safe := without_secrets(source)) == source:
        return source
    notice(logger, f"The record of the model names {safe} without user and query of its URL.")
    return safe


def _reconstructed(parts: Mapping[str, PairSource], ranges: Mapping[str, list[float]]) -> list[str]:
    """Return the inputs that sources without truth alone have values of."""
    known = {name for part in parts.values() if not part.has_truth for name in part.inputs}
    return sorted(known - ranges.keys())


def statics_of(config: DownscalerConfig, source: PairSource) -> dict[str, torch.Tensor] | None:
    """Return what makes the `Statics` of a network from a source.

    None if it has none and serves any grid, or its data have none. One with context belongs to its
    fine grid; to that of one whose inputs were interpolated other data can be brought.
    """
    needed = config.statics or source.pairing.context or source.pairing.regrid
    if not (needed and source.has_truth):
        return None
    fine = source.pairs.fine_grid
    return {
        "values": torch.from_numpy(source.statics).clone(),
        **{name: torch.from_numpy(part) for name, part in fine.lines.items()},
    }


def export(checkpoint: str | Path, bundle: str | Path) -> None:
    """Turn a training checkpoint into a bundle; its weights are read, not the optimiser's state.

    Parameters
    ----------
    checkpoint : str or Path
        `.ckpt` of `orbitlite fit`: the file of one process, or the folder of several.
    bundle : str or Path
        Directory or fsspec URL to write.

    Raises
    ------
    InputError
        If the checkpoint does not exist, is damaged or is not of this package.
    """
    state = read_checkpoint(checkpoint, weights="averages")
    config = DownscalerConfig.from_record(state["hyper_parameters"]["network"])
    network = network_of(config) if config.tasks else outline(config)
    prefix = "network."
    weights = {
        name.removeprefix(prefix): value
        for name, value in state["state_dict"].items()
        if name.startswith(prefix) and not name.startswith(prefix + PREFIX)
    }
    # What is read is not copied; nor are weights drawn for it to replace.
    own = without_adapters(weights, state.get("initialisation"))
    network.load_state_dict(own, assign=True)
    found = state["provenance"]
    known = found["statics"] or {}
    if isinstance(network, Tasks):
        statics = {task: Statics(**fields) for task, fields in known.items()}
        save_tasks(bundle, network, metadata=found["metadata"], statics=statics)
        return
    save_bundle(
        bundle, network, metadata=found["metadata"], statics=Statics(**known) if known else None
    )
