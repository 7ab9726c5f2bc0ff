"""Codecs: which ones a Zarr store may ask for to have its chunks decoded.

Names of codecs stand in the store, and one of them (`pickle`) runs what its author wrote.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from orbitlite.errors import InputError

# Those of Zarr and of numcodecs that compute with the bytes of a chunk and do nothing else.
_KNOWN = frozenset((
    "adler32", "astype", "base64", "bitround", "blosc", "bytes", "bz2", "cast_value",
    "categorize", "crc32", "crc32c", "delta", "endian", "fixedscaleoffset", "fletcher32",
    "gzip", "jenkins_lookup3", "json2", "lz4", "lzma", "msgpack2", "packbits", "pcodec",
    "quantize", "scale_offset", "sharding_indexed", "shuffle", "transpose", "vlen-array",
    "vlen-bytes", "vlen-utf8", "zfpy", "zlib", "zstd",
))  # fmt: skip
_PREFIX = "numcodecs."
_LISTS = ("compressor", "filters", "codecs", "index_codecs")
# What is read as a whole, coordinates, may be said to be of any length in a small store.
_MOST_VALUES = 2**28


class CheckedStore(WrapperStore[Store]):  # type: ignore[misc]
    """A Zarr store whose metadata are examined as they are read, before anything acts on them."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value of the store; refuse metadata that ask for a codec that is not known."""
        value = await super().get(key, prototype, byte_range)
        if value is not None and key.rpartition("/")[2] in (".zarray", ".zmetadata", "zarr.json"):
            check_metadata(key, value.to_bytes())
        return value

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)


def check_metadata(key: str, text: bytes) -> None:
    """Examine a document of a Zarr store, of version 2 or 3, consolidated or not.

    Parameters
    ----------
    key : str
        Where it stands.
    text : bytes
        JSON. What is none is left to the library to complain of.

    Raises
    ------
    InputError
        If an array asks for a codec that is not known, or says that it has more than 2**28 values
        in one dimension.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    for array in _arrays(document):
        for name in _codecs(array):
            if name.removeprefix(_PREFIX) not in _KNOWN:
                raise InputError(
                    f"the store asks for the codec {name!r} ({key}), which is not among those "
                    "that are known to do nothing but decode. If you trust the store, open it "
                    "with xarray and pass the dataset."
                )
        shape = array.get("shape")
        if isinstance(shape, list) and len(shape) == 1 and _large(shape[0]):
            raise InputError(
                f"an array says that it has {shape[0]:,} values in one dimension ({key}): "
                f"expected at most {_MOST_VALUES:,}."
            )


def _large(size: Any) -> bool:
    return isinstance(size, (int, float)) and size > _MOST_VALUES


def _arrays(document: Any) -> Iterator[dict[str, Any]]:
    """Yield what a document says of arrays, those that it speaks for others included."""
    if not isinstance(document, dict):
        return
    yield document
    consolidated = document.get("consolidated_metadata")
    parts = consolidated if isinstance(consolidated, dict) else document
    found = parts.get("metadata")
    for part in found.values() if isinstance(found, dict) else ():
        if isinstance(part, dict):
            yield from _arrays(part)


def _codecs(part: dict[str, Any]) -> Iterator[str]:
    """Yield the names of codecs, those within others included."""
    for key in _LISTS:
        listed = part.get(key)
        for codec in listed if isinstance(listed, list) else [listed]:
            if isinstance(codec, str):
                yield codec
            if not isinstance(codec, dict):
                continue
            within = codec.get("configuration")
            for holder in (codec, within if isinstance(within, dict) else {}):
                yield from (str(holder[word]) for word in ("id", "name") if word in holder)
                yield from _codecs(holder)
