"""The whole network against the published one, time and memory.

Both have the same inputs, width, depth, heads, patch, factor, and no dropout: dropout on attention
weights would rule torch's fused attention out in the reference's training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from orbitlite.batch import Batch
from orbitlite.benchmark import measure
from orbitlite.benchmark.reslim import ReslimReference
from orbitlite.benchmark.session import Session
from orbitlite.errors import InputError
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.quadtree import feasible

MAX_LEAF = 8
REFERENCE = "reslim"
_LONGEST_TRAINING = 10_000  # patches beyond which only the forward pass is measured


@dataclass(frozen=True)
class NetworkSetup:
    """One network on one grid, in one mode.

    Attributes
    ----------
    height, width : int
        Coarse grid.
    channels : int
        Input channels.
    embed_dim, depth, num_heads, patch_size, factor : int
        Sizes of the network, as in `DownscalerConfig`.
    batch : int
        Samples.
    token_share : float
        Leaves of our network over patches; 1: no compression.
    mode : str
        `forward` (inference) or `forward+backward` (training, without the optimiser).
    variant : str
        `ours` or `reslim`.
    """

    height: int = 32
    width: int = 64
    channels: int = 23
    embed_dim: int = 256
    depth: int = 6
    num_heads: int = 4
    patch_size: int = 2
    factor: int = 4
    batch: int = 1
    token_share: float = 1.0
    mode: str = "forward"
    variant: str = "ours"

    @property
    def patches(self) -> int:
        """Number of patches per sample."""
        p = self.patch_size
        return (self.height // p) * (self.width // p)

    @property
    def tokens(self) -> int:
        """Number of tokens per sample."""
        if self.token_share == 1:
            return self.patches
        p = self.patch_size
        return feasible(self.token_share, self.height // p, self.width // p, MAX_LEAF)


def rows(
    case: NetworkSetup,
    sizes: Sequence[tuple[int, int]],
    session: Session,
    shares: Sequence[float] = (1.0,),
) -> Iterator[dict[str, Any]]:
    """Measure the network and the published one, side by side.

    Parameters
    ----------
    case : NetworkSetup
        Sizes of the networks and the batch.
    sizes : sequence of (int, int)
        Coarse grids, height and width; the published network needs multiples of the patch.
    session : Session
    shares : sequence of float
        Leaves of our network over patches.

    Returns
    -------
    iterator of dict
        One per grid, mode, variant and share: the case, `tokens`, `parameters`, `seconds` (median),
        `peak_mib` (beyond the built network) and, reference over this variant, `time_ratio` and
        `memory_ratio`.

    Raises
    ------
    InputError
        If a grid is no multiple of the patch.
    """
    if odd := [size for size in sizes if any(n < 1 or n % case.patch_size for n in size)]:
        raise InputError(f"sizes: expected multiples of {case.patch_size}, found {odd[0]}")
    grids = [replace(case, height=height, width=width) for height, width in sizes]
    cases = [
        replace(grid, mode=mode)
        for grid in grids
        for mode in (measure.MODES if grid.patches <= _LONGEST_TRAINING else measure.MODES[:1])
    ]
    return session.over(
        cases,
        lambda one: f"network {one.height}x{one.width} {one.mode}",
        lambda one: (1 + len(shares)) * session.calls,
        partial(_compare, shares=shares, session=session),
    )


def _compare(case: NetworkSetup, shares: Sequence[float], session: Session) -> list[dict[str, Any]]:
    """Measure every variant of a case; the reference comes first."""
    cases = {REFERENCE: replace(case, variant=REFERENCE)}
    cases |= {f"ours {share:g}": replace(case, token_share=share) for share in shares}
    measured = session.compare(cases, prepare, REFERENCE)
    return [
        {
            "part": "network",
            **asdict(one),
            "tokens": one.tokens,
            "parameters": sum(p.numel() for p in network(one).parameters()),
            **measured[name],
        }
        for name, one in cases.items()
    ]


def network(case: NetworkSetup) -> torch.nn.Module:
    """Build the network of a case."""
    sizes = {
        name: getattr(case, name)
        for name in ("embed_dim", "depth", "num_heads", "patch_size", "factor")
    }
    if case.variant == REFERENCE:
        return ReslimReference(
            case.channels,
            **sizes,
            height=case.height,
            width=case.width,
            dropout=0,
            drop_path=0,
        )
    others = [f"channel_{i}" for i in range(1, case.channels)]
    tokens = None if case.token_share == 1 else case.token_share
    inputs = ["total_precipitation_24hr", *others]
    return Downscaler(DownscalerConfig(inputs=inputs, tokens=tokens, max_leaf=MAX_LEAF, **sizes))


def prepare(case: NetworkSetup, device: str, threads: int) -> measure.Call:
    """Build a case's network and input, ready to be called.

    Parameters
    ----------
    case : NetworkSetup
    device : str
    threads : int
        Threads of torch from here on.

    Returns
    -------
    callable
        Runs the case once.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = network(case).to(device)
    net.train(case.mode != "forward")
    return partial(measure.once, net, case.mode, _input(case, device))


def _input(case: NetworkSetup, device: str) -> Any:
    """Give what the network of a case takes: random fields on a global grid."""
    coarse = torch.rand(case.batch, case.channels, case.height, case.width)
    if case.variant == REFERENCE:
        return coarse.to(device)
    fine = (case.height * case.factor, case.width * case.factor)
    return Batch(
        coarse=coarse,
        statics=torch.rand(case.batch, 2, *fine),
        lat_edges=torch.linspace(90, -90, case.height + 1).expand(case.batch, -1),
        lon_edges=torch.linspace(0, 360, case.width + 1).expand(case.batch, -1),
    ).to(device)
