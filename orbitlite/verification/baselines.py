"""Baselines: interpolation of the coarse field, and quantile mapping of it (BCSD style)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import torch
from torch import Tensor

from orbitlite.model.interpolation import Mode, upsample
from orbitlite.registry import Registry

INTERPOLATIONS: Final[tuple[Mode, ...]] = ("nearest", "bilinear", "bicubic")
QUANTILE_MAPPED: Final = "quantile_mapped"
_BAND_BYTES = 2**28
_TABLE_BYTES = 2**29
_MOST_LEVELS, _LEAST_LEVELS = 500, 20
_FEW = 30


Baseline: TypeAlias = Callable[..., Tensor]
"""Fine fields (T, f H, f W) of `(coarse, factor, wraps, nonnegative=...)`; see `interpolate`."""
BASELINES = Registry[Baseline]("baseline")
"""By the name in the table: those that need no fit. They are made of the coarse input alone."""


def interpolate(
    coarse: Tensor, factor: int, wraps: bool, mode: Mode, nonnegative: bool = False
) -> Tensor:
    """Interpolate a series of coarse fields to the fine grid.

    Parameters
    ----------
    coarse : Tensor of shape (T, H, W)
    factor : int
    wraps : bool
        Whether the grid is periodic in longitude.
    mode : {"nearest", "bilinear", "bicubic"}
    nonnegative : bool
        Clip at zero: bicubic interpolation undershoots beside steep gradients.

    Returns
    -------
    Tensor of shape (T, factor H, factor W)
    """
    around = torch.full((len(coarse),), wraps)
    fine = upsample(coarse[:, None], factor, around, mode)[:, 0]
    return fine.clamp_min(0.0) if nonnegative else fine


for _mode in INTERPOLATIONS:
    BASELINES.register(_mode)(partial(interpolate, mode=_mode))


@dataclass(frozen=True)
class QuantileMap:
    """Empirical quantile mapping, one map per fine cell.

    The bias correction of BCSD (Wood et al. 2004, doi:10.1023/B:CLIM.0000013685.99609.9e) with
    the bilinear coarse field as the spatial disaggregation: a value at a level of the
    distribution of the interpolated coarse field in the training period becomes the value at the
    same level of the fine truth. Linear between the levels that are kept.

    - Dry part: where several levels share one value (days without rain), that value maps to the
      lowest of them, so zero stays zero and drizzle below the truth's dry share becomes zero.
      Where the coarse field is dry more often than the truth, the missing wet days are not
      invented.
    - Beyond the training range the correction at the end of the range is kept constant (Boe et
      al. 2007, doi:10.1002/joc.1602); variables without negative values are clipped at zero.
    - Cells without truth in training keep the bilinear value.

    Attributes
    ----------
    source, target : Tensor of shape (H, W, levels)
        Ascending along the levels.
    pairs : Tensor of shape (H, W)
        Times of the training period at which both had a value.
    nonnegative : bool
    """

    source: Tensor
    target: Tensor
    pairs: Tensor
    nonnegative: bool

    @property
    def idle(self) -> str:
        """Why the mapping would change nothing; empty if it does change something."""
        if not bool(self.pairs.any()):
            return "coarse input and truth of the training period have no value at the same time"
        if torch.equal(self.source.nan_to_num(), self.target.nan_to_num()):
            return (
                "in the training period the interpolated coarse input and the truth are the same, "
                "so that it would be the bilinear field"
            )
        return ""

    @property
    def doubts(self) -> list[str]:
        """What the mapping lacks."""
        empty = int((self.pairs == 0).sum())
        found = [f"{empty:,} cells have none and keep the bilinear value"] if empty else []
        if int(self.pairs.max()) < _FEW:
            found.append(f"fewer than {_FEW} tell little of the tails")
        return found

    @property
    def basis(self) -> str:
        """On how many times it was fitted, in words."""
        used = self.pairs[self.pairs > 0]
        least, most = int(used.min()), int(used.max())
        return f"{most} times" if least == most else f"{least} to {most} times, by cell,"

    def apply(self, fields: Tensor) -> Tensor:
        """Map interpolated fields.

        Parameters
        ----------
        fields : Tensor of shape (T, H, W)

        Returns
        -------
        Tensor of shape (T, H, W)
        """
        x = fields.permute(1, 2, 0).contiguous()
        last = self.source.shape[-1] - 1
        upper = torch.searchsorted(self.source, x).clamp(1, last) if last else None
        first, final = self.source[..., :1], self.source[..., -1:]
        below = self.target[..., :1] + x - first
        above = self.target[..., -1:] + x - final
        mapped = torch.where(x <= first, below, above)
        if upper is not None:
            low, high = self.source.gather(-1, upper - 1), self.source.gather(-1, upper)
            start, end = self.target.gather(-1, upper - 1), self.target.gather(-1, upper)
            share = (x - low) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)
            inside = (x > first) & (x <= final)
            mapped = torch.where(inside, start + share * (end - start), mapped)
        # NaN compares as false everywhere above, so a missing value must be put back.
        mapped = torch.where(self.source[..., :1].isnan() | x.isnan(), x, mapped)
        if self.nonnegative:
            mapped = mapped.clamp_min(0.0)
        return mapped.permute(2, 0, 1)


Reader = Callable[[slice], Tensor]


def fit_quantile_map(
    read_coarse: Reader,
    read_fine: Reader,
    shape: tuple[int, int, int],
    factor: int,
    wraps: bool,
    nonnegative: bool,
    advance: Callable[[float], None] = lambda share: None,
) -> QuantileMap:
    """Fit the maps band by band of latitude, so that memory stays bounded.

    Up to 500 training days every day is a level. Beyond, or where the two tables would pass
    512 MiB, the levels are set at (1 - cos(pi u)) / 2 for evenly spaced u: dense in both tails.

    Parameters
    ----------
    read_coarse, read_fine : callable
        From a slice of rows to the series of these rows, shape (T, rows, W), same times in both.
    shape : tuple of int
        (T, H, W) of the coarse series.
    factor : int
    wraps, nonnegative : bool
    advance : callable
        Told the share of the work done by each band.

    Returns
    -------
    QuantileMap
    """
    count, height, width = shape
    levels = _levels(count, height * width * factor**2)
    size = (height * factor, width * factor, len(levels))
    source, target = torch.empty(size), torch.empty(size)
    pairs = torch.empty(size[:2], dtype=torch.int32)
    # Sorting and masking hold about six copies of the band's two series.
    row_bytes = 6 * 4 * count * width * factor**2
    band = max(1, _BAND_BYTES // row_bytes)
    for top in range(0, height, band):
        bottom = min(height, top + band)
        # One more coarse row on each side makes the interpolation the same as of the whole grid.
        first, last = max(0, top - 1), min(height, bottom + 1)
        around = interpolate(read_coarse(slice(first, last)), factor, wraps, "bilinear")
        x = around[:, (top - first) * factor : (bottom - first) * factor]
        rows = slice(top * factor, bottom * factor)
        y = read_fine(rows)
        both = torch.isfinite(x) & torch.isfinite(y)
        source[rows] = _order_statistics(torch.where(both, x, torch.nan), levels)
        target[rows] = _order_statistics(torch.where(both, y, torch.nan), levels)
        pairs[rows] = both.sum(dim=0, dtype=torch.int32)
        advance((bottom - top) / height)
    return QuantileMap(source, target, pairs, nonnegative)


def _levels(days: int, cells: int) -> Tensor:
    affordable = _TABLE_BYTES // (2 * 4 * cells)
    most = max(_LEAST_LEVELS, min(_MOST_LEVELS, affordable))
    even = torch.linspace(0.0, 1.0, min(days, most), dtype=torch.float64)
    return even if days <= most else (1.0 - torch.cos(torch.pi * even)) / 2.0


def _order_statistics(series: Tensor, levels: Tensor) -> Tensor:
    """Values at the levels, linear between order statistics: (T, H, W) to (H, W, levels)."""
    ordered = series.permute(1, 2, 0).sort(dim=-1).values
    # NaN sorts to the end.
    last = (torch.isfinite(ordered).sum(dim=-1, keepdim=True) - 1).clamp_min(0)
    position = levels * last
    lower = position.floor().to(torch.int64)
    share = (position - lower).to(series.dtype)
    start = ordered.gather(-1, lower)
    end = ordered.gather(-1, torch.minimum(lower + 1, last))
    return start + share * (end - start)
