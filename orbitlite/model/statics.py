"""Statics: the fine static fields that a model was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.weights import Shapes, read_tensors


@dataclass(frozen=True)
class Statics:
    """The fine static fields that a model was trained with.

    Attributes
    ----------
    values : Tensor of shape (S, fH, fW)
        In the order of `DownscalerConfig.statics`, rows from north to south, physical units.
    lat_edges : Tensor of shape (fH + 1,), optional
        Degrees, descending, float64: of cells between parallels and meridians.
    lon_edges : Tensor of shape (fW + 1,), optional
        Degrees, ascending, float64.
    corners : Tensor of shape (fH + 1, fW + 1, 2), optional
        Latitudes and longitudes in degrees, float64, of any other grid in place of the edges.
    """

    values: Tensor
    lat_edges: Tensor | None = None
    lon_edges: Tensor | None = None
    corners: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return those that there are, by name."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: part for name, part in parts.items() if part is not None}


def read_statics(
    path: str | Path, file: str, digests: Mapping[str, str], config: DownscalerConfig
) -> Statics | None:
    """Read the fine statics of a bundle; None if it has none.

    Parameters
    ----------
    path : str or Path
        The bundle.
    file : str
    digests : mapping of str to str
        SHA-256 of its files.
    config : DownscalerConfig
        Of the network that they belong to.

    Raises
    ------
    InputError
        If the file cannot be read, or does not fit.
    """
    if file not in digests:
        return None
    count = len(config.statics)

    def check(shapes: Shapes) -> None:
        _, height, width = (0, 0, 0, *shapes.get("values", ()))[-3:]
        values = {"values": (count, height, width)}
        edges = {"lat_edges": (height + 1,), "lon_edges": (width + 1,)}
        corners = {"corners": (height + 1, width + 1, 2)}
        if dict(shapes) not in (values | edges, values | corners) or not height or not width:
            raise InputError(
                f"{path}: {file} does not hold {count} fields and the edges of their cells; "
                "export the model again"
            )

    statics = Statics(**read_tensors(path, file, digests[file], check))
    if not _plausible(statics):
        raise InputError(
            f"{path}: the edges of the cells of {file} are no latitudes from north to south and "
            "longitudes from west to east; export the model again"
        )
    return statics


def _plausible(statics: Statics) -> bool:
    if statics.corners is not None:
        corners = statics.corners
        return bool(corners.isfinite().all()) and float(corners[..., 0].abs().max()) < 90.001
    assert statics.lat_edges is not None
    assert statics.lon_edges is not None
    south, east = statics.lat_edges.flip(0), statics.lon_edges
    rising = all(bool((edges.diff() > 0).all()) for edges in (south, east))
    finite = all(bool(edges.isfinite().all()) for edges in (south, east))
    return rising and finite and float(south.abs().max()) < 90.001


def same_statics(one: Statics | None, other: Statics | None) -> bool:
    """Tell whether two have the same values on the same cells."""
    if one is None or other is None:
        return one is other
    ours, theirs = one.tensors(), other.tensors()
    return ours.keys() == theirs.keys() and all(
        torch.equal(torch.nan_to_num(part), torch.nan_to_num(theirs[name]))
        for name, part in ours.items()
    )
