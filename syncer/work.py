"""The one pattern of concurrency: a coordinator owns the graph of work, a pool runs its leaves.

`Work.run` is called by the thread that becomes the coordinator. Leaves are plain calls that do
requests and never wait for each other; every `then` runs in the coordinator, so the graph, the
joins and the single flights below need no locks. Leaves wait in a heap of our own, last in first
out inside a priority: what is begun is finished before more is opened.
"""

from __future__ import annotations

import contextvars
import heapq
import itertools
import queue
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from syncer import errors, log

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a leaf returned, or the error it raised."""

    value: T | None = None
    error: errors.SyncerError | None = None

    def get(self) -> T:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


DONE: Outcome[None] = Outcome()
Then = Callable[[Outcome[Any]], None]


class Work:
    """A graph of leaves, run by `threads` workers until nothing is left.

    Args:
        threads: How many leaves run at once, at most.
        stop: When set, leaves that have not begun end with `InterruptedRunError`.
        useful: How many at once are of use by now.
    """

    def __init__(
        self,
        threads: int,
        stop: threading.Event,
        useful: Callable[[], int] | None = None,
    ) -> None:
        self.threads = threads
        self.stop = stop
        self._useful = useful or (lambda: threads)
        self._ready: list[tuple[int, int, Callable[[], Any], Then]] = []
        self._count = itertools.count()
        self._running = 0
        self._stuck: list[Callable[[], bool]] = []
        self._done: queue.SimpleQueue[tuple[Future[Any], Then]] = queue.SimpleQueue()
        context = contextvars.copy_context()
        self._pool = ThreadPoolExecutor(threads, "leaf", initializer=_adopt, initargs=(context,))

    def submit(self, leaf: Callable[[], Any], then: Then, priority: int = 0) -> None:
        """Queues a leaf; lower priorities first, newest first among equals. Coordinator only."""
        heapq.heappush(self._ready, (priority, -next(self._count), leaf, then))

    def each(
        self,
        items: Iterable[T],
        begin: Callable[[T, Callable[[], None]], None],
        finished: Callable[[], None],
        window: int,
    ) -> None:
        """Begins every item, at most `window` open at a time, then calls `finished`.

        `begin` gets the item and what to call when the item has ended.
        """
        _Window(iter(items), begin, finished).open(window)

    def when_stuck(self, release: Callable[[], bool]) -> None:
        """Has `release` called when no leaf is left; whether it set something going again."""
        self._stuck.append(release)

    def run(self) -> None:
        """Works until no leaf is queued or running. The calling thread is the coordinator."""
        try:
            while self._start() or any(release() for release in self._stuck):
                if self._running:
                    future, then = self._done.get()
                    self._running -= 1
                    then(_outcome(future))
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> bool:
        # A few more than there are workers, so that none idles while the coordinator thinks.
        while self._ready and self._running < min(self.threads, self._useful()) + 4:
            _, _, leaf, then = heapq.heappop(self._ready)
            if self.stop.is_set():
                then(Outcome(error=errors.InterruptedRunError("stopped before it was begun")))
                continue
            self._running += 1
            future = self._pool.submit(leaf)
            future.add_done_callback(lambda done, then=then: self._done.put((done, then)))  # type: ignore[misc]
        return self._running > 0


def _adopt(context: contextvars.Context) -> None:
    """Has a worker log as its coordinator does: with the run and the rule on each line."""
    for variable, value in context.items():
        variable.set(value)


class _Window(Generic[T]):
    """Items in flight, a bounded number at a time, without recursion."""

    def __init__(
        self,
        items: Iterable[T],
        begin: Callable[[T, Callable[[], None]], None],
        finished: Callable[[], None],
    ) -> None:
        self._items = iter(items)
        self._begin = begin
        self._finished = finished
        self._open = 0
        self._free = 0
        self._exhausted = False
        self._filling = False

    def open(self, count: int) -> None:
        self._free += count
        if self._filling:
            return
        self._filling = True
        while self._free and not self._exhausted:
            self._free -= 1
            self._next()
        self._filling = False
        if self._exhausted and not self._open:
            self._open = -1  # finished is told once
            self._finished()

    def _next(self) -> None:
        for item in self._items:
            self._open += 1
            self._begin(item, self._ended)
            return
        self._exhausted = True

    def _ended(self) -> None:
        self._open -= 1
        self.open(1)


def _outcome(future: Future[Any]) -> Outcome[Any]:
    error = future.exception()
    if error is None:
        return Outcome(future.result())
    if isinstance(error, errors.SyncerError):
        return Outcome(error=error)
    if not isinstance(error, Exception):
        raise error
    # A defect of ours or a full disk ends its step, not its neighbours.
    log.get().error("unexpected error", exc_info=error)
    return Outcome(error=errors.SyncerError(f"unexpected {type(error).__name__}: {error}"))


class Join:
    """Calls `then` once `expect`ed parts have all ended, with the first error among them."""

    def __init__(self, then: Then) -> None:
        self._then = then
        self._open = 1  # the caller's own hold, given back by `seal`
        self._error: errors.SyncerError | None = None

    def part(self) -> Then:
        """What to call when one more part has ended."""
        self._open += 1
        return self._ended

    def seal(self) -> None:
        """Says that no further parts will be added."""
        self._ended(DONE)

    def _ended(self, outcome: Outcome[Any]) -> None:
        if self._error is None:
            self._error = outcome.error
        self._open -= 1
        if not self._open:
            self._then(Outcome(error=self._error))


Start = Callable[[Then], None]


class Once:
    """Single flight with memory: a key that succeeded is not begun again.

    While a key is in flight others wait; when its leader fails the first waiter takes over with its
    own start, for it may know another source.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[tuple[Start, Then]]] = {}
        self._done: set[Hashable] = set()

    def ask(self, key: Hashable, start: Start, then: Then) -> None:
        """Has `key` done by whoever is first, then calls `then`."""
        if key in self._done:
            then(DONE)
        elif key in self._waiting:
            self._waiting[key].append((start, then))
        else:
            self._waiting[key] = []
            self._lead(key, start, then)

    def release(self, outcome: Outcome[Any] = DONE) -> bool:
        """Lets one waiter go on with `outcome` before its key has ended; whether there was one.

        For `Work.when_stuck`, with keys that may wait for each other in a circle.
        """
        for waiting in self._waiting.values():
            if waiting:
                waiting.pop()[1](outcome)
                return True
        return False

    def _lead(self, key: Hashable, start: Start, then: Then) -> None:
        start(lambda outcome: self._landed(key, outcome, then))

    def _landed(self, key: Hashable, outcome: Outcome[Any], then: Then) -> None:
        waiting = self._waiting[key]
        if outcome.error is None:
            self._done.add(key)
            del self._waiting[key]
            then(outcome)
            for _, waiter in waiting:
                waiter(DONE)
            return
        then(outcome)
        if waiting:
            start, waiter = waiting.pop(0)
            self._lead(key, start, waiter)
        else:
            del self._waiting[key]


class Convoy:
    """First one alone, then everybody: the first to finish a key opens it for all who wait.

    Unlike `Once`, every start runs. That is what a mount needs: the first repository carries the
    blob across, the others then take it from there, each with a request of its own.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[tuple[Start, Then]]] = {}
        self._open: set[Hashable] = set()

    def ask(self, key: Hashable, start: Start, then: Then) -> None:
        """Runs `start` now, or when the key's leader has ended."""
        if key in self._open:
            start(then)
        elif key in self._waiting:
            self._waiting[key].append((start, then))
        else:
            self._waiting[key] = []
            start(lambda outcome: self._landed(key, outcome, then))

    def _landed(self, key: Hashable, outcome: Outcome[Any], then: Then) -> None:
        waiting = self._waiting.pop(key)
        if outcome.error is None:
            self._open.add(key)
        then(outcome)
        for start, waiter in waiting:
            self.ask(key, start, waiter)
