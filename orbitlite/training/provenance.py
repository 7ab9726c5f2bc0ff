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
from orbitlite.model.bundle import Statics, save_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.outline import outline
from orbitlite.notice import notice
from orbitlite.training.checkpoints import read_checkpoint
from orbitlite.training.tuning import without_adapters

logger = logging.getLogger(__name__)


def provenance(
    network: Downscaler,
    data: PairDataModule,
    ranges: Mapping[str, list[float]],
    init: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe a training run in plain values and tensors.

    Parameters
    ----------
    network : Downscaler
    data : PairDataModule
        Set up for fitting.
    ranges : mapping
        Smallest and largest value of each input in training, in the units of the table.
    init : mapping, optional
        Path and identity of the bundle that the fit began with, and what of it learned.

    Returns
    -------
    dict
        `metadata` (JSON-ready) and `statics` (tensors, see `Statics`, or None).
    """
    grid = data.grid
    times = data.times("train")
    lat, lon = grid.centres
    sources = {
        f"{prefix}.{name}" if prefix else name: (
            _address(source) if isinstance(source, (str, list, type(None))) else "opened in Python"
        )
        for prefix, part in data.parts.items()
        for name, source in (
            ("fine", part.pairing.fine),
            ("coarse", part.pairing.coarse),
            ("static", part.pairing.statics),
        )
    }
    metadata = {
        "orbitlite_version": version("orbitlite"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        # Of the whole network, of which a process may hold a part.
        "parameters": sum(weight.numel() for weight in outline(network.config).parameters()),
        "training": {
            "period": [str(times.min()), str(times.max())],
            "times": len(times),
            **_validation(data),
            "grid": {
                "lat": [float(lat.min()), float(lat.max())],
                "lon": [float(lon.min()), float(lon.max())],
                "shape": list(grid.shape),
                "spacing": grid.spacing[0],
                **({"plane": data.fine_grid.plane} if data.fine_grid.plane else {}),
            },
            "sources": sources,
            "accumulate": data.pairing.resample,
            "interpolate": data.pairing.regrid,
            "context": data.pairing.context,
            "ranges": dict(ranges),
            **({"init": {**init, "path": _address(init["path"])}} if init else {}),
        },
    }
    return {"metadata": metadata, "statics": statics_of(network.config, data)}


def _validation(data: PairDataModule) -> dict[str, list[str]]:
    """Return the first and the last time that chose the checkpoint, where there were any."""
    if data.first.period("validate") is None:
        return {}
    times = data.times("validate")
    return {"validation": [str(times.min()), str(times.max())]}


def _address(source: Any) -> Any:
    """Return the paths and URLs of a source without secrets; others may read a bundle."""
    if isinstance(source, list):
        return [_address(one) for one in source]
    if not isinstance(source, str) or (safe := without_secrets(source)) == source:
        return source
    notice(logger, f"The record of the model names {safe} without user and query of its URL.")
    return safe


def statics_of(config: DownscalerConfig, data: PairDataModule) -> dict[str, torch.Tensor] | None:
    """Return what makes the `Statics` of a network from its data.

    None if it has none and serves any grid. One with context belongs to its fine grid; to that of
    one whose inputs were interpolated other data can be brought.
    """
    if not (config.statics or data.pairing.context or data.pairing.regrid):
        return None
    fine = data.fine_grid
    return {
        "values": torch.from_numpy(data.statics).clone(),
        **{name: torch.from_numpy(part) for name, part in fine.lines.items()},
    }


def export(checkpoint: str | Path, bundle: str | Path) -> None:
    """Turn a training checkpoint into a bundle.

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
    state = read_checkpoint(checkpoint)
    network = Downscaler(DownscalerConfig.from_record(state["hyper_parameters"]["network"]))
    prefix = "network."
    weights = {
        name.removeprefix(prefix): value
        for name, value in state["state_dict"].items()
        if name.startswith(prefix)
    }
    network.load_state_dict(without_adapters(weights, state.get("initialisation")))
    found = state["provenance"]
    statics = Statics(**found["statics"]) if found["statics"] else None
    save_bundle(bundle, network, metadata=found["metadata"], statics=statics)
