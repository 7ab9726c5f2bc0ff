"""Ensemble: the mean of several networks of one task."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.quadtree import Leaves

_ALIKE = ("inputs", "targets", "fine_statics", "factor", "patch_size", "modes")
"""What the members have in common: what goes in and comes out, and how it is cut into windows."""


class Ensemble(nn.Module):
    """The mean of networks that were trained apart, such as from several seeds.

    Its squared error is the mean of theirs less the mean of their squared distance from it (Krogh
    and Vedelsby 1995, equation 6): with few samples seeds differ much, and the mean gains as much.

    Parameters
    ----------
    members : sequence of Downscaler

    Raises
    ------
    InputError
        If there is none, or they differ in inputs, targets, fine statics, factor, patch size or
        modes.
    """

    def __init__(self, members: Sequence[Downscaler]) -> None:
        super().__init__()
        if not members:
            raise InputError("expected at least one model, found none")
        first, *others = (member.config for member in members)
        for number, config in enumerate(others, 2):
            for name in _ALIKE:
                expected, found = getattr(first, name), getattr(config, name)
                if found != expected:
                    raise InputError(
                        f"models are averaged only if they agree in {', '.join(_ALIKE)}: {name} is "
                        f"{expected} in model 1 and {found} in model {number}; leave one out"
                    )
        self.members = nn.ModuleList(members)
        self.config: DownscalerConfig = first

    def forward(
        self, batch: Batch, tokens: int | float | None = None, fill: bool = False
    ) -> Tensor:
        """Predict, shape (B, K, fH, fW), physical units; see `Downscaler`."""
        total: Tensor = sum(member(batch, tokens, fill) for member in self.members)
        return total / len(self.members)

    def leaves(self, batch: Batch, tokens: int | float) -> tuple[Leaves, Tensor]:
        """Return the leaves that the first member chooses; see `Downscaler`."""
        first = self.members[0]
        assert isinstance(first, Downscaler)
        return first.leaves(batch, tokens)


def members_of(model: Downscaler | Ensemble) -> list[Downscaler]:
    """Return the networks that a model is the mean of; a network is that of itself."""
    if isinstance(model, Downscaler):
        return [model]
    return [member for member in model.members if isinstance(member, Downscaler)]
