"""Queues: reading ahead of the computation and writing behind it, a bounded number of items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL = 0.1  # seconds until a thread that waits looks whether it should end
_END = object()


class Prefetcher(Generic[Item]):
    """Items that a thread makes before they are asked for.

    Parameters
    ----------
    items : iterator
        Runs in the thread. What it raises is raised where the items are used.
    depth : int
        Items that wait at most.

    Attributes
    ----------
    waited : float
        Seconds for which the user of the items waited.
    """

    def __init__(self, items: Iterator[Item], depth: int) -> None:
        self.waited = 0.0
        self._queue: queue.Queue[object] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while True:
            start = perf_counter()
            item = self._queue.get()
            self.waited += perf_counter() - start
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]

    def close(self, patience: float) -> None:
        """Ask the thread to end, and wait for `patience` seconds."""
        self._stop.set()
        self._thread.join(patience)

    def _run(self, items: Iterator[Item]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
            self._put(_END)
        except BaseException as error:
            self._put(error)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False


class BackgroundWriter(Generic[Item]):
    """A thread that handles items after they were handed over, in their order.

    Parameters
    ----------
    handle : callable
        Runs in the thread. What it raises is raised at the next `put` or at `finish`.
    depth : int
        Items that wait at most.

    Attributes
    ----------
    waited : float
        Seconds for which `put` and `finish` waited.
    """

    def __init__(self, handle: Callable[[Item], None], depth: int) -> None:
        self.waited = 0.0
        self._queue: queue.Queue[object] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(handle,), daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand an item over; waits while the queue is full."""
        start = perf_counter()
        self._hand(item)
        self.waited += perf_counter() - start

    def finish(self) -> None:
        """Wait until all items are handled."""
        start = perf_counter()
        self._hand(_END)
        self._thread.join()
        self.waited += perf_counter() - start
        self._check()

    def close(self, patience: float) -> None:
        """Give up what waits, and wait `patience` seconds for the item at work."""
        self._stop.set()
        self._thread.join(patience)

    def _hand(self, item: object) -> None:
        while True:
            self._check()
            try:
                return self._queue.put(item, timeout=_POLL)
            except queue.Full:
                continue

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self, handle: Callable[[Item], None]) -> None:
        try:
            while not self._stop.is_set():
                try:
                    item = self._queue.get(timeout=_POLL)
                except queue.Empty:
                    continue
                if item is _END:
                    return
                handle(item)  # type: ignore[arg-type]
        except BaseException as error:
            self._error = error
