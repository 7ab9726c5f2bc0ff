"""The record of a bundle: its `config.json`, read as something that anyone may have written."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orbitlite.errors import InputError
from orbitlite.hub import LICENSE
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.files import BundleFile
from orbitlite.model.ranges import shortened

logger = logging.getLogger(__name__)

FORMAT = 2
CONFIG, MODEL, STATICS, CARD = (
    "config.json",
    "model.safetensors",
    "statics.safetensors",
    "README.md",
)
RECONSTRUCTION = "reconstruction"
"""What `metadata.training.objective` is of a model that has seen no truth."""
FILES = (CONFIG, MODEL, STATICS, CARD)
"""All of a bundle."""
_SEAL = "record_sha256"
_KEYS = ("format", "config", "metadata", "scores", "sha256", _SEAL)
_LONGEST = 2**24
"""Bytes of `config.json`; that of hundreds of channels has some ten thousand."""
_DEEPEST = 30
_DIGEST = re.compile("[0-9a-f]{64}")


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the checksum of its content, by which a later change is noticed.

    Parameters
    ----------
    record : mapping
        JSON-ready.
    """
    return {**record, _SEAL: _checksum(record)}


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the content of a bundle's `config.json`: `config`, `metadata`, `scores`, `sha256`.

    Parameters
    ----------
    path : str or Path
        The bundle's directory, local or any fsspec URL.

    Raises
    ------
    InputError
        If there is no bundle, or the file is damaged or of a newer format.
    """
    record = parsed_record(path)
    wrong = _wrong(record)
    if wrong is not None:
        raise InputError(f"{path}: {CONFIG}: {wrong}; is it a bundle?")
    return record


def config_of(path: str | Path, record: Mapping[str, Any]) -> DownscalerConfig:
    """Return the settings of the network of a record.

    Raises
    ------
    InputError
        If one is unknown or cannot be served.
    """
    try:
        return DownscalerConfig.from_record(record["config"])
    except InputError as error:
        raise InputError(f"{path}: {CONFIG}: {error}") from error


def tasks_of(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the tasks of a record; of a network without tasks an empty name."""
    return [*(record["config"].get("tasks") or [""])]


