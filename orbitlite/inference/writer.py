"""Write a dataset to NetCDF or Zarr: whole under its name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import xarray as xr
from dask.callbacks import Callback
from dask.system import CPU_COUNT

from orbitlite.errors import InputError
from orbitlite.files import replacing
from orbitlite.inference.encoding import Format, prepared
from orbitlite.progress import bar

FORMATS: dict[str, Format] = {".nc": "netcdf", ".nc4": "netcdf", ".zarr": "zarr"}
"""By the suffix of a name."""
_STORE_FILES = ("zarr.json", ".zgroup", ".zmetadata")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A disk with less than this left is full, whatever the library that failed on it says.
_LEAST_ROOM = 2**20


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Find out early whether a file can be written; creates the parent folder.

    Parameters
    ----------
    path : str or Path
    overwrite : bool
        Let an existing file or Zarr store be replaced.

    Raises
    ------
    InputError
        If the name is no local one or its suffix is unknown, it is taken, or its folder cannot be
        written.
    """
    if "://" in str(path):
        raise InputError(f"{path} is a URL: files are written to local folders only.")
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: expected a name that ends in .nc or .zarr")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name or say to overwrite it")
    if path.is_dir() and not any((path / name).exists() for name in _STORE_FILES):
        raise InputError(f"{path} is a folder that is no Zarr store; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the folder {path.parent}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} is not writable; choose another output")
    return path


def check_apart(output: Path, sources: Iterable[str | Path]) -> None:
    """Refuse an output that is, holds or lies in one of the files that it is made of.

    Parameters
    ----------
    output : Path
    sources : iterable of str or Path
        Paths; URLs are passed over.

    Raises
    ------
    InputError
        If it is so.
    """
    place = output.resolve()
    for source in sources:
        other = Path(source).resolve()
        if place == other or place in other.parents or other in place.parents:
            raise InputError(
                f"{output} would replace {source}, which it is made of; choose another name"
            )


def write(
    ds: xr.Dataset, path: str | Path, *, overwrite: bool = False, progress: bool = True
) -> None:
    """Write a dataset; a lazy one is computed and written block by block.

    Parameters
    ----------
    ds : xarray.Dataset
    path : str or Path
        Ends in `.nc` (NetCDF-4) or `.zarr`.
    overwrite : bool
        Replace what stands there.
    progress : bool
        Show a bar on a terminal while a lazy dataset is computed.

    Raises
    ------
    InputError
        If the place cannot be written, the disk is full, or a lazy source cannot be read. Nothing
        new is left under the name then, and what stood there stays.
    """
    path = check_output(path, overwrite)
    show = progress and any(ds[name].chunks for name in ds.data_vars)
    try:
        with replacing(path) as temporary, _threads(), _bar(path.name, show):
            _write(ds, temporary, FORMATS[path.suffix])
    except (OSError, RuntimeError) as error:
        plain = mistake(error, path)
        if plain is None:
            raise
        raise plain from error


def _write(ds: xr.Dataset, path: Path, kind: Format) -> None:
    ds, encoding = prepared(ds, kind)
    if kind == "netcdf":
        ds.to_netcdf(path, encoding=encoding, engine="netcdf4", format="NETCDF4")
        return
    with warnings.catch_warnings():
        # Consolidated, a store can be read over HTTP; readers without that extension ignore it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        ds.to_zarr(path, mode="w", encoding=encoding, consolidated=True)


def mistake(error: OSError | RuntimeError, path: Path) -> InputError | None:
    """Say in plain words what went wrong; None if it is no matter of files."""
    number = getattr(error, "errno", None)
    # The NetCDF library reports a full disk as "HDF error" or "Permission denied".
    if number in _FULL or shutil.disk_usage(path.parent).free < _LEAST_ROOM:
        return InputError(f"cannot write {path}: no room on the disk; free some and start again")
    if isinstance(error, OSError):
        return InputError(f"cannot write {path}: {error.strerror or error}")
    if "NetCDF: " in str(error):
        return InputError(
            f"cannot write {path}: a NetCDF file could not be read or written ({error}); is the "
            "source whole?"
        )
    return None


@contextlib.contextmanager
def _threads() -> Iterator[None]:
    """Give dask threads that end before this does: one at work would open a removed file anew."""
    if dask.config.get("scheduler", "threads") != "threads" or dask.config.get("pool", None):
        yield
        return
    count = dask.config.get("num_workers", None) or CPU_COUNT
    with ThreadPoolExecutor(count) as pool, dask.config.set(pool=pool), _interrupt_between_tasks():
        yield


@contextlib.contextmanager
def _interrupt_between_tasks() -> Iterator[None]:
    """Hold Ctrl-C back until a task is done: raised at once, it can leave a lock of xarray held."""
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()
    if not ours or before is not signal.default_int_handler:
        yield
        return
    asked = False

    def note(*_: object) -> None:
        nonlocal asked
        asked = True

    def check(*_: object) -> None:
        if asked:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        with Callback(pretask=check, posttask=check):
            yield
    finally:
        signal.signal(signal.SIGINT, before)
    check()


@contextlib.contextmanager
def _bar(name: str, show: bool) -> Iterator[None]:
    """Show the share of the tasks of dask that are done."""
    with bar(f"Writing {name}", None, show) as advance:

        def step(
            key: object, result: object, graph: object, state: dict[str, set[str]], worker: object
        ) -> None:
            parts = ("finished", "ready", "waiting", "running")
            advance(1, total=sum(len(state[part]) for part in parts))

        with Callback(posttask=step) if show else contextlib.nullcontext():
            yield
