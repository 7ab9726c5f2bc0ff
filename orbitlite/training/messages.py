"""One plain sentence from a parser's error."""

from __future__ import annotations

import re
from dataclasses import fields
from difflib import get_close_matches
from inspect import signature

from orbitlite.data.datamodule import PairDataModule
from orbitlite.model.config import DownscalerConfig
from orbitlite.training.module import DownscalingModule, Optimisation


def plain_parser_error(error: Exception) -> str:
    """Return the cause first, with the nearest known key for an unknown one.

    Parameters
    ----------
    error : Exception
        Of jsonargparse; its message nests the cause last.

    Examples
    --------
    >>> plain_parser_error(Exception("Validation failed: Key 'batchsize' is not expected"))
    "unknown key 'batchsize' in the config or on the command line; did you mean 'batch_size'?"
    """
    text = str(error)
    found = re.search(r"Key ['\"]([^'\"]+)['\"] is not expected", text) or re.search(
        r"[Uu]nrecognized arguments: -*([\w.]+)", text
    ) or re.search(r"Option ['\"]([^'\"]+)['\"] is not accepted", text)  # fmt: skip
    if found:
        return _unknown(found[1])
    lines = [line.strip(" -") for line in text.splitlines() if line.strip()]
    return lines[-1] if len(lines) == 1 else f"{lines[-1]} ({lines[0]})"


def _unknown(key: str) -> str:
    last = key.split(".")[-1]
    known = [
        *signature(PairDataModule.__init__).parameters,
        *signature(DownscalingModule.__init__).parameters,
        *(field.name for field in fields(DownscalerConfig)),
        *(field.name for field in fields(Optimisation)),
        "trainer", "model", "data", "max_epochs", "max_steps", "devices", "precision",
        "default_root_dir", "accelerator", "ckpt_path", "seed_everything",
    ]  # fmt: skip
    near = get_close_matches(last, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "; see --help for those known"
    return f"unknown key {key!r} in the config or on the command line{hint}"
