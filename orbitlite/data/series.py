"""Series: NetCDF files that differ in their steps alone, opened as one store.

To look at a file costs a millisecond, to bring it to the canonical form ten. Of files that say the
same of all but their steps the latter is done once, as if one file held all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray, CachingFileManager, NetCDF4DataStore
from xarray.core import indexing

from orbitlite.data.headers import LOCK, Header, opened, stamp_of
from orbitlite.errors import InputError
from orbitlite.remote import reason

FIRST = "steps_of_first_file"
"""Key of a dataset's encoding: the index of what its first file holds."""


def alike(headers: Iterable[Header]) -> list[list[Header]]:
    """Sort headers of one kind by time, and leave out those that are no part of a series.

    Parameters
    ----------
    headers : iterable of Header

    Returns
    -------
    list of list of Header
        Two or more each, whose times increase from step to step, in the units of the first.
    """
    kinds: dict[bytes, list[Header]] = {}
    for header in headers:
        kinds.setdefault(header.kind, []).append(header)
    found = []
    for kind in kinds.values():
        counted = [header.counted_in(kind[0].units) for header in kind]
        series = sorted((one for one in counted if one is not None), key=lambda one: one.time[0])
        if len(series) > 1 and (np.diff(np.concatenate([one.time for one in series])) > 0).all():
            found.append(series)
    return found


def open_series(series: Sequence[Header]) -> xr.Dataset:
    """Open files as one dataset, as xarray opens one that holds all their steps.

    Parameters
    ----------
    series : sequence of Header
        As `alike` gives them.
    """
    first, dim = series[0], series[0].dim
    files = _Files([_Known.of(one) for one in series], dim)
    store = NetCDF4DataStore.open(first.path)  # type: ignore[no-untyped-call]
    variables, attrs = store.load()
    joined = {}
    for name, variable in variables.items():
        if dim not in variable.dims:
            joined[name] = variable.load()
            continue
        if name in first.small:
            data: Any = np.concatenate([one.small[name] for one in series])
        else:
            data = indexing.LazilyIndexedArray(_Joined(files, str(name), variable))
        attrs_of = variable.attrs
        if name in first.dates and "units" in attrs_of:
            attrs_of = {**attrs_of, "units": first.units}
        joined[name] = xr.Variable(variable.dims, data, attrs_of, files.encoding(variable))
    store.close()
    ds = xr.decode_cf(xr.Dataset(joined, attrs=attrs), decode_timedelta=True)
    ds.encoding[FIRST] = {dim: slice(files.steps[0])}
    return ds


@dataclass(frozen=True)
class _Known:
    """What is known of a file of a series, to be found again where it is opened to be read."""

    path: str
    steps: int
    units: str
    stamp: tuple[int, int]
    digest: bytes

    @classmethod
    def of(cls, header: Header) -> _Known:
        return cls(header.path, len(header.time), header.units, header.stamp, header.digest)

    def open(self) -> netCDF4.Dataset:
        """Open the file. The lock is held.

        Raises
        ------
        InputError
            If it says something else than it did.
        """
        file, stamp = opened(self.path), stamp_of(self.path)
        if stamp == self.stamp:
            return file
        found = Header.of(file, self.path, stamp)
        found = None if found is None else found.counted_in(self.units)
        if found is not None and found.digest == self.digest:
            return file
        file.close()
        raise InputError(
            f"{self.path} has changed since it was opened: expected the same {self.steps} steps, "
            f"coordinates and attributes, found {'others' if found else 'none of their kind'}. "
            "Open the source again."
        )


class _Files:
    """Files one after another along a dimension; xarray keeps some of them open. Pickles.

    Parameters
    ----------
    known : sequence of _Known
    dim : str
    """

    def __init__(self, known: Sequence[_Known], dim: str) -> None:
        self.known, self.dim = known, dim
        self.steps = [one.steps for one in known]
        self.ends = np.cumsum(self.steps)
        self._open: list[Any] = [CachingFileManager(_Known.open, one, lock=LOCK) for one in known]

    def __getstate__(self) -> tuple[Any, ...]:
        return self.known, self.dim

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def encoding(self, variable: xr.Variable) -> dict[Any, Any]:
        """Return the encoding of a variable, with chunks that begin where files do."""
        encoding = {
            key: value for key, value in variable.encoding.items()
            if key not in ("original_shape", "source")
        }  # fmt: skip
        stored = encoding.get("preferred_chunks")
        if stored is not None:
            chunk, steps = max(1, stored[self.dim]), [*dict.fromkeys(self.steps)]
            even = len(steps) == 1 and (chunk >= steps[0] or steps[0] % chunk == 0)
            pieces = tuple(
                min(chunk, own - begin) for own in self.steps for begin in range(0, own, chunk)
            )
            encoding["preferred_chunks"] = {**stored, self.dim: pieces[0] if even else pieces}
        return encoding

    def read(self, name: str, number: int, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part of a variable of one file.

        Raises
        ------
        InputError
            If it cannot be read, or is not what it was when the series was opened.
        """
        try:
            with LOCK:
                variable = self._open[number].acquire(needs_lock=False).variables[name]
                return np.asarray(variable[key])
        except InputError:
            raise
        except Exception as error:  # libraries behind a file raise exceptions of every kind
            raise InputError(
                f"the input cannot be read ({name} of {self.known[number].path}: {reason(error)}); "
                "is the file whole?"
            ) from error


class _Joined(BackendArray):
    """A variable of files one after another, read when it is looked into."""

    def __init__(self, files: _Files, name: str, variable: xr.Variable) -> None:
        self.files, self.name = files, name
        self.axis = variable.dims.index(files.dim)
        shape = list(variable.shape)
        shape[self.axis] = int(files.ends[-1])
        self.shape, self.dtype = tuple(shape), variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        axis, ends = self.axis, self.files.ends
        steps = np.atleast_1d(np.arange(self.shape[axis])[key[axis]])
        numbers = np.searchsorted(ends, steps, side="right")
        borders = np.flatnonzero(np.diff(numbers)) + 1
        # An axis that is asked for at one place stays until all parts are together.
        whole = [slice(k, k + 1) if isinstance(k, int | np.integer) else k for k in key]
        parts = []
        for own in np.split(steps, borders) if steps.size else []:
            number = int(np.searchsorted(ends, own[0], side="right"))
            whole[axis] = own - (ends[number] - self.files.steps[number])
            parts.append(self.files.read(self.name, number, tuple(whole)))
        if not parts:
            sizes = [np.arange(size)[k].size for size, k in zip(self.shape, whole, strict=True)]
            return np.empty([0 if n == axis else size for n, size in enumerate(sizes)], self.dtype)
        single = tuple(n for n, k in enumerate(key) if isinstance(k, int | np.integer))
        return np.concatenate(parts, axis).squeeze(single)
