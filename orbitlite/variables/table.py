"""The table of variables: what each channel is called, measured in and treated like.

Long names follow ERA5 (ARCO, WeatherBench, the Climate Data Store); the aliases add ERA5 short
names, GRIB/MARS short names, CMIP, DAYMET, PRISM and E-OBS names, and CF standard names that mean
the same quantity. Standard names are those of the CF standard name table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from orbitlite.variables.limits import limits_of


@dataclass(frozen=True)
class Variable:
    """One row of the table.

    Attributes
    ----------
    name : str
        Canonical name: the long name of ERA5.
    aliases : tuple of str
        Other names of the same quantity, lower case.
    standard_name : str or None
        CF standard name, where the CF table has one.
    units : str
        Unit of the canonical dataset.
    long_name : str
        A name for people, on axes and in file attributes.
    group : str
        `surface`, `accumulated`, `soil`, `pressure level` or `static`; `declared` if it is a
        user's own.
    transform : str
        `identity` or `log1p`: applied before normalisation.
    nonnegative : bool
        True if the quantity has no negative values.
    on_levels : bool
        True if a pressure in hPa makes it a channel (`temperature_850`).
    static : bool
        True if it has no time.
    hours : int or None
        Accumulation period of amounts, in hours.
    classes : bool
        True if the values are codes of classes, of which no mean over cells or times can be
        taken. A network sees the codes themselves, standardised like any other input; it cannot
        predict them.
    limits : tuple of float
        Smallest and largest value that the quantity can have, in `units`.
    precipitation : bool
        True if it is an amount of precipitation: it has wet and dry, and events.
    cmap : str
        Matplotlib colour map for pictures.
    """

    name: str
    aliases: tuple[str, ...]
    standard_name: str | None
    units: str
    long_name: str
    group: str
    transform: str = "identity"
    nonnegative: bool = False
    precipitation: bool = False
    on_levels: bool = False
    static: bool = False
    hours: int | None = None
    classes: bool = False
    limits: tuple[float, float] = (-math.inf, math.inf)
    cmap: str = "viridis"

    @property
    def water(self) -> bool:
        """Whether its length is a depth of liquid water, of which 1 kg m-2 makes 1 mm."""
        depth = self.hours is not None and self.units in ("mm", "m")
        return depth or (self.standard_name or "").startswith("lwe_")

    @property
    def odd(self) -> bool:
        """Whether it changes its sign in a mirror that swaps east and west."""
        name = self.standard_name or ""
        return "eastward" in name or "vorticity" in name


# A row: name, aliases (blank-separated), standard name, units, long name, then what differs from
# the defaults of its group.
_Row = tuple[str, str, str | None, str, str] | tuple[str, str, str | None, str, str, dict[str, Any]]

_WARM = {"cmap": "RdYlBu_r"}
_WIND = {"cmap": "RdBu_r"}
_WET = {"nonnegative": True, "cmap": "BuPu"}
_POSITIVE = {"nonnegative": True}
_RAIN = {"nonnegative": True, "transform": "log1p", "cmap": "YlGnBu"}
_PRECIPITATION = {"precipitation": True, **_RAIN}
_WATER = {"cmap": "YlGnBu"}
_CODES = {"nonnegative": True, "classes": True, "cmap": "tab20"}

# fmt: off
_SURFACE: tuple[_Row, ...] = (
    ("2m_temperature", "t2m 2t tas tmean tavg tg t2 tmp2m", "air_temperature", "K",
     "2 m temperature", _WARM),
    ("2m_temperature_max",
     "mx2t mx2t24 mx2t6 tasmax tmax tx t2m_max daily_maximum_2m_temperature "
     "maximum_2m_temperature_since_previous_post_processing "
     "maximum_2m_temperature_in_the_last_24_hours",
     "air_temperature", "K", "Maximum 2 m temperature", _WARM),
    ("2m_temperature_min",
     "mn2t mn2t24 mn2t6 tasmin tmin tn t2m_min daily_minimum_2m_temperature "
     "minimum_2m_temperature_since_previous_post_processing "
     "minimum_2m_temperature_in_the_last_24_hours",
     "air_temperature", "K", "Minimum 2 m temperature", _WARM),
    ("2m_dewpoint_temperature", "d2m 2d tdps tdmean", "dew_point_temperature", "K",
     "2 m dew point temperature", _WARM),
    ("2m_relative_humidity", "r2 2r hurs rh2m", "relative_humidity", "%",
     "2 m relative humidity", _WET),
    ("2m_specific_humidity", "sh2 2sh q2m huss", "specific_humidity", "kg kg-1",
     "2 m specific humidity", _WET),
    ("2m_vapor_pressure", "vp", "water_vapor_partial_pressure_in_air", "Pa",
     "2 m water vapour pressure", _WET),
    ("10m_u_component_of_wind", "u10 10u uas u10m", "eastward_wind", "m s-1",
     "10 m eastward wind", _WIND),
    ("10m_v_component_of_wind", "v10 10v vas v10m", "northward_wind", "m s-1",
     "10 m northward wind", _WIND),
    ("10m_wind_speed", "si10 10si sfcwind ws10", "wind_speed", "m s-1", "10 m wind speed",
     _POSITIVE),
    ("10m_wind_gust", "fg10 10fg i10fg gust 10m_wind_gust_since_previous_post_processing "
     "instantaneous_10m_wind_gust", "wind_speed_of_gust", "m s-1", "10 m wind gust", _POSITIVE),
    ("100m_u_component_of_wind", "u100 100u", "eastward_wind", "m s-1", "100 m eastward wind",
     _WIND),
    ("100m_v_component_of_wind", "v100 100v", "northward_wind", "m s-1", "100 m northward wind",
     _WIND),
    ("mean_sea_level_pressure", "msl psl prmsl slp air_pressure_at_sea_level",
     "air_pressure_at_mean_sea_level", "Pa", "Mean sea level pressure", _POSITIVE),
    ("surface_pressure", "sp ps", "surface_air_pressure", "Pa", "Surface pressure", _POSITIVE),
    ("skin_temperature", "skt ts", "surface_temperature", "K", "Skin temperature", _WARM),
    ("sea_surface_temperature", "sst tos", "sea_surface_temperature", "K",
     "Sea surface temperature", _WARM),
    ("sea_ice_cover", "siconc ci sic sea_ice_concentration", "sea_ice_area_fraction", "1",
     "Sea ice cover", _POSITIVE),
    ("total_cloud_cover", "tcc clt", "cloud_area_fraction", "1", "Total cloud cover", _POSITIVE),
    ("low_cloud_cover", "lcc", "low_type_cloud_area_fraction", "1", "Low cloud cover", _POSITIVE),
    ("medium_cloud_cover", "mcc", "medium_type_cloud_area_fraction", "1", "Medium cloud cover",
     _POSITIVE),
    ("high_cloud_cover", "hcc", "high_type_cloud_area_fraction", "1", "High cloud cover",
     _POSITIVE),
    ("total_column_water_vapour", "tcwv prw total_column_water_vapor",
     "atmosphere_mass_content_of_water_vapor", "kg m-2", "Total column water vapour", _WET),
    ("total_column_water", "tcw", None, "kg m-2", "Total column water", _WET),
    ("total_column_cloud_liquid_water", "tclw", "atmosphere_mass_content_of_cloud_liquid_water",
     "kg m-2", "Total column cloud liquid water", _WET),
    ("total_column_cloud_ice_water", "tciw clivi", "atmosphere_mass_content_of_cloud_ice",
     "kg m-2", "Total column cloud ice water", _WET),
    ("convective_available_potential_energy", "cape",
     "atmosphere_convective_available_potential_energy", "J kg-1",
     "Convective available potential energy", _POSITIVE),
    ("boundary_layer_height", "blh zmla", "atmosphere_boundary_layer_thickness", "m",
     "Boundary layer height", _POSITIVE),
    ("snow_depth", "sd swe snw surface_snow_amount snow_depth_water_equivalent "
     "snow_water_equivalent", "lwe_thickness_of_surface_snow_amount", "m",
     "Snow depth (water equivalent)", _WET),
    # How deep one sinks: ERA5-Land's `sde`, CMIP's `snd`. The water equivalent does not give it.
    ("snow_thickness", "sde snd", "surface_snow_thickness", "m", "Snow thickness",
     {"limits": (-1.0, 1e4), **_WET}),
    ("river_discharge", "dis dis24 discharge streamflow river_discharge_in_the_last_24_hours "
     "mean_discharge_in_the_last_24_hours", "water_volume_transport_in_river_channel", "m3 s-1",
     "River discharge", {"limits": (-1.0, 1e6), **_RAIN}),
    ("2m_wet_bulb_temperature", "wbt twb wetbulb", "wet_bulb_temperature", "K",
     "2 m wet bulb temperature", _WARM),
)


def _periods(
    name: str, aliases: str, standard_name: str | None, long_name: str, options: dict[str, Any]
) -> tuple[_Row, ...]:
    """Rows of an amount of water over 1 hour and over 3, 6, 12 and 24."""
    short = aliases.split()[0]
    rows: list[_Row] = [(name, aliases, standard_name, "mm", long_name, {"hours": 1, **options})]
    for hours in (3, 6, 12, 24):
        own = f"{short}_{hours}hr {short}{hours}h {short}_{hours}h"
        rows.append((f"{name}_{hours}hr", own, standard_name, "mm",
                     f"{long_name} in {hours} hours", {"hours": hours, **options}))
    return tuple(rows)


_PRECIPITATION_NAME = "lwe_thickness_of_precipitation_amount"
_ACCUMULATED: tuple[_Row, ...] = (
    ("total_precipitation",
     "tp pr prcp ppt precip precipitation rr prectot total_precipitation_1hr "
     "precipitation_flux precipitation_amount lwe_precipitation_rate",
     _PRECIPITATION_NAME, "mm", "Total precipitation", {"hours": 1, **_PRECIPITATION}),
    ("total_precipitation_3hr", "tp_3hr tp3h tp_3h", _PRECIPITATION_NAME, "mm",
     "Total precipitation in 3 hours", {"hours": 3, **_PRECIPITATION}),
    ("total_precipitation_6hr", "tp_6hr tp6h tp06 tp_6h", _PRECIPITATION_NAME, "mm",
     "Total precipitation in 6 hours", {"hours": 6, **_PRECIPITATION}),
    ("total_precipitation_12hr", "tp_12hr tp12h tp12 tp_12h", _PRECIPITATION_NAME, "mm",
     "Total precipitation in 12 hours", {"hours": 12, **_PRECIPITATION}),
    ("total_precipitation_24hr", "tp_24hr tp24h tp24 tp_24h", _PRECIPITATION_NAME, "mm",
     "Total precipitation in 24 hours", {"hours": 24, **_PRECIPITATION}),
    *_periods("convective_precipitation", "cp prc convective_precipitation_flux "
              "convective_precipitation_amount", "lwe_thickness_of_convective_precipitation_amount",
              "Convective precipitation", _PRECIPITATION),
    *_periods("large_scale_precipitation", "lsp stratiform_precipitation_flux "
              "stratiform_precipitation_amount", "lwe_thickness_of_stratiform_precipitation_amount",
              "Large-scale precipitation", _PRECIPITATION),
    *_periods("snowfall", "sf prsn snowfall_flux snowfall_amount",
              "lwe_thickness_of_snowfall_amount", "Snowfall (water equivalent)", _RAIN),
    # The standard names of these are of masses, in kg m-2: they are read as aliases, not written.
    *_periods("runoff", "ro mrro total_runoff runoff_flux runoff_amount", None, "Runoff", _RAIN),
    *_periods("surface_runoff", "sro mrros surface_runoff_flux surface_runoff_amount", None,
              "Surface runoff", _RAIN),
    *_periods("sub_surface_runoff", "ssro mrrob subsurface_runoff_flux subsurface_runoff_amount",
              None, "Sub-surface runoff", _RAIN),
    # Positive upward, as in CMIP; dew is negative. ERA5 counts downward: its `e` (evaporation,
    # total_evaporation, standard name lwe_thickness_of_water_evaporation_amount) and its `pev`
    # (potential_evaporation) are negative where water evaporates. They have units like these and
    # nothing that states the sign, so they are not known by name here.
    *_periods("evapotranspiration", "et evspsbl aet actual_evapotranspiration "
              "water_evapotranspiration_flux", None, "Evapotranspiration", _WATER),
    *_periods("potential_evapotranspiration", "pet evspsblpot water_potential_evaporation_flux",
              None, "Potential evapotranspiration", _WATER),
    ("surface_solar_radiation_downwards",
     "ssrd rsds surface_downwelling_shortwave_flux_in_air",
     "integral_wrt_time_of_surface_downwelling_shortwave_flux_in_air", "J m-2",
     "Surface solar radiation downwards", {"hours": 1, **_POSITIVE}),
    ("surface_thermal_radiation_downwards", "strd rlds surface_downwelling_longwave_flux_in_air",
     "integral_wrt_time_of_surface_downwelling_longwave_flux_in_air", "J m-2",
     "Surface thermal radiation downwards", {"hours": 1, **_POSITIVE}),
    ("surface_net_solar_radiation", "ssr surface_net_downward_shortwave_flux",
     "integral_wrt_time_of_surface_net_downward_shortwave_flux", "J m-2",
     "Surface net solar radiation", {"hours": 1}),
    ("toa_incident_solar_radiation", "tisr rsdt toa_incoming_shortwave_flux", None, "J m-2",
     "Incident solar radiation at the top of the atmosphere", {"hours": 1, **_POSITIVE}),
)

_SOIL: tuple[_Row, ...] = (
    *(row for layer in (1, 2, 3, 4) for row in (
        (f"volumetric_soil_water_layer_{layer}", f"swvl{layer}",
         "volume_fraction_of_condensed_water_in_soil", "m3 m-3",
         f"Volumetric soil water, layer {layer}", _WET),
        (f"soil_temperature_level_{layer}", f"stl{layer}", "soil_temperature", "K",
         f"Soil temperature, layer {layer}", _WARM),
    )),
    ("soil_moisture_content", "mrso", "mass_content_of_water_in_soil", "kg m-2",
     "Soil moisture, all layers", {"limits": (-1.0, 2e4), **_WET}),
    # CF has one name for every layer: it does not tell which.
    ("upper_soil_moisture_content", "mrsos", None, "kg m-2", "Soil moisture, upper 10 cm",
     {"limits": (-1.0, 200.0), **_WET}),
)

_LEVELS: tuple[_Row, ...] = (
    ("temperature", "t ta air air_temperature", "air_temperature", "K", "Temperature", _WARM),
    ("u_component_of_wind", "u ua uwnd eastward_wind", "eastward_wind", "m s-1", "Eastward wind",
     _WIND),
    ("v_component_of_wind", "v va vwnd northward_wind", "northward_wind", "m s-1",
     "Northward wind", _WIND),
    ("geopotential", "z zg gh hgt geopotential_height", "geopotential", "m2 s-2", "Geopotential"),
    ("specific_humidity", "q hus shum", "specific_humidity", "kg kg-1", "Specific humidity", _WET),
    ("relative_humidity", "r hur rh rhum", "relative_humidity", "%", "Relative humidity", _WET),
    ("vertical_velocity", "w wap omega", "lagrangian_tendency_of_air_pressure", "Pa s-1",
     "Vertical velocity", _WIND),
    ("vorticity", "vo atmosphere_relative_vorticity relative_vorticity",
     "atmosphere_upward_relative_vorticity", "s-1", "Relative vorticity", _WIND),
    ("divergence", "d", "divergence_of_wind", "s-1", "Divergence", _WIND),
    ("potential_vorticity", "pv", "ertel_potential_vorticity", "K m2 kg-1 s-1",
     "Potential vorticity", _WIND),
    ("specific_cloud_liquid_water_content", "clwc clw",
     "mass_fraction_of_cloud_liquid_water_in_air", "kg kg-1",
     "Specific cloud liquid water content", _WET),
    ("specific_cloud_ice_water_content", "ciwc cli", "mass_fraction_of_cloud_ice_in_air",
     "kg kg-1", "Specific cloud ice water content", _WET),
    ("fraction_of_cloud_cover", "cc", "cloud_area_fraction_in_atmosphere_layer", "1",
     "Fraction of cloud cover", _POSITIVE),
)

_STATIC: tuple[_Row, ...] = (
    ("orography", "orog topo topography elevation dem geopotential_at_surface "
     "surface_geopotential z_surface", "surface_altitude", "m", "Orography", {"cmap": "terrain"}),
    ("land_sea_mask", "lsm sftlf land landmask land_mask land_area_fraction", "land_binary_mask",
     "1", "Land-sea mask", {"cmap": "Greens", **_POSITIVE}),
    ("latitude", "lattitude", "latitude", "degrees_north", "Latitude", _WIND),
    ("landcover", "land_cover lccs_class land_cover_type", "land_cover_lccs", "1",
     "Land cover class", _CODES),
    ("lake_cover", "cl", None, "1", "Lake cover", _POSITIVE),
    ("lake_depth", "dl", None, "m", "Lake depth", _POSITIVE),
    ("soil_type", "slt", "soil_type", "1", "Soil type", _CODES),
    ("high_vegetation_cover", "cvh", None, "1", "High vegetation cover", _POSITIVE),
    ("low_vegetation_cover", "cvl", None, "1", "Low vegetation cover", _POSITIVE),
    ("type_of_high_vegetation", "tvh", None, "1", "Type of high vegetation", _CODES),
    ("type_of_low_vegetation", "tvl", None, "1", "Type of low vegetation", _CODES),
    ("standard_deviation_of_orography", "sdor", None, "m", "Standard deviation of orography",
     _POSITIVE),
    ("slope_of_sub_gridscale_orography", "slor", None, "1", "Slope of sub-gridscale orography",
     _POSITIVE),
)
# fmt: on

_GROUPS: tuple[tuple[str, dict[str, Any], tuple[_Row, ...]], ...] = (
    ("surface", {}, _SURFACE),
    ("accumulated", {}, _ACCUMULATED),
    ("soil", {}, _SOIL),
    ("pressure level", {"on_levels": True}, _LEVELS),
    ("static", {"static": True}, _STATIC),
)


def _build() -> dict[str, Variable]:
    rows = {}
    for group, defaults, lines in _GROUPS:
        for name, aliases, standard_name, units, long_name, *rest in lines:
            options = {**defaults, **(rest[0] if rest else {})}
            known = {key: options[key] for key in ("nonnegative", "hours") if key in options}
            options = {"limits": limits_of(name, units, **known), **options}
            rows[name] = Variable(
                name, tuple(aliases.split()), standard_name, units, long_name, group, **options
            )
    return rows


_rows = _build()
VARIABLES: Mapping[str, Variable] = MappingProxyType(_rows)


def extend(rows: Iterable[Variable]) -> None:
    """Add rows, for this process: see `orbitlite.variables.declared`."""
    _rows.update({row.name: row for row in rows})
