"""Ensemble: the mean of several networks of one task."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.quadtree import Leaves

_ALIKE = ("inputs", "targets", "statics", "factor", "patch_size", "ridge")
"""What the networks have in common: what goes in and comes out, and how it is cut into windows."""


class Ensemble(nn.Module):
    """The mean of networks that were trained apart, such as from several seeds.

    Its squared error is the mean of theirs less the mean of their squared distance from it (Krogh
    and Vedelsby 1995, equation 6): with few samples seeds differ much, and the mean gains as much.

    Parameters
    ----------
    networks : sequence of Downscaler

    Attributes
    ----------
    members : int
        Members of a prediction: one, the mean.

    Raises
    ------
    InputError
        If there is none, or they differ in inputs, targets, fine statics, factor, patch size or
        ridge.
    """

    members = 1

    def __init__(self, networks: Sequence[Downscaler]) -> None:
        super().__init__()
        if not networks:
            raise InputError("expected at least one model, found none")
        first, *others = (network.config for network in networks)
        for number, config in enumerate(others, 2):
            for name in _ALIKE:
                expected, found = getattr(first, name), getattr(config, name)
                if found != expected:
                    raise InputError(
                        f"models are averaged only if they agree in {', '.join(_ALIKE)}: {name} is "
                        f"{expected} in model 1 and {found} in model {number}; leave one out"
                    )
        self.networks = nn.ModuleList(networks)
        self.config: DownscalerConfig = first

    def forward(
        self, batch: Batch, tokens: int | float | None = None, fill: bool = False
    ) -> Tensor:
        """Predict the mean over the members of all networks, shape (B, 1, K, fH, fW).

        They are added one network after the other, so that two fields at most are held.
        """
        total: Tensor = sum(
            network(batch, tokens, fill).sum(1, keepdim=True) for network in self.networks
        )
        return total / sum(network.members for network in networks_of(self))

    def leaves(self, batch: Batch, tokens: int | float) -> tuple[Leaves, Tensor]:
        """Return the leaves that the first network chooses; see `Downscaler`."""
        return networks_of(self)[0].leaves(batch, tokens)


def networks_of(model: Downscaler | Ensemble) -> list[Downscaler]:
    """Return the networks that a model is the mean of; a network is that of itself."""
    if isinstance(model, Downscaler):
        return [model]
    return [network for network in model.networks if isinstance(network, Downscaler)]
