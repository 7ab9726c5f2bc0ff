"""Stream: read, compute and write a prediction of any size, piece by piece and overlapped."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from orbitlite.data.tiles import scaled
from orbitlite.errors import InputError
from orbitlite.inference.encoding import bounds_of, prepared
from orbitlite.inference.identity import differences, identity
from orbitlite.inference.journal import Journal
from orbitlite.inference.missing import Missing
from orbitlite.inference.pieces import Piece, blocks
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.progress import bar
from orbitlite.inference.queues import Ahead, Behind
from orbitlite.inference.reading import read
from orbitlite.inference.writer import mistake, put, write
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

_READ_AHEAD = 4  # pieces
_WRITE_BEHIND = 4
_PATIENCE = 1.0  # seconds for the piece at work when the job is interrupted
_JOB = "orbitlite_job"

Cores = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Flow:
    """How a job went.

    Attributes
    ----------
    sizes : dict
        Of the output's dims.
    seconds : float
        Of the pieces that this process did, from first read to last write.
    waited_reading, waited_writing : float
        Seconds of these in which the network stood still.
    """

    sizes: dict[str, int]
    seconds: float = 0.0
    waited_reading: float = 0.0
    waited_writing: float = 0.0


def stream(
    prediction: Prediction,
    journal: Journal,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Flow:
    """Compute a prediction into a NetCDF file or a Zarr store.

    Parameters
    ----------
    prediction : Prediction
    journal : Journal
        Held, of the output's name.
    resume : bool
        Go on where an earlier process ended; begin if there is nothing yet.
    overwrite : bool
        Replace what stands under the output's name.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    Flow

    Raises
    ------
    InputError
        If an unfinished job is there and neither `resume` nor `overwrite` is set, or it is another
        job; if the output exists and is not to be overwritten; if the input cannot be read or the
        output not be written.
    """
    job = identity(prediction)
    frame = prediction.dataset(_empty(prediction))
    frame.attrs[_JOB] = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:12]
    sizes = {str(dim): size for dim, size in frame.sizes.items() if dim != "bnds"}
    if resume and journal.output.exists() and not overwrite:
        if journal.store.exists():
            raise InputError(f"{journal.output} exists; add --overwrite to replace it at the end")
        _check_whole(journal.output, frame.attrs[_JOB])
        journal.remove()
        notice(logger, f"{journal.output} is whole already.")
        return Flow(sizes)
    if resume and journal.header:
        done = _go_on(journal, job)
    else:
        _begin(frame, journal, job, overwrite)
        done = set()
    left = [piece for piece in prediction.pieces if piece.number not in done]
    try:
        flow = _fill(prediction, journal, left, progress, sizes)
        _publish(journal, progress)
    except InputError as error:
        raise InputError(f"{error}{_kept(prediction, journal)}") from error
    except KeyboardInterrupt:
        logger.warning("Interrupted%s", _kept(prediction, journal) or ".")
        raise
    return flow


def _empty(prediction: Prediction) -> Any:
    """Return a lazy array of the output's shape whose chunks are the pieces' cores."""
    lead, factor = [*prediction.lead.values()], prediction.job.factor
    first = prediction.pieces[0]
    steps = first.steps.stop - first.steps.start
    cores = (max(band, key=lambda b: b.core.stop - b.core.start).core
             for band in prediction.plan.bands)  # fmt: skip
    sides = (factor * (core.stop - core.start) for core in cores)
    chunks = (*(1 for _ in lead[:-1]), steps, 1, *sides)
    return da.zeros(prediction.shape, dtype=np.float32, chunks=chunks)


def _go_on(journal: Journal, job: dict[str, Any]) -> set[int]:
    """Return the pieces that are done of the same job."""
    if found := differences(journal.header, job):
        raise InputError(
            f"the unfinished {journal.output} is another job: {found}; call it as before, or add "
            "--overwrite without --resume to begin anew"
        )
    journal.mend()
    for stray in journal.store.rglob("*.partial"):  # of a chunk that was being written
        stray.unlink()
    done = journal.done
    notice(logger, f"Going on with {journal.output}: {len(done)} pieces are done.")
    return done


def _begin(frame: xr.Dataset, journal: Journal, job: dict[str, Any], overwrite: bool) -> None:
    """Lay out the store."""
    if journal.done and not overwrite:
        raise InputError(
            f"an unfinished {journal.output} is there: add --resume to go on with it, or "
            "--overwrite to begin anew"
        )
    try:
        journal.clear()
        _lay_out(frame, journal.store)
        journal.begin(job)
    except OSError as error:
        journal.remove()
        raise mistake(error, journal.output) or error from error


def _lay_out(frame: xr.Dataset, store: Path) -> None:
    ds, encoding = prepared(frame, "zarr")
    for name in ds.data_vars:
        chunks = ds[name].chunks or ()
        if chunks:
            encoding[str(name)]["chunks"] = tuple(sizes[0] for sizes in chunks)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        ds.to_zarr(store, mode="w", encoding=encoding, compute=False, consolidated=True)


def _fill(
    prediction: Prediction,
    journal: Journal,
    left: list[Piece],
    progress: bool,
    sizes: dict[str, int],
) -> Flow:
    """Read, compute and write what is left."""
    # A chunk of missing values is written too, so that one that is absent was never written.
    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.open_group(journal.store, mode="r+")
        arrays = [group[name] for name in prediction.bundle.model.config.targets]

    def keep(item: tuple[Piece, Cores]) -> None:
        piece, cores = item
        _write(arrays, prediction, piece, cores)
        journal.enter(piece.number)

    start = perf_counter()
    ahead = Ahead(_windows(prediction, left), _READ_AHEAD)
    behind = Behind(keep, _WRITE_BEHIND)
    total, missing = len(prediction.pieces), Missing()
    try:
        with bar("Downscaling", total, progress, total - len(left)) as advance:
            for piece, windows in ahead:
                cores = prediction.job.cores(windows, piece.tiles)
                for core in cores:
                    missing.update(core)
                behind.put((piece, cores))
                advance(1)
            behind.finish()
    except (OSError, RuntimeError) as error:
        plain = mistake(error, journal.output)
        if plain is None:
            raise
        raise plain from error
    finally:
        ahead.close(_PATIENCE)
        behind.close(_PATIENCE)
    missing.tell("the prediction" if len(left) == total else "what was predicted now")
    return Flow(sizes, perf_counter() - start, ahead.waited, behind.waited)


def _windows(
    prediction: Prediction, left: list[Piece]
) -> Iterator[tuple[Piece, NDArray[np.float32]]]:
    row = 4 * int(np.prod([prediction.coarse.sizes[dim] for dim in ("channel", "lon")]))
    for block in blocks(left, row):
        fields = read(prediction, block)
        for piece in block.pieces:
            yield piece, block.windows(fields, piece)


def _write(arrays: list[Any], prediction: Prediction, piece: Piece, cores: Cores) -> None:
    for tile, core in zip(piece.tiles, cores, strict=True):
        rows, columns = (scaled(cells, prediction.job.factor) for cells in tile.core)
        steps = () if prediction.timeless else (piece.steps,)
        place = (*piece.member, *steps, prediction.rows(rows, prediction.job.factor), columns)
        turned = prediction.northward(core)
        for k, array in enumerate(arrays):
            array[place] = turned[0, k] if prediction.timeless else turned[:, k]


def _publish(journal: Journal, progress: bool) -> None:
    """Give the whole store the output's name, as NetCDF where that is asked for."""
    output = journal.output
    try:
        if output.suffix == ".zarr":
            put(journal.store, output)
        else:
            with xr.open_zarr(journal.store) as whole:
                write(
                    whole.drop_encoding().set_coords(bounds_of(whole)),
                    output,
                    overwrite=True,
                    progress=progress,
                )
    except OSError as error:
        raise mistake(error, output) or error from error
    journal.remove()


def _check_whole(output: Path, job: str) -> None:
    with xr.open_dataset(output) as found:
        if found.attrs.get(_JOB) != job:
            raise InputError(
                f"{output} is the output of another job; choose another name or add --overwrite"
            )


def _kept(prediction: Prediction, journal: Journal) -> str:
    """Say what can be gone on with."""
    done, total = len(journal.done), len(prediction.pieces)
    return f"; {done} of {total} pieces are kept, --resume goes on with them" if done else ""
