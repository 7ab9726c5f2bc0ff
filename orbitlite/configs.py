"""Configs, and whatever else is YAML: read whole, and refused where they can be none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from orbitlite.errors import SharedError

_BYTES = 2**20
_VALUES = 100_000
_DEPTH = 30


class NotYaml(ValueError):
    """A text that is no YAML, or none that a config may be; the message ends a sentence."""


def read_config(path: str | os.PathLike[str], what: str = "config") -> Any:
    """Read a config, or another file of YAML.

    Parameters
    ----------
    path : str or path
    what : str
        What messages call the file.

    Returns
    -------
    object
        As YAML gives it: a dict, unless the file holds something else.

    Raises
    ------
    SharedError
        If the file is absent, too large, not text, not YAML, nested too deeply, or holds a key
        twice, keys that are no text, or aliases without end.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise SharedError(f"cannot read the {what} {file}: there is no such file")
        if (size := file.stat().st_size) > _BYTES:
            raise SharedError(
                f"the {what} {file} has {size / 2**20:,.1f} MiB, and a {what} has one at most: it "
                "is another file"
            )
        return parsed(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SharedError(f"cannot read the {what} {file}: {error.strerror}") from error
    except UnicodeError as error:
        raise SharedError(f"the {what} {file} is not text in UTF-8") from error
    except NotYaml as error:
        raise SharedError(f"the {what} {file} {error}") from error


def parsed(text: str) -> Any:
    """Return what a text says as YAML.

    Raises
    ------
    NotYaml
        As for a file.

    Examples
    --------
    >>> parsed("{lr: 0.1, train: [2000-01-01, null]}")
    {'lr': 0.1, 'train': [datetime.date(2000, 1, 1), None]}
    """
    try:
        content: Any = yaml.load(text, _Loader)  # a SafeLoader
        _count(content, {}, 0)
    except RecursionError as error:
        raise NotYaml("is nested too deeply") from error
    except yaml.YAMLError as error:
        raise NotYaml(f"is not valid YAML: {' '.join(str(error).split())}") from error
    return content


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, for which a key may stand once: it would take the last."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise NotYaml(f"has the key {key.value!r} twice in one section (line {line})")
                seen.add(key.value)
        return node

    def construct_yaml_timestamp(self, node: Any) -> Any:
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError:  # 2000-13-45: whatever takes dates says what is wrong with it
            return node.value


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_timestamp)


def _count(value: Any, known: dict[int, int], depth: int) -> int:
    """Count values, those of an alias wherever it stands: ten lines can hold a billion."""
    if not isinstance(value, (dict, list)):
        return 1
    if depth > _DEPTH:
        raise NotYaml(f"is nested more than {_DEPTH} deep")
    if known.get(id(value)) == 0:
        raise NotYaml("holds an alias of itself")
    if id(value) not in known:
        known[id(value)] = 0
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise NotYaml(f"has the key {key!r}, which is no text; put it in quotes")
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known, depth + 1) for part in parts)
    if known[id(value)] > _VALUES:
        raise NotYaml(f"expands to more than {_VALUES:,} values")
    return known[id(value)]
