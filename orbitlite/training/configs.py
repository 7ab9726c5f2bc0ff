"""Config files: read whole, and refused where they can be no config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from orbitlite.errors import SharedError

_BYTES = 2**20
_VALUES = 100_000
_DEPTH = 30


def read_config(path: str | Path) -> Any:
    """Read a config file.

    Parameters
    ----------
    path : str or Path

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
    try:
        if not os.path.isfile(path):
            raise SharedError(f"cannot read the config {path}: there is no such file")
        if (size := os.path.getsize(path)) > _BYTES:
            raise SharedError(
                f"the config {path} has {size / 2**20:,.1f} MiB, and a config has one at most: it "
                "is another file"
            )
        content: Any = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)  # a SafeLoader
        _count(content, {}, 0)
    except OSError as error:
        raise SharedError(f"cannot read the config {path}: {error.strerror}") from error
    except UnicodeError as error:
        raise SharedError(f"the config {path} is not text in UTF-8") from error
    except RecursionError as error:
        raise SharedError(f"the config {path} is nested too deeply") from error
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise SharedError(f"the config {path} is not valid YAML: {told}") from error
    except _Unusable as error:
        raise SharedError(f"the config {path} {error}") from error
    return content


class _Unusable(Exception):
    """What makes a config unusable, as the end of a sentence."""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, for which a key may stand once: it would take the last."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise _Unusable(f"has the key {key.value!r} twice in one section (line {line})")
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
        raise _Unusable(f"is nested more than {_DEPTH} deep")
    if known.get(id(value)) == 0:
        raise _Unusable("holds an alias of itself")
    if id(value) not in known:
        known[id(value)] = 0
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise _Unusable(f"has the key {key!r}, which is no text; put it in quotes")
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known, depth + 1) for part in parts)
    if known[id(value)] > _VALUES:
        raise _Unusable(f"expands to more than {_VALUES:,} values")
    return known[id(value)]
