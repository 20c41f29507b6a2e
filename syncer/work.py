"""The one pattern of concurrency: a coordinator owns the graph of work, a pool runs its leaves.

`Work.run` is called by the thread that becomes the coordinator. Leaves are plain calls that do
requests and never wait for each other; every `then` runs in the coordinator, so the graph, the
joins and the single flights below need no locks. Leaves wait in a heap of our own, last in first
out inside a priority: what is begun is finished before more is opened.
"""

from __future__ import annotations

import contextlib
import contextvars
import heapq
import itertools
import queue
import threading
from collections.abc import Callable, Hashable, Iterable
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
_End = tuple[Any, BaseException | None, Then]


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
        self._workers = _Workers(threads)

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
                    value, error, then = self._workers.ended()
                    self._running -= 1
                    then(_outcome(value, error))
        finally:
            self._workers.close()

    def _start(self) -> bool:
        # A few more than there are workers, so that none idles while the coordinator thinks.
        while self._ready and self._running < min(self.threads, self._useful()) + 4:
            _, _, leaf, then = heapq.heappop(self._ready)
            if self.stop.is_set():
                then(Outcome(error=errors.InterruptedRunError("stopped before it was begun")))
                continue
            self._running += 1
            self._workers.give(leaf, then)
        return self._running > 0


class _Workers:
    """Threads that run leaves; each is started when a leaf finds none idle.

    `ThreadPoolExecutor` and its futures take 16 to 30 µs of CPU for a leaf, these 6 to 16.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads: list[threading.Thread] = []
        self._out = 0
        self._leaves: queue.SimpleQueue[tuple[Callable[[], Any], Then] | None] = queue.SimpleQueue()
        self._ends: queue.SimpleQueue[_End] = queue.SimpleQueue()
        # Each logs as its coordinator does: with the run and the rule on each line.
        self._context = contextvars.copy_context()

    def give(self, leaf: Callable[[], Any], then: Then) -> None:
        """Has `leaf` run."""
        self._out += 1
        self._leaves.put((leaf, then))
        if self._out > len(self._threads) < self._most:
            context = self._context.copy()
            thread = threading.Thread(target=context.run, args=(self._work,), name="leaf")
            self._threads.append(thread)
            thread.start()

    def ended(self) -> _End:
        """Waits for a leaf to end: what it returned or raised, and what to do then."""
        end = self._ends.get()
        self._out -= 1
        return end

    def close(self) -> None:
        """Waits for the leaves that run; those that do not yet are forgotten."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._leaves.get_nowait()
        for _ in self._threads:
            self._leaves.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while task := self._leaves.get():
            self._ends.put(_run(*task))
            del task  # what it holds is not kept until the next one comes


def _run(leaf: Callable[[], Any], then: Then) -> _End:
    try:
        return leaf(), None, then
    except BaseException as error:  # noqa: BLE001 - the coordinator raises it
        return None, error, then


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


def _outcome(value: Any, error: BaseException | None) -> Outcome[Any]:
    if error is None:
        return Outcome(value)
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
