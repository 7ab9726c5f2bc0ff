"""Publication: a filled store is checked, signed and given the name of its output."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

from orbitlite.errors import InputError
from orbitlite.files import flush_tree, rename
from orbitlite.inference.encoding import bounds_of
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.parts import Part
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import (
    INPUT,
    VALUES,
    check,
    check_input,
    digest,
    outputs,
    summary,
    values_of,
)
from orbitlite.inference.writer import mistake, write

_JOB = "orbitlite_job"


def mark_job(frame: xr.Dataset, job: Mapping[str, Any]) -> None:
    """Note in the attributes of an output of which job it is."""
    text = json.dumps(job, sort_keys=True)
    frame.attrs[_JOB] = hashlib.sha256(text.encode()).hexdigest()[:12]


def publish(journal: Journal, prediction: Prediction, progress: bool) -> list[Part]:
    """Finish a part; if it is the last one, give the output its name.

    As NetCDF where that is asked for. Until the output has its name, all that is needed to go on
    stays in the journal's folder: a process that ends anywhere in between is gone on with by the
    next.

    Returns
    -------
    list of Part
        Those that are not finished yet.

    Raises
    ------
    InputError
        If the store does not hold what was computed, other parts were made of another input, or the
        output cannot be written.
    """
    with journal.turn():
        journal.finish()
        every = journal.part.all
        if lacking := [part for part in every if not _written(part, journal, prediction)]:
            return lacking
        parts = {_named(journal, part): journal.entries(part) for part in every}
        for named, entries in parts.items():
            if named != journal.named:  # its own were compared before
                check_input(prediction, entries, named)
        try:
            _name(journal, prediction, parts, progress)
        except OSError as error:
            raise mistake(error, journal.output) or error from error
        journal.remove()
    return []


def _named(journal: Journal, part: Part) -> str:
    return Journal(journal.output, part).named


def _written(part: Part, journal: Journal, prediction: Prediction) -> bool:
    """Tell whether all pieces of a part are written, and nobody is at work on it."""
    pieces, entries = part.items(prediction.work_items), journal.entries(part)
    return journal.finished(part) and all(piece.number in entries for piece in pieces)


def _name(
    journal: Journal,
    prediction: Prediction,
    parts: Mapping[str, Mapping[int, Entry]],
    progress: bool,
) -> None:
    """Check a store and give it its name. `parts`: the pieces of each, and what it is called."""
    output = journal.output
    for stray in journal.store.rglob("*.partial"):  # of a chunk that was being written
        stray.unlink()
    with xr.open_zarr(journal.store) as store:
        for named, entries in parts.items():
            check(store.variables, prediction, entries, named, progress)
    _sign(journal.store, prediction, {n: e for some in parts.values() for n, e in some.items()})
    if output.suffix == ".zarr":
        _put(journal.store, output, journal.folder / "old.zarr")
        return
    whole = journal.folder / f"whole{output.suffix}"
    _to_netcdf(journal.store, whole, progress)
    with xr.open_dataset(whole) as written:
        for named, entries in parts.items():
            check(written.variables, prediction, entries, named, progress)
    rename(whole, output)


def is_whole(journal: Journal, prediction: Prediction, frame: xr.Dataset) -> bool:
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
            if found.attrs.get(_JOB) != frame.attrs[_JOB]:
                raise InputError(
                    f"{output} is the output of another job; choose another name or add --overwrite"
                )
            read = [digest(fields) for _, fields in prediction.windows(prediction.work_items)]
            if found.attrs.get(INPUT) != summary(read):
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
    if found.attrs.get(VALUES) != summary(values):
        raise InputError(f"{output} is damaged: add --overwrite to make it again")
    with journal.turn():
        if not journal.shared:
            journal.remove()
    return True


def _sign(store: Path, prediction: Prediction, done: Mapping[int, Entry]) -> None:
    """Note in the store's attributes what it holds and was made of."""
    entries = [done[number] for number in range(len(prediction.work_items))]
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs.update(
        {
            INPUT: summary([entry.input for entry in entries]),
            VALUES: summary([entry.values for entry in entries]),
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
