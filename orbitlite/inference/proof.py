"""Proof: that a job is the one that was begun, and that what stands in a store is its output."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from orbitlite.data.naming import notes, rows
from orbitlite.data.tiles import Tile, scaled
from orbitlite.errors import InputError
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.plan import WorkItem
from orbitlite.inference.prediction import Prediction
from orbitlite.model.ensemble import networks_of
from orbitlite.notice import warn
from orbitlite.progress import bar

logger = logging.getLogger(__name__)

INPUT, VALUES = SIGNATURE = "orbitlite_input", "orbitlite_values"
"""Attributes of a whole output: what it was made of, and what it holds."""


class AnotherJob(InputError):
    """What is unfinished was begun otherwise, or of another input."""


def digest(*arrays: Any) -> str:
    """Return 16 hexadecimal digits that stand for arrays: their values, shapes and types."""
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        # Of objects, such as dates of other calendars, the words count and not their addresses.
        objects = array.dtype == object
        plain = np.array([str(value) for value in array.flat], str) if objects else array
        found.update(f"{array.shape}{array.dtype}".encode())
        found.update(plain.tobytes())
    return found.hexdigest()


@dataclass(frozen=True)
class Output:
    """An array `(..., lat, lon)` of a target in a store, whose rows are counted from the north.

    Attributes
    ----------
    array : zarr.Array or xarray.Variable
    turned : bool
        Its rows run from south to north.
    """

    array: Any
    turned: bool

    def place(self, index: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the index in the array, of one with a slice of rows counted from the north."""
        *lead, rows, columns = index
        if self.turned:
            height = self.array.shape[-2]
            rows = slice(height - rows.stop, height - rows.start)
        return (*lead, rows, columns)

    def __getitem__(self, index: tuple[Any, ...]) -> Any:
        return self._turned(self.array[self.place(index)])

    def __setitem__(self, index: tuple[Any, ...], values: Any) -> None:
        self.array[self.place(index)] = self._turned(values)

    def _turned(self, values: Any) -> Any:
        return values[..., ::-1, :] if self.turned else values


def outputs(arrays: Mapping[Any, Any], prediction: Prediction) -> list[Output]:
    """Return the arrays of a store that hold what is predicted, in the order of the columns."""
    turned = bool(rows(prediction.source))
    return [Output(arrays[one.name], turned) for one in prediction.columns]


def place_of(prediction: Prediction, piece: WorkItem, tile: Tile) -> tuple[Any, ...]:
    """Return the index of a tile's core in the output `(..., realization, time, lat, lon)`."""
    rows, columns = (scaled(cells, prediction.network.factor) for cells in tile.core)
    members = (piece.draws,) if prediction.labelled else ()
    steps = () if prediction.timeless else (piece.steps,)
    return (*piece.member, *members, *steps, rows, columns)


def values_of(arrays: Sequence[Output], prediction: Prediction, piece: WorkItem) -> str:
    """Return the digest of what stands in arrays, one per target, at the cores of a piece."""
    places = [place_of(prediction, piece, tile) for tile in piece.tiles]
    return digest(*(np.asarray(array[place], np.float32) for place in places for array in arrays))


def kept(prediction: Prediction, journal: Journal) -> dict[int, Entry]:
    """Return the finished pieces of a part whose values are whole in the store.

    Raises
    ------
    AnotherJob
        If they were made of another input than that which is there now.
    """
    pieces = prediction.work_items
    arrays = outputs(zarr.open_group(journal.store, mode="r"), prediction)
    entries = {n: entry for n, entry in journal.done.items() if 0 <= n < len(pieces)}
    whole = {n: e for n, e in entries.items() if _stands(arrays, prediction, pieces[n], e)}
    if len(whole) < len(journal.done):
        warn(
            logger,
            f"{len(journal.done) - len(whole)} of {len(journal.done)} finished pieces of "
            f"{journal.named} are damaged and are computed again.",
        )
    check_input(prediction, whole, journal.named)
    return whole


def check_input(prediction: Prediction, entries: Mapping[int, Entry], named: str) -> None:
    """Compare the input of finished pieces with that which is there now.

    Raises
    ------
    AnotherJob
        If it is not the same.
    """
    pieces = [prediction.work_items[number] for number in sorted(entries)]
    for piece, fields in prediction.windows(pieces):
        if digest(fields) != entries[piece.number].input:
            raise AnotherJob(
                f"the unfinished {named} was made of another input: its values have changed since; "
                "add --overwrite without --resume to start over"
            )


