"""Inputs: the channels of a canonical dataset as one array, in the model's order."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.grids.grid import dims_of
from orbitlite.model.bundle import Bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.ensemble import Ensemble
from orbitlite.model.record import unseen_of
from orbitlite.notice import notice, warn
from orbitlite.variables import lookup

logger = logging.getLogger(__name__)

# What one block of a lazy prediction may take, coarse and fine fields together: as much as dask
# gives a chunk by itself.
_BLOCK_BYTES = 2**27


def stack(ds: xr.Dataset, inputs: Sequence[str], outputs_per_cell: int) -> xr.Variable:
    """Bring channels into one float32 array; absent ones are missing values.

    Parameters
    ----------
    ds : xarray.Dataset
        Canonical: `(..., time, lat, lon)`, statics `(lat, lon)`.
    inputs : sequence of str
        Channels, in the model's order.
    outputs_per_cell : int
        Values that the model gives per coarse cell; bounds the blocks of a lazy array.

    Returns
    -------
    xarray.Variable
        `(..., time, channel, lat, lon)`; one step where the dataset has no time. Lazy if a channel
        that changes with time is; then every block holds all channels. Chunks of steps and members
        stay, but for those that are uneven or too large; a notice says so.

    Raises
    ------
    InputError
        If none of the channels that change with time is there.
    """
    present = [name for name in inputs if name in ds]
    moving = [name for name in present if not lookup(name).static]
    if not moving:
        raise InputError(
            f"None of the model's inputs is in the data: expected some of {', '.join(inputs)}, "
            f"found {', '.join(map(str, ds.data_vars)) or 'nothing that was recognised'}."
        )
    absent = [name for name in inputs if name not in ds]
    if absent:
        text = f"Not in the data, so the network does without: {', '.join(absent)}."
        warn(logger, text)
    lazy = any(ds[name].chunks for name in moving)
    ds = ds[present]
    if lazy:
        ds = ds.chunk()
    horizontal = ("time", *dims_of(ds))
    extra = [dim for name in moving for dim in ds[name].dims if dim not in horizontal]
    shape = {dim: ds.sizes.get(dim, 1) for dim in (*dict.fromkeys(extra), *horizontal)}
    like = ds[moving[0]].variable
    columns = [_column(ds, name, like, shape) for name in inputs]
    lead = [*shape][:-2]
    stacked: xr.Variable = xr.Variable.concat(columns, "channel")  # type: ignore[no-untyped-call]
    stacked = stacked.transpose(*lead, "channel", *horizontal[1:])
    if lazy:
        cells = shape[horizontal[1]] * shape[horizontal[2]]
        size = 4 * cells * (len(inputs) + outputs_per_cell)
        chunks = {dim: stacked.chunksizes[dim] for dim in lead}
        stacked = stacked.chunk({**_blocks(chunks, size), "channel": -1})
    return stacked


def seen(ds: xr.Dataset, bundle: Bundle) -> xr.Dataset:
    """Leave out the inputs of which the model's training had no value, and say so.

    To the network they are missing, as they were there; it knows neither their scale nor what they
    mean. Of several models that are averaged, each does without its own (see `Ensemble`).

    Parameters
    ----------
    ds : xarray.Dataset
        Canonical.
    bundle : Bundle
    """
    model = bundle.model
    unseen = [name for name in unseen_of(bundle.metadata, model.config.inputs) if name in ds]
    if isinstance(model, Ensemble):
        _tell_partly_seen(model, [str(name) for name in ds if name not in unseen])
    if not unseen:
        return ds
    text = f"Left out, because the model's training had no value of them: {', '.join(unseen)}."
    warn(logger, text)
    return ds.drop_vars(unseen)


def _tell_partly_seen(model: Ensemble, channels: Sequence[str]) -> None:
    """Say which channels some of several models do without, because they have not seen them."""
    lacking = {name: sum(name in own for own in model.unseen) for name in channels}
    if told := [f"{name} ({count})" for name, count in lacking.items() if count]:
        warn(
            logger,
            f"Left out for some of the {len(model.unseen)} models (how many), because their "
            f"training had no value of them: {', '.join(told)}.",
        )


def check_targets(ds: xr.Dataset, config: DownscalerConfig, fill: bool) -> None:
    """Refuse data of which every target would come out missing.

    Raises
    ------
    InputError
        If the model has all its targets among its inputs, the data have none of them, and cells of
        which the inputs say nothing are not to be filled.
    """
    if not fill and all(name in config.inputs and name not in ds for name in config.targets):
        raise InputError(
            f"The data have no {' and no '.join(config.targets)}, which the model takes as input "
            "and refines: add it to the data, or set fill to let the network make it up from the "
            "other inputs."
        )


def _column(
    ds: xr.Dataset, name: str, like: xr.Variable, shape: Mapping[Hashable, int]
) -> xr.Variable:
    field = ds[name].variable if name in ds else xr.full_like(like.astype(np.float32), np.nan)
    spread: xr.Variable = field.set_dims(shape)  # type: ignore[no-untyped-call]
    return spread.astype(np.float32)


def _blocks(chunks: Mapping[Hashable, tuple[int, ...]], size: int) -> dict[Hashable, int]:
    """Choose how many steps and members a block holds; `size`: bytes of one sample.

    A Zarr store can only be written of even chunks.
    """
    room = max(1, _BLOCK_BYTES // size)
    blocks: dict[Hashable, int] = {}
    for dim in reversed(chunks):
        largest = max(chunks[dim], default=1)
        blocks[dim] = max(1, min(largest, room))
        room = max(1, room // blocks[dim])
        if blocks[dim] < largest:
            reason = f"more take over {_BLOCK_BYTES // 2**20} MiB at once"
        elif set(chunks[dim][:-1]) | {largest} != {largest}:
            reason = "chunks of one size can be written to any store"
        else:
            continue
        notice(logger, f"The prediction is in chunks of {blocks[dim]} along {dim}: {reason}.")
    return blocks


def say_if_joined(fields: xr.Variable) -> None:
    """Say that the chunks of lazy fields are joined where the network takes the whole region."""
    chunks = [len(fields.chunksizes[dim]) for dim in fields.dims[-2:]]
    if max(chunks) > 1:
        notice(
            logger,
            f"The {chunks[0]} x {chunks[1]} chunks of the region are joined: a block of the "
            "computation is the whole region for some time steps.",
        )
