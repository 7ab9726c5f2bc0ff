"""A linear map that all coarse cells share, by least squares."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.conv import space_to_depth
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.peers.size import Size
from orbitlite.model.geometry import Geometry
from orbitlite.model.interpolation import pad

_SPAN = 5
_RIDGE = 1e-6
"""Share of the mean of the diagonal that is added to it: neighbours are nearly alike."""


class Linear(nn.Module):
    """From 5 x 5 coarse cells of all inputs and the statics of the middle one to f x f fine cells.

    The statics are left out where the validation period says so.

    Parameters
    ----------
    size : Size
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size, f = size, size.factor
        self.local = size.inputs * _SPAN**2 + 1
        predictors = self.local + size.statics * f**2
        self.weight = nn.Parameter(torch.zeros(size.targets * f**2, predictors))

    def forward(self, x: Tensor, statics: Tensor) -> Tensor:
        """Return (B, K, fH, fW) of inputs (B, C, H, W) and statics (B, S, fH, fW)."""
        fine = self.weight @ self.predictors(x, statics)
        fine = fine.view(len(x), -1, *x.shape[-2:])
        return F.pixel_shuffle(fine, self.size.factor)

    def predictors(self, x: Tensor, statics: Tensor) -> Tensor:
        """Return the predictors (B, P, H W) of each coarse cell."""
        wraps = torch.full((len(x),), self.size.wraps, device=x.device)
        around = F.unfold(pad(x, _SPAN // 2, wraps), _SPAN)
        own = space_to_depth(statics, self.size.factor).flatten(2)
        return torch.cat([around, torch.ones_like(around[:, :1]), own], dim=1)

    @torch.no_grad()
    def solve(
        self, peer: Peer, batches: Iterable[Batch], score: Callable[[], float]
    ) -> float | None:
        """Take the weights of least area-weighted squares over all known cells.

        Parameters
        ----------
        peer : Peer
            What this is the body of.
        batches : iterable of Batch
        score : callable
            Of `peer` on the validation period; less is better.
        """
        outputs, count = self.weight.shape
        f = self.size.factor
        gram = torch.zeros(outputs, count, count, dtype=torch.float64)
        moment = torch.zeros(outputs, count, dtype=torch.float64)
        for batch in batches:
            assert batch.fine is not None
            truth = torch.where(peer.known(batch), batch.fine, torch.nan)
            wanted = (truth - peer.base(batch)) / peer.frame.target_scale[:, None, None]
            parts = torch.nan_to_num(wanted), torch.isfinite(wanted)
            # (B, K f f, H, W), then (K f f, rows)
            y, valid = (space_to_depth(p, f).transpose(0, 1).flatten(1).double() for p in parts)
            cells = Geometry.of_core(batch).areas(f).expand(-1, -1, f * self.size.width)
            area = F.avg_pool2d(cells[:, None], f).flatten().double()
            x = self.predictors(*peer.seen(batch)).transpose(0, 1).flatten(1).double()  # (P, rows)
            moment += (valid * area * y) @ x.T
            full = valid.all(dim=0)  # cells with truth in all parts share one product
            gram += (x[:, full] * area[full]) @ x[:, full].T
            for o in range(outputs if not full.all() else 0):
                some = ~full & (valid[o] > 0)
                gram[o] += (x[:, some] * area[some]) @ x[:, some].T
        scores = []
        for used in (count, self.local):
            a = gram[:, :used, :used].clone()
            diagonal = a.diagonal(dim1=1, dim2=2)
            diagonal += _RIDGE * diagonal.mean(dim=1, keepdim=True) + 1e-12
            solved = torch.linalg.solve(a, moment[:, :used, None])[..., 0]
            self.weight.zero_()
            self.weight[:, :used] = solved.to(self.weight)
            scores.append((score(), self.weight.clone()))
        self.weight.copy_(min(scores, key=lambda pair: pair[0])[1])
        return None
