"""Identity: what makes two predictions the same job, so that one can go on with the other."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import torch

from orbitlite.data.naming import notes
from orbitlite.inference.pieces import Block
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.reading import read
from orbitlite.model.ensemble import members_of


def identity(prediction: Prediction) -> dict[str, Any]:
    """Describe a job in plain values: model, statics, input, plan.

    Of the input's values the first and the last block are compared, of times and coordinates all.

    Parameters
    ----------
    prediction : Prediction

    Raises
    ------
    InputError
        If the input cannot be read.
    """
    job, plan = prediction.job, prediction.plan
    first, last = prediction.pieces[0], prediction.pieces[-1]
    values = [
        read(prediction, Block(piece.member, piece.steps, piece.rows, (piece,)))
        for piece in (first, last)
    ]
    coords = prediction.source.coords
    lead = [coords[name].values for name in sorted(prediction.lead) if name in coords]
    called = json.dumps(notes(prediction.source), sort_keys=True)
    statics = [] if job.statics is None else [job.statics.numpy()]
    return {
        "model": _model(prediction),
        "fine statics": _digest(*statics),
        "grid": prediction.grid.describe(),
        "coordinates": _digest(job.lat_edges, job.lon_edges, *lead, np.array(called)),
        "input values": _digest(*values),
        "tile": plan.tile,
        "halo": plan.halo,
        "batch": job.batch_size,
        "tokens": job.tokens,
        "fill": job.fill,
        "device": torch.device(job.device).type,
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say in which respects two jobs differ; empty if they do not."""
    return "; ".join(
        f"{name} was {before.get(name)}, is {value}"
        for name, value in now.items()
        if before.get(name) != value
    )


def _model(prediction: Prediction) -> str:
    model = prediction.job.model
    state = (tensor.cpu().numpy() for tensor in model.state_dict().values())
    config = json.dumps([m.config.to_dict() for m in members_of(model)], sort_keys=True)
    return _digest(np.frombuffer(config.encode(), np.uint8), *state)


def _digest(*arrays: Any) -> str:
    found = hashlib.sha256()
    for array in arrays:
        if array.dtype == object:  # dates of cftime: their addresses differ in each process
            array = array.astype(str)
        found.update(f"{array.shape}{array.dtype}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:12]
