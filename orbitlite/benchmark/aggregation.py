"""Channels to one token: the absorbed attention against the published formulation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.benchmark import measure
from orbitlite.benchmark.session import Session
from orbitlite.model.channels import HierarchicalChannels

REFERENCE = "published"
_COPIES = 9  # of the tokens at the peak of the published training step, measured


class PublishedChannels(nn.Module):
    """Tokens of all channels, their keys and values, one learned query through fused attention.

    ClimaX (Nguyen et al. 2023, section 3.1), as ORBIT-2 and the baseline of D-CHAG use it; here
    with the patch embeddings of all channels in one product. It is here to be measured, not to be
    trained.

    Parameters
    ----------
    channels, patch_cells, embed_dim, num_heads : int
        C, P, D and A.
    """

    def __init__(self, channels: int, patch_cells: int, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.embed_weight = nn.Parameter(torch.randn(channels, embed_dim, patch_cells))
        self.embed_bias = nn.Parameter(torch.randn(channels, embed_dim))
        self.query = nn.Parameter(torch.randn(1, 1, embed_dim))
        self.to_query = nn.Linear(embed_dim, embed_dim)
        self.to_key_value = nn.Linear(embed_dim, 2 * embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)

    def forward(self, patches: Tensor, present: Tensor) -> Tensor:
        """Aggregate patches (B, L, C, P) to tokens (B, L, D); all channels are taken as present."""
        b, length, channels, _ = patches.shape
        tokens = torch.einsum("blcp,cdp->blcd", patches, self.embed_weight) + self.embed_bias
        rows = tokens.flatten(0, 1)
        dim = rows.shape[-1]
        heads = self.num_heads
        pairs = self.to_key_value(rows).view(-1, channels, 2, heads, dim // heads)
        key, value = pairs.permute(2, 0, 3, 1, 4).unbind(0)
        query = self.to_query(self.query).view(1, 1, heads, -1).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query.expand(len(rows), -1, -1, -1), key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(b, length, dim))
        return out


@dataclass(frozen=True)
class AggregationSetup:
    """One aggregation in one mode.

    Attributes
    ----------
    channels, embed_dim, num_heads : int
        C, D and A.
    height, width, patch_size, batch : int
        Coarse grid, patch and samples.
    mode : str
        `forward` or `forward+backward`.
    variant : str
        `ours` or `published`.
    """

    channels: int
    embed_dim: int
    num_heads: int
    height: int = 32
    width: int = 64
    patch_size: int = 2
    batch: int = 2
    mode: str = "forward"
    variant: str = "ours"

    @property
    def tokens(self) -> int:
        """Number of positions per sample."""
        return (self.height // self.patch_size) * (self.width // self.patch_size)


def rows(channels: list[int], widths: list[int], session: Session) -> Iterator[dict[str, Any]]:
    """Measure the aggregation for numbers of channels and widths D, heads 64 wide.

    Returns
    -------
    iterator of dict
        One per case, mode and variant. Where the published form would not fit in memory the batch
        is halved; where that does not help it is left out, and with it the ratios.
    """
    cases = [
        AggregationSetup(count, embed_dim, max(1, embed_dim // 64), mode=mode)
        for embed_dim in widths
        for count in channels
        for mode in measure.MODES
    ]
    return session.over(
        cases,
        lambda case: f"aggregation C={case.channels} D={case.embed_dim} {case.mode}",
        lambda case: 2 * session.calls,
        partial(_compare, session=session),
    )


def _compare(case: AggregationSetup, session: Session) -> list[dict[str, Any]]:
    room = free_bytes(session.device)
    if _published_bytes(case) > room:
        case = replace(case, batch=1)
    variants = ["ours"] if _published_bytes(case) > room else [REFERENCE, "ours"]
    cases = {name: replace(case, variant=name) for name in variants}
    measured = session.compare(cases, prepare, REFERENCE)
    return [
        {"part": "aggregation", **asdict(one), "tokens": one.tokens, **measured[name]}
        for name, one in cases.items()
    ]


def _published_bytes(case: AggregationSetup) -> int:
    return _COPIES * 4 * case.batch * case.tokens * case.channels * case.embed_dim


def free_bytes(device: torch.device) -> float:
    """Return the free memory of a device, infinity where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    lines = table.read_text().splitlines() if table.exists() else []
    return next((float(n.split()[1]) * 1024 for n in lines if "MemAvailable" in n), math.inf)


def prepare(case: AggregationSetup, device: str, threads: int) -> measure.Call:
    """Build a case's module and input, ready to be called.

    Parameters
    ----------
    case : AggregationSetup
    device : str
    threads : int
        Threads of torch from here on.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sizes = (case.patch_size**2, case.embed_dim, case.num_heads)
    module = (
        PublishedChannels(case.channels, *sizes)
        if case.variant == REFERENCE
        else HierarchicalChannels([range(case.channels)], *sizes)
    ).to(device)
    patches = torch.randn(case.batch, case.tokens, case.channels, case.patch_size**2).to(device)
    present = torch.ones(patches.shape[:3], dtype=torch.bool, device=device)
    return partial(measure.once, module, case.mode, patches, present)
