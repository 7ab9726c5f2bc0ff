"""Disclosure: what the record of a bundle tells of the machine where it was trained."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from orbitlite.addresses import published
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

_ABSOLUTE = re.compile(r"(?:[/~\\]|[A-Za-z]:[\\/]|[A-Za-z][\w+.-]*://)\S.*", re.DOTALL)
"""A text that can be nothing but a path or a URL."""


def disclosed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a bundle as anyone may read them.

    Paths of this machine lose their folders, and URLs users, passwords and queries; that is told.

    Parameters
    ----------
    metadata : mapping
        JSON-ready, of a bundle.

    Returns
    -------
    dict
    """
    changed: dict[str, str] = {}

    def named(text: str) -> str:
        known = published(text)
        if known != text:
            changed[text] = known
        return known

    def of(value: Any, address: bool) -> Any:
        """`address`: each text in it is a path, a relative one too."""
        if isinstance(value, Mapping):
            return {key: of(one, address or key == "sources") for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [of(one, address) for one in value]
        if isinstance(value, str) and (address or _ABSOLUTE.fullmatch(value)):
            return named(value)
        return value

    found = {key: of(value, False) for key, value in metadata.items()}
    training = found.get("training")
    if isinstance(training, dict) and isinstance(init := training.get("init"), dict):
        training["init"] = {k: named(v) if k == "path" else v for k, v in init.items()}
    if changed:
        names = ", ".join(dict.fromkeys(changed.values()))
        notice(
            logger,
            "The record is published without folders of this machine, and without users and "
            f"queries of URLs; it says: {names}.",
        )
    return found
