"""One plain sentence from a parser's error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from inspect import signature

from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError, SharedError
from orbitlite.model.config import DownscalerConfig
from orbitlite.parallel.mesh import ParallelConfig
from orbitlite.suggest import nearest
from orbitlite.training.classes import ALLOWED
from orbitlite.training.module import DownscalingModule
from orbitlite.training.optimisation import Optimisation
from orbitlite.training.options import open_options
from orbitlite.training.tuning import InitConfig

_FOUND = 80
_OF_CLASS = re.compile(r"Problem with given class_path '([^']+)':\s*(.+)")
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
    given = re.findall(r"Given value: (.*)", text)
    denied = re.search(r"Importing '([^']+)' is not allowed", text)
    if denied and (not given or denied[1].split(".")[-1] in given[-1]):
        return _denied(denied[1], re.match(r'(?:Parser key ")?([\w.]+)', text))
    for pattern in _UNKNOWN:
        if found := re.search(pattern, text):
            return _unknown(found[1], place[1] if place else "")
    if absent := re.search(r"File does not exist: (.+)", text):
        return f"no such config file: {absent[1]}"
    if place and (own := _OF_CLASS.search(text)):
        return f"{place[1]}: {own[1].split('.')[-1]}: {own[2].strip(' -')}"
    kinds = re.search(r"Subtypes: \[(.*)\]\n", text)
    if place and kinds and given:
        known = " or ".join(dict.fromkeys(map(_kind, _parts(kinds[1]))))
        return f"{place[1]}: expected {known}, found {_short(given[-1])}"
    wrong = re.search(r"Expected an? (.+?)\. Got value: (.*)", text)
    if place and wrong:
        return f"{place[1]}: expected {_kind(wrong[1])}, found {_short(wrong[2])}"
    lines = [line.strip(" -") for line in text.splitlines() if line.strip()]
    return " ".join(lines)


@contextmanager
def plain_causes() -> Iterator[None]:
    """Turn what stops a class that a config names (a package that is missing) into a plain error.

    Raises
    ------
    SharedError
    """
    try:
        yield
    except InputError:
        raise
    except (ModuleNotFoundError, MisconfigurationException) as error:
        raise SharedError(_line(error)) from error
    except ValueError as error:
        # The parser wraps what a class has raised.
        inner: BaseException | None = error
        while inner is not None and not isinstance(inner, InputError):
            inner = inner.__cause__ or inner.__context__
        if inner is not None:
            raise SharedError(str(inner)) from error
        found = _OF_CLASS.search(str(error))
        if not found:
            raise
        raise SharedError(f"{found[1].split('.')[-1]}: {found[2]}") from error


@contextmanager
def plain_trainer() -> Iterator[None]:
    """Turn what Lightning says of its trainer's options into a plain error.

    Raises
    ------
    SharedError
    """
    try:
        yield
    except InputError:
        raise
    except (
        MisconfigurationException, ModuleNotFoundError, RuntimeError, TypeError, ValueError
    ) as error:  # fmt: skip
        raise SharedError(f"trainer: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _short(text: str) -> str:
    return text if len(text) <= _FOUND else f"{text[:_FOUND]} ..."


def _denied(name: str, place: re.Match[str] | None) -> str:
    where = f"{place[1]}: " if place and place[1] != "Importing" else ""
    return (
        f"{where}{name} is none of the classes that a config may name, and was not imported; these "
        f"are {', '.join(ALLOWED)}"
    )


def _parts(text: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    depth, parts = 0, [""]
    for sign in text:
        depth += (sign in "[(<") - (sign in "])>")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _kind(text: str) -> str:
    """Turn a type as Python prints it into words."""
    if choices := re.match(r"typing\.Literal\[(.*)\]$", text):
        return "one of " + choices[1]
    if named := re.match(r"<class '(?:[\w]+\.)*(\w+)'>$", text):
        return {"Sequence": "a list", "NoneType": "null"}.get(named[1], named[1])
    return text


def _unknown(key: str, parent: str) -> str:
    known = _known()
    whole = f"{parent}.{key}" if parent and not key.startswith(parent) else key
    near = nearest(whole, known, 1, 0.75)
    if not near:
        last = {path.split(".")[-1]: path for path in reversed(known)}
        near = [last[name] for name in nearest(key.split(".")[-1], last, 1, 0.6)]
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
    keys += ["init", *(f"init.{field.name}" for field in fields(InitConfig))]
    return open_options(keys)
