"""Zarr: open stores whose codecs are known to be harmless."""

from __future__ import annotations

import warnings

import xarray as xr
from zarr.storage import LocalStore

from orbitlite.data.codecs import CheckedStore
from orbitlite.data.reader import READERS, SUFFIXES, Place
from orbitlite.data.retry import PatientStore
from orbitlite.errors import InputError

_FILES = ("zarr.json", ".zmetadata", ".zgroup")


@READERS.register("zarr")
class Zarr:
    """Folders with metadata of Zarr, of version 2 or 3."""

    def matches(self, place: Place) -> bool:
        """Tell it from the suffix, or from the files inside where the suffix says nothing."""
        others = place.ends(*SUFFIXES["grib"], *SUFFIXES["netcdf"])
        return place.ends(".zarr") or (not others and place.holds(*_FILES))

    def open(self, place: Place) -> list[xr.Dataset]:
        """Open a store.

        Raises
        ------
        InputError
            If it asks for a codec that is not known.
        """
        inner = (
            PatientStore.of(place.url) if place.remote else LocalStore(place.url, read_only=True)
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Failed to open Zarr store with consolidated")
            warnings.filterwarnings("ignore", message=".*consolidated metadata.*")
            try:
                store = CheckedStore(inner)
                return [xr.open_zarr(store, chunks=None, decode_timedelta=True)]
            except InputError as error:
                raise InputError(f"{place.url}: {error}") from error
