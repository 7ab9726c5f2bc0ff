"""Damage: a read of a store that fails is one plain error, wherever it happens."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from orbitlite.errors import InputError
from orbitlite.remote import reason

logger = logging.getLogger(__name__)


def guarded(ds: xr.Dataset, url: str) -> xr.Dataset:
    """Let reads of a dataset that has just been opened raise InputError where they fail.

    Parameters
    ----------
    ds : xr.Dataset
        Values that are in memory, and arrays of dask, stay as they are.
    url : str
        What the store is called.
    """
    lazy = {
        name: data
        for name, data in ds.variables.items()
        if not data._in_memory and data.chunks is None
    }
    return ds.assign({name: _guard(name, data, url) for name, data in lazy.items()}).set_coords(
        [name for name in lazy if name in ds.coords]
    )


def _guard(name: Hashable, variable: xr.Variable, url: str) -> xr.Variable:
    lazy = indexing.LazilyIndexedArray(_Guarded(variable, f"{name} of {url}"))
    data = indexing.MemoryCachedArray(lazy)  # type: ignore[no-untyped-call]
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


class _Guarded(BackendArray):
    """A variable of a store, read when it is looked into."""

    def __init__(self, variable: xr.Variable, name: str) -> None:
        self.variable, self.name = variable, name
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        try:
            return np.asarray(self.variable[key].values)
        except InputError:
            raise
        except Exception as error:  # libraries behind a store raise exceptions of every kind
            logger.debug("The input could not be read.", exc_info=True)
            raise InputError(
                f"the input cannot be read ({self.name}: {reason(error)}); is the source whole?"
            ) from error
