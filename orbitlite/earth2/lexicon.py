"""Lexicon: what Earth2Studio calls the channels, and in which units it has them.

Names, units and periods are those of `earth2studio.lexicon.base.E2STUDIO_VOCAB` (version 0.19),
whose variables state no unit in the data. They are not the aliases of the table of variables: here
`u100` is a wind at 100 hPa, and `vo` a current. Left out are `sf` and `ro`: the vocabulary has them
in kg m-2, and its source ARCO in m.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orbitlite.variables import family, lookup, split_level


@dataclass(frozen=True)
class Term:
    """What a name of Earth2Studio stands for.

    Attributes
    ----------
    channel : str
        Canonical; of amounts that of their period, where the table has it.
    units : str
    hours : int or None
        Period of amounts; None of all else, and of amounts whose name does not state it.
    """

    channel: str
    units: str
    hours: int | None = None


_MM = "total_precipitation"
# Of several names of one channel the first is its own.
_TERMS: Mapping[str, Term] = {
    "t2m": Term("2m_temperature", "K"),
    # not in the vocabulary; of daily extremes in its GHCN and nClimGrid
    "t2m_max": Term("2m_temperature_max", "K"),
    "t2m_min": Term("2m_temperature_min", "K"),
    "d2m": Term("2m_dewpoint_temperature", "K"),
    "r2m": Term("2m_relative_humidity", "%"),
    "q2m": Term("2m_specific_humidity", "kg kg-1"),
    "u10m": Term("10m_u_component_of_wind", "m s-1"),
    "v10m": Term("10m_v_component_of_wind", "m s-1"),
    "ws10m": Term("10m_wind_speed", "m s-1"),
    "fg10m": Term("10m_wind_gust", "m s-1"),
    "i10fg": Term("10m_wind_gust", "m s-1"),
    "u100m": Term("100m_u_component_of_wind", "m s-1"),
    "v100m": Term("100m_v_component_of_wind", "m s-1"),
    "msl": Term("mean_sea_level_pressure", "Pa"),
    "sp": Term("surface_pressure", "Pa"),
    "skt": Term("skin_temperature", "K"),
    "sst": Term("sea_surface_temperature", "K"),
    "sic": Term("sea_ice_cover", "1"),
    "siconc": Term("sea_ice_cover", "1"),
    "tcc": Term("total_cloud_cover", "1"),
    "lcc": Term("low_cloud_cover", "1"),
    "mcc": Term("medium_cloud_cover", "1"),
    "hcc": Term("high_cloud_cover", "1"),
    "tcwv": Term("total_column_water_vapour", "kg m-2"),
    "tcw": Term("total_column_water", "kg m-2"),
    "tclw": Term("total_column_cloud_liquid_water", "kg m-2"),
    "tciw": Term("total_column_cloud_ice_water", "kg m-2"),
    "cape": Term("convective_available_potential_energy", "J kg-1"),
    "blh": Term("boundary_layer_height", "m"),
    "sd": Term("snow_depth", "m"),
    "sde": Term("snow_thickness", "m"),
    "tp01": Term(_MM, "m", 1),
    "tp1h": Term(_MM, "m", 1),
    "tp06": Term(f"{_MM}_6hr", "m", 6),
    "tp12": Term(f"{_MM}_12hr", "m", 12),
    "tp24": Term(f"{_MM}_24hr", "m", 24),
    # an hour's in ARCO and the CDS, three hours' in GFS, since the start in IFS
    "tp": Term(_MM, "m"),
    "tpf": Term(_MM, "kg m-2 s-1"),
    "cp06": Term("convective_precipitation_6hr", "m", 6),
    "cp": Term("convective_precipitation", "m"),
    "lsp": Term("large_scale_precipitation", "m"),
    "sf1h": Term("snowfall", "m", 1),
    "sf06": Term("snowfall_6hr", "m", 6),
    "ro06": Term("runoff_6hr", "m", 6),
    "ssrd1h": Term("surface_solar_radiation_downwards", "J m-2", 1),
    "ssrd06": Term("surface_solar_radiation_downwards", "J m-2", 6),
    "ssrd": Term("surface_solar_radiation_downwards", "J m-2"),
    "rsds": Term("surface_solar_radiation_downwards", "W m-2"),
    "strd": Term("surface_thermal_radiation_downwards", "J m-2"),
    "strd06": Term("surface_thermal_radiation_downwards", "J m-2", 6),
    "ssr": Term("surface_net_solar_radiation", "J m-2"),
    "tisr": Term("toa_incident_solar_radiation", "J m-2"),
    "swvl1": Term("volumetric_soil_water_layer_1", "m3 m-3"),
    "swvl2": Term("volumetric_soil_water_layer_2", "m3 m-3"),
    **{f"stl{n}": Term(f"soil_temperature_level_{n}", "K") for n in (1, 2, 3, 4)},
    "z": Term("orography", "m2 s-2"),
    "lsm": Term("land_sea_mask", "1"),
    "sdor": Term("standard_deviation_of_orography", "m"),
    "slor": Term("slope_of_sub_gridscale_orography", "1"),
}
TERMS: Mapping[str, Term] = MappingProxyType(dict(_TERMS))

# With a pressure in hPa: t850.
LEVELS: Mapping[str, Term] = MappingProxyType(
    {
        "t": Term("temperature", "K"),
        "u": Term("u_component_of_wind", "m s-1"),
        "v": Term("v_component_of_wind", "m s-1"),
        "w": Term("vertical_velocity", "Pa s-1"),
        "z": Term("geopotential", "m2 s-2"),
        "q": Term("specific_humidity", "kg kg-1"),
        "r": Term("relative_humidity", "%"),
        "pv": Term("potential_vorticity", "K m2 kg-1 s-1"),
    }
)


def term_of(name: str) -> Term | None:
    """Return what a name of Earth2Studio stands for; None if it is not known here.

    Examples
    --------
    >>> term_of("u100")
    Term(channel='u_component_of_wind_100', units='m s-1', hours=None)
    >>> term_of("tp06").hours, term_of("tp").hours
    (6, None)
    """
    if name in TERMS:
        return TERMS[name]
    match = re.fullmatch(r"([a-z]+)([1-9]\d{0,3})", name)
    if match is None or match[1] not in LEVELS:
        return None
    term = LEVELS[match[1]]
    return Term(f"{term.channel}_{match[2]}", term.units)


def name_of(channel: str) -> str | None:
    """Return what Earth2Studio calls a channel; None if it has no name for it.

    Amounts are called by a name that states their period.

    Examples
    --------
    >>> name_of("geopotential_500"), name_of("total_precipitation"), name_of("river_discharge")
    ('z500', 'tp01', None)
    """
    base, level = split_level(channel)
    if level is not None:
        return next((f"{key}{level}" for key, term in LEVELS.items() if term.channel == base), None)
    hours = lookup(channel).hours
    return next(
        (name for name, term in TERMS.items() if (term.channel, term.hours) == (channel, hours)),
        None,
    )


def names_of(channel: str) -> list[str]:
    """Return all that Earth2Studio has of a quantity, whatever the period.

    Examples
    --------
    >>> names_of("convective_precipitation")
    ['cp06', 'cp']
    """
    own = name_of(channel)
    same = [name for name, term in TERMS.items() if family(term.channel) == family(channel)]
    return same or ([own] if own else [])
