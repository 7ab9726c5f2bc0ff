"""Bytes that collectives bring to this process, counted as they are called."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from orbitlite.parallel.mesh import Ranks

_SENT_WHOLE = ("all_to_all", "alltoall", "reduce_scatter")
_TWICE = ("all_reduce", "allreduce")


class Received(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that a process receives over each axis.

    Of a collective over n processes: an all-gather brings the others' parts of its output; a
    reduce-scatter and an all-to-all (n - 1) / n of the input; an all-reduce twice that.

    Parameters
    ----------
    ranks : Ranks, optional
        Names the axes; without it everything counts as `all`.

    Attributes
    ----------
    bytes : dict of str to float
        So far, by axis: `tensor`, `sequence`, `weights`, `replicate`, `other`.
    """

    def __init__(self, ranks: Ranks | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: dict[str, float] = defaultdict(float)
        self._axes = {} if ranks is None else ranks.axes_of_groups()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = str(func.name()).split("::")[-1]
        known = ("gather", "reduce", "alltoall", "all_to_all")
        if func.namespace in ("c10d", "_c10d_functional") and any(k in name for k in known):
            group = _group_of(args)
            axis = self._axes.get(group.group_name, "other") if self._axes else "all"
            self.bytes[axis] += _received(name, args, group.size())
        return func(*args, **(kwargs or {}))


def _received(name: str, args: tuple[Any, ...], size: int) -> float:
    first = _bytes(args[0])
    if any(part in name for part in _TWICE):
        return 2 * first * (size - 1) / size
    if any(part in name for part in _SENT_WHOLE):
        return _bytes(args[0] if name == "all_to_all_single" else args[1]) * (size - 1) / size
    return first * (size - 1) / size  # of an all-gather, its whole output


def _bytes(value: Any) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _group_of(args: tuple[Any, ...]) -> dist.ProcessGroup:
    for value in reversed(args):
        if isinstance(value, str) and value not in ("sum", "avg", "max", "min"):
            resolve: Any = distributed_c10d._resolve_process_group  # type: ignore[attr-defined]
            found: dist.ProcessGroup = resolve(value)
            return found
        if hasattr(value, "_type") and "ProcessGroup" in str(value._type()):
            return dist.ProcessGroup.unbox(value)
    raise LookupError("a collective without a group")
