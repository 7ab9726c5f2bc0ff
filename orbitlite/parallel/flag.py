"""A number that one process states and all know one call later."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from orbitlite.parallel.mesh import is_up


class SharedFlag:
    """The largest number of all processes, without waiting for them.

    An exchange is begun with one call and read with the next, when the step between has long
    brought the processes together. It has a group of its own beside those of the training.
    """

    def __init__(self) -> None:
        self._group: Any = None
        self._sent: tuple[Tensor, Any] | None = None

    def tell(self, value: int) -> int:
        """State a number; every process calls this alike.

        Parameters
        ----------
        value : int

        Returns
        -------
        int
            The largest of the call before; a process that is alone: its own of this call.
        """
        if not is_up():
            return value
        if self._group is None:
            self._group = dist.new_group(backend="gloo")
        known = self.finish()
        mine = torch.tensor(value)
        work = dist.all_reduce(mine, dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._sent = mine, work
        return known

    def finish(self) -> int:
        """Wait for what was begun; return the largest number of the last call, 0 without one."""
        if self._sent is None:
            return 0
        (value, work), self._sent = self._sent, None
        work.wait()
        return int(value)
