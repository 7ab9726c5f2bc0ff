"""What arguments ask for beyond what the parser knows: sections, numbers of processes."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from orbitlite.configs import NotYaml, parsed, read_config
from orbitlite.errors import SharedError
from orbitlite.renamed import VALUES, current

LINKED = {
    "inputs": "inputs", "targets": "targets", "statics": "static_names", "factor": "factor",
    "log1p": "log1p", "variables": "variables", "tasks": "tasks",
}  # fmt: skip
"""Settings of the network that are settings of the data too, and what they are called there."""


_SECTIONS = (
    "trainer", "model", "model.network", "model.optimisation", "model.reconstruction", "data",
    "checkpoint", "ema", "step_line", "prediction_file", "recent", "parallel", "init",
)  # fmt: skip
_AS_TEXT = ("parallel", "init")
"""Sections of which the parser takes no file, but what it holds."""
_CONFIG = ("-c", "--config")
_FILE = (".yaml", ".yml", ".json")


def check_sections(place: str, content: Any) -> None:
    """Raise InputError where a section of a config holds something else than keys and values.

    The parser passes over such a section, and would run with the defaults in its place.

    Parameters
    ----------
    place : str
        Where the config is.
    content : object
        As YAML gives it; an empty section holds None.
    """
    for section in ("", *_SECTIONS):
        found = content
        for key in filter(None, section.split(".")):
            found = (found or {}).get(key)
        if found is not None and not isinstance(found, dict):
            raise SharedError(
                f"{place}: expected keys and values in {section or 'the config'}, found "
                f"{reprlib.repr(found)}"
            )


def check_configs(arguments: list[str]) -> None:
    """Read the configs that arguments name, and those of sections, ahead of the parser.

    Raises
    ------
    SharedError
        If one cannot be read, is empty, a section of it holds no keys and values, or a file of a
        section holds more than that.
    """
    for path in _configs(arguments):
        content = read_config(path)
        if content is None:
            raise SharedError(f"the config {path} is empty")
        check_sections(str(path), content)
    for section in _SECTIONS:
        for path in _configs(arguments, (f"--{section}",)):
            if not isinstance(content := read_config(path), dict):
                raise SharedError(
                    f"{path}: expected keys and values of {section}, found {reprlib.repr(content)}"
                )
            if section.partition(".")[0] in content:
                raise SharedError(
                    f"{path}: --{section} expects the keys and values of {section} alone, found a "
                    f"config with that section; give it as -c {path}"
                )


def _configs(arguments: list[str], options: tuple[str, ...] = _CONFIG) -> Iterator[Path]:
    """Yield the files that options of the command line name, of sections absent ones too."""
    for position, word in enumerate(arguments):
        name, equals, text = word.partition("=")
        if name not in options:
            continue
        if not equals and position + 1 < len(arguments):
            text = arguments[position + 1]
        if os.path.exists(text) or (options != _CONFIG and text.endswith(_FILE)):
            yield Path(text)


def with_init(arguments: list[str]) -> list[str]:
    """Return arguments with `--init BUNDLE` and `--tune KIND` as the options that they stand for.

    `--init` with keys and values, or with a file of them, is left to the parser.
    """
    found = list[str]()
    for position, word in enumerate(arguments):
        option, equal, text = word.partition("=")
        value = text if equal else next(iter(arguments[position + 1 :]), "")
        section = value.endswith(_FILE) or value.lstrip().startswith("{")
        if option == "--tune" or (option == "--init" and not section):
            option = {"--tune": "--init.tune", "--init": "--init.bundle"}[option]
        found.append(option + equal + text)
    return found


def with_current_names(arguments: list[str]) -> list[str]:
    """Return arguments with the names that settings have now.

    A config that states old names is given to the parser as text, and so is a file of a section of
    which it takes none.
    """
    found, option = list[str](), ""
    for word in arguments:
        if not word.startswith("-"):
            found.append(_current_value(option, word))
            continue
        option, equal, text = word.partition("=")
        section, _, key = option.removeprefix("--").rpartition(".")
        name = f"--{section}.{next(iter(current({key: None}, section)))}" if section else option
        found.append(name + equal + _current_value(option, text))
    return found


def _current_value(option: str, text: str) -> str:
    """Return the value of an option with the names of today, a file as YAML if it has others."""
    key = option.removeprefix("--")
    section = "config" if option in ("-c", "--config") else key
    if section != "config" and section not in {*_SECTIONS, *VALUES}:
        return text
    try:
        content = read_config(text) if os.path.isfile(text) else parsed(text)
    except NotYaml:  # the parser says what is wrong
        return text
    if isinstance(content, str) and section in VALUES:
        part, _, name = section.rpartition(".")
        return str(current({name: content}, part)[name])
    if not isinstance(content, dict):
        return text
    now = current(content, section)
    if now == content and section not in _AS_TEXT:
        return text
    return str(yaml.safe_dump(now, sort_keys=False))


def device_count(config: Any) -> int:
    """Return the number of processes per node that a trainer's section asks for."""
    devices, accelerator = config.get("devices"), config.get("accelerator")
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    if isinstance(devices, (list, tuple)):
        return len(devices)
    if isinstance(devices, str) and devices != "auto":
        return len(devices.split(","))
    if isinstance(devices, int) and devices >= 0:
        return devices
    on_gpu = accelerator in (None, "auto", "gpu", "cuda")
    return max(1, torch.cuda.device_count()) if on_gpu else 1


def check_precision(precision: Any) -> None:
    """Refuse a precision that rounds what a batch holds before the network sees it.

    `bf16-true` and the like turn every floating tensor into one of half the width: times to days,
    edges of cells to degrees, pressures to hundreds of Pa. Under `bf16-mixed` the network computes
    in bfloat16 where that does no harm.

    Raises
    ------
    SharedError
        If it is one of these.
    """
    text = str(precision)
    if text.startswith("transformer-engine") or text in ("bf16-true", "16-true"):
        raise SharedError(
            f"trainer.precision: {text} would round times, coordinates and physical units to half "
            "precision; state bf16-mixed, or 32-true"
        )
