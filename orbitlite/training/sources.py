"""The data module of a config file, without a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.training.arguments import LINKED, check_sections


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
    try:
        content: Any = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise InputError(f"cannot read the config {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InputError(f"the config {path} is not valid YAML: {error}") from error
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
