"""What a pass through the network takes, as each module states it of itself.

A module that holds weights has a method `cost`, next to its code, which turns the sizes of a `Pass`
into a `Cost`. It follows the code operation by operation and reads the module's own shapes, so that
of a part of a network it tells the cost of that part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from orbitlite.errors import InputError


@dataclass(frozen=True)
class Pass:
    """Sizes of a training pass over a batch on one process.

    Attributes
    ----------
    batch : int
        Samples B.
    height, width : float
        Coarse cells of a sample, H and W; of a part of it, as many as its cells would make.
    factor : int
    patches, tokens : int
        Of a sample, L and N.
    positions : int
        Patches of the batch that this process mixes the channels of.
    own_tokens : int
        Tokens of the batch that this process's blocks work on.
    counted : bool
        Tokens stand for several patches each, and attention counts them.
    sequence : int
        Processes that share the heads of this process in attention.
    half : bool
        Autocast to bfloat16, else float32.
    device : {"cpu", "cuda"}
        Under autocast a GPU normalises in float32, a CPU does not.
    members : int
        Members that a stochastic network draws of each sample.
    core : tuple of int, optional
        Rows and columns of coarse cells that are decoded; None: all.
    """

    batch: int
    height: float
    width: float
    factor: int
    patches: int
    tokens: int
    positions: int
    own_tokens: int
    counted: bool = False
    sequence: int = 1
    half: bool = False
    device: str = "cuda"
    members: int = 1
    core: tuple[int, int] | None = None

    def part(self, scale: int, margin: int) -> Pass:
        """Sizes of the core and a margin of so many cells of a grid `scale` times finer."""
        if self.core is None:
            return self
        height, width = (
            min(own + 2 * margin / scale, most)
            for own, most in zip(self.core, (self.height, self.width), strict=True)
        )
        return replace(self, height=height, width=width, core=None)

    @property
    def drawn(self) -> Pass:
        """Sizes of what is done for each member: as many samples as there are members."""
        return replace(self, batch=self.batch * self.members, members=1)

    @property
    def low(self) -> int:
        """Bytes of what enters a matrix product."""
        return 2 if self.half else 4

    @property
    def wide(self) -> int:
        """Bytes of what enters or leaves a normalisation."""
        return 2 if self.half and self.device == "cpu" else 4

    def fine_cells(self) -> float:
        """Fine cells of the batch."""
        return self.cells(self.factor)

    def cells(self, scale: int) -> float:
        """Cells of the batch on a grid `scale` times finer than the coarse one."""
        return self.batch * self.height * scale * self.width * scale


@dataclass(frozen=True)
class Flops:
    """Floating-point operations: two per multiply-add of products, attention and convolutions.

    Attributes
    ----------
    forward, backward : float
    again : float
        Those of the forward pass that a module which keeps its input alone does once more.
    """

    forward: float = 0.0
    backward: float = 0.0
    again: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.forward + other.forward, self.backward + other.backward, self.again + other.again
        )

    @property
    def total(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward


@dataclass(frozen=True)
class Cost:
    """What a module takes in a pass.

    Attributes
    ----------
    saved : float
        Bytes that the backward pass needs of the forward pass, weights not counted.
    results : float
        Those of them, and others, that are results of products and attention.
    touched : float
        Bytes that are read and written without being kept.
    room : float
        Bytes that it needs for a while in the backward pass.
    flops : mapping of str to Flops
        By kind of operation.
    """

    saved: float = 0.0
    results: float = 0.0
    touched: float = 0.0
    room: float = 0.0
    flops: Mapping[str, Flops] = field(default_factory=dict)

    def __add__(self, other: Cost) -> Cost:
        """Join those of two modules, of which one after the other needs its room."""
        kinds = {*self.flops, *other.flops}
        none = Flops()
        return Cost(
            self.saved + other.saved, self.results + other.results, self.touched + other.touched,
            max(self.room, other.room),
            {kind: self.flops.get(kind, none) + other.flops.get(kind, none) for kind in kinds},
        )  # fmt: skip


class Unstated(InputError):
    """A module does not state what it takes."""


def cost_of(module: nn.Module, size: Pass, *more: Any) -> Cost:
    """Return what a module states.

    Raises
    ------
    Unstated
        If it has no method `cost`.
    """
    state = getattr(module, "cost", None)
    if state is None:
        raise Unstated(
            f"{type(module).__name__} has no method `cost`, which would state what it takes"
        )
    found: Cost = state(size, *more)
    return found
