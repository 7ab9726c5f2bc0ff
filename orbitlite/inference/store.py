"""Store: a prediction of any size in a file, written while it is computed, whole at its end."""

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

from orbitlite.errors import InputError
from orbitlite.files import flush_files, flush_tree, rename
from orbitlite.inference.encoding import bounds_of, prepared, writable
from orbitlite.inference.engine import PATIENCE, Array, Work
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.options import FileOptions
from orbitlite.inference.plan import WorkItem
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import (
    AnotherJob,
    Output,
    check,
    differences,
    digest,
    frame_of,
    identity,
    kept,
    outputs,
    place_of,
    summary,
    values_of,
)
from orbitlite.inference.queues import BackgroundWriter
from orbitlite.inference.writer import FORMATS, mistake, write
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)

_WRITE_BEHIND = 4  # pieces
_MUCH = 2**30  # bytes of an output whose size is told
_JOB = "orbitlite_job"
_INPUT, _VALUES = "orbitlite_input", "orbitlite_values"


@dataclass(frozen=True)
class DownscaleSummary:
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


def to_file(prediction: Prediction, journal: Journal, options: FileOptions) -> DownscaleSummary:
    """Compute a prediction into a NetCDF file or a Zarr store.

    Parameters
    ----------
    prediction : Prediction
    journal : Journal
        Held, of the output's name.
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
    frame.attrs[_JOB] = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:12]
    sizes = {str(dim): size for dim, size in frame.sizes.items() if dim != "bnds"}
    if resume and not overwrite and _whole(journal, prediction, frame.attrs[_JOB]):
        notice(logger, f"{journal.output} is whole already.")
        return DownscaleSummary(sizes)
    if resume and _goes_on(journal, job, prediction):
        journal.keep(kept(prediction, journal).values())
        notice(logger, f"Going on with {journal.output}: {len(journal.done)} pieces are done.")
    else:
        _begin(frame, journal, job, prediction, overwrite or resume)
    left = [piece for piece in prediction.work_items if piece.number not in journal.done]
    try:
        flow = _fill(prediction, journal, left, options.progress, sizes)
        _publish(journal, prediction, options.progress)
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
    """Return a lazy array of the output's shape whose chunks are the pieces' cores, of a member."""
    lead, factor = [*prediction.lead.values()], prediction.network.factor
    first = prediction.work_items[0]
    steps = first.steps.stop - first.steps.start
    sides = (tuple(factor * (band.core.stop - band.core.start) for band in bands)
             for bands in prediction.plan.bands)  # fmt: skip
    chunks = (*(1 for _ in lead[:-1]), steps, 1, 1, *sides)
    return da.zeros(prediction.shape, dtype=np.float32, chunks=chunks)


def _goes_on(journal: Journal, job: dict[str, Any], prediction: Prediction) -> bool:
    """Tell whether there is something to go on with; refuse another job."""
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
        raise AnotherJob(
            f"the unfinished {journal.output} is another job: {found}; call it as before, or add "
            "--overwrite without --resume to start over"
        )
    for stray in journal.store.rglob("*.partial"):  # of a chunk that was being written
        stray.unlink()
    if journal.header.get("frame") != frame_of(journal.store, targets):
        warn(logger, f"The unfinished {journal.output} has lost its coordinates: it starts over.")
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
            "--overwrite to start over"
        )
    try:
        journal.clear()
        _lay_out(frame, journal.store)
        flush_tree(journal.store)
        targets = [one.name for one in prediction.columns]
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
    left: list[WorkItem],
    progress: bool,
    sizes: dict[str, int],
) -> DownscaleSummary:
    """Read, compute and write what is left."""
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
        with Work.on(prediction, left, "Downscaling", progress) as work:
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
    return DownscaleSummary(sizes, perf_counter() - start, work.waited, behind.waited)


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
    done, total = len(journal.done), len(prediction.work_items)
    return f"; {done} of {total} pieces are kept, --resume goes on with them" if done else ""


def _publish(journal: Journal, prediction: Prediction, progress: bool) -> None:
    """Check a filled store and give it the output's name, as NetCDF where that is asked for.

    Until the output has its name, all that is needed to go on stays in the journal's folder: a
    process that ends anywhere in between is gone on with by the next.

    Raises
    ------
    InputError
        If the store does not hold what was computed, or the output cannot be written.
    """
    output = journal.output
    try:
        with xr.open_zarr(journal.store) as store:
            check(store.variables, prediction, journal.done, journal.store, progress)
        _sign(journal.store, prediction, journal.done)
        if output.suffix == ".zarr":
            _put(journal.store, output, journal.folder / "old.zarr")
        else:
            whole = journal.folder / f"whole{output.suffix}"
            _to_netcdf(journal.store, whole, progress)
            with xr.open_dataset(whole) as written:
                check(written.variables, prediction, journal.done, whole, progress)
            rename(whole, output)
    except OSError as error:
        raise mistake(error, output) or error from error
    journal.remove()


def _whole(journal: Journal, prediction: Prediction, job: str) -> bool:
    """Tell whether the output is whole already, of this job and of the input that is there now.

    What is left of its making is removed then.

    Raises
    ------
    InputError
        If something else, or a damaged output, stands under its name.
    """
    output = journal.output
    if not output.exists():
        return False
    try:
        with xr.open_dataset(output) as found:
            if found.attrs.get(_JOB) != job:
                raise InputError(
                    f"{output} is the output of another job; choose another name or add --overwrite"
                )
            read = [digest(fields) for _, fields in prediction.windows(prediction.work_items)]
            if found.attrs.get(_INPUT) != summary(read):
                raise InputError(
                    f"{output} was made of another input: its values have changed since; choose "
                    "another name or add --overwrite"
                )
            arrays = outputs(found.variables, prediction)
            values = [values_of(arrays, prediction, piece) for piece in prediction.work_items]
    except InputError:
        raise
    except Exception as error:  # of every kind, where a file is damaged
        raise InputError(f"{output} is damaged: add --overwrite to make it again") from error
    if found.attrs.get(_VALUES) != summary(values):
        raise InputError(f"{output} is damaged: add --overwrite to make it again")
    journal.remove()
    return True


def _sign(store: Path, prediction: Prediction, done: dict[int, Entry]) -> None:
    """Note in the store's attributes what it holds and was made of."""
    entries = [done[number] for number in range(len(prediction.work_items))]
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs.update(
        {
            _INPUT: summary([entry.input for entry in entries]),
            _VALUES: summary([entry.values for entry in entries]),
        }
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")  # see writer
        zarr.consolidate_metadata(store)


def _to_netcdf(store: Path, path: Path, progress: bool) -> None:
    with xr.open_zarr(store) as whole:
        ready = whole.drop_encoding().set_coords(bounds_of(whole))
        write(ready, path, overwrite=True, progress=progress)


def _put(new: Path, path: Path, old: Path) -> None:
    """Give a store its name; one that is replaced waits in the folder until then."""
    flush_tree(new)
    if path.exists():
        rename(path, old)
    rename(new, path)
