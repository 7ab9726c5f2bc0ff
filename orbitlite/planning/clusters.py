"""GPUs and how they are joined, by their makers' data sheets."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """A device, and the node that it is in.

    Attributes
    ----------
    half, single : float
        Peak FLOP/s of dense matrix products in bfloat16, and of float32 ones (TF32 where there is
        such a unit).
    memory : float
        Bytes.
    bandwidth : float
        Bytes per second from and to its memory.
    per_node : int
        Devices of a node.
    inside, outside : float
        Bytes per second and direction that one device receives from others of its node, and its
        share of what the node receives from other nodes.
    source : str
        Where the figures are from.
    """

    half: float
    single: float
    memory: float
    bandwidth: float
    per_node: int
    inside: float
    outside: float
    source: str


GPUS = {
    "a100-40": Gpu(
        312e12, 156e12, 40 * GIB, 1555e9, 8, 300e9, 25e9,
        "NVIDIA A100 data sheet (2021), SXM4 40 GB; DGX A100 data sheet: 8 x 200 Gb/s",
    ),
    "a100-80": Gpu(
        312e12, 156e12, 80 * GIB, 2039e9, 8, 300e9, 25e9,
        "NVIDIA A100 data sheet (2021), SXM4 80 GB; DGX A100 data sheet: 8 x 200 Gb/s",
    ),
    "h100": Gpu(
        989.4e12, 494.7e12, 80e9, 3350e9, 8, 450e9, 50e9,
        "NVIDIA H100 data sheet (2023), SXM5, without sparsity; DGX H100 data sheet: 8 x 400 Gb/s",
    ),
    "h200": Gpu(
        989.4e12, 494.7e12, 141e9, 4800e9, 8, 450e9, 50e9,
        "NVIDIA H200 data sheet (2024), SXM, without sparsity; DGX H200 data sheet: 8 x 400 Gb/s",
    ),
    "mi250x-gcd": Gpu(
        191.5e12, 47.85e12, 64 * GIB, 1638e9, 8, 50e9, 12.5e9,
        "AMD Instinct MI250X data sheet (2021), half a card; Frontier user guide (OLCF): 8 dies a "
        "node, 50 GB/s over the slowest link between them, 4 x 25 GB/s to other nodes",
    ),
    "cpu": Gpu(
        0.1e12, 0.1e12, 16 * GIB, 20e9, 1, 10e9, 1e9,
        "assumed: two cores of a laptop, no data sheet",
    ),
}  # fmt: skip
"""By the name that `--gpu` takes."""


def link(gpu: Gpu, ranks: int, stride: int) -> float:
    """Return the bytes per second that a rank receives in a collective.

    Parameters
    ----------
    gpu : Gpu
    ranks : int
        Processes of the collective.
    stride : int
        Distance between neighbours in the numbering of all processes, which fills node after node.
    """
    if ranks * stride <= gpu.per_node:
        return gpu.inside
    # A ring leaves a node once and may use the links of all its members there.
    members = max(1, gpu.per_node // stride)
    return min(gpu.inside, members * gpu.outside)
