"""Publishing: a finished store gets the output's name, whole and checked, or keeps waiting."""

from __future__ import annotations

import warnings
from pathlib import Path

import xarray as xr
import zarr

from orbitlite.errors import InputError
from orbitlite.files import flush_tree, rename
from orbitlite.inference.encoding import bounds_of
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import check, digest, summary, values_of, windows
from orbitlite.inference.writer import mistake, write

JOB = "orbitlite_job"
_INPUT, _VALUES = "orbitlite_input", "orbitlite_values"


def publish(journal: Journal, prediction: Prediction, progress: bool) -> None:
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
            check(
                prediction.outputs(store.variables),
                prediction,
                journal.done,
                journal.store,
                progress,
            )
        _sign(journal.store, prediction, journal.done)
        if output.suffix == ".zarr":
            _put(journal.store, output, journal.folder / "old.zarr")
        else:
            whole = journal.folder / f"whole{output.suffix}"
            _to_netcdf(journal.store, whole, progress)
            with xr.open_dataset(whole) as written:
                check(
                    prediction.outputs(written.variables), prediction, journal.done, whole, progress
                )
            rename(whole, output)
    except OSError as error:
        raise mistake(error, output) or error from error
    journal.remove()


def stands(journal: Journal, prediction: Prediction, job: str) -> bool:
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
            if found.attrs.get(JOB) != job:
                raise InputError(
                    f"{output} is the output of another job; choose another name or add --overwrite"
                )
            read = [digest(fields) for _, fields in windows(prediction, prediction.pieces)]
            if found.attrs.get(_INPUT) != summary(read):
                raise InputError(
                    f"{output} was made of another input: its values have changed since; choose "
                    "another name or add --overwrite"
                )
            arrays = prediction.outputs(found.variables)
            values = [values_of(arrays, prediction, piece) for piece in prediction.pieces]
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
    entries = [done[number] for number in range(len(prediction.pieces))]
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
