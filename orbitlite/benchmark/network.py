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
from orbitlite.benchmark.measure import Call
from orbitlite.benchmark.reslim import ReslimReference
from orbitlite.benchmark.session import Session
from orbitlite.errors import InputError
from orbitlite.model.downscaler import Downscaler, DownscalerConfig

MODES = ("forward", "forward+backward")
REFERENCE = "reslim"
VARIANTS = (REFERENCE, "ours")


@dataclass(frozen=True)
class Case:
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
    mode: str = "forward"
    variant: str = "ours"

    @property
    def tokens(self) -> int:
        """Number of tokens per sample."""
        p = self.patch_size
        return (self.height // p) * (self.width // p)


def rows(
    case: Case, sizes: Sequence[tuple[int, int]], session: Session
) -> Iterator[dict[str, Any]]:
    """Measure the network and the published one, side by side.

    Parameters
    ----------
    case : Case
        Sizes of the networks and the batch.
    sizes : sequence of (int, int)
        Coarse grids, height and width; the published network needs multiples of the patch.
    session : Session

    Yields
    ------
    dict
        One per grid, mode and variant: the case, `tokens`, `parameters`, `seconds` (median),
        `peak_mib` (beyond the built network) and, reference over this variant, `time_ratio` and
        `memory_ratio`.

    Raises
    ------
    InputError
        If a grid is no multiple of the patch.
    """
    if odd := [size for size in sizes if any(n < 1 or n % case.patch_size for n in size)]:
        raise InputError(f"sizes: expected multiples of {case.patch_size}, found {odd[0]}")
    for height, width in sizes:
        for mode in MODES:
            one = replace(case, height=height, width=width, mode=mode)
            session.describe(f"network {height}x{width} {mode}")
            yield from _compare(one, session)


def _compare(case: Case, session: Session) -> list[dict[str, Any]]:
    """Measure every variant of a case; the reference comes first."""
    cases = {variant: replace(case, variant=variant) for variant in VARIANTS}
    builds = {
        name: partial(prepare, one, str(session.device), session.threads)
        for name, one in cases.items()
    }
    measured = session.compare(builds, REFERENCE)
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


def network(case: Case) -> torch.nn.Module:
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
    return Downscaler(DownscalerConfig(inputs=["total_precipitation_24hr", *others], **sizes))


def prepare(case: Case, device: str, threads: int) -> Call:
    """Build a case's network and input, ready to be called.

    Parameters
    ----------
    case : Case
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
    return partial(_once, net, case.mode, _input(case, device))


def _once(net: torch.nn.Module, mode: str, inputs: Any) -> None:
    with torch.set_grad_enabled(mode != "forward"):
        fine = net(inputs)
        if mode != "forward":
            fine.square().mean().backward()
    net.zero_grad(set_to_none=True)


def _input(case: Case, device: str) -> Any:
    """Give what the network of a case takes: random fields on a global grid."""
    coarse = torch.rand(case.batch, case.channels, case.height, case.width)
    if case.variant == REFERENCE:
        return coarse.to(device)
    fine = (case.height * case.factor, case.width * case.factor)
    return Batch(
        coarse=coarse,
        fine_static=torch.rand(case.batch, 2, *fine),
        lat_edges=torch.linspace(90, -90, case.height + 1).expand(case.batch, -1),
        lon_edges=torch.linspace(0, 360, case.width + 1).expand(case.batch, -1),
    ).to(device)
