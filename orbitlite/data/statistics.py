"""Statistics: mean, standard deviation and range of every channel, in one pass over blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.blocks import spans
from orbitlite.data.sharing import ALONE, Sharing
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid
from orbitlite.notice import notice
from orbitlite.progress import bar
from orbitlite.variables import log1p_channels

logger = logging.getLogger(__name__)

# What is read at a time, all channels together.
BLOCK_BYTES = 2**26
# Values that one step of the sums takes: its temporaries stay small beside the block.
_SLAB = 2**18
# Sum of weights, mean, sum of squares, smallest and largest value: of nothing.
_NOTHING = np.array([0.0, 0.0, 0.0, np.inf, -np.inf])


@dataclass(frozen=True, eq=False)
class Statistics:
    """What the values of each channel are like.

    Attributes
    ----------
    mean, std : ndarray of shape (C,)
        Mean and standard deviation of `log1p(x)` where that is asked for, else of `x` in physical
        units.
    valid : ndarray of shape (C,)
        Share of the area that has values, in the mean over all fields.
    low, high : ndarray of shape (C,)
        Smallest and largest value, in physical units.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    valid: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the values of each channel, of one source or of several.

    Attributes
    ----------
    channels : tuple of str
    sums : ndarray of shape (C, 5)
        Sum of weights (one for the whole area in all fields), mean, weighted sum of squares from
        the mean, smallest and largest value; of nothing where a channel is not there.
    """

    channels: tuple[str, ...]
    sums: NDArray[np.float64]

    @property
    def valid(self) -> NDArray[np.float64]:
        """Share of the area that has values, in the mean over all fields, (C,)."""
        return self.sums[:, 0]

    @classmethod
    def of(
        cls,
        ds: xr.Dataset,
        channels: Sequence[str],
        grid: Grid,
        log1p: Sequence[str] | None = None,
        *,
        progress: bool = True,
        sharing: Sharing = ALONE,
    ) -> Moments:
        """Look at all values; see `statistics` for the arguments. Channels may be absent.

        Of several processes each reads a part of the blocks. They are merged in the order of the
        blocks on all of them: the sums are those of one process, bit for bit.
        """
        present = [name for name in channels if name in ds]
        log_transformed = log1p_channels(channels) if log1p is None else log1p
        blocks = list(_blocks(ds[present]))

        def read() -> dict[int, dict[str, NDArray[np.float64]]]:
            own = range(sharing.rank, len(blocks), sharing.size)
            with bar("Statistics", len(own), progress, keep=False) as advance:
                return {number: _summed(*blocks[number], grid, log_transformed, advance)
                        for number in own}  # fmt: skip

        found = {number: sums for part in sharing.gather(read) for number, sums in part.items()}
        total = np.tile(_NOTHING, (len(channels), 1))
        for number in range(len(blocks)):
            for name, sums in found[number].items():
                row = channels.index(name)
                total[row] = _merge(total[row], sums)
        for name in present:
            fields = ds[name].size / grid.weights.size
            total[channels.index(name), [0, 2]] /= fields * float(grid.weights.sum())
        return cls(tuple(channels), total)

    @classmethod
    def together(cls, parts: Sequence[Moments], shares: Sequence[float]) -> Moments:
        """Merge those of several sources, each with its share of the samples."""
        total = np.tile(_NOTHING, (len(parts[0].channels), 1))
        for part, share in zip(parts, shares, strict=True):
            scaled = part.sums.copy()
            scaled[:, [0, 2]] *= share / sum(shares)
            merged = [_merge(one, more) for one, more in zip(total, scaled, strict=True)]
            total = np.array(merged).reshape(total.shape)  # there may be no channel
        return cls(parts[0].channels, total)

    def statistics(self) -> Statistics:
        """Return what the values are like.

        Raises
        ------
        InputError
            If a channel has no valid value, or infinite ones.
        """
        return _finish(self.channels, self.sums)

    def statistics_of(self, present: Collection[str]) -> Statistics:
        """Return what the values of the channels that there are are like, and those of others.

        Absent ones have the mean 0, the standard deviation 1, and a range that holds nothing:
        from infinity down to minus infinity.

        Parameters
        ----------
        present : collection of str
        """
        where = [row for row, name in enumerate(self.channels) if name in present]
        known = _finish([self.channels[row] for row in where], self.sums[where])
        whole = []
        for values, absent in (
            (known.mean, 0.0), (known.std, 1.0), (known.valid, 0.0), (known.low, np.inf),
            (known.high, -np.inf),
        ):  # fmt: skip
            found = np.full(len(self.channels), absent)
            found[where] = values
            whole.append(found)
        return Statistics(*whole)


def statistics(
    ds: xr.Dataset,
    channels: Sequence[str],
    grid: Grid,
    log1p: Sequence[str] | None = None,
    *,
    progress: bool = True,
) -> Statistics:
    """Compute statistics over all valid values; means are weighted by area.

    Blocks of steps are read one after the other, their moments merged (Chan, Golub and LeVeque
    1983, The American Statistician 37, 242-247): the store need not fit into memory, and the
    result does not depend on its chunks beyond rounding.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical, with `channels`. Missing values do not count.
    channels : sequence of str
        Codes of classes count as the numbers that they are.
    grid : Grid
        Of `ds`: gives the areas.
    log1p : sequence of str, optional
        Channels whose statistics are those of log(1 + x). None: those of which the table of
        variables says so.
    progress : bool
        Show a bar, on a terminal.

    Returns
    -------
    Statistics
        A constant channel has the standard deviation 1, with a notice.

    Raises
    ------
    InputError
        If a channel has no valid value, or infinite ones.
    """
    return Moments.of(ds, channels, grid, log1p, progress=progress).statistics()


def _blocks(ds: xr.Dataset) -> Iterator[tuple[list[str], xr.Dataset]]:
    """Yield channels and what to read of them at a time; no stored chunk is divided."""
    timeless = [str(name) for name in ds.data_vars if "time" not in ds[name].dims]
    if timeless:
        yield timeless, ds[timeless].chunk()
    names = [str(name) for name in ds.data_vars if name not in timeless]
    if not names:
        return
    ds = ds[names]
    steps = ds.sizes["time"]
    at_once = max(1, BLOCK_BYTES * steps // max(1, ds.nbytes))
    held = [name for name in names if not ds[name].chunks]
    in_chunks = ds.assign({name: ds[name].chunk(time=at_once) for name in held})
    for span in spans(ds, at_once):
        yield names, in_chunks.isel(time=span)


def _summed(
    names: Sequence[str],
    block: xr.Dataset,
    grid: Grid,
    log1p: Collection[str],
    advance: Callable[[int], None],
) -> dict[str, NDArray[np.float64]]:
    """Return the moments of each channel of a block, which is read."""
    parts = [_moments_of(block[name], grid, name in log1p) for name in names]
    found = {name: _fold(part) for name, part in zip(names, dask.compute(*parts), strict=True)}
    advance(1)
    return found


def _moments_of(field: xr.DataArray, grid: Grid, log: bool) -> Any:
    """Return lazily the moments of every chunk, (..., 5)."""
    values = field.transpose(..., *grid.dims).data
    weights = dask.array.from_array(grid.weights, chunks=values.chunks[-2:])
    dims = tuple(range(values.ndim))
    return dask.array.blockwise(
        _moments, (*dims, -1), values, dims, weights, dims[-2:], log=log, dtype=np.float64,
        new_axes={-1: len(_NOTHING)}, adjust_chunks=dict.fromkeys(dims, 1), concatenate=True,
        meta=np.zeros((0,) * (values.ndim + 1)),
    )  # fmt: skip


def _moments(values: NDArray[Any], weights: NDArray[np.float64], log: bool) -> NDArray[np.float64]:
    """Return the moments of one chunk (..., h, w), those of `_NOTHING`, as (1, ..., 5)."""
    shape = (1,) * values.ndim + _NOTHING.shape
    total = _NOTHING
    fields = values.reshape(-1, weights.size)
    area = weights.ravel()
    step = max(1, _SLAB // weights.size)
    for start in range(0, len(fields), step):
        slab = fields[start : start + step].astype(np.float64)
        low = np.fmin.reduce(slab, axis=None, initial=np.inf)
        high = np.fmax.reduce(slab, axis=None, initial=-np.inf)
        if log:
            slab = np.log1p(slab.clip(min=0.0))
        valid = ~np.isnan(slab)
        weight = valid * area
        count = weight.sum()
        if count > 0:
            with np.errstate(invalid="ignore"):
                mean = np.where(valid, slab, 0.0).ravel() @ weight.ravel() / count
                square = np.where(valid, slab - mean, 0.0).ravel() ** 2 @ weight.ravel()
            total = _merge(total, np.array([count, mean, square, low, high]))
    return total.reshape(shape)


def _merge(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge the moments of two samples."""
    count = one[0] + other[0]
    if count == 0:
        return one
    with np.errstate(invalid="ignore"):  # infinite means: reported at the end
        gap = other[1] - one[1]
        mean = one[1] + gap * other[0] / count
        square = one[2] + other[2] + gap**2 * one[0] * other[0] / count
    return np.array([count, mean, square, min(one[3], other[3]), max(one[4], other[4])])


def _fold(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    total = _NOTHING
    for row in moments.reshape(-1, len(_NOTHING)):
        total = _merge(total, row)
    return total


def _finish(channels: Sequence[str], total: NDArray[np.float64]) -> Statistics:
    for channel, (count, mean, square, *_) in zip(channels, total, strict=True):
        if count == 0:
            raise InputError(
                f"{channel} has no valid value in the training period: every value is missing."
            )
        if not np.isfinite([mean, square]).all():
            raise InputError(
                f"The mean or the standard deviation of {channel} is not finite: it holds infinite "
                "values; mask them as missing first."
            )
    mean = total[:, 1]
    std = np.sqrt(total[:, 2] / total[:, 0])
    # float32 data cannot vary less
    constant = std <= 1e-7 * np.abs(mean)
    for channel in np.asarray(channels)[constant]:
        notice(logger, f"{channel} is constant: it is scaled by 1.")
    std = np.where(constant, 1.0, std)
    return Statistics(mean, std, total[:, 0], total[:, 3], total[:, 4])
