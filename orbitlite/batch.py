"""The batch: what the data room hands to the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Core:
    """The part of each sample's coarse cells of which fine fields are made.

    The others are context alone. Where samples go round the globe it has all columns.

    Attributes
    ----------
    first : Tensor of shape (B, 2), int64
        First row and first column.
    shape : tuple of int
        Rows h and columns w, alike for all samples.
    """

    first: Tensor
    shape: tuple[int, int]


@dataclass
class Batch:
    """Coarse fields, and what belongs to them, for `B` samples. Rows run from north to south.

    Attributes
    ----------
    coarse : Tensor of shape (B, C, H, W)
        Input channels in physical units of the variable table; NaN where missing.
    core : Core, optional
        What is decoded of it, h x w cells. None: all, h x w is H x W.
    fine : Tensor of shape (B, K, f h, f w), optional
        Truth in physical units; NaN where there is none. None in training: the source has no truth.
    statics : Tensor of shape (B, S, fH, fW), optional
        Static fields on the fine grid, in physical units; NaN where missing.
    lat_edges : Tensor of shape (B, H + 1), optional
        Latitudes of the coarse cell edges in degrees, descending. These and `lon_edges` are of
        grids whose cells lie between parallels and meridians.
    lon_edges : Tensor of shape (B, W + 1), optional
        Longitudes of the coarse cell edges in degrees, ascending (may exceed 180 or 360).
    corners : Tensor of shape (B, H + 1, W + 1, 2), optional
        Latitudes and longitudes of the coarse cells' corners in degrees, float64: of any other
        grid, in place of the edges.
    areas : Tensor of shape (B, f h, f w), optional
        With `corners`: area of each fine cell over that of a usual coarse cell of the grid.
    time : Tensor of shape (B,), optional
        Seconds since 1970-01-01, float64.
    regression : Tensor of shape (B, K, f h, f w), optional
        Targets of the truth's unit by a regression that has not seen the sample (`HeldOut`).
    source : int, optional
        Which of several sources the samples are of.
    sample : Tensor of shape (B,), optional
        Number of each sample within the split of its source, int64.
    counted : Tensor of shape (B, h, w), optional
        Without truth: the cells of the core that are of no other tile, bool. None: all.
    task : str, optional
        Name of the task that the samples are for, of a network that has several.
    """

    coarse: Tensor
    fine: Tensor | None = None
    statics: Tensor | None = None
    lat_edges: Tensor | None = None
    lon_edges: Tensor | None = None
    corners: Tensor | None = None
    areas: Tensor | None = None
    time: Tensor | None = None
    regression: Tensor | None = None
    core: Core | None = None
    source: int | None = None
    sample: Tensor | None = None
    counted: Tensor | None = None
    task: str | None = None

    def __len__(self) -> int:
        return int(self.coarse.shape[0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy every tensor to `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Copy every tensor into page-locked memory (called by the data loader)."""
        return self._map(lambda tensor: tensor.pin_memory())

    @staticmethod
    def collate(samples: list[Batch]) -> Batch:
        """Concatenate samples along the batch axis."""
        first = samples[0]
        if len(samples) == 1:  # what its samples share is not repeated
            return first
        columns: dict[str, Any] = {
            name: torch.cat([getattr(sample, name) for sample in samples])
            for name in first.tensors()
        }
        if first.core is not None:
            firsts = [sample.core.first for sample in samples if sample.core is not None]
            columns["core"] = Core(torch.cat(firsts), first.core.shape)
        return Batch(**columns, source=first.source, task=first.task)

    def tensors(self) -> dict[str, Tensor]:
        """Return its fields that are tensors, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in found.items() if isinstance(part, Tensor)}

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {
            name: _once(function, part) for name, part in self.tensors().items()
        }
        if self.core is not None:
            changed["core"] = Core(_once(function, self.core.first), self.core.shape)
        return replace(self, **changed)


def _once(function: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """Apply a function; to what all samples share (an expanded tensor) once for all of them."""
    if len(tensor) > 1 and tensor.stride(0) == 0:
        return function(tensor[:1]).expand_as(tensor)
    return function(tensor)
