"""Reference systems of projected grids, by PROJ."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from orbitlite.errors import InputError
from orbitlite.grids.cells import Floats

# Wheels bring libraries of their own. One that was loaded for all to see before, as that of eccodes
# is, would take the place of pyproj's PROJ, and the process would crash.
_flags = sys.getdlopenflags() if hasattr(sys, "getdlopenflags") else 0
if hasattr(os, "RTLD_DEEPBIND"):
    sys.setdlopenflags(_flags | os.RTLD_DEEPBIND)
_failure: Exception | None = None
try:
    import pyproj
except Exception as failure:  # a library that is missing, or of another machine: of every kind
    _failure = failure
finally:
    if hasattr(os, "RTLD_DEEPBIND"):
        sys.setdlopenflags(_flags)

_METRES = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0, "km": 1e3,
           "kilometre": 1e3, "kilometer": 1e3, "kilometres": 1e3, "kilometers": 1e3}  # fmt: skip
_TEXTS = ("crs_wkt", "spatial_ref", "wkt", "esri_pe_string", "proj4", "proj4text", "proj4_params",
          "proj4_string", "crs", "epsg_code", "epsg")  # fmt: skip
"""Keys under which files keep a reference system as text, the most telling first."""


@dataclass(frozen=True, eq=False)
class Crs:
    """A reference system.

    Attributes
    ----------
    attrs : mapping
        Of a grid mapping variable of CF, or of one that keeps a text (WKT, PROJ, EPSG).

    Raises
    ------
    InputError
        If PROJ does not know it, or cannot be loaded.
    """

    attrs: Mapping[str, Any]

    def __post_init__(self) -> None:
        _ = self._system

    @cached_property
    def _system(self) -> pyproj.CRS:
        if _failure is not None:
            raise InputError(
                "A grid with a reference system needs pyproj, which cannot be loaded "
                f"({type(_failure).__name__}: {_failure}): install it again "
                "(pip install --force-reinstall pyproj)."
            ) from _failure
        texts = [str(self.attrs[key]) for key in _TEXTS if self.attrs.get(key)]
        try:
            if texts:
                code = texts[0].strip()
                return pyproj.CRS.from_user_input(int(code) if code.isdigit() else code)
            return pyproj.CRS.from_cf(dict(self.attrs))
        except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError) as error:
            if "no database context" in str(error):
                raise InputError(
                    "The PROJ library of another package (eccodes, with rioxarray or another that "
                    "brings PROJ) was loaded before that of pyproj and took its place in this "
                    "process: import orbitlite before xarray opens a file."
                ) from error
            said = texts[0] if texts else str(self.attrs.get("grid_mapping_name"))
            raise InputError(
                f"The reference system {said[:60]!r} is not understood ({error}): expected a grid "
                "mapping of CF, WKT, a PROJ string or an EPSG code."
            ) from error

    @property
    def name(self) -> str:
        """A short name for messages."""
        stated = self.attrs.get("grid_mapping_name")
        return str(stated).replace("_", " ") if stated else self._system.name

    @cached_property
    def stated(self) -> dict[str, Any]:
        """The attributes, and of a rotated pole WKT beside them.

        GDAL reads a rotated pole from them, or else where the figure of the earth is stated.
        """
        wkt = {"crs_wkt": self._system.to_wkt()} if self.angular else {}
        return {**wkt, **self.attrs}

    @property
    def angular(self) -> bool:
        """Whether its axes are degrees, as those of a rotated pole are."""
        return bool(self._system.is_geographic)

    def degrees(
        self, y: Floats, x: Floats, units: tuple[Any, Any] = (None, None)
    ) -> tuple[Floats, Floats]:
        """Return latitudes and longitudes of places in the plane.

        Parameters
        ----------
        y, x : ndarray
        units : tuple of str, optional
            Of y and x: metres (where none is stated) or kilometres; degrees of a rotated pole.

        Raises
        ------
        InputError
            If a unit is another, or PROJ does not reach a place.
        """
        y, x = (self.scaled(v, u) for v, u in zip((y, x), units, strict=True))
        to = pyproj.Transformer.from_crs(self._system, self._geodetic, always_xy=True)
        lon, lat = to.transform(x, y)
        lat, lon = np.asarray(lat, np.float64), np.asarray(lon, np.float64)
        if not (np.isfinite(lat).all() and np.isfinite(lon).all()):
            raise InputError(
                f"Coordinates from {y.min():g} to {y.max():g} and {x.min():g} to {x.max():g} lie "
                f"beyond the reference system {self.name}: check their unit."
            )
        return lat, lon

    @property
    def _geodetic(self) -> pyproj.CRS:
        """Return the latitudes and longitudes that it is made of."""
        base = self._system.source_crs if self.angular else self._system.geodetic_crs
        return base or self._system

    def scaled(self, values: Floats, unit: Any) -> Floats:
        """Return coordinates in metres; degrees stay what they are.

        Parameters
        ----------
        values : ndarray
        unit : str, optional
            Metres where none is stated.

        Raises
        ------
        InputError
            If it is no length.
        """
        if self.angular:
            return values
        text = str(unit).strip().lower() if unit else "m"
        if text not in _METRES:
            raise InputError(f"A projection coordinate has the unit {unit!r}: expected m or km.")
        return values * _METRES[text]
