"""Places: at which height or pressure a variable of a dataset lies, from its coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from orbitlite.data.levels import is_pressure
from orbitlite.variables import VARIABLES, meanings, split_level
from orbitlite.variables.evidence import at_height
from orbitlite.variables.units import UnitError, conversion

# What `place` finds, by name.
PLACE = ("height", "pressure", "levels")

_HEIGHTS = ("heightaboveground", "height")
_VERTICAL = frozenset(
    {"level", "lev", "plev", "pressure_level", "pressure", "levels", "hybrid", "model_level", "z"}
    | {"bottom_top", "depth", "depthbelowlandlayer", "altitude", "height", "heightaboveground"}
)


def place(data: xr.DataArray) -> dict[str, Any]:
    """Find where a variable lies.

    Returns
    -------
    dict
        As far as known: `height` (m above ground) and `pressure` (hPa) of a single level, from
        coordinates of one value, and `levels`, the name of a vertical dimension of several.
    """
    found: dict[str, Any] = {}
    for name, coordinate in data.coords.items():
        if coordinate.size != 1 or coordinate.dtype.kind not in "biuf":
            continue
        value = float(coordinate.values.ravel()[0])
        units = str(coordinate.attrs.get("units", ""))
        if str(name).lower() in _HEIGHTS:
            scale = _scale(units or "m", "m")
            found |= {"height": value * scale} if scale else {}
        elif is_pressure(coordinate):
            unnamed = "Pa" if str(name).lower() == "isobaricinpa" else "hPa"
            scale, metres = _scale(units or unnamed, "hPa"), _scale(units, "m")
            found |= {"pressure": value * scale} if scale else {}
            found |= {"height": value * metres} if metres else {}
    for dim in data.dims:
        vertical = dim in data.coords and data[dim].attrs.get("axis") == "Z"
        name = str(dim).lower()
        if data.sizes[dim] > 1 and (vertical or name in _VERTICAL or name.startswith("isobaric")):
            found["levels"] = str(dim)
    return found


def _scale(text: str, target: str) -> float | None:
    try:
        return conversion(text, target).scale
    except UnitError:
        return None


def places(ds: xr.Dataset) -> Mapping[str, dict[str, Any]]:
    """Find where each variable of a dataset lies.

    A coordinate of one value belongs to every variable of a dataset, whether it is theirs or one
    beside them brought it: `height` of the temperature at 2 m, `level` of a slice at 850 hPa.
    Where the name of one variable goes with it, it says nothing about those whose name does not.

    Returns
    -------
    mapping of str to dict
        What `place` finds, less what belongs to another variable.
    """
    found = {str(name): place(data) for name, data in ds.data_vars.items()}
    claimed = {
        key: {name for name, here in found.items() if key in here and _claims(name, key, here[key])}
        for key in ("height", "pressure")
    }
    return {
        name: {
            key: value
            for key, value in here.items()
            if not claimed.get(key) or name in claimed[key]
        }
        for name, here in found.items()
    }


def _claims(name: str, key: str, value: float) -> bool:
    """Return True if the name of a variable goes with a height or a pressure."""
    for meant in meanings(name):
        base, level = split_level(meant.channel)
        if key == "pressure":
            return VARIABLES[base].on_levels and level in (None, round(value))
        rows = [row for row in VARIABLES.values() if row.name.endswith(f"m_{base}")]
        rows += [VARIABLES[base]]
        return level is None and any(at_height(row, value) for row in rows)
    return False
