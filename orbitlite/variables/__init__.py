"""Variables: what channels are called, measured in and treated like. One truth for all rooms."""

from orbitlite.variables.attributes import cf_attributes, in_units
from orbitlite.variables.declaration import Declaration
from orbitlite.variables.declared import declare_variables, declared
from orbitlite.variables.names import (
    TABLE_HINT,
    Meaning,
    family,
    hours_in_name,
    is_static,
    lookup,
    meanings,
    resolve,
    split_level,
)
from orbitlite.variables.table import VARIABLES, Variable
from orbitlite.variables.transform import log1p_channels, nonnegative_channels

__all__ = [
    "TABLE_HINT",
    "VARIABLES",
    "Declaration",
    "Meaning",
    "Variable",
    "cf_attributes",
    "declare_variables",
    "declared",
    "family",
    "hours_in_name",
    "in_units",
    "is_static",
    "log1p_channels",
    "lookup",
    "meanings",
    "nonnegative_channels",
    "resolve",
    "split_level",
]
