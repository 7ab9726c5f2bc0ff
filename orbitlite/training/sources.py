"""The data module of a config file, without a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.training.arguments import LINKED, check_sections
from orbitlite.training.configs import read_config


def data_of_config(path: str | Path) -> PairDataModule:
    """Build the data module that a config describes.

    Parameters
    ----------
    path : str or Path
        Config of `orbitlite fit`.

    Raises
    ------
    InputError
        If the file is absent, is no config, or its data section is wrong.
    """
    content: Any = read_config(path)
    if not isinstance(content, dict) or not {"model", "data"} <= set(content):
        raise InputError(f"{path}: expected a config of `orbitlite fit` with model and data")
    check_sections(str(path), content)
    network = DownscalerConfig.from_dict((content["model"] or {}).get("network") or {}).to_dict()
    linked = {name: network[name] for name in LINKED}
    try:
        return PairDataModule(**{**(content["data"] or {}), **linked})
    except TypeError as error:
        raise InputError(f"{path}: the data section has an unknown or missing key: {error}") from (
            error
        )
