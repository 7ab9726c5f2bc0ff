"""Ensemble: the mean of several networks of one task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.noise import Draw
from orbitlite.model.quadtree import Leaves

_ALIKE = ("inputs", "targets", "statics", "factor", "patch_size", "ridge", "noise")
"""What the networks have in common: what goes in and comes out, and how it is cut into windows."""


class Ensemble(nn.Module):
    """Networks that were trained apart, such as from several seeds: their mean, or their members.

    Its squared error is the mean of theirs less the mean of their squared distance from it (Krogh
    and Vedelsby 1995, equation 6): with few samples seeds differ much, and the mean gains as much.
    Of stochastic networks no mean is taken: they draw the members in turn.

    Parameters
    ----------
    networks : sequence of Downscaler
    unseen : sequence of collection of str, optional
        Of each network the inputs that had no value in its training: to it they are missing.

    Attributes
    ----------
    unseen : list of frozenset of str
    members : int
        Members of a prediction by itself: one, the mean.
    stochastic : bool
        Whether members are drawn.

    Raises
    ------
    InputError
        If there is none, or they differ in inputs, targets, fine statics, factor, patch size,
        ridge or noise.
    """

    members = 1

    def __init__(
        self, networks: Sequence[Downscaler], unseen: Sequence[Collection[str]] = ()
    ) -> None:
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
        self.unseen = [frozenset(names) for names in unseen] or [frozenset[str]()] * len(networks)
        self.config: DownscalerConfig = first
        self.stochastic = first.noise > 0

    def forward(
        self,
        batch: Batch,
        tokens: int | float | None = None,
        fill: bool = False,
        draw: Draw | None = None,
    ) -> Tensor:
        """Predict the mean of all networks, (B, 1, K, fH, fW), or the members that are drawn.

        Networks are added one after the other, so that two fields at most are held. Of N stochastic
        networks, number m mod N draws member m.
        """
        if self.stochastic:
            return self._drawn(batch, tokens, fill, draw or Draw.of())
        total: Tensor = sum(
            network(self._shown(batch, number), tokens, fill).sum(1, keepdim=True)
            for number, network in enumerate(self.networks)
        )
        return total / sum(network.members for network in networks_of(self))

    def _drawn(
        self, batch: Batch, tokens: int | float | None, fill: bool, draw: Draw
    ) -> Tensor:  # fmt: skip
        fields: dict[int, Tensor] = {}
        for number, network in enumerate(self.networks):
            places = [i for i, m in enumerate(draw.members) if m % len(self.networks) == number]
            if places:
                own = Draw(tuple(draw.members[i] for i in places), draw.keys[places])
                found = network(self._shown(batch, number), tokens, fill, own)
                fields |= {place: found[:, i] for i, place in enumerate(places)}
        return torch.stack([fields[place] for place in range(len(draw))], dim=1)

    def leaves(self, batch: Batch, tokens: int | float) -> tuple[Leaves, Tensor]:
        """Return the leaves that the first network chooses; see `Downscaler`."""
        return networks_of(self)[0].leaves(self._shown(batch, 0), tokens)

    def _shown(self, batch: Batch, number: int) -> Batch:
        """Return a batch without what a network has not seen in training."""
        unseen = self.unseen[number]
        hidden = [channel for channel, name in enumerate(self.config.inputs) if name in unseen]
        if not hidden:
            return batch
        coarse = batch.coarse.clone()
        coarse[:, hidden] = torch.nan
        return replace(batch, coarse=coarse)


def networks_of(model: Downscaler | Ensemble) -> list[Downscaler]:
    """Return the networks that a model is the mean of; a network is that of itself."""
    if isinstance(model, Downscaler):
        return [model]
    return [network for network in model.networks if isinstance(network, Downscaler)]
