"""load, predict, downscale, evaluate: what the accessor and the commands call."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias, Unpack

import numpy as np
import xarray as xr

from orbitlite.data.naming import note, notes
from orbitlite.data.regrid import Method
from orbitlite.data.resampling import bounded
from orbitlite.data.resampling import resample as resampled
from orbitlite.data.source import Source as OneSource
from orbitlite.data.source import files_of, open_source
from orbitlite.data.splits import read_period
from orbitlite.errors import AbsentError, InputError
from orbitlite.inference.arrays import to_arrays
from orbitlite.inference.journal import Journal
from orbitlite.inference.options import (
    FileKeywords,
    FileOptions,
    PredictKeywords,
    PredictOptions,
    shows,
)
from orbitlite.inference.parts import Part
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.store import DownscaleSummary, to_file
from orbitlite.inference.writer import check_apart, check_output
from orbitlite.model.bundle import Bundle, load_bundle, load_mean
from orbitlite.model.downscaler import Downscaler
from orbitlite.notice import notice, one_call, warn
from orbitlite.renamed import with_old_names
from orbitlite.tasks import task_of
from orbitlite.verification.evaluation import Evaluation
from orbitlite.verification.evaluation import evaluate as score

logger = logging.getLogger(__name__)

Source: TypeAlias = OneSource | Sequence[OneSource]
BundlePath: TypeAlias = str | os.PathLike[str]
Model: TypeAlias = Bundle | Downscaler | BundlePath | Sequence[BundlePath]


@one_call()
def load(path: BundlePath | Sequence[BundlePath], task: str | None = None) -> Bundle:
    """Load a model.

    Parameters
    ----------
    path : str or Path, or a list of them
        Bundle directory, local or any fsspec URL, or `hf://org/name@revision` of the Hugging Face
        Hub (with `pip install 'orbitlite[hub]'`). Several, such as of fits from several seeds: the
        model is the mean of theirs.
    task : str, optional
        Which of several tasks of a trunk, by name; nothing else of the others is read than what
        they share. None: the only one.

    Returns
    -------
    Bundle

    Raises
    ------
    InputError
        If there is no bundle, or a file of it is missing or changed; if it has several tasks and
        none is stated; or several bundles are not of one task and one region.
    """
    if isinstance(path, (str, os.PathLike)):
        return load_bundle(os.fspath(path), task)
    return load_mean([os.fspath(one) for one in path], task)


@one_call()
@shows(PredictOptions)
def predict(source: Source, model: Model, **options: Unpack[PredictKeywords]) -> xr.Dataset:
    """Downscale coarse fields.

    Parameters
    ----------
    source : path, URL, glob, xarray object, or a list of these
        Coarse fields in any of the understood dialects. Arrays in memory are computed at once;
        dask arrays stay lazy, and paths are opened so.
    model : Bundle, Downscaler, str or Path, or a list of paths
        A loaded model, or where its bundle is; of several, the mean.
    **options

    Returns
    -------
    xarray.Dataset
        Targets on the fine grid `(..., time, lat, lon)`, with CF metadata. Coordinates and
        dimensions are called as in the source (the first of several), a source of one time without
        a dimension gives fields without one, and the source's coordinates along times and members
        are kept. Units are those of the table of variables (mm over the period of the channel, K),
        whatever those of the source; the `units` attribute says so.

    Raises
    ------
    InputError
        If a source cannot be read, or the model cannot serve its region.
    """
    chosen = PredictOptions.of(options)
    return to_arrays(_prediction(source, model, chosen), chosen.progress)


@one_call()
@shows(FileOptions)
def downscale(
    source: Source, output: str | os.PathLike[str], model: Model, **options: Unpack[FileKeywords]
) -> DownscaleSummary:
    """Downscale coarse fields of any size into a file: reading, computing and writing overlap.

    Parameters
    ----------
    source, model
        As in `predict`.
    output : str or Path
        Ends in `.nc` (NetCDF-4) or `.zarr`, chunked like the tiles. Names and units as in
        `predict`.
    **options

    Returns
    -------
    DownscaleSummary
        Sizes of the output, parts that are lacking, seconds, and how long the network waited.

    Raises
    ------
    InputError
        If a source cannot be read, the model cannot serve its region, the output cannot be
        written, another process is writing it or the same part of it, or what is to be resumed or
        joined is another job.
    """
    chosen = FileOptions.of(options)
    part = Part.of(chosen.part)
    chosen = replace(chosen, device=part.device(chosen.device))
    path = check_output(output, chosen.overwrite or chosen.resume)
    check_apart(path, [*files_of(source), *files_of(chosen.statics)])
    with Journal.held(path, part, chosen.overwrite and not chosen.resume) as journal:
        check_output(path, chosen.overwrite or chosen.resume)  # it may have got its name meanwhile
        if chosen.resume or not (part.alone or journal.earlier):
            before, chosen = chosen, chosen.going_on(journal.header)
            if not chosen.resume and before != chosen:
                words = f"tile {chosen.tile}, halo {chosen.halo}, batch {chosen.batch_size}"
                notice(logger, f"Taken from the unfinished job that is there: {words}.")
        return to_file(_prediction(source, model, chosen), journal, chosen)


def _prediction(source: Source, model: Model, options: PredictOptions) -> Prediction:
    """Open all that a prediction needs, with what the model was trained with as defaults."""
    if isinstance(model, (Bundle, Downscaler)):
        bundle = model if isinstance(model, Bundle) else Bundle(model)
        task_of(options.task, [bundle.task], bundle.path or "the model")
    else:
        bundle = load(model, options.task)
    trained = bundle.metadata.get("training", {})
    regrid = options.regrid or trained.get("interpolate")
    window = options.resample or trained.get("accumulate")
    inputs = list(bundle.model.config.inputs)
    ds = open_source(
        source,
        inputs,
        optional=inputs,
        accumulation_period=options.accumulation_period,
        regular=regrid is None,
        rates=window is not None,
    )
    timed = "time" in ds.dims
    if not timed:
        taken = f"one window of {window}" if window else "one step"
        warn(logger, f"The input has no time: it is taken as {taken}, and so is the output.")
    if window is not None:
        notice(logger, f"The input is brought to windows of {window}.")
        called = notes(ds)
        if not timed:
            ds = ds.expand_dims(time=np.zeros(1, "datetime64[ns]"))
        ds = note(resampled(ds, window), called)
        ds = bounded(ds, window) if timed else ds.isel(time=0, drop=True)
    if options.between is not None:
        ds = _between(ds, options.between)
    names = list(bundle.model.config.statics)
    statics = options.statics
    found = open_source(statics, names) if statics is not None and names else None
    return Prediction.of(ds, bundle, replace(options, regrid=regrid), found)


def _between(ds: xr.Dataset, text: str) -> xr.Dataset:
    """Keep the times from the first to the last of `FIRST/LAST`."""
    ends = text.split("/")
    read_period("between", ends)
    if "time" not in ds.dims:
        raise InputError(f"between {text}: the data have no time to choose from; leave it out")
    found = ds.sel(time=slice(*ends))
    if not found.sizes["time"]:
        times = ds.indexes["time"]
        raise InputError(f"between {text}: the data have times from {times[0]} to {times[-1]} only")
    return note(found, notes(ds))


@one_call()
@with_old_names
def evaluate(
    prediction: Source,
    truth: Source,
    *,
    coarse: Source | None = None,
    training: tuple[Source, Source] | None = None,
    accumulation_period: str | None = None,
    resample: str | None = None,
    regrid: Method | None = None,
    progress: bool = True,
) -> Evaluation:
    """Score a prediction, beside the baselines.

    Parameters
    ----------
    prediction, truth : source
        Fine fields; see `predict` for what a source is.
    coarse : source, optional
        The coarse input, from which the interpolating baselines are made: at all times that are
        scored, else there are none.
    training : pair of sources, optional
        Coarse and fine fields of the training period, for quantile mapping.
    accumulation_period : str, optional
        Accumulation period of amounts whose source does not state it.
    resample : str, optional
        Window of the prediction, such as `24h+9h`, to which truth and coarse fields are brought
        (see `predict`). None: their times are those of the prediction.
    regrid : {"linear", "conservative"}, optional
        Bring a coarse input whose cells the fine ones do not nest in (any 1-D latitudes and
        longitudes) onto blocks of f x f fine cells before the baselines are made. f is the factor
        of the training pair where that nests, else the whole number nearest to the ratio of the
        spacings; fine cells at the edges that make no whole block are left out of the scores.
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
    found = open_source(prediction, accumulation_period=accumulation_period, predicted=True)
    names = list(dict.fromkeys([*map(str, found.data_vars), "land_sea_mask"]))

    def matching(source: Source, regular: bool = True, needed: bool = True) -> xr.Dataset:
        read = partial(
            open_source, source, accumulation_period=accumulation_period, regular=regular,
            rates=resample is not None,
        )  # fmt: skip
        try:
            ds = read(names, optional=names)
        except AbsentError:
            if needed:
                raise
            ds = read()  # the inputs of a network may have none of what it makes
        return ds if resample is None else resampled(ds, resample)

    regular = regrid is None
    return score(
        found,
        matching(truth),
        None if coarse is None else matching(coarse, regular, needed=False),
        (matching(training[0], regular, needed=False), matching(training[1])) if training else None,
        regrid=regrid,
        progress=progress,
    )
