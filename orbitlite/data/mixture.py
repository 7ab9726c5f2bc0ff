"""Mixture: several sources that one fit learns from, as a config states them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from orbitlite.errors import InputError
from orbitlite.suggest import did_you_mean

KEYS = (
    "fine", "coarse", "statics", "regrid", "resample", "accumulation_period", "units", "train",
    "validate", "test", "predict", "tile", "halo", "context", "batch_size", "cache", "world",
)  # fmt: skip
"""What a source states of itself; where it does not, what stands beside `sources` holds."""
_ALONE = ("weight", "task")
"""What is stated of a source alone."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_DATES = (
    lambda value: value is None or isinstance(value, (list, tuple)), "two dates, [start, end]",
)  # fmt: skip
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "batch_size": (_is_whole, "a whole number"),
    "halo": (_is_whole, "a whole number"),
    "context": (_is_whole, "a whole number"),
    "tile": (lambda value: value is None or _is_whole(value), "a whole number, or none"),
    "cache": (lambda value: value in (True, False, "auto"), "true, false or auto"),
    "regrid": (lambda value: value in (None, "linear", "conservative"), "linear or conservative"),
    "units": (lambda value: value is None or isinstance(value, dict), "units by name"),
    "train": _DATES, "validate": _DATES, "test": _DATES, "predict": _DATES,
}  # fmt: skip
"""What a value of a source has to be; the parser knows of those beside `sources` alone."""
_PLACES = ("fine", "coarse", "statics", "world")
_OF_TRUTH = ("regrid", "context")
"""What stands beside `sources` for those that have truth."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def read_sources(
    sources: Any, beside: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, float | None]]:
    """Return the settings of each source, and its weight; None where none is stated.

    Parameters
    ----------
    sources : mapping
        Settings by name.
    beside : mapping
        Settings that stand beside `sources` and hold for all.

    Raises
    ------
    InputError
        If they are not so, or a name, a key or a weight cannot be.
    """
    if not isinstance(sources, Mapping) or not sources:
        raise InputError(
            "data.sources: expected sources by name, such as {world: {fine: world}}, found "
            f"{sources!r}"
        )
    if stated := [name for name in _PLACES if beside.get(name) is not None]:
        raise InputError(
            f"data.{stated[0]} stands beside data.sources: state it of one of the sources."
        )
    settings, weights = dict[str, dict[str, Any]](), dict[str, float | None]()
    for name, own in sources.items():
        if not _NAME.fullmatch(str(name)):
            raise InputError(
                f"data.sources: expected names of letters, digits, - and _, found {name!r}"
            )
        if not isinstance(own, dict):
            raise InputError(f"data.sources.{name}: expected keys and values, found {own!r}")
        if unknown := [key for key in own if key not in (*KEYS, *_ALONE)]:
            hint = did_you_mean(str(unknown[0]), [*KEYS, *_ALONE], "")
            raise InputError(f"data.sources.{name} has no key {unknown[0]!r}{hint}")
        for key, value in own.items():
            if key in _KINDS and not _KINDS[key][0](value):
                raise InputError(
                    f"data.sources.{name}.{key}: expected {_KINDS[key][1]}, found {value!r}"
                )
        weights[str(name)] = _weight(str(name), own.get("weight"))
        others = (*_PLACES, *(() if _with_truth(own) else _OF_TRUTH))
        whole = {key: beside[key] for key in KEYS if key in beside and key not in others}
        settings[str(name)] = whole | {k: value for k, value in own.items() if k not in _ALONE}
    stated = [name for name, weight in weights.items() if weight is not None]
    if stated and len(stated) < len(weights):
        other = next(name for name in weights if name not in stated)
        raise InputError(
            f"data.sources.{other} has no weight and {stated[0]} has one: state that of each "
            "source, or of none (each sample then counts once per epoch)"
        )
    return settings, weights


def lacks_truth(data: Mapping[str, Any]) -> bool:
    """Tell whether the `data` section of a config states coarse fields alone, in all its sources.

    Examples
    --------
    >>> lacks_truth({"coarse": "a.nc"}), lacks_truth({"sources": {"a": {"fine": "world"}}})
    (True, False)
    """
    sources = data.get("sources") or {"": data}
    return not any(map(_with_truth, sources.values()))


def _with_truth(source: Any) -> bool:
    places = ("fine", "world")
    return not isinstance(source, Mapping) or any(source.get(key) is not None for key in places)


def _weight(name: str, weight: Any) -> float | None:
    if weight is None:
        return None
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < 1e9:
        raise InputError(
            f"data.sources.{name}.weight: expected a number of more than 0, less than 1e9, found "
            f"{weight!r}"
        )
    return float(weight)


def check_shared(inputs: Mapping[str, Collection[str]]) -> None:
    """Refuse a source that has no input in common with any other.

    Parameters
    ----------
    inputs : mapping
        Names of the inputs that each source has.

    Raises
    ------
    InputError
        If there is one.
    """
    for name, own in inputs.items():
        others = {channel for other, has in inputs.items() if other != name for channel in has}
        if len(inputs) > 1 and not others & set(own):
            raise InputError(
                f"data.sources.{name} has {', '.join(sorted(own)) or 'no input'} and shares no "
                "input with the others: nothing would be learned from one for the other"
            )


def shares_of(weights: Sequence[float | None], samples: Sequence[int]) -> list[float]:
    """Return the share of each source in the samples of an epoch.

    Examples
    --------
    >>> shares_of([1.0, 3.0], [10, 10]), shares_of([None, None], [10, 30])
    ([0.25, 0.75], [0.25, 0.75])
    """
    found = [
        float(count) if weight is None else weight
        for weight, count in zip(weights, samples, strict=True)
    ]
    return [weight / sum(found) for weight in found]


def is_plain(source: Any) -> bool:
    """Tell whether a source can stand in a file of hyper-parameters."""
    parts = source if isinstance(source, (list, tuple)) else [source]
    return all(part is None or isinstance(part, str) for part in parts)
