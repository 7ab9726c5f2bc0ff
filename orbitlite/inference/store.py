"""Store: a prediction of any size in a file, written while it is computed, whole at its end."""

from __future__ import annotations

import logging
import math
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from orbitlite.errors import InputError
from orbitlite.files import flush_files, flush_tree
from orbitlite.inference.encoding import prepared, writable
from orbitlite.inference.engine import PATIENCE, Array, Work
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.options import FileOptions
from orbitlite.inference.parts import WHOLE, Part
from orbitlite.inference.plan import WorkItem
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import (
    AnotherJob,
    Output,
    differences,
    digest,
    frame_of,
    identity,
    kept,
    outputs,
    place_of,
)
from orbitlite.inference.publication import is_whole, mark_job, publish
from orbitlite.inference.queues import BackgroundWriter
from orbitlite.inference.writer import FORMATS, mistake
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)

_WRITE_BEHIND = 4  # pieces
_MUCH = 2**30  # bytes of an output whose size is told


@dataclass(frozen=True)
class DownscaleSummary:
    """How a job went.

    Attributes
    ----------
    sizes : dict
        Of the output's dims.
    part : Part
        What this process wrote.
    lacking : tuple of Part
        What other processes have still to write; the output has its name when there is none.
    seconds : float
        Of the pieces that this process did, from first read to last write.
    waited_reading, waited_writing : float
        Seconds of these in which the network stood still.
    """

    sizes: dict[str, int]
    part: Part = WHOLE
    lacking: tuple[Part, ...] = ()
    seconds: float = 0.0
    waited_reading: float = 0.0
    waited_writing: float = 0.0


def to_file(prediction: Prediction, journal: Journal, options: FileOptions) -> DownscaleSummary:
    """Compute a prediction, or a part of it, into a NetCDF file or a Zarr store.

    Parameters
    ----------
    prediction : Prediction
    journal : Journal
        Held, of the output's name; says which part this process writes.
    options : FileOptions
        Whether to go on, to replace, to show a bar.

    Returns
    -------
    DownscaleSummary

    Raises
    ------
    InputError
        If an unfinished job is there and is neither to be gone on with nor to be replaced, or it is
        another job (`AnotherJob`); if the output exists and is not to be overwritten; if the input
        cannot be read or the output not be written.
    """
    resume, overwrite = options.resume, options.overwrite
    _tell_size(prediction, journal.output)
    job = identity(prediction)
    frame = writable(prediction.dataset(_empty(prediction)), FORMATS[journal.output.suffix])
    mark_job(frame, job)
    sizes = {str(dim): size for dim, size in frame.sizes.items() if dim != "bnds"}
    if resume and not overwrite and is_whole(journal, prediction, frame):
        notice(logger, f"{journal.output} is whole already.")
        return DownscaleSummary(sizes)
    with journal.turn():
        joins = _joins(journal, job, prediction, options)
        if not joins:
            _begin(frame, journal, job | {"overwrite": overwrite and not resume}, prediction)
    if joins and resume:
        journal.keep(kept(prediction, journal).values())
        notice(logger, f"Going on with {journal.named}: {len(journal.done)} pieces are done.")
    mine = journal.part.items(prediction.work_items)
    left = [piece for piece in mine if piece.number not in journal.done]
    try:
        flow = _fill(prediction, journal, left, options.progress)
        lacking = publish(journal, prediction, options.progress)
    except InputError as error:
        raise InputError(f"{error}{_kept(prediction, journal)}") from error
    except KeyboardInterrupt:
        logger.warning("Interrupted%s", _kept(prediction, journal) or ".")
        raise
    return replace(flow, sizes=sizes, part=journal.part, lacking=tuple(lacking))


def _tell_size(prediction: Prediction, output: Path) -> None:
    """Say how large the output becomes, where that is much."""
    size, free = 4 * math.prod(prediction.shape), shutil.disk_usage(output.parent).free
    text = f"{output} will hold {size / 2**30:.1f} GiB before compression"
    if size > free:
        warn(logger, f"{text}; the disk has {free / 2**30:.1f} GiB left.")
    elif size > _MUCH:
        notice(logger, f"{text}.")


def _empty(prediction: Prediction) -> Any:
    """Return a lazy array of the output's shape whose chunks are the pieces' cores, of a member."""
    lead, factor = [*prediction.lead.values()], prediction.network.factor
    first = prediction.work_items[0]
    steps = first.steps.stop - first.steps.start
    sides = (tuple(factor * (band.core.stop - band.core.start) for band in bands)
             for bands in prediction.plan.bands)  # fmt: skip
    chunks = (*(1 for _ in lead[:-1]), steps, 1, 1, *sides)
    return da.zeros(prediction.shape, dtype=np.float32, chunks=chunks)


