"""Identity: what makes two predictions the same job, so that one can go on with the other."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from orbitlite.data.naming import notes
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import digest
from orbitlite.model.ensemble import networks_of


def identity(prediction: Prediction) -> dict[str, Any]:
    """Describe a job in plain values: model, statics, times and coordinates, plan, versions.

    What the input holds is compared piece by piece (see `orbitlite.inference.proof`).

    Parameters
    ----------
    prediction : Prediction
    """
    job, plan = prediction.job, prediction.plan
    coords = prediction.source.coords
    lead = [coords[name].values for name in sorted(prediction.lead) if name in coords]
    called = json.dumps(notes(prediction.source), sort_keys=True)
    statics = [] if job.statics is None else [job.statics.numpy()]
    return {
        "model": _model(prediction),
        "fine statics": digest(*statics),
        "grid": prediction.grid.describe(),
        "coordinates": digest(job.lat_edges, job.lon_edges, *lead, np.array(called)),
        "tile": plan.tile,
        "halo": plan.halo,
        "batch": job.batch_size,
        "tokens": job.tokens,
        "fill": job.fill,
        "device": torch.device(job.device).type,
        "versions": f"orbitlite {version('orbitlite')}, torch {torch.__version__}",
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
    config = json.dumps([m.config.to_dict() for m in networks_of(model)], sort_keys=True)
    return digest(np.frombuffer(config.encode(), np.uint8), *state)
