"""Frame: the cells of a grid that are worked on, where not all of a window is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from orbitlite.batch import Batch
from orbitlite.model.borders import Borders


@dataclass(frozen=True)
class Frame:
    """The cells of the core of each sample and a margin around them, on one grid.

    A window ends where its tile or its context does; there the margin does, too, and the frame
    reaches further in on the other side: all samples have frames of one shape.

    Attributes
    ----------
    first : Tensor of shape (B, 2), int64
        First row and first column, in cells of the grid.
    shape : tuple of int
        Rows and columns.
    window : tuple of int
        Those of the whole window on the grid.
    """

    first: Tensor
    shape: tuple[int, int]
    window: tuple[int, int]

    @classmethod
    def of(cls, batch: Batch) -> Frame:
        """Return the core of a batch on the coarse grid."""
        if batch.core is None:
            return cls.all_of(batch.coarse)
        height, width = batch.coarse.shape[-2:]
        return cls(batch.core.first, batch.core.shape, (height, width))

    @classmethod
    def all_of(cls, x: Tensor) -> Frame:
        """Return that of all cells of maps (B, C, H, W)."""
        height, width = x.shape[-2:]
        first = torch.zeros(len(x), 2, dtype=torch.int64, device=x.device)
        return cls(first, (height, width), (height, width))

    def around(self, margin: int) -> Frame:
        """Add a margin of so many cells on each side, as far as the window reaches."""
        if self.whole:
            return self
        shape = [
            min(own + 2 * margin, most) for own, most in zip(self.shape, self.window, strict=True)
        ]
        last = torch.tensor(
            [most - own for own, most in zip(shape, self.window, strict=True)],
            device=self.first.device,
        )
        first = torch.minimum((self.first - margin).clamp_min(0), last)
        return Frame(first, (shape[0], shape[1]), self.window)

    def finer(self, factor: int) -> Frame:
        """Return the same part of a grid that is so many times finer."""
        if factor == 1:
            return self
        shape, window = (
            (factor * rows, factor * columns) for rows, columns in (self.shape, self.window)
        )
        return Frame(self.first * factor, shape, window)

    @property
    def whole(self) -> bool:
        """Whether it is all of the window."""
        return self.shape == self.window

    def cut(self, x: Tensor, of: Frame | None = None) -> Tensor:
        """Take its cells out of maps of a larger frame.

        Parameters
        ----------
        x : Tensor of shape (B M, C, h, w)
            M for each sample, one after the other.
        of : Frame, optional
            What x is on. None: all of the window.
        """
        if self.shape == tuple(x.shape[-2:]):
            return x
        first = self.first if of is None else self.first - of.first
        first = first.repeat_interleave(len(x) // len(first), 0)
        out: Tensor = _Cut.apply(x, first, self.shape)
        return out

    def pick(self, x: Tensor, more: int = 0) -> Tensor:
        """Take its rows and columns, and so many behind them, of (B, h, w) or (B, h, w, n).

        An axis of one value is left as it is. No gradient is meant to pass.
        """
        if self.whole:
            return x
        for axis in (0, 1):
            if x.shape[axis + 1] > 1:
                index = _run(self.first[:, axis], self.shape[axis] + more)
                index = index.view(len(x), *[-1 if at == axis else 1 for at in range(x.ndim - 1)])
                shape = [own if at != axis + 1 else -1 for at, own in enumerate(x.shape)]
                x = x.gather(axis + 1, index.expand(shape))
        return x

    def borders(self, borders: Borders) -> Borders:
        """Return what lies beyond the edges of the frame, given what does beyond the window's."""
        if self.whole:
            return borders
        top = self.first[:, 0] == 0
        bottom = self.first[:, 0] + self.shape[0] == self.window[0]
        around = borders.wraps
        if self.shape[1] < self.window[1]:
            around = torch.zeros_like(around)
        return Borders(around, borders.north & top, borders.south & bottom)


class _Cut(torch.autograd.Function):
    """Take windows out of maps: (B, C, H, W) to (B, C, h, w), channels last.

    No cell is taken twice, so that on the way back nothing has to be added up.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Tensor, shape: tuple[int, int]) -> Tensor:
        sample = torch.arange(len(x), device=x.device)[:, None, None]
        rows = _run(first[:, 0], shape[0])[:, :, None]
        columns = _run(first[:, 1], shape[1])[:, None]
        ctx.save_for_backward(rows, columns)
        ctx.size = x.shape
        return x.permute(0, 2, 3, 1)[sample, rows, columns].permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns = ctx.saved_tensors
        b, c, h, w = ctx.size
        sample = torch.arange(b, device=gradient.device)[:, None, None]
        out = gradient.new_zeros(b, h, w, c)
        out[sample, rows, columns] = gradient.permute(0, 2, 3, 1)
        return out.permute(0, 3, 1, 2), None, None


def _run(first: Tensor, count: int) -> Tensor:
    """Return the indices (B, count) that follow each other from the first ones."""
    return first[:, None] + torch.arange(count, device=first.device)
