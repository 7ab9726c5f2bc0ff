"""Stream: read, compute and write a prediction of any size, piece by piece and overlapped."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.files import flush_files, flush_tree
from orbitlite.inference.attributes import writable
from orbitlite.inference.encoding import prepared
from orbitlite.inference.identity import differences, identity
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.missing import Missing
from orbitlite.inference.output import Output
from orbitlite.inference.pieces import Piece
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import digest, frame_of, kept, place_of, windows
from orbitlite.inference.publishing import JOB, publish, stands
from orbitlite.inference.queues import Ahead, Behind
from orbitlite.inference.writer import FORMATS, mistake
from orbitlite.notice import notice, warn
from orbitlite.progress import bar

logger = logging.getLogger(__name__)

_READ_AHEAD = 4  # pieces
_WRITE_BEHIND = 4
_MUCH = 2**30  # bytes of an output whose size is told
_PATIENCE = 1.0  # seconds for the piece at work when the job is interrupted

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
    _tell_size(prediction, journal.output)
    job = identity(prediction)
    frame = writable(prediction.dataset(_empty(prediction)), FORMATS[journal.output.suffix])
    frame.attrs[JOB] = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:12]
    sizes = {str(dim): size for dim, size in frame.sizes.items() if dim != "bnds"}
    if resume and not overwrite and stands(journal, prediction, frame.attrs[JOB]):
        notice(logger, f"{journal.output} is whole already.")
        return Flow(sizes)
    if resume and _goes_on(journal, job, prediction):
        journal.keep(kept(prediction, journal).values())
        notice(logger, f"Going on with {journal.output}: {len(journal.done)} pieces are done.")
    else:
        _begin(frame, journal, job, prediction, overwrite or resume)
    left = [piece for piece in prediction.pieces if piece.number not in journal.done]
    try:
        flow = _fill(prediction, journal, left, progress, sizes)
        publish(journal, prediction, progress)
    except InputError as error:
        raise InputError(f"{error}{_kept(prediction, journal)}") from error
    except KeyboardInterrupt:
        logger.warning("Interrupted%s", _kept(prediction, journal) or ".")
        raise
    return flow


def _tell_size(prediction: Prediction, output: Path) -> None:
    """Say how large the output becomes, where that is much."""
    size, free = 4 * math.prod(prediction.shape), shutil.disk_usage(output.parent).free
    text = f"{output} will hold {size / 2**30:.1f} GiB before compression"
    if size > free:
        warn(logger, f"{text}; the disk has {free / 2**30:.1f} GiB left.")
    elif size > _MUCH:
        notice(logger, f"{text}.")


def _empty(prediction: Prediction) -> Any:
    """Return a lazy array of the output's shape whose chunks are the pieces' cores."""
    lead, factor = [*prediction.lead.values()], prediction.job.factor
    first = prediction.pieces[0]
    steps = first.steps.stop - first.steps.start
    sides = (tuple(factor * (band.core.stop - band.core.start) for band in bands)
             for bands in prediction.plan.bands)  # fmt: skip
    chunks = (*(1 for _ in lead[:-1]), steps, 1, *sides)
    return da.zeros(prediction.shape, dtype=np.float32, chunks=chunks)


def _goes_on(journal: Journal, job: dict[str, Any], prediction: Prediction) -> bool:
    """Tell whether there is something to go on with; refuse another job."""
    targets = prediction.bundle.model.config.targets
    if journal.damaged:
        warn(
            logger, f"The journal of {journal.output} is damaged or of another version: begun anew."
        )
        return False
    if not journal.header:
        return False
    if found := differences(journal.header, job):
        raise InputError(
            f"the unfinished {journal.output} is another job: {found}; call it as before, or add "
            "--overwrite without --resume to begin anew"
        )
    for stray in journal.store.rglob("*.partial"):  # of a chunk that was being written
        stray.unlink()
    if journal.header.get("frame") != frame_of(journal.store, targets):
        warn(logger, f"The unfinished {journal.output} has lost its coordinates: begun anew.")
        return False
    return True


def _begin(
    frame: xr.Dataset,
    journal: Journal,
    job: dict[str, Any],
    prediction: Prediction,
    replace: bool,
) -> None:
    """Lay out the store."""
    if journal.done and not replace:
        raise InputError(
            f"an unfinished {journal.output} is there: add --resume to go on with it, or "
            "--overwrite to begin anew"
        )
    try:
        journal.clear()
        _lay_out(frame, journal.store)
        flush_tree(journal.store)
        targets = prediction.bundle.model.config.targets
        journal.begin(job | {"frame": frame_of(journal.store, targets)})
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
        arrays = prediction.outputs(group)

    def keep(item: tuple[Piece, str, Cores]) -> None:
        piece, read, cores = item
        values = _write(arrays, prediction, piece, cores)
        chunks = (
            file
            for tile in piece.tiles
            for array in arrays
            for file in _chunks(array, place_of(prediction, piece, tile), journal.store)
        )
        flush_files(chunks, journal.store)
        journal.enter(Entry(piece.number, read, values))

    start = perf_counter()
    ahead = Ahead(windows(prediction, left), _READ_AHEAD)
    behind = Behind(keep, _WRITE_BEHIND)
    total, missing = len(prediction.pieces), Missing()
    try:
        with bar("Downscaling", total, progress, total - len(left)) as advance:
            for piece, fields in ahead:
                cores = prediction.job.cores(fields, piece.tiles)
                for core in cores:
                    missing.update(core)
                behind.put((piece, digest(fields), cores))
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


def _write(arrays: list[Output], prediction: Prediction, piece: Piece, cores: Cores) -> str:
    """Write the cores of a piece; return the digest of their values."""
    written = []
    for tile, core in zip(piece.tiles, cores, strict=True):
        place = place_of(prediction, piece, tile)
        for k, array in enumerate(arrays):
            field = core[0, k] if prediction.timeless else core[:, k]
            array[place] = field
            written.append(field)
    return digest(*written)


def _chunks(output: Output, place: tuple[Any, ...], store: Path) -> Iterator[Path]:
    """Name the files of the chunks that an index reaches into."""
    spans, array = [], output.array
    for index, length, chunk in zip(output.place(place), array.shape, array.chunks, strict=True):
        first, stop, _ = (index if isinstance(index, slice) else slice(index, index + 1)).indices(
            length
        )
        spans.append(range(first // chunk, -(-stop // chunk)))
    for chunk in product(*spans):
        yield store / array.path / array.metadata.encode_chunk_key(chunk)


def _kept(prediction: Prediction, journal: Journal) -> str:
    """Say what can be gone on with."""
    done, total = len(journal.done), len(prediction.pieces)
    return f"; {done} of {total} pieces are kept, --resume goes on with them" if done else ""