def metadata_of(record: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return the metadata of a record, as a network of one task has them."""
    metadata: dict[str, Any] = record["metadata"]
    if not task:
        return metadata
    own = (metadata.get("tasks") or {}).get(task) or {}
    return {key: value for key, value in metadata.items() if key != "tasks"} | own


def ranges_of(metadata: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the smallest and the largest value of each input in training, by name.

    Empty where that is not recorded, as in bundles of earlier versions; else a channel that is
    lacking had no value in training.

    Parameters
    ----------
    metadata : mapping
        Of a bundle or a checkpoint.
    """
    return metadata.get("training", {}).get("ranges") or {}


def unseen_of(
    metadata: Mapping[str, Any], inputs: Sequence[str], reconstructed: bool = False
) -> list[str]:
    """Return the inputs of which training had no value, as far as that is recorded.

    Parameters
    ----------
    metadata : mapping
        Of a bundle or a checkpoint.
    inputs : sequence of str
    reconstructed : bool
        Values of fields without truth count too: a trunk has learned from them, and no decoder.
    """
    ranges = ranges_of(metadata)
    more = (metadata.get("training", {}).get("reconstructed") or ()) if reconstructed else ()
    return [name for name in inputs if ranges and name not in ranges and name not in more]


def pretrained_only(metadata: Mapping[str, Any]) -> bool:
    """Tell whether a model was trained by reconstruction alone: its decoder has learned nothing.

    Parameters
    ----------
    metadata : mapping
        Of a bundle or a checkpoint.
    """
    return bool(metadata.get("training", {}).get("objective") == RECONSTRUCTION)


def check_decoder(metadata: Mapping[str, Any]) -> None:
    """Refuse to predict with a model whose decoder has learned nothing.

    Raises
    ------
    InputError
    """
    if pretrained_only(metadata):
        raise InputError(
            "the model was trained by reconstruction alone, without truth: its trunk has learned, "
            "and its decoder makes nothing of meaning; tune it to pairs first, with `orbitlite fit "
            "--init BUNDLE`"
        )


def context_of(metadata: Mapping[str, Any]) -> int:
    """Return the coarse cells of context around the fine grid that a model was trained with.

    Parameters
    ----------
    metadata : mapping
        Of a bundle or a checkpoint.
    """
    return metadata.get("training", {}).get("context") or 0


def check_unchanged(path: str | Path, record: Mapping[str, Any]) -> None:
    """Refuse a record that was changed since it was written.

    Raises
    ------
    InputError
        If it does not have the checksum that it states.
    """
    if record[_SEAL] != _checksum(record):
        raise InputError(
            f"{path}: {CONFIG} was changed after the bundle was written, or is damaged: it does "
            "not have the checksum that it states. Fetch it again, or export the model again"
        )


def parsed_record(path: str | Path) -> dict[str, Any]:
    """Return what a `config.json` holds that has the keys and the format of a bundle's.

    Raises
    ------
    InputError
        If it cannot be read, or has not.
    """
    with BundleFile(path, CONFIG) as file:
        data = file.take(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise InputError(f"{path}: {CONFIG} is larger than that of any bundle")
    try:
        record = parsed(data)
    except ValueError as error:
        raise InputError(f"{path}: {CONFIG} is damaged ({error})") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}: {CONFIG} holds {shortened(record)}; is it a bundle?")
    if record.get("format") == 1:
        raise InputError(
            f"{path} is a bundle of orbitlite 0.1, whose network had another decoder: predict with "
            "that version, or fit again"
        )
    missing = set(_KEYS) - set(record)
    if missing:
        raise InputError(f"{path}: {CONFIG} lacks {', '.join(sorted(missing))}; is it a bundle?")
    version = record["format"]
    if not _is_whole(version) or version < FORMAT:
        raise InputError(f"{path}: {CONFIG}: format {shortened(version)}; is it a bundle?")
    if version > FORMAT:
        raise InputError(
            f"{path} has bundle format {shortened(version)}, this version reads {FORMAT}; "
            "upgrade orbitlite"
        )
    return record


def parsed(data: bytes) -> Any:
    """Read JSON that anyone may have written.

    Raises
    ------
    ValueError
        If it is none, is nested without end, or states a key twice.
    """
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    inside = [found]
    for _ in range(_DEEPEST):
        inside = [entry for value in inside for entry in _entries(value)]
    if inside:
        raise ValueError("it is nested too deep")
    return found


def _entries(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {shortened(twice)} stands twice")
    return found


def _checksum(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record, however its text is laid out."""
    content = {key: value for key, value in record.items() if key != _SEAL}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _wrong(record: Mapping[str, Any]) -> str | None:
    """Return what of a record is not as it should be, None for nothing."""
    config, metadata = (
        record[key] if isinstance(record[key], dict) else {} for key in ("config", "metadata")
    )
    tasks = config.get("tasks")
    own = tasks if isinstance(tasks, dict) else {}
    files = [MODEL, *(f"{part}_{task}.safetensors" for task in own for part in ("task", "statics"))]
    files += [] if own else [STATICS]
    checks: tuple[tuple[str, Any, Callable[[Any], bool], str], ...] = (
        ("config", record["config"], _is_mapping, "the settings of a network"),
        ("variables", config.get("variables"), _is_declaration, "declarations by name"),
        ("tasks", tasks, _is_declaration, "tasks by name"),
        ("scores", record["scores"], _is_scores, "numbers by variable, system and score"),
        ("sha256", record["sha256"], _is_mapping, "checksums by name"),
        (
            "sha256",
            _odd_digests(record["sha256"], files),
            _is_empty,
            f"those of {' and '.join(files)}",
        ),
        ("metadata", record["metadata"], _is_mapping, "values by name"),
        ("metadata.license", metadata.get("license"), _is_license, "an identifier of a licence"),
        ("metadata.tasks", metadata.get("tasks"), _is_declaration, "what is known, by task"),
    )
    parts = metadata.get("tasks")
    told = [*parts.values()] if isinstance(parts, dict) else []
    for key, value, fits, expected in (*checks, *(c for m in (metadata, *told) for c in _of(m))):
        if not fits(value):
            return f"{key}: expected {expected}, found {shortened(value)}"
    return None


def _of(metadata: Any) -> Iterable[tuple[str, Any, Callable[[Any], bool], str]]:
    """Yield what is to be checked of the metadata of a network or of one of its tasks."""
    own = metadata if isinstance(metadata, dict) else {}
    training = own.get("training", {})
    known = training if isinstance(training, dict) else {}
    return (
        ("metadata", metadata, _is_mapping, "values by name"),
        ("metadata.parameters", own.get("parameters"), _is_count, "a number"),
        ("metadata.training", training, _is_mapping, "values by name"),
        ("accumulate", known.get("accumulate"), _is_text, "a window"),
        ("interpolate", known.get("interpolate"), _is_method, "linear or conservative"),
        ("times", known.get("times"), _is_count, "a number"),
        ("grid", known.get("grid"), _is_grid, "ranges of lat and lon, a shape and a spacing"),
        ("period", known.get("period"), _is_period, "a pair of dates"),
        ("validation", known.get("validation"), _is_period, "a pair of dates"),
        ("sources", known.get("sources"), _is_sources, "paths by name"),
        ("context", known.get("context"), _is_count, "a number of cells"),
        ("ranges", known.get("ranges"), _are_ranges, "a smallest and a largest value by name"),
        ("objective", known.get("objective"), _is_objective, f"{RECONSTRUCTION}, or nothing"),
        ("reconstructed", known.get("reconstructed"), _are_names, "a list of inputs"),
        ("init", known.get("init"), _is_beginning, "path, identity and tune of a bundle"),
    )


def _is_objective(value: Any) -> bool:
    return value in (None, RECONSTRUCTION)


def _is_declaration(value: Any) -> bool:
    # A path would be read as a file of declarations.
    return value is None or isinstance(value, dict)


def _odd_digests(value: Any, files: Collection[str]) -> dict[str, Any]:
    """Return the entries that are no checksum of a file of a bundle."""
    return {
        name: digest
        for name, digest in (value.items() if isinstance(value, dict) else ())
        if name not in files or not _DIGEST.fullmatch(str(digest))
    }


def _is_empty(value: Any) -> bool:
    return not value


def _is_scores(value: Any) -> bool:
    def of_system(scores: Any) -> bool:
        return isinstance(scores, dict) and all(
            score is None or _is_number(score) for score in scores.values()
        )

    def of_variable(systems: Any) -> bool:
        return isinstance(systems, dict) and all(map(of_system, systems.values()))

    return isinstance(value, dict) and all(map(of_variable, value.values()))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_license(value: Any) -> bool:
    return value is None or (isinstance(value, str) and bool(LICENSE.fullmatch(value)))


def _is_method(value: Any) -> bool:
    return value is None or value in ("linear", "conservative")


def _is_grid(grid: Any) -> bool:
    return grid is None or (
        isinstance(grid, dict)
        and all(_is_pair(grid.get(key)) for key in ("lat", "lon", "shape"))
        and all(_is_whole(size) and size > 0 for size in grid["shape"])
        and _is_number(grid.get("spacing"))
        and math.isfinite(grid["spacing"])
        and _is_plane(grid.get("plane"))
    )


def _is_plane(plane: Any) -> bool:
    return plane is None or (
        isinstance(plane, dict)
        and all(isinstance(plane.get(key), dict) for key in ("y", "x", "crs"))
        and all(_are_edges(plane.get(f"{axis}_edges")) for axis in ("y", "x"))
    )


def _are_edges(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(_is_number(entry) and math.isfinite(entry) for entry in value)
    )


def _is_period(value: Any) -> bool:
    return value is None or (_is_list(value, str) and len(value) == 2)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(_is_number(entry) and math.isfinite(entry) for entry in value)
    )


def _are_ranges(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and all(_is_pair(ends) and ends[0] <= ends[1] for ends in value.values())
    )


def _are_names(value: Any) -> bool:
    return value is None or _is_list(value, str)


def _is_beginning(value: Any) -> bool:
    keys = ("path", "identity", "tune")
    return value is None or (
        isinstance(value, dict) and all(isinstance(value.get(key), str) for key in keys)
    )


def _is_sources(value: Any) -> bool:
    sources = value.values() if isinstance(value, dict) else () if value is None else (0,)
    return all(_is_text(source) or _is_list(source, str) for source in sources)


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(entry, kind) for entry in value)


def _is_count(value: Any) -> bool:
    return value is None or (_is_whole(value) and value >= 0)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)
