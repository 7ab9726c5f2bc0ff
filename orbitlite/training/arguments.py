"""What arguments ask for beyond what the parser knows: sections, numbers of processes."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from orbitlite.configs import read_config
from orbitlite.errors import SharedError

LINKED = ("inputs", "targets", "fine_statics", "factor", "log1p", "variables")
"""Settings of the data that are those of the network."""


_SECTIONS = (
    "trainer", "model", "model.network", "model.optimisation", "data", "checkpoint", "ema",
    "step_line", "prediction_file", "recent", "parallel",
)  # fmt: skip


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
        If one cannot be read, is empty, or a section of it holds no keys and values.
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


def _configs(arguments: list[str], options: tuple[str, ...] = ("-c", "--config")) -> Iterator[Path]:
    """Yield the files that options of the command line name."""
    for position, word in enumerate(arguments):
        name, equals, text = word.partition("=")
        if name not in options:
            continue
        if not equals and position + 1 < len(arguments):
            text = arguments[position + 1]
        if os.path.exists(text):
            yield Path(text)


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
