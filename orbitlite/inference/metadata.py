"""CF metadata of a prediction."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version

import xarray as xr

from orbitlite.data.variables import cf_attributes
from orbitlite.model.bundle import Bundle


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
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    note = f"{now} orbitlite {version('orbitlite')}: downscaled by {bundle.model.config.factor}"
    history = str(coarse.attrs.get("history", ""))
    fine.attrs = {
        **coarse.attrs,
        "Conventions": "CF-1.11",
        "history": f"{note}\n{history}".rstrip(),
        "source": str(coarse.attrs.get("source", "downscaled by orbitlite")),
        "orbitlite_version": version("orbitlite"),
        "orbitlite_model": bundle.path or "in memory",
        "downscaling_factor": bundle.model.config.factor,
    }
    for name in fine.variables:
        fine[name].encoding = {}
    return fine
