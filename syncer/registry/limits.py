"""How much a registry is asked at once, and when it is left alone. One of each per registry.

`Gate` bounds the requests in flight, all runs together; its window halves when the registry says
429 and grows back. `Circuit` stops asking a registry that fails every time. `Backoff` says how long
to wait before a request is sent again.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from syncer import errors

Clock = Callable[[], float]

# Simultaneous 429s tell of one congestion: the window halves once for all of them.
EPOCH = 0.1
LONGEST_PAUSE = 300.0
_BULK_SHARE = 0.75
_POLL = 0.2


class _Waiter:
    """A thread in the queue; `signal` is released when its permits are granted."""

    __slots__ = ("bulk", "count", "granted", "signal")

    def __init__(self, count: int, *, bulk: bool) -> None:
        self.count = count
        self.bulk = bulk
        self.granted = False
        self.signal = threading.Lock()


class Gate:
    """Permits for the requests in flight to one registry.

    Permits are granted first come, first served. Bulk transfers get at most three quarters of them
    (at least one), so that small requests are never starved. A thread that holds permits already
    uses those. Asking for more than there are gives all of them.

    Args:
        name: The registry's name, for messages.
        capacity: The most requests in flight.
        clock: Seconds that only go forward.
    """

    def __init__(self, name: str, capacity: int, *, clock: Clock = time.monotonic) -> None:
        self.capacity = max(1, capacity)
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: deque[_Waiter] = deque()
        self._window = float(self.capacity)
        self._out = 0
        self._bulk_out = 0
        self._halved = float("-inf")
        self._until = float("-inf")
        self._mine = threading.local()

    @property
    def window(self) -> int:
        """How many requests may be in flight now."""
        return max(1, int(self._window))

    @contextmanager
    def hold(
        self, count: int = 1, *, bulk: bool = False, stop: threading.Event | None = None
    ) -> Iterator[None]:
        """Holds `count` permits, or uses those that this thread holds.

        Raises:
            InterruptedRunError: `stop` was set while waiting.
        """
        if getattr(self._mine, "held", False):
            yield
            return
        waiter = _Waiter(min(count, self.capacity), bulk=bulk)
        self._enter(waiter, stop)
        self._mine.held = True
        try:
            yield
        finally:
            self._mine.held = False
            self._leave(waiter)

    def succeeded(self) -> None:
        """An answer came that was no 429: the window grows, by one for a window of answers."""
        if self._window < self.capacity:
            with self._lock:
                self._window = min(float(self.capacity), self._window + 1 / self._window)
                self._grant()

    def congested(self) -> None:
        """A 429 came: the window halves, once per epoch."""
        now = self._clock()
        with self._lock:
            if now - self._halved >= EPOCH:
                self._halved = now
                self._window = max(1.0, self._window / 2)

    def pause(self, seconds: float) -> None:
        """Lets nothing start for `seconds`, five minutes at most."""
        self._until = max(self._until, self._clock() + min(seconds, LONGEST_PAUSE))

    def paused(self) -> float:
        """Seconds until something may start again; 0 when it may now."""
        return max(0.0, self._until - self._clock())

    def _enter(self, waiter: _Waiter, stop: threading.Event | None) -> None:
        with self._lock:
            self._queue.append(waiter)
            self._grant()
            if waiter.granted:
                return
            waiter.signal.acquire()
        while not waiter.signal.acquire(timeout=_POLL):
            if stop is not None and stop.is_set() and self._withdraw(waiter):
                raise errors.InterruptedRunError(f"interrupted while waiting to ask {self._name}")

    def _withdraw(self, waiter: _Waiter) -> bool:
        with self._lock:
            if not waiter.granted:
                self._queue.remove(waiter)
                self._grant()
            return not waiter.granted

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            self._out -= waiter.count
            self._bulk_out -= waiter.count * waiter.bulk
            self._grant()

    def _grant(self) -> None:
        """Serves the queue in its order; only a bulk transfer over its share is passed by."""
        passed: list[_Waiter] = []
        while self._queue:
            waiter = self._queue[0]
            if waiter.bulk and self._bulk_out and self._bulk_out + waiter.count > self._share:
                passed.append(self._queue.popleft())
                continue
            if self._out and self._out + waiter.count > self.window:
                break
            self._queue.popleft()
            self._out += waiter.count
            self._bulk_out += waiter.count * waiter.bulk
            waiter.granted = True
            if waiter.signal.locked():
                waiter.signal.release()
        self._queue.extendleft(reversed(passed))

    @property
    def _share(self) -> int:
        return max(1, int(self.window * _BULK_SHARE))


class Circuit:
    """Whether a registry is worth asking.

    After `threshold` failures in a row with no answer in between it is not asked for `pause`
    seconds; then one request tries, and each failed try doubles the pause up to `longest`.

    Args:
        name: The registry's name, for messages.
        threshold: How many failures in a row open the circuit.
        pause: Seconds until the first try.
        longest: The longest pause in seconds.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        name: str,
        *,
        threshold: int = 5,
        pause: float = 30.0,
        longest: float = LONGEST_PAUSE,
        clock: Clock = time.monotonic,
    ) -> None:
        self._name = name
        self._threshold = threshold
        self._first = pause
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = pause
        self._until = 0.0
        self._reason = ""
        self._trying = False
        self.open = False

    def check(self) -> None:
        """Lets the caller ask, or says why not.

        Raises:
            CircuitOpenError: The registry failed too often just now.
        """
        if not self.open:
            return
        with self._lock:
            left = self._until - self._clock()
            if not self.open or left <= 0:
                # This caller is the one that tries; the next may when it has not come back.
                self._until = self._clock() + self._pause
                self._trying = True
                return
        raise errors.CircuitOpenError(
            f"{self._name} is not asked for another {left:.0f} s: {self._failures} requests in a"
            f" row failed, the last with: {self._reason}",
            registry=self._name,
        )

    def failed(self, reason: str) -> bool:
        """Counts a failure; whether it opened the circuit just now."""
        with self._lock:
            self._failures += 1
            self._reason = reason
            if self.open:
                self._tried()
                return False
            self.open = self._failures >= self._threshold
            self._until = self._clock() + self._pause
            return self.open

    def succeeded(self) -> bool:
        """Notes an answer; whether it closed the circuit just now."""
        if not self._failures:
            return False
        with self._lock:
            closed, self.open = self.open, False
            self._failures = 0
            self._pause = self._first
            self._trying = False
            return closed

    def _tried(self) -> None:
        """Waits longer after a failed try; what was in flight when it opened does not count."""
        if self._trying:
            self._trying = False
            self._pause = min(self._pause * 2, self._longest)
            self._until = self._clock() + self._pause


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next attempt: exponential, with full jitter.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog.

    Attributes:
        base: The longest wait after the first attempt, in seconds.
        longest: The longest wait after any.
        uniform: A random number between its two arguments.
    """

    base: float = 0.5
    longest: float = 10.0
    uniform: Callable[[float, float], float] = random.uniform

    def delay(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt`, counted from 1."""
        return self.uniform(0.0, min(self.longest, self.base * 2.0 ** (attempt - 1)))
