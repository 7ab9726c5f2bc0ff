"""Masking: which inputs of a sample are hidden, for a network that is to predict them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.noise import mixed

KINDS = ("patches", "blocks", "channels")
_SIDE = 3
"""Blocks along one side of a grid."""
_POSITIVE = 2**62 - 1


@dataclass(frozen=True)
class ReconstructionConfig:
    """How a fit learns from sources without truth: by predicting inputs that are hidden.

    Three kinds of masks take turns at random, each as often as another. Static inputs are always
    shown.

    Attributes
    ----------
    weight : float
        Of the loss of the reconstruction, beside that of the targets.
    patches : float
        Share of the patches that are hidden one by one, with all channels. 0: no such masks.
    blocks : float
        Share of the patches that are hidden in blocks of a third of the grid along one side, with
        all channels. 0: no such masks.
    channels : float
        Share of the channels that are hidden everywhere. 0: no such masks.
    """

    weight: float = 1.0
    patches: float = 0.5
    blocks: float = 0.5
    channels: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise InputError(
                f"model.reconstruction.weight: expected more than 0, found {self.weight}"
            )
        for name in KINDS:
            if not 0 <= (share := getattr(self, name)) < 1:
                raise InputError(
                    f"model.reconstruction.{name}: expected a share in [0, 1), found {share}"
                )
        if not self.kinds:
            raise InputError(
                "model.reconstruction: patches, blocks and channels are 0, so that nothing would "
                "be hidden; state the share of one of them, or leave model.reconstruction out"
            )

    @property
    def kinds(self) -> dict[str, float]:
        """Shares of the kinds of masks that there are."""
        return {name: share for name in KINDS if (share := getattr(self, name))}


@dataclass(frozen=True)
class Masking:
    """Masks of one source's samples.

    They are hashes of seed, step, source and sample (`orbitlite.model.noise.mixed`): the same on
    any device, and however the samples of a step are divided over processes and batches.

    Attributes
    ----------
    kinds : mapping of str to float
        Shares, by kind.
    channels : int
        Of the network, C.
    moving : tuple of int
        Positions of the channels that the source has and that change with time.
    patch_size : int
    patches : int
        Of a sample.
    seed : int
    """

    kinds: Mapping[str, float]
    channels: int
    moving: tuple[int, ...]
    patch_size: int
    patches: int
    seed: int = 0

    @classmethod
    def of(
        cls,
        config: ReconstructionConfig,
        channels: int,
        moving: Sequence[int],
        patch_size: int,
        window: tuple[int, int],
        seed: int = 0,
    ) -> Masking:
        """Take the kinds of masks of which something is left to look at.

        Parameters
        ----------
        config : ReconstructionConfig
        channels : int
        moving : sequence of int
        patch_size : int
        window : tuple of int
            Rows and columns of a sample's cells.
        seed : int

        Raises
        ------
        InputError
            If there is none.
        """
        patches = math.prod(-(-cells // patch_size) for cells in window)
        several = patches > 1, len(moving) > 1
        kinds = {n: share for n, share in config.kinds.items() if several[n == "channels"]}
        if not (kinds and moving):
            raise InputError(
                "model.reconstruction: nothing can be hidden of samples with "
                f"{len(moving)} inputs that change with time on a grid of {window[0]} x "
                f"{window[1]} cells (patch_size {patch_size}) so that something is left; state "
                "shares of other kinds (patches, blocks, channels), or leave the source out"
            )
        return cls(kinds, channels, tuple(moving), patch_size, patches, seed)

    @property
    def hidden_shares(self) -> Tensor:
        """Share of the values of each channel that are hidden in the mean over the kinds, (C,)."""
        sizes = {"channels": len(self.moving)}
        shares = [
            _count(share, size) / size
            for kind, share in self.kinds.items()
            for size in (sizes.get(kind, self.patches),)
        ]
        found = torch.zeros(self.channels, dtype=torch.float64)
        found[list(self.moving)] = sum(shares) / len(shares)
        return found

    def draw(self, batch: Batch, step: int) -> Tensor:
        """Return what is hidden of a batch, (B, C, H, W), bool.

        Parameters
        ----------
        batch : Batch
            With the numbers of its samples.
        step : int
            Of the fit; any other number for masks that do not change.
        """
        assert batch.sample is not None
        height, width = batch.coarse.shape[-2:]
        p, device = self.patch_size, batch.coarse.device
        h, w = -(-height // p), -(-width // p)
        key = mixed(mixed(torch.tensor(self.seed)) + step)
        key = mixed(mixed(key + (batch.source or 0)).to(device) + batch.sample.to(device))
        moving = torch.zeros(self.channels, dtype=torch.bool, device=device)
        moving[list(self.moving)] = True
        turn = (mixed(key) & _POSITIVE) % len(self.kinds)
        hidden = torch.zeros(batch.coarse.shape, dtype=torch.bool, device=device)
        for number, (kind, share) in enumerate(self.kinds.items()):
            if kind == "channels":
                found = self._channels(key, share)[:, :, None, None]
            else:
                patches = (_blocks if kind == "blocks" else _patches)(key, h, w)
                cells = _lowest(patches, _count(share, h * w)).view(-1, 1, h, w)
                cells = cells.repeat_interleave(p, -2).repeat_interleave(p, -1)
                found = cells[..., :height, :width] & moving[:, None, None]
            hidden |= found & (turn == number)[:, None, None, None]
        return hidden

    def _channels(self, key: Tensor, share: float) -> Tensor:
        """Choose channels, (B, C)."""
        found = torch.zeros(len(key), self.channels, dtype=torch.bool, device=key.device)
        drawn = _drawn(key, 1, torch.tensor(self.moving, device=key.device))
        found[:, list(self.moving)] = _lowest(drawn, _count(share, len(self.moving)))
        return found


def _count(share: float, of: int) -> int:
    """Return how many are hidden: one at least, and one is left."""
    return min(max(1, round(share * of)), of - 1)


def _drawn(key: Tensor, stream: int, numbers: Tensor) -> Tensor:
    """Return random numbers for (B,) keys, or (B, n), one for each of (n,) or (B, n) numbers."""
    return mixed(mixed(key + stream)[:, None] + mixed(numbers))


def _lowest(values: Tensor, count: int) -> Tensor:
    """Tell the `count` lowest of each row of (B, n)."""
    order = values.argsort(dim=1, stable=True)
    return torch.zeros_like(values, dtype=torch.bool).scatter(1, order[:, :count], True)


def _patches(key: Tensor, h: int, w: int) -> Tensor:
    """Return a random number for each patch, (B, L)."""
    return _drawn(key, 2, torch.arange(h * w, device=key.device))


def _blocks(key: Tensor, h: int, w: int) -> Tensor:
    """Return one for each block of patches, (B, L); where blocks begin is random as well."""
    side = max(1, round(math.sqrt(h * w) / _SIDE))
    down, right = (_drawn(key, 3, torch.arange(2, device=key.device)) & _POSITIVE).unbind(1)
    rows, columns = (
        (torch.arange(size, device=key.device) + (first % side)[:, None]) // side
        for size, first in ((h, down), (w, right))
    )
    blocks = rows[:, :, None] * (w + 1) + columns[:, None]
    return _drawn(key, 4, blocks.flatten(1))
