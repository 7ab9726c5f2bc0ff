"""Output: a file of predictions as the benchmark wants it, whole under its name or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.cordex.form import Form
from orbitlite.cordex.task import TARGETS, UNITS
from orbitlite.errors import InputError
from orbitlite.files import replacing
from orbitlite.inference.writer import mistake
from orbitlite.variables import lookup

_CHUNK = 16  # days of a member that are compressed together

Fields = dict[str, NDArray[np.float32]]


class Output:
    """A file that is being written.

    Parameters
    ----------
    file : netCDF4.Dataset
    form : Form
    time : xr.Variable
        As the predictors have it, in numbers.
    members : int or None
        Size of the dimension `member`; None: there is none.
    """

    def __init__(
        self, file: netCDF4.Dataset, form: Form, time: xr.Variable, members: int | None
    ) -> None:
        self._file, self._plain = file, members is None
        sizes = dict(zip(form.dims, form.shape, strict=True)) | {"time": time.size}
        coordinates = {"time": time, **form.coordinates}
        dims: tuple[str, ...] = ("time", *form.dims)
        if members is not None:
            sizes |= {"member": members}
            coordinates |= {"member": xr.Variable("member", np.arange(1, members + 1))}
            dims = ("member", *dims)
        for dim, size in sizes.items():
            file.createDimension(dim, size)
        for name, variable in coordinates.items():
            made = file.createVariable(name, variable.dtype, [str(dim) for dim in variable.dims])
            made.setncatts(variable.attrs)
            made[...] = variable.values
        chunks = [1 if dim == "member" else sizes[dim] for dim in dims]
        chunks[dims.index("time")] = min(_CHUNK, time.size)
        apart = [name for name in form.coordinates if name not in form.dims]
        for name, channel in TARGETS.items():
            made = file.createVariable(
                name, "f4", dims, zlib=True, complevel=1, chunksizes=chunks, fill_value=math.nan
            )
            made.setncatts({"long_name": lookup(channel).long_name, "units": _unit(name)})
            if apart:
                made.coordinates = " ".join(sorted(apart))

    def put(self, window: slice, fields: Fields) -> None:
        """Write days.

        Parameters
        ----------
        window : slice
            Of the times.
        fields : dict of ndarray of shape (M, T, H, W)
            By the names of the benchmark.
        """
        for name, values in fields.items():
            self._file[name][..., window, :, :] = values[0] if self._plain else values


@contextmanager
def writing(
    path: Path, form: Form, time: xr.Variable, members: int | None, attrs: Mapping[str, str]
) -> Iterator[Output]:
    """Write a file of predictions, which gets its name when it is whole.

    Parameters
    ----------
    path : Path
    form : Form
    time : xr.Variable
        As the predictors have it, in numbers.
    members : int or None
    attrs : mapping
        Of the file.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as place, netCDF4.Dataset(place, "w") as file:
            file.setncatts(dict(attrs))
            yield Output(file, form, time, members)
    except (OSError, RuntimeError) as error:
        plain = mistake(error, path)
        if plain is None:
            raise
        raise plain from error


def said_of(path: Path) -> dict[str, Any]:
    """Return what a file of predictions says of itself, and whether it has `member`s.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with netCDF4.Dataset(path) as file:
            found = {name: file.getncattr(name) for name in file.ncattrs()}
            return {**found, "member": "member" in file.dimensions}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}): remove it") from error


def _unit(name: str) -> str:
    return {"pr": "mm/day"}.get(name, UNITS[name])
