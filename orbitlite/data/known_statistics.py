"""Known statistics: the sums of a training period in a file, so that fits need not read it all.

JSON: of each source its times and grids, and of each channel the five numbers of `Moments`, in
its unit, and whether they are of its logarithm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orbitlite.data.statistics import Moments
from orbitlite.errors import InputError
from orbitlite.files import holder, replacing
from orbitlite.grids.cells import coincide
from orbitlite.grids.grid import Grid
from orbitlite.variables import lookup

if TYPE_CHECKING:
    from orbitlite.data.pair_source import PairSource, Role

FORMAT = 1
_NUMBERS = ("share", "mean", "squares", "low", "high")
_ROLES: tuple[Role, ...] = ("inputs", "targets", "statics")


def check_place(path: str | Path, inputs: Iterable[str | Path]) -> None:
    """Find out whether a file can be written, before all is read for it.

    Parameters
    ----------
    path : str or Path
    inputs : iterable of str or Path
        What the statistics are made of: config and local stores.

    Raises
    ------
    InputError
        If it is a folder, an input or inside of one, or there is no folder for it.
    """
    path = Path(path)
    if (other := holder(path, inputs)) is not None:
        raise InputError(f"{path} would be written into {other}, which is an input.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file to write the statistics to")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}")


def write_statistics(path: str | Path, parts: Mapping[str, PairSource]) -> None:
    """Sum up the training periods of sources, and write what was found.

    Parameters
    ----------
    path : str or Path
        A file, which is replaced.
    parts : mapping of str to PairSource
        By name, opened.

    Raises
    ------
    InputError
        If a source cannot be read, or the file not written.
    """
    path = Path(path)
    sources = {
        name: _setting(part)
        | {key: _outline(grid) for key, grid in _grids(part).items()}
        | {role: _channels(part, role) for role in _ROLES}
        for name, part in parts.items()
    }
    content = json.dumps({"format": FORMAT, "sources": sources}, indent=1, allow_nan=False)
    try:
        with replacing(path) as partial:
            partial.write_text(content + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def known_moments(path: str, part: PairSource, role: Role) -> Moments:
    """Return the sums that a file holds of a source.

    Parameters
    ----------
    path : str
        Of `write_statistics`.
    part : PairSource
        Opened; its times and grids are compared with those in the file, not its values.
    role : {"inputs", "targets", "statics"}

    Raises
    ------
    InputError
        If there is no such file, or it is of other times, grids, channels or transforms.
    """
    source = _source(path, part.pairing.source)
    for key, ours in _setting(part).items():
        if source.get(key) != ours:
            raise _unfit(path, f"{key} {source.get(key)} there, {ours} here")
    for key, grid in _grids(part).items():
        if not _same_grid(source.get(key), grid):
            raise _unfit(path, f"{key} {source.get(key)} there, {_outline(grid)} here")
    fields, channels = part.fields(role)[:2]
    known = source.get(role)
    if not isinstance(known, dict):
        raise _unfit(path, f"nothing of {role} there")
    rows = []
    for name in channels:
        if (name in known) != (name in fields):
            where = "there" if name in known else "here"
            raise _unfit(path, f"{name} is among the {role} {where} alone")
        rows.append(_row(path, name, known.get(name), name in part.log1p))
    return Moments(tuple(channels), np.array(rows).reshape(-1, len(_NUMBERS)))


def _source(path: str, name: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(
            f"data.statistics: there is no file {path}; `orbitlite statistics -c CONFIG -o {path}` "
            "makes it"
        ) from None
    except OSError as error:
        raise InputError(
            f"data.statistics: cannot read {path}: {error.strerror or error}"
        ) from error
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _unfit(path, "it is no file of statistics of this version")
    sources = content.get("sources")
    found = sources.get(name) if isinstance(sources, dict) else None
    if not isinstance(found, dict):
        raise _unfit(path, f"the source {name!r} is not there" if name else "it is of data.sources")
    return found


def _setting(part: PairSource) -> dict[str, Any]:
    """Return what decides of the values of a source, beside the values in its stores."""
    times = part.times("train")
    return {
        "times": [str(times.min()), str(times.max()), len(times)],
        "members": {name: int(count) for name, count in part.pairs.members.items()},
        "resample": part.pairing.resample,
        "regrid": part.pairing.regrid,
    }


def _grids(part: PairSource) -> dict[str, Grid]:
    return {"coarse_grid": part.pairs.lattice, "fine_grid": part.pairs.fine_grid}


def _outline(grid: Grid) -> dict[str, Any]:
    """Return the shape of a grid, and where the points of its outermost cells are."""
    lat, lon = grid.centres
    ends = [[float(lat[at]), float(lon[at])] for at in ((0, 0), (0, -1), (-1, 0), (-1, -1))]
    return {"shape": [int(size) for size in grid.shape], "corners": ends}


def _same_grid(known: Any, grid: Grid) -> bool:
    """Tell whether a file tells of the same cells: as many, with the same corners of the whole."""
    ours = _outline(grid)
    try:
        there = np.asarray(known["corners"], np.float64)
        near = coincide(there, np.array(ours["corners"]), min(grid.spacing))
        return bool(known["shape"] == ours["shape"] and near.all())
    except (KeyError, TypeError, ValueError):
        return False


def _channels(part: PairSource, role: Role) -> dict[str, dict[str, Any]]:
    fields, moments = part.fields(role)[0], part.moments(role)
    return {
        name: {key: _finite(value) for key, value in zip(_NUMBERS, row.tolist(), strict=True)}
        | {"log1p": name in part.log1p, "units": lookup(name).units}
        for name, row in zip(moments.channels, moments.sums, strict=True)
        if name in fields
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _row(path: str, name: str, known: Any, log: bool) -> list[float]:
    """Return the numbers of a channel; those of nothing where it is absent, or has no value."""
    nothing = [0.0, 0.0, 0.0, math.inf, -math.inf]
    if known is None:
        return nothing
    values: list[Any] = [known.get(key) for key in _NUMBERS] if isinstance(known, dict) else []
    if values and values[0] == 0:
        return nothing
    if not values or not all(
        isinstance(value, (int, float)) and math.isfinite(value) for value in values
    ):
        raise _unfit(path, f"{name} has no finite values there")
    share, _, squares, low, high = values
    if share < 0 or squares < 0 or low > high:
        raise _unfit(path, f"the values of {name} there are those of no data")
    if known.get("log1p") is not log:
        raise _unfit(path, f"log1p of {name} is {known.get('log1p')} there, {log} here")
    if known.get("units") != (units := lookup(name).units):
        raise _unfit(path, f"{name} is in {known.get('units')} there, in {units} here")
    return [float(value) for value in values]


def _unfit(path: str, why: str) -> InputError:
    return InputError(
        f"data.statistics: {path} does not fit the config: {why}. Make it anew, `orbitlite "
        f"statistics -c CONFIG -o {path}`, or leave it out"
    )