def check(
    arrays: Mapping[Any, Any],
    prediction: Prediction,
    entries: Mapping[int, Entry],
    named: str,
    progress: bool,
) -> None:
    """Compare the arrays of an output with what was computed, where some pieces are.

    Raises
    ------
    InputError
        If they are not the same.
    """
    found = outputs(arrays, prediction)
    with bar(f"Checking {named}", len(entries), progress) as advance:
        for number, entry in entries.items():
            if not _stands(found, prediction, prediction.work_items[number], entry):
                raise InputError(
                    f"{named} does not hold what was computed: the disk or the file system loses "
                    "or changes data"
                )
            advance(1)


def summary(values: Sequence[str]) -> str:
    """Return one digest for those of all pieces, in their order."""
    return hashlib.blake2b(" ".join(values).encode(), digest_size=8).hexdigest()


def frame_of(store: Path, targets: Sequence[str]) -> str:
    """Return the digest of all files of a store but the chunks of the targets.

    What is added when it is whole (`SIGNATURE`) does not count: a process that ends between that
    and giving the store its name is gone on with.
    """
    found = hashlib.blake2b(digest_size=8)
    for entry in sorted(store.glob("*")):
        inside = entry.glob("*") if entry.name in targets else [entry, *entry.rglob("*")]
        for file in sorted(file for file in inside if file.is_file()):
            if file.suffix != ".partial":  # of a process that was killed
                found.update(f"{file.relative_to(store)}".encode())
                whole = file == store / "zarr.json"
                found.update(_unsigned(file.read_bytes()) if whole else file.read_bytes())
    return found.hexdigest()


def _unsigned(group: bytes) -> bytes:
    """Return the metadata of a group without its signature and the copies of its arrays' own."""
    try:
        content = json.loads(group)
        content.pop("consolidated_metadata", None)
        for name in SIGNATURE:
            content["attributes"].pop(name, None)
    except (ValueError, TypeError, KeyError, AttributeError):  # damaged
        return group
    return json.dumps(content, sort_keys=True).encode()


def _stands(
    arrays: Sequence[Output], prediction: Prediction, piece: WorkItem, entry: Entry
) -> bool:
    try:
        return values_of(arrays, prediction, piece) == entry.values
    except Exception:  # what a damaged chunk makes codecs raise is of every kind
        logger.debug("A piece could not be read.", exc_info=True)
        return False


def identity(prediction: Prediction) -> dict[str, Any]:
    """Describe a job in plain values: model, statics, times and coordinates, plan, versions.

    What the input holds is compared piece by piece.

    Parameters
    ----------
    prediction : Prediction
    """
    network, plan = prediction.network, prediction.plan
    coords = prediction.source.coords
    lead = [coords[name].values for name in sorted(prediction.lead) if name in coords]
    called = json.dumps(notes(prediction.source), sort_keys=True)
    statics = [] if network.statics is None else [network.statics.numpy()]
    return {
        "model": _model(prediction),
        "fine statics": digest(*statics),
        "grid": prediction.grid.describe(),
        "coordinates": digest(*network.places.values(), *lead, np.array(called)),
        "tile": plan.tile,
        "halo": plan.halo,
        "batch": network.batch_size,
        "tokens": network.tokens,
        "fill": network.fill,
        "precision": network.precision,
        "members": network.members,
        "statistics": list(network.statistics),
        "seed": None if network.draw is None else digest(network.draw.keys.numpy()),
        "device": torch.device(network.device).type,
        "versions": f"orbitlite {version('orbitlite')}, torch {torch.__version__}",
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say in which respects two jobs differ; empty if they do not."""
    return "; ".join(
        f"{name} was {before.get(name)}, is {value}"
        for name, value in now.items()
        if before.get(name) != value
    )


def _model(prediction: Prediction) -> str:
    model = prediction.network.model
    state = (tensor.cpu().numpy() for tensor in model.state_dict().values())
    config = json.dumps([m.config.to_dict() for m in networks_of(model)], sort_keys=True)
    return digest(np.frombuffer(config.encode(), np.uint8), *state)
