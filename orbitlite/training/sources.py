"""The network and the data module of a config file, without a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orbitlite.configs import read_config
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.renamed import current
from orbitlite.training.arguments import LINKED, check_sections


def network_of_config(path: str | Path) -> DownscalerConfig:
    """Return the settings of the network that a config describes.

    Parameters
    ----------
    path : str or Path
        Config of `orbitlite fit`.

    Raises
    ------
    InputError
        If the file is absent, is no config, or its network is wrong.
    """
    return DownscalerConfig.from_dict(
        (_sections(path, "model")["model"] or {}).get("network") or {}
    )


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
    sections = _sections(path, "model", "data")
    network = network_of_config(path).to_dict()
    linked = {of_data: network.get(name) for name, of_data in LINKED.items()}
    try:
        return PairDataModule(**{**(sections["data"] or {}), **linked})
    except TypeError as error:
        raise InputError(f"{path}: the data section has an unknown or missing key: {error}") from (
            error
        )


def section_of_config(path: str | Path, name: str) -> dict[str, Any]:
    """Return a section of a config of `orbitlite fit`; empty if it is not stated.

    Raises
    ------
    InputError
        If the file is absent or is no config.
    """
    return dict(_sections(path, "model").get(name) or {})


def _sections(path: str | Path, *needed: str) -> dict[str, Any]:
    content: Any = read_config(path)
    if not isinstance(content, dict) or not {*needed} <= set(content):
        raise InputError(
            f"{path}: expected a config of `orbitlite fit` with {' and '.join(needed)}"
        )
    check_sections(str(path), content)
    return current(content, "config")
