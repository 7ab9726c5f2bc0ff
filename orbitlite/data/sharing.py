"""Sharing: what processes read of the same data for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Read = TypeVar("Read")


class Sharing:
    """Processes that read the same data, each a part of it; here this one alone.

    Attributes
    ----------
    rank, size : int
        This process among them, and how many there are.
    """

    rank = 0
    size = 1

    def gather(self, read: Callable[[], Read]) -> list[Read]:
        """Read, and return what each process has read, by rank.

        All of them have to call it alike.

        Raises
        ------
        InputError
            On all processes, if one of them raised it.
        """
        return [read()]


ALONE = Sharing()
