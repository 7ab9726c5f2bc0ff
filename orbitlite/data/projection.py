"""Projections: what a dataset says of the reference system of its horizontal coordinates."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import xarray as xr

from orbitlite.errors import InputError

# Keys under which files keep a reference system as text, the most telling first.
_TEXTS = ("crs_wkt", "spatial_ref", "wkt", "esri_pe_string", "proj4", "proj4text", "proj4_params",
          "proj4_string", "crs", "epsg_code", "epsg")  # fmt: skip
_WKT = re.compile(
    r"\b(PROJCS|PROJCRS|PROJECTEDCRS|DERIVEDPROJCRS|GEOGCS|GEOGCRS|GEOGRAPHICCRS|GEODCRS"
    r"|GEODETICCRS|GEOCCS|ENGCRS|ENGINEERINGCRS|LOCAL_CS)\s*[\[(]"
)
_GEOGRAPHIC = ("GEOGCS", "GEOGCRS", "GEOGRAPHICCRS", "GEODCRS", "GEODETICCRS")
_MERIDIAN = re.compile(r'PRIMEM(?:ERIDIAN)?\s*[\[(]\s*"[^"]*"\s*,\s*([-+.\dE]+)')
# What GDAL and its readers say of the grid beside its system: its corner, steps and ends.
_PLACES = ("geotransform", "i2m", "northernmost_northing", "southernmost_northing",
           "easternmost_easting", "westernmost_easting")  # fmt: skip
# WGS 84 and the national systems within two metres of it
_EPSG = ("4326", "4979", "4258", "4269", "4283", "4490", "4617", "4674", "6318", "7844", "9057")


def not_regular(found: str) -> InputError:
    """Make the error of a grid that is not one of regular latitude and longitude.

    Parameters
    ----------
    found : str
        What was found: a sentence without its full stop.
    """
    return InputError(
        f"{found}. A grid of regular latitude and longitude is needed: regrid to regular 1-D "
        "coordinates first, for instance with xESMF or CDO (cdo remapbil)."
    )


def states_geographic(attrs: Mapping[str, Any]) -> bool | None:
    """Tell whether attributes describe true latitude and longitude from Greenwich.

    Parameters
    ----------
    attrs : mapping
        Of a grid mapping variable of CF, of `spatial_ref` of rioxarray, or of data with `crs`.

    Returns
    -------
    bool or None
        None if they do not say.

    Examples
    --------
    >>> states_geographic({"grid_mapping_name": "rotated_latitude_longitude"})
    False
    >>> states_geographic({"crs": "EPSG:4326"}), states_geographic({"units": "m"})
    (True, None)
    """
    said = []
    if attrs.get("grid_mapping_name"):
        said.append(str(attrs["grid_mapping_name"]).strip().lower() == "latitude_longitude")
    texts = [_of_text(str(attrs[key]).upper()) for key in _TEXTS if key in attrs]
    said += [verdict for verdict in texts if verdict is not None]
    if not said:
        codes = [_of_code(str(attrs[key])) for key in _TEXTS if key in attrs]
        said = [verdict for verdict in codes if verdict is not None]
    meridian = float(attrs.get("longitude_of_prime_meridian", 0.0))
    return (all(said) and meridian == 0.0) if said else None


def _of_text(text: str) -> bool | None:
    """Read WKT or a PROJ string, in capitals."""
    kind = _WKT.search(text)
    if kind:
        meridian = _MERIDIAN.search(text)
        turned = "DERIVINGCONVERSION" in text or "OB_TRAN" in text
        greenwich = meridian is None or float(meridian[1]) == 0.0
        return kind[1] in _GEOGRAPHIC and not turned and greenwich
    if "+PROJ=" in text:
        straight = re.search(r"\+PROJ=(LONGLAT|LATLONG|LONLAT|LATLON)\b", text) is not None
        return straight and not re.search(r"\+PM=(?!GREENWICH|0(\.0*)?(\s|$))", text)
    return None


def _of_code(text: str) -> bool | None:
    """Read a code such as `EPSG:4326`."""
    if re.search(r"CRS:?84\b", text, re.IGNORECASE):
        return True
    code = re.fullmatch(r"\s*(?:.*\bEPSG:+(?:[\d.]*:)?)?(\d{4,6})\s*", text, re.IGNORECASE)
    return None if code is None else code[1] in _EPSG


def check_mappings(ds: xr.Dataset, axes: Collection[str], stated: bool) -> None:
    """Refuse a dataset whose grid mapping says that its coordinates are no true degrees.

    Parameters
    ----------
    ds : xr.Dataset
    axes : collection of str
        The coordinates found to be latitude and longitude.
    stated : bool
        Whether these say so of themselves, beyond their names.

    Raises
    ------
    InputError
        If the mapping is another than that of latitude and longitude; or is not there or says
        nothing, and the coordinates do not say either.
    """
    dims = {dim for name in axes for dim in ds[name].dims}
    on_grid = [name for name, field in ds.data_vars.items() if dims <= {*field.dims}]
    mappings = {
        mapping: name for name in on_grid for mapping in _named(ds[name].variable, {*axes, *dims})
    }
    for mapping, name in mappings.items():
        attrs: Mapping[str, Any] = ds.variables[mapping].attrs if mapping in ds.variables else {}
        verdict = states_geographic(attrs)
        if verdict is False:
            raise not_regular(f"{name!r} has the grid mapping {mapping!r} ({_kind(attrs)})")
        if verdict is None and not stated:
            what = "says nothing" if mapping in ds.variables else "is not in the data"
            raise not_regular(
                f"{name!r} has the grid mapping {mapping!r}, which {what}, and the coordinates "
                f"{' and '.join(map(repr, axes))} do not say that they are true degrees (if they "
                "are, give them the units degrees_north and degrees_east)"
            )
    if mappings or stated:
        return
    for name, attrs in systems(ds):
        if states_geographic(attrs) is False:
            raise not_regular(f"{name!r} states another reference system ({_kind(attrs)})")


def mapping_of(
    ds: xr.Dataset, dims: Collection[str], geographic: bool = False
) -> tuple[str, Mapping[str, Any]]:
    """Return the reference system of the plane of some dims, by its variable and what that says.

    Parameters
    ----------
    ds : xr.Dataset
    dims : collection of str
    geographic : bool
        Look for that of true latitude and longitude, which is passed over otherwise.

    Returns
    -------
    str, mapping
        The name is empty if an attribute of other data says it; both are if nothing does, or what
        is said is not looked for. What it says of one grid in the plane is left out: it is not so
        of a finer one.
    """
    on_grid = [field.variable for field in ds.data_vars.values() if {*dims} <= {*field.dims}]
    named = dict.fromkeys(m for variable in on_grid for m in _named(variable, dims))
    for name in named:
        if name in ds.variables and states_geographic(ds.variables[name].attrs) is geographic:
            return name, _without_place(ds.variables[name].attrs)
    for name, attrs in systems(ds) if not named else ():
        if states_geographic(attrs) is geographic:
            alone = name in ds.variables and not ds.variables[name].ndim
            kept = attrs if alone else {key: attrs[key] for key in _TEXTS if key in attrs}
            return (name if alone else ""), _without_place(kept)
    return "", {}


def _without_place(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attrs.items() if key.lower() not in _PLACES}


def systems(ds: xr.Dataset) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield whatever states a reference system: grid mappings, `spatial_ref`, attributes `crs`."""
    for name, variable in ds.variables.items():
        if variable.ndim == 0 or {"grid_mapping_name", "crs_wkt", "crs"} & {*variable.attrs}:
            yield str(name), variable.attrs
    yield "crs", {key: ds.attrs[key] for key in ("crs", "proj4", "crs_wkt") if key in ds.attrs}


def _named(variable: xr.Variable, coordinates: Collection[Any]) -> list[str]:
    """Return the grid mappings of a variable that concern some coordinates.

    `crs`, or `crs_a: x y crs_b: lat lon`, as an attribute or where xarray moved it.
    """
    text = str(variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", "")))
    if ":" not in text:
        return text.split()
    found: dict[str, list[str]] = {}
    for word in text.replace(" :", ":").split():
        if word.endswith(":"):
            found[word[:-1]] = []
        elif found:
            found[[*found][-1]].append(word)
    return [name for name, of in found.items() if not of or {*of} & {*map(str, coordinates)}]


def _kind(attrs: Mapping[str, Any]) -> str:
    """Say in a few words what a reference system is."""
    name = attrs.get("grid_mapping_name")
    text = next((str(attrs[key]) for key in _TEXTS if key in attrs), "another prime meridian")
    return str(name) if name and name != "latitude_longitude" else text[:60]
