"""CF metadata of a prediction."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import xarray as xr

from orbitlite.model.bundle import Bundle
from orbitlite.variables import cf_attributes

_MEMBERS = ("number", "member", "realization", "ensemble")


def describe(fine: xr.Dataset, coarse: xr.Dataset, bundle: Bundle) -> xr.Dataset:
    """Attach attributes: CF names and units, where the data come from, which model made them.

    Parameters
    ----------
    fine : xarray.Dataset
        The prediction, with coordinates.
    coarse : xarray.Dataset
        Its input; global attributes are kept.
    bundle : Bundle

    Returns
    -------
    xarray.Dataset
        With fresh encoding: a packed input would clip the prediction.
    """
    for name in fine.data_vars:
        fine[name].attrs = dict(cf_attributes(str(name)))
    for name in fine.coords:
        if name in _MEMBERS:
            attrs = {"standard_name": "realization", "units": "1"}
            fine = fine.assign_coords({name: fine[name].assign_attrs(attrs | fine[name].attrs)})
    if "time" in fine.coords:
        attrs = {"standard_name": "time", "long_name": "time", "axis": "T"}
        fine["time"].attrs = attrs | fine["time"].attrs
    ours = version("orbitlite")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    note = f"{now} downscaled with orbitlite {ours}: {_command()}"
    history = f"{note}\n{coarse.attrs.get('history', '')}"
    fine.attrs = {
        **coarse.attrs,
        "Conventions": "CF-1.11",
        "history": history.rstrip(),
        "orbitlite_version": ours,
        "orbitlite_model": bundle.path or "in memory",
        **({"orbitlite_model_id": bundle.identity} if bundle.identity else {}),
        "downscaling_factor": bundle.model.config.factor,
    }
    for variable in fine.variables.values():
        variable.encoding = {}
    return fine


def _command() -> str:
    """Return what was typed, or the call if it came from elsewhere."""
    name = Path(sys.argv[0]).name
    return shlex.join([name, *sys.argv[1:]]) if name == "orbitlite" else "orbitlite.predict"
