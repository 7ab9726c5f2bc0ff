"""Stated: what the configs and the words of a command line say, before the parser reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orbitlite.configs import NotYaml, parsed, read_config


class Stated:
    """Settings by dotted key; what comes later on a command line wins.

    Parameters
    ----------
    arguments : list of str
        `["fit", "-c", "config.yaml", "--trainer.devices", "2"]`. What is wrong with them, the
        parser tells.

    Examples
    --------
    >>> stated = Stated(["fit", "--trainer.devices=2", "--model.optimisation", "{lr: 0.1}"])
    >>> stated.value("trainer.devices"), "model.optimisation.lr" in stated, "data" in stated
    (2, True, False)
    """

    def __init__(self, arguments: list[str]) -> None:
        self._content: dict[str, Any] = {}
        for key, text in _options(arguments[1:]):
            if key in ("-c", "--config"):
                _merge(self._content, _file(text) or _section(text))
            else:
                *outer, name = key[2:].split(".")
                content: Any = _value(text)
                if isinstance(content, str) and Path(content).suffix in (".yaml", ".yml", ".json"):
                    content = _file(content) or content
                content = {name: content}
                for section in reversed(outer):
                    content = {section: content}
                _merge(self._content, content)

    def __contains__(self, key: str) -> bool:
        """Tell whether a setting, or one within a section, is stated."""
        return self._find(key)[0]

    def value(self, key: str, default: Any = None) -> Any:
        """Return what is stated."""
        found, value = self._find(key)
        return value if found else default

    def _find(self, key: str) -> tuple[bool, Any]:
        content: Any = self._content
        for name in key.split("."):
            if not isinstance(content, dict) or name not in content:
                return False, None
            content = content[name]
        return True, content


def without(arguments: list[str], key: str) -> list[str]:
    """Return arguments without an option and its value."""
    kept, words = [], iter(arguments)
    for word in words:
        if word == key:
            next(words, None)
        elif not word.startswith(f"{key}="):
            kept.append(word)
    return kept


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    for position, word in enumerate(words):
        key, given, text = word.partition("=")
        if given and key.startswith("--"):
            yield key, text
        elif (word.startswith("--") or word == "-c") and position + 1 < len(words):
            yield word, words[position + 1]


def _section(text: str) -> dict[str, Any]:
    """Return a config that is given as text."""
    content = _value(text)
    return content if isinstance(content, dict) else {}


def _file(path: str) -> dict[str, Any]:
    content = read_config(path) if os.path.isfile(path) else None
    return content if isinstance(content, dict) else {}


def _value(text: str) -> Any:
    try:
        return parsed(text)
    except NotYaml:
        return text


def _merge(content: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        own = content.get(key)
        if isinstance(own, dict) and isinstance(value, dict):
            _merge(own, value)
        else:
            content[key] = value
