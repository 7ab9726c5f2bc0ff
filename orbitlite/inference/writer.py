"""Write a dataset to NetCDF or Zarr: whole under its name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.errors import InputError

_SUFFIXES = {".nc": "netcdf", ".nc4": "netcdf", ".zarr": "zarr"}


def check_output(path: str | Path, overwrite: bool = False) -> Path:
    """Find out early whether a file can be written; creates the parent folder.

    Raises
    ------
    InputError
        If the suffix is unknown, the file exists, or the folder cannot be written.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in .nc or .zarr")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name or pass --overwrite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the folder {path.parent}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} is not writable; choose another output")
    return path


def write(
    ds: xr.Dataset, path: str | Path, *, overwrite: bool = False, progress: bool = True
) -> None:
    """Write a dataset; a lazy one is computed block by block.

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
        If the place cannot be written or the disk is full. Nothing is left under the name then.
    """
    path = check_output(path, overwrite)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    encoding = _encoding(ds, _SUFFIXES[path.suffix])
    try:
        with _bar(progress and any(ds[name].chunks for name in ds.data_vars)):
            if path.suffix == ".zarr":
                ds.to_zarr(temporary, mode="w", encoding=encoding, consolidated=True)
            else:
                ds.to_netcdf(temporary, encoding=encoding, engine="netcdf4", format="NETCDF4")
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except OSError as error:
        raise _plain(error, path) from error
    except RuntimeError as error:
        # The NetCDF library reports a full disk as "NetCDF: HDF error".
        if shutil.disk_usage(path.parent).free < 2**20 or "HDF error" in str(error):
            raise InputError(f"cannot write {path}: no room on the disk ({error})") from error
        raise
    finally:
        _remove(temporary)


def _encoding(ds: xr.Dataset, kind: str) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {}
    for name, data in ds.data_vars.items():
        sizes = tuple(1 if dim == "time" else min(size, 1024) for dim, size in data.sizes.items())
        entry: dict[str, Any] = {"dtype": "float32", "_FillValue": np.float32(np.nan)}
        if kind == "netcdf" and data.ndim:
            entry |= {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": sizes}
        encoding[str(name)] = entry
    if "time" in ds.coords and np.issubdtype(ds["time"].dtype, np.datetime64):
        encoding["time"] = {"units": "hours since 1970-01-01", "dtype": "float64"}
    for name in ds.coords:
        if name in ("lat", "lon", "lat_bnds", "lon_bnds"):
            encoding[str(name)] = {"_FillValue": None}
    return encoding


def _plain(error: OSError, path: Path) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"cannot write {path}: no room on the disk; free some and start again")
    return InputError(f"cannot write {path}: {error.strerror or error}")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextlib.contextmanager
def _bar(show: bool) -> Any:
    from dask.diagnostics import ProgressBar

    if show and sys.stderr.isatty():
        with ProgressBar(out=sys.stderr):
            yield
    else:
        yield
