"""Proof: that what stands in a store is what was computed, and of the input that is there now."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from orbitlite.data.tiles import Tile, scaled
from orbitlite.errors import InputError
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.output import Output
from orbitlite.inference.pieces import Piece, blocks
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.reading import read
from orbitlite.notice import warn
from orbitlite.progress import bar

logger = logging.getLogger(__name__)

Fields = NDArray[np.float32]


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


def windows(prediction: Prediction, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Fields]]:
    """Read the windows (g, n, C, h, w) of pieces, in their order."""
    row = 4 * int(np.prod([prediction.coarse.sizes[dim] for dim in ("channel", "lon")]))
    for block in blocks(pieces, row):
        fields = read(prediction, block)
        for piece in block.pieces:
            yield piece, block.windows(fields, piece)


def place_of(prediction: Prediction, piece: Piece, tile: Tile) -> tuple[Any, ...]:
    """Return the index of a tile's core in the output `(..., time, lat, lon)`."""
    rows, columns = (scaled(cells, prediction.job.factor) for cells in tile.core)
    steps = () if prediction.timeless else (piece.steps,)
    return (*piece.member, *steps, rows, columns)


def values_of(arrays: Sequence[Output], prediction: Prediction, piece: Piece) -> str:
    """Return the digest of what stands in arrays, one per target, at the cores of a piece."""
    places = [place_of(prediction, piece, tile) for tile in piece.tiles]
    return digest(*(np.asarray(array[place], np.float32) for place in places for array in arrays))


def kept(prediction: Prediction, journal: Journal) -> dict[int, Entry]:
    """Return the finished pieces whose values are whole in the store.

    Raises
    ------
    InputError
        If they were made of another input than that which is there now.
    """
    pieces = prediction.pieces
    arrays = prediction.outputs(zarr.open_group(journal.store, mode="r"))
    entries = {n: entry for n, entry in journal.done.items() if 0 <= n < len(pieces)}
    whole = {n: e for n, e in entries.items() if _stands(arrays, prediction, pieces[n], e)}
    if len(whole) < len(journal.done):
        warn(
            logger,
            f"{len(journal.done) - len(whole)} of {len(journal.done)} finished pieces of "
            f"{journal.output} are damaged and are computed again.",
        )
    for piece, fields in windows(prediction, [pieces[n] for n in sorted(whole)]):
        if digest(fields) != whole[piece.number].input:
            raise InputError(
                f"the unfinished {journal.output} was made of another input: its values have "
                "changed since; add --overwrite without --resume to begin anew"
            )
    return whole


def check(
    arrays: Sequence[Output],
    prediction: Prediction,
    entries: Mapping[int, Entry],
    path: Path,
    progress: bool,
) -> None:
    """Compare arrays, one per target, with what was computed.

    Raises
    ------
    InputError
        If they are not the same.
    """
    with bar(f"Checking {path.name}", len(prediction.pieces), progress) as advance:
        for number, piece in enumerate(prediction.pieces):
            if not _stands(arrays, prediction, piece, entries[number]):
                raise InputError(
                    f"{path} does not hold what was computed: the disk or the file system loses or "
                    "changes data"
                )
            advance(1)


def summary(values: Sequence[str]) -> str:
    """Return one digest for those of all pieces, in their order."""
    return hashlib.blake2b(" ".join(values).encode(), digest_size=8).hexdigest()


def frame_of(store: Path, targets: Sequence[str]) -> str:
    """Return the digest of all files of a store but the chunks of the targets."""
    found = hashlib.blake2b(digest_size=8)
    for file in sorted(file for file in store.rglob("*") if file.is_file()):
        name = file.relative_to(store)
        if not (len(name.parts) > 2 and name.parts[0] in targets):
            found.update(f"{name}".encode())
            found.update(file.read_bytes())
    return found.hexdigest()


def _stands(arrays: Sequence[Output], prediction: Prediction, piece: Piece, entry: Entry) -> bool:
    try:
        return values_of(arrays, prediction, piece) == entry.values
    except Exception:  # what a damaged chunk makes codecs raise is of every kind
        logger.debug("A piece could not be read.", exc_info=True)
        return False