def _joins(
    journal: Journal, job: dict[str, Any], prediction: Prediction, options: FileOptions
) -> bool:
    """Take part in the job that is unfinished there; False if one is to be begun.

    This process has the turn.

    Raises
    ------
    InputError
        If what is there is to be neither gone on with nor replaced, or is another job.
    """
    afresh, part = not options.resume, journal.part
    if afresh and not options.overwrite and (journal.done or (part.alone and journal.begun)):
        raise InputError(
            f"an unfinished {journal.named} is there: add --resume to go on with it, or "
            "--overwrite to start over"
        )
    if afresh and part.alone:
        return False
    replaces = options.overwrite and afresh
    fits = (journal.overwriting or not journal.earlier) and _fits(
        journal, job | {"parts": part.count}, prediction, replaces
    )
    if journal.earlier:
        kept = "is the same job: what its other parts have written stays" if fits else "is replaced"
        notice(logger, f"The unfinished {journal.output} of an earlier run {kept}.")
    if not fits:
        return False
    journal.join(() if afresh else journal.done.values())
    return True


def _fits(journal: Journal, job: dict[str, Any], prediction: Prediction, replace: bool) -> bool:
    """Tell whether a job is there to go on with; refuse another one that is not to be replaced."""
    targets = [one.name for one in prediction.columns]
    if journal.damaged:
        warn(
            logger,
            f"The journal of {journal.output} is damaged or of another version: it starts over.",
        )
        return False
    if not journal.header:
        return False
    if found := differences(journal.header, job):
        if replace or not (journal.begun or journal.shared):
            return False
        raise AnotherJob(
            f"the unfinished {journal.output} is another job: {found}; call it as before, or add "
            "--overwrite without --resume to start over"
        )
    if journal.header.get("frame") != frame_of(journal.store, targets):
        warn(logger, f"The unfinished {journal.output} has lost its coordinates: it starts over.")
        return False
    return True


def _begin(
    frame: xr.Dataset, journal: Journal, job: dict[str, Any], prediction: Prediction
) -> None:
    """Lay out the store. This process has the turn."""
    journal.clear()
    try:
        _lay_out(frame, journal.store)
        flush_tree(journal.store)
        targets = [one.name for one in prediction.columns]
        journal.begin(
            job | {"parts": journal.part.count, "frame": frame_of(journal.store, targets)}
        )
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
    left: list[WorkItem],
    progress: bool,
) -> DownscaleSummary:
    """Read, compute and write what is left of a part."""
    # A chunk of missing values is written too, so that one that is absent was never written.
    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.open_group(journal.store, mode="r+")
        arrays = outputs(group, prediction)

    def keep(item: tuple[WorkItem, str, list[Array]]) -> None:
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
    behind = BackgroundWriter(keep, _WRITE_BEHIND)
    try:
        of = "" if journal.part.alone else f" part {journal.part}"
        mine = len(journal.part.items(prediction.work_items))
        with Work.on(prediction, left, f"Downscaling{of}", progress, mine) as work:
            for piece, windows, cores in work:
                behind.put((piece, digest(windows), cores))
            behind.finish()
    except (OSError, RuntimeError) as error:
        plain = mistake(error, journal.output)
        if plain is None:
            raise
        raise plain from error
    finally:
        behind.close(PATIENCE)
    return DownscaleSummary(
        {}, seconds=perf_counter() - start, waited_reading=work.waited,
        waited_writing=behind.waited,
    )  # fmt: skip


def _write(
    arrays: list[Output], prediction: Prediction, piece: WorkItem, cores: list[Array]
) -> str:
    """Write the cores (n, M, K, f h', f w') of a piece; return the digest of their values."""
    written = []
    for tile, core in zip(piece.tiles, cores, strict=True):
        place = place_of(prediction, piece, tile)
        for column, array in zip(prediction.columns, arrays, strict=True):
            field = core[:, :, column.target].swapaxes(0, 1)  # (M, n, f h', f w')
            field = field[:, 0] if prediction.timeless else field
            field = field if prediction.labelled else field[column.place]
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
    done, total = len(journal.done), len(journal.part.items(prediction.work_items))
    return f"; {done} of {total} pieces are kept, --resume goes on with them" if done else ""
