"""Task: what CORDEX ML-Bench asks for, and what it calls things.

Facts of its public repository (WCRP-CORDEX/ml-benchmark: `README.md`, `data/README.md`,
`submission/README.md`; arXiv 2606.29172).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

MEMBERS = 10
"""What a stochastic model has to draw, in a dimension `member`."""
WET = 1.0
"""A day is wet from this amount on, in mm."""

TARGETS: Mapping[str, str] = MappingProxyType(
    {"pr": "total_precipitation_24hr", "tasmax": "2m_temperature_max"}
)
"""Channels by the names of the benchmark."""
PREDICTORS: Mapping[str, str] = MappingProxyType(
    {
        f"{name}_{level}": unit
        for name, unit in (
            ("z", "m"), ("u", "m s-1"), ("v", "m s-1"), ("t", "K"), ("q", "kg kg-1")
        )
        for level in (850, 700, 500)
    }
)  # fmt: skip
"""Names and units."""
UNITS: Mapping[str, str] = MappingProxyType(
    {**PREDICTORS, "pr": "mm day-1", "tasmax": "K", "orog": "m"}
)
"""Of the benchmark's files, some of which state none."""


@dataclass(frozen=True)
class Domain:
    """A region with its regional climate model.

    Attributes
    ----------
    name : str
    gcms : tuple of str
        Global models that drive it: the one of training and test, the one of test alone.
    aliases : mapping
        How targets spell a global model otherwise.
    """

    name: str
    gcms: tuple[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)


DOMAINS: Mapping[str, Domain] = MappingProxyType(
    {
        "ALPS": Domain("ALPS", ("CNRM-CM5", "MPI-ESM-LR")),
        "NZ": Domain("NZ", ("ACCESS-CM2", "EC-Earth3")),
        "SA": Domain("SA", ("ACCESS-CM2", "NorESM2-MM"), {"NorESM2-MM": "Nor-ESM2-MM"}),
    }
)


@dataclass(frozen=True)
class Experiment:
    """What a model may learn from.

    Attributes
    ----------
    name : str
    folders : tuple of str
        How the folder of the training data is spelled.
    train, validate, held_back : tuple of str
        First and last time of what a fit learns from, of what chooses its checkpoint, and of what
        has no part in it and is scored.
    """

    name: str
    folders: tuple[str, ...]
    train: tuple[str, str]
    validate: tuple[str, str]
    held_back: tuple[str, str]


EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        "ESD_pseudo_reality": Experiment(
            "ESD_pseudo_reality", ("ESD_pseudo_reality", "ESD_pseudo-reality"),
            ("1961", "1977"), ("1978", "1978"), ("1979", "1980"),
        ),
        "Emulator_hist_future": Experiment(
            "Emulator_hist_future", ("Emulator_hist_future",),
            ("1961", "2096"), ("2097", "2097"), ("2098", "2099"),
        ),
    }
)  # fmt: skip
"""The last two years of each are held back, and the year before them chooses the checkpoint."""
PERIODS = ("historical", "mid_century", "end_century")
CONDITIONS = ("perfect", "imperfect")
"""Predictors of the regional model, and of the global one that drives it."""
