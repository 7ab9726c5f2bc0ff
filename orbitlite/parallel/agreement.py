"""What fails on one process fails on all of them, with one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from orbitlite.errors import InputError, SharedError


@contextmanager
def together(group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Do what is within on every process, and wait for the others at its end.

    Without a process group nothing is waited for.

    Parameters
    ----------
    group : ProcessGroup, optional
        None: all processes.

    Raises
    ------
    SharedError
        On all processes, if an `InputError` was raised within on any of them.
    """
    failure: InputError | None = None
    try:
        yield
    except InputError as error:
        failure = error
    if not dist.is_initialized():
        if failure is not None:
            raise failure
        return
    texts: list[str | None] = [None] * dist.get_world_size(group)
    dist.all_gather_object(texts, None if failure is None else str(failure), group=group)
    if told := next((text for text in texts if text is not None), None):
        raise SharedError(told) from failure
