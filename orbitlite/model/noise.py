"""Noise: random fields that belong to the place, the time and the member."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.model.frame import Frame
from orbitlite.model.geometry import Geometry

_DEGREES = math.pi * 1e-5
"""What places are counted in, about three metres: an odd number, so that no usual spacing of cells
lies on the border between two counts, where rounding would decide."""
_GOLDEN = -7046029254386353131  # 2^64 over the golden ratio, as the generator steps
_MIX = ((30, -4658895280553007687), (27, -7723592293110705685))
_SEAM = 1 / math.pi
"""Degrees west of the first meridian where longitudes begin to be counted: not on it, where many
grids have a centre, which rounding would put on either side."""
_BITS = 24


@dataclass(frozen=True)
class Draw:
    """Which members of which ensemble are drawn.

    Attributes
    ----------
    members : tuple of int
        Their numbers. Member 7 is the same whichever others are drawn beside it.
    keys : Tensor of shape (M,), int64
        Hashes of the seed and the number of each member.
    """

    members: tuple[int, ...]
    keys: Tensor

    @classmethod
    def of(cls, seed: int = 0, members: Sequence[int] = (0,)) -> Draw:
        """Take the seed of an ensemble and the numbers of its members."""
        numbers = tuple(members)
        return cls(numbers, mixed(mixed(torch.tensor(seed)) + torch.tensor(numbers)))

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, part: slice) -> Draw:
        return Draw(self.members[part], self.keys[part])


@dataclass(frozen=True)
class Noise:
    """Random numbers of a batch for every cell of any grid between the coarse and the fine one.

    A number is a hash of seed, member, time, latitude and longitude of the cell's centre and of its
    channel, not the next one of a stream. So it is the same under any tile, batch, order, subset,
    process and device. Hash: the finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast
    splittable pseudorandom number generators", figure 16; constants of Stafford's variant 13), for
    one part after the other. Normal numbers: Box and Muller 1958, two of a hash.

    Attributes
    ----------
    keys : Tensor of shape (B, M), int64
        Hashes of seed, member and time.
    geometry : Geometry
        Of the coarse cells.
    size : Tensor, optional
        What the numbers are multiplied by; None: one.
    """

    keys: Tensor
    geometry: Geometry
    size: Tensor | None = None

    @classmethod
    def of(cls, draw: Draw, batch: Batch, geometry: Geometry) -> Noise:
        """Take what numbers depend on.

        Parameters
        ----------
        draw : Draw
        batch : Batch
            Of it the `time`, in seconds since 1970-01-01; without one as of that day.
        geometry : Geometry
            Of its coarse cells.
        """
        device, time = batch.coarse.device, batch.time
        if time is None:
            time = torch.zeros(len(batch), device=device)
        seconds = time.to(device).double().round().long()
        keys = mixed(draw.keys.to(device) + mixed(seconds)[:, None])
        return cls(keys, geometry)

    @property
    def members(self) -> int:
        """Members M."""
        return self.keys.shape[1]

    def times(self, size: Tensor) -> Noise:
        """Return the noise times a number."""
        return replace(self, size=size)

    def maps(self, count: int, scale: int, frame: Frame | None = None) -> Tensor:
        """Return independent normal numbers of mean zero and variance one, times the size.

        Parameters
        ----------
        count : int
            Channels N.
        scale : int
            Cells of the grid per coarse cell along one axis.
        frame : Frame, optional
            Which of the cells; None: all.

        Returns
        -------
        Tensor of shape (B M, N, scale H, scale W), or of the frame, float32
            Members of a sample one after the other.
        """
        lat, lon = self.geometry.centres(scale)
        if frame is not None:
            lat, lon = frame.pick(lat), frame.pick(lon)
        cells = mixed(mixed(_counted(lat)) + _counted((lon + _SEAM).remainder(360.0)))  # (B, h, w)
        pairs = torch.arange(1, (count + 1) // 2 + 1, device=cells.device)
        # The grid is a part of it: cells of two grids can have one centre.
        channels = mixed(pairs * 64 + scale)
        keys = mixed(self.keys[:, :, None] + channels)  # (B, M, N / 2)
        hashes = mixed(keys[..., None, None] + cells[:, None, None])
        found = _normal(hashes).flatten(2, 3)[:, :, :count].flatten(0, 1)
        return found if self.size is None else found * self.size


def mixed(numbers: Tensor) -> Tensor:
    """Hash int64 numbers: all bits of the result depend on all bits of each.

    Examples
    --------
    The first numbers of SplitMix64 with the seed 0:

    >>> [f"{int(mixed(torch.tensor(step))) % 2**64:x}" for step in (0, _GOLDEN)]
    ['e220a8397b1dcdaf', '6e789e6aa1b965f4']
    """
    numbers = numbers + _GOLDEN
    for bits, factor in _MIX:
        numbers = (numbers ^ _shifted(numbers, bits)) * factor
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shift to the right as unsigned numbers."""
    out: Tensor = (numbers >> bits) & (2 ** (64 - bits) - 1)
    return out


def _normal(hashes: Tensor) -> Tensor:
    """Make two normal numbers of each hash: (...,  h, w) to (..., 2, h, w), float32."""
    # halves of the bits, in the middle of their steps: neither zero nor one
    parts = (_shifted(hashes, 64 - _BITS), hashes & (2**_BITS - 1))
    first, second = ((part.float() + 0.5) * 2.0**-_BITS for part in parts)
    radius, angle = (-2 * first.log()).sqrt(), (2 * math.pi) * second
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-3)


def _counted(degrees: Tensor) -> Tensor:
    return (degrees / _DEGREES).round().long()
