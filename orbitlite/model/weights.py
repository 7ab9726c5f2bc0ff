"""Weights: tensors of a bundle, compared with what is expected before there is room made for them.

A safetensors file is the length of its header (8 bytes), the header (JSON: type, shape and place of
each tensor) and the tensors.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.contents import belongs
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.files import BundleFile
from orbitlite.model.outline import outline
from orbitlite.model.ranges import shortened
from orbitlite.model.record import CONFIG, MODEL, parsed

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Of tensors, by name."""
_HEADER = 2**25
"""Bytes of a header; that of ten thousand blocks has half as many."""
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def read_tensors(
    path: str | Path, name: str, digest: str, check: Callable[[Shapes], None]
) -> dict[str, Tensor]:
    """Read the tensors of a bundle's file.

    Parameters
    ----------
    path : str or Path
        The bundle.
    name : str
    digest : str
        SHA-256 of the file.
    check : callable
        Told of the shapes before the tensors are read; raises InputError if they are wrong.

    Raises
    ------
    InputError
        If the file cannot be read, or is another.
    """
    changed = f"{path}: {name} is not the file that {CONFIG} describes"
    with BundleFile(path, name) as file:
        start = file.take(8)
        length = int.from_bytes(start, "little")
        header = file.take(length) if length <= _HEADER else b""
        try:
            shapes, size = _described(header)
        except ValueError as error:
            raise InputError(f"{changed} ({error}); fetch it again") from error
        whole = 8 + length + size
        if file.size is not None and file.size != whole:
            raise InputError(
                f"{changed} (it has {file.size} bytes, its header says {whole}); fetch it again"
            )
        check(shapes)
        _check_room(path, name, whole)
        data = start + header + file.take(size + 1)
    if hashlib.sha256(data).hexdigest() != digest:
        raise InputError(f"{changed}; fetch it again")
    try:
        tensors: dict[str, Tensor] = load_tensors(data)
    except SafetensorError as error:
        raise InputError(f"{path}: {name} is damaged ({error}); fetch it again") from error
    return tensors


def fitting(
    path: str | Path, config: DownscalerConfig, file: str = MODEL, task: str = ""
) -> Callable[[Shapes], None]:
    """Return what compares the shapes of a file with those of a network's weights.

    Of a bundle with tasks, whose files have parts of them, those that belong there.

    Nothing is allocated for the network, and of the trunk `vit` as many blocks and groups are built
    as the file has.
    """

    def check(shapes: Shapes) -> None:
        wrong = _differing(shapes, config, file, task)
        if wrong:
            raise InputError(f"{path}: {file} does not fit {CONFIG}: {wrong}")

    return check


def check_weights(path: str | Path, network: Downscaler) -> None:
    """Refuse weights of which no prediction would be right.

    Raises
    ------
    InputError
        If a weight is not finite, or a standard deviation is not positive.
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{path}: {name} of the network is not finite; export another model")
        if name.endswith("_std") and not bool((value > 0).all()):
            raise InputError(
                f"{path}: {name} of the network should be positive, found {value.min():g}; export "
                "another model"
            )


def _differing(found: Shapes, config: DownscalerConfig, file: str, task: str) -> str:
    """Say how shapes differ from those of a network; an empty text if they do not."""
    counts = (
        ("blocks.", "depth", config.depth),
        ("channels.groups.", "channel_groups", len(config.groups)),
    )
    for prefix, key, expected in counts if config.trunk == "vit" and file == MODEL else ():
        parts = {name[len(prefix) :].split(".")[0] for name in found if name.startswith(prefix)}
        if len(parts) != expected:
            return f"{key} {expected} there, {len(parts)} in the file"
    wanted = {
        name: tuple(value.shape)
        for name, value in outline(config).state_dict().items()
        if belongs(name, file, task)
    }
    if absent := [name for name in wanted if name not in found]:
        return f"{_some(absent)} absent"
    if unknown := [name for name in found if name not in wanted]:
        return f"{_some(unknown)} unknown"
    for name, shape in wanted.items():
        if found[name] != shape:
            return f"{name}: expected shape {shape}, found {found[name]}"
    return ""


def _some(names: Iterable[str]) -> str:
    first, *others = names
    return shortened(first) + (f" and {len(others)} more" if others else "")


def _check_room(path: str | Path, name: str, size: int) -> None:
    available = psutil.virtual_memory().available
    if 2 * size > available:  # the file and its tensors
        raise InputError(
            f"{path}: {name} needs {2 * size / 2**30:.1f} GiB to be read, and "
            f"{available / 2**30:.1f} GiB of memory are available"
        )


def _described(header: bytes) -> tuple[Shapes, int]:
    """Return the shapes that a header states, and the bytes of all.

    Raises
    ------
    ValueError
        If it is none.
    """
    content = parsed(header) if header else None
    if not isinstance(content, dict):
        raise ValueError("it has no header")
    content.pop("__metadata__", None)
    shapes: dict[str, tuple[int, ...]] = {}
    total = 0
    for name, entry in content.items():
        fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
        shape: Any = fields.get("shape")
        size = _FLOATS.get(str(fields.get("dtype")))
        if size is None or not all(map(_is_wholes, (shape, fields.get("data_offsets")))):
            raise ValueError(f"its header is damaged at {shortened(name)}")
        shapes[name] = tuple(shape)
        total += size * math.prod(shape)
    return shapes, total


def _is_wholes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < 2**48
        for entry in value
    )
