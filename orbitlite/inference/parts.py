"""Part: one of several processes that write one output, each its own run of the pieces."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from orbitlite.errors import InputError

# This module is imported to build the command line's help: torch only inside functions.

Item = TypeVar("Item")
PartLike: TypeAlias = str | tuple[int, int]

AUTO = "auto"
_TEXT = re.compile(r"(\d{1,9})/(\d{1,9})")


@dataclass(frozen=True)
class Part:
    """Part `number` of `count`, counted from 1.

    Attributes
    ----------
    number, count : int
    local : int, optional
        Place among the processes of this machine, where a launcher states it.
    """

    number: int = 1
    count: int = 1
    local: int | None = None

    @classmethod
    def of(cls, stated: PartLike | None) -> Part:
        """Read what is stated of a part.

        Parameters
        ----------
        stated : str or pair of int, optional
            `2/4` or `(2, 4)`; `auto`: as torchrun or srun has numbered this process. None: all.

        Raises
        ------
        InputError
            If it is none of these, or no launcher has started this process.
        """
        if stated is None:
            return cls()
        if stated == AUTO:
            return cls._launched()
        found = _TEXT.fullmatch(stated) if isinstance(stated, str) else None
        pair = tuple(map(int, found.groups())) if found else stated
        if not _is_part(pair):
            shown = "/".join(map(str, stated)) if isinstance(stated, tuple) else stated
            raise InputError(
                f"part: expected one of several such as 1/4, 2/4, 3/4, 4/4, or auto; found {shown}"
            )
        return cls(*pair)

    @classmethod
    def _launched(cls) -> Part:
        from orbitlite.parallel.launch import by_srun, by_torchrun, check_environment

        check_environment()
        if by_torchrun():
            names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        elif by_srun():
            names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
        else:
            raise InputError(
                "part auto: neither torchrun nor srun has started this process; state the part, "
                "such as 2/4"
            )
        rank, size, local = (int(os.environ.get(name, 0)) for name in names)
        return cls(rank + 1, size, local)

    def device(self, stated: str | None) -> str | None:
        """Return the device of a process: where others of this machine have one each, its own."""
        import torch

        if stated is not None or self.local is None or torch.cuda.device_count() < 2:
            return stated
        return f"cuda:{self.local % torch.cuda.device_count()}"

    @property
    def alone(self) -> bool:
        """True if there are no others."""
        return self.count == 1

    def sibling(self, number: int) -> Part:
        """Return another part of the same output."""
        return Part(number, self.count)

    @property
    def all(self) -> list[Part]:
        """All parts of the output."""
        return [self.sibling(number) for number in range(1, self.count + 1)]

    def items(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the part's run of what is to be done.

        Runs and not every n-th: pieces that follow each other are cut out of one read.

        Examples
        --------
        >>> [part.items("abcdefg") for part in Part(1, 3).all]
        ['ab', 'cd', 'efg']
        """
        first, stop = (len(items) * n // self.count for n in (self.number - 1, self.number))
        return items[first:stop]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Part()
"""All of an output."""


def _is_part(pair: object) -> bool:
    return (
        isinstance(pair, tuple)
        and len(pair) == 2
        and all(isinstance(value, int) and not isinstance(value, bool) for value in pair)
        and 1 <= pair[0] <= pair[1]
    )
