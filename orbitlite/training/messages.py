"""One plain sentence from a parser's error."""

from __future__ import annotations

import re
from dataclasses import fields
from difflib import get_close_matches
from inspect import signature

from lightning import Trainer

from orbitlite.data.datamodule import PairDataModule
from orbitlite.model.config import DownscalerConfig
from orbitlite.parallel.mesh import ParallelConfig
from orbitlite.training.module import DownscalingModule
from orbitlite.training.optimisation import Optimisation

_UNKNOWN = (
    r"Key ['\"]([^'\"]+)['\"] is not expected",
    r"[Uu]nrecognized arguments: -*([\w.]+)",
    r"does not accept option ['\"]([^'\"]+)['\"]",
    r"Option ['\"]([^'\"]+)['\"] is not accepted",
)


def plain_parser_error(error: Exception) -> str:
    r"""Return the cause first, with the nearest known key for an unknown one.

    Parameters
    ----------
    error : Exception
        Of jsonargparse; its message nests the cause last.

    Examples
    --------
    >>> plain_parser_error(Exception("Subcommand 'fit' does not accept option 'data.batchsize'"))
    "unknown key 'data.batchsize' in the config or arguments; did you mean 'data.batch_size'?"
    >>> plain_parser_error(
    ...     Exception("Parser key \"a.b\":\n  Expected a <class 'int'>. Got value: many")
    ... )
    'a.b: expected int, found many'
    """
    text = str(error)
    place = re.match(r'Parser key "([\w.]+)":\s*', text)
    for pattern in _UNKNOWN:
        if found := re.search(pattern, text):
            return _unknown(found[1], place[1] if place else "")
    if absent := re.search(r"File does not exist: (.+)", text):
        return f"no such config file: {absent[1]}"
    wrong = re.search(r"Expected an? (.+?)\. Got value: (.*)", text)
    if place and wrong:
        return f"{place[1]}: expected {_kind(wrong[1])}, found {wrong[2]}"
    lines = [line.strip(" -") for line in text.splitlines() if line.strip()]
    return " ".join(lines)


def _kind(text: str) -> str:
    """Turn a type as Python prints it into words."""
    if choices := re.match(r"typing\.Literal\[(.*)\]$", text):
        return "one of " + choices[1]
    if named := re.match(r"<class '(?:[\w]+\.)*(\w+)'>$", text):
        return {"Sequence": "a list"}.get(named[1], named[1])
    return text


def _unknown(key: str, parent: str) -> str:
    known = _known()
    whole = f"{parent}.{key}" if parent and not key.startswith(parent) else key
    near = get_close_matches(whole, known, n=1, cutoff=0.75)
    if not near:
        last = {path.split(".")[-1]: path for path in reversed(known)}
        near = [last[name] for name in get_close_matches(key.split(".")[-1], last, n=1)]
    hint = f"; did you mean {near[0]!r}?" if near else "; see --help for those known"
    return f"unknown key {whole!r} in the config or arguments{hint}"


def _known() -> list[str]:
    """Return the keys of a config."""
    keys = ["seed_everything", "trainer", "model", "data", "ckpt_path", "model.network"]
    for section, function in (
        ("trainer", Trainer.__init__),
        ("model", DownscalingModule.__init__),
        ("data", PairDataModule.__init__),
    ):
        keys += [f"{section}.{name}" for name in signature(function).parameters if name != "self"]
    keys += [f"model.network.{field.name}" for field in fields(DownscalerConfig)]
    keys += [f"parallel.{field.name}" for field in fields(ParallelConfig)]
    keys += [f"model.optimisation.{field.name}" for field in fields(Optimisation)]
    return keys
