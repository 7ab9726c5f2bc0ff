"""load, predict, evaluate: what the accessor and the commands call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from orbitlite.data.source import open_source
from orbitlite.inference.predictor import predict_dataset
from orbitlite.model.bundle import Bundle, load_bundle
from orbitlite.model.downscaler import Downscaler
from orbitlite.verification.evaluation import evaluate as score
from orbitlite.verification.results import Evaluation

Source = str | Path | list[str] | xr.Dataset


def load(path: str | Path) -> Bundle:
    """Load a model.

    Parameters
    ----------
    path : str or Path
        Bundle directory, local or any fsspec URL.

    Returns
    -------
    Bundle

    Raises
    ------
    InputError
        If there is no bundle, or a file of it is missing or changed.
    """
    return load_bundle(path)


def predict(
    source: Source,
    model: Bundle | Downscaler | str | Path,
    *,
    statics: Source | None = None,
    period: str | None = None,
    batch_size: int = 8,
    device: str | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Downscale coarse fields.

    Parameters
    ----------
    source : path, URL, glob, list of these or xarray.Dataset
        Coarse fields in any of the understood dialects. A dataset in NumPy is computed at once, one
        in dask stays lazy.
    model : Bundle, Downscaler, str or Path
        A loaded model, or where its bundle is.
    statics : source, optional
        Fine static fields, where the model's own do not cover the region.
    period : str, optional
        Accumulation period of amounts whose source does not state it, such as `1h`.
    batch_size : int
        Time steps per pass through the network.
    device : str, optional
        `cpu`, `cuda`...; None: a GPU if there is one.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    xarray.Dataset
        Targets on the fine grid `(..., time, lat, lon)` in physical units, with CF metadata.

    Raises
    ------
    InputError
        If a source cannot be read, or the model cannot serve its region.
    """
    bundle = load_bundle(model) if isinstance(model, (str, Path)) else model
    if isinstance(bundle, Downscaler):
        bundle = Bundle(bundle)
    inputs = list(bundle.model.config.inputs)
    ds = open_source(source, inputs, optional=inputs, period=period)
    names = list(bundle.model.config.fine_statics)
    fine = None if statics is None else open_source(statics, names)
    return predict_dataset(
        ds, bundle, statics=fine, batch_size=batch_size, device=device, progress=progress
    )


def evaluate(
    prediction: Source,
    truth: Source,
    *,
    coarse: Source | None = None,
    training: tuple[Any, Any] | None = None,
    period: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Score a prediction, beside the baselines.

    Parameters
    ----------
    prediction, truth : source
        Fine fields; see `predict` for what a source is.
    coarse : source, optional
        The coarse input, from which the interpolating baselines are made.
    training : pair of sources, optional
        Coarse and fine fields of the training period, for quantile mapping.
    period : str, optional
        Accumulation period of amounts whose source does not state it.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    Evaluation
        With `.scores`, `.table()`, `.to_json(path)`, `.report(folder)`.

    Raises
    ------
    InputError
        If a source cannot be read, or grids or times do not match.
    """
    found = open_source(prediction, period=period)
    channels = [str(name) for name in found.data_vars]

    def matching(source: Source) -> xr.Dataset:
        return open_source(
            source, [*channels, "land_sea_mask"], optional=[*channels, "land_sea_mask"],
            period=period,
        )  # fmt: skip

    pair = (matching(training[0]), matching(training[1])) if training else None
    return score(
        found,
        matching(truth),
        None if coarse is None else matching(coarse),
        pair,
        progress=progress,
    )
