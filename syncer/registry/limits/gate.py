"""Permits for the requests in flight: so many together, and of each kind what the registry takes.

A 429 says that there was too much of one kind of request: its window halves, and the others stay as
they are. Source: additive increase, multiplicative decrease (RFC 5681, section 3.1), by kind.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from enum import IntEnum

from syncer import errors

Clock = Callable[[], float]

# Simultaneous 429s tell of one congestion: the window halves once for all of them.
EPOCH = 0.1
LONGEST_PAUSE = 300.0
_BULK_SHARE = 0.75
_POLL = 0.2


class Kind(IntEnum):
    """Requests that a registry limits together, as far as one can see."""

    READ = 0  # manifests, listings, blobs
    UPLOAD = 1  # blobs, from the POST to the closing PUT
    MANIFEST = 2  # manifests that are stored
    DELETE = 3

    @classmethod
    def of(cls, method: str) -> Kind:
        """What requests of `method` are, but for a PUT of a manifest."""
        return _KINDS[method]


_KINDS: Mapping[str, Kind] = {
    "HEAD": Kind.READ,
    "GET": Kind.READ,
    "POST": Kind.UPLOAD,
    "PATCH": Kind.UPLOAD,
    "PUT": Kind.UPLOAD,
    "DELETE": Kind.DELETE,
}


class _Lane:
    """What is in flight of one kind, and how much of it may be."""

    __slots__ = ("bulk", "halved", "out", "until", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self.out = 0
        self.bulk = 0
        self.halved = float("-inf")
        self.until = 0.0


class _Mine(threading.local):
    """Whether this thread holds permits."""

    held = False


class _Permit(AbstractContextManager[None]):
    """What one thread asks for; `signal` is released when it gets it."""

    __slots__ = ("_gate", "_stop", "bulk", "count", "granted", "lane", "signal")

    def __init__(
        self, gate: Gate, lane: _Lane, count: int, stop: threading.Event | None, *, bulk: bool
    ) -> None:
        self.lane = lane
        self.count = count
        self.bulk = bulk
        self.granted = False
        self.signal: threading.Lock | None = None
        self._gate = gate
        self._stop = stop

    def __enter__(self) -> None:
        mine = self._gate._mine  # noqa: SLF001 - a permit is a part of its gate
        if not mine.held:
            self._gate._enter(self, self._stop)  # noqa: SLF001
            mine.held = True

    def __exit__(self, *_: object) -> None:
        if self.granted:
            self._gate._mine.held = False  # noqa: SLF001
            self._gate._leave(self)  # noqa: SLF001


class Gate:
    """Permits for the requests in flight to one registry.

    Permits are granted first come, first served; who waits for room in the window of its kind, or
    for the share of bulk transfers, is passed by. Bulk transfers get at most three quarters of all
    permits and of each window (at least one), so that small requests are never starved. A thread
    that holds permits already uses those. Asking for more than there are gives all of them.

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
        self._queue: deque[_Permit] = deque()
        self._lanes = tuple(_Lane(self.capacity) for _ in Kind)
        self._share = _share(self.capacity)
        self._out = 0
        self._bulk = 0
        self._mine = _Mine()

    def window(self, kind: Kind = Kind.READ) -> int:
        """How many requests of a kind may be in flight now."""
        return int(self._lanes[kind].window)

    def hold(
        self,
        count: int = 1,
        kind: Kind = Kind.READ,
        *,
        bulk: bool = False,
        stop: threading.Event | None = None,
    ) -> AbstractContextManager[None]:
        """Holds `count` permits, or uses those that this thread holds.

        In its kind's window it counts as one.

        Raises:
            InterruptedRunError: `stop` was set while waiting.
        """
        return _Permit(self, self._lanes[kind], min(count, self.capacity), stop, bulk=bulk)

    def succeeded(self, kind: Kind = Kind.READ) -> None:
        """An answer came that was no 429: the window grows, by one for a window of answers."""
        lane = self._lanes[kind]
        if lane.window < self.capacity:
            with self._lock:
                lane.window = min(float(self.capacity), lane.window + 1 / lane.window)
                self._grant()

    def congested(self, kind: Kind = Kind.READ) -> None:
        """A 429 came: the window of its kind halves, once per epoch."""
        now, lane = self._clock(), self._lanes[kind]
        with self._lock:
            if now - lane.halved >= EPOCH:
                lane.halved = now
                lane.window = max(1.0, lane.window / 2)

    def pause(self, seconds: float, *kinds: Kind) -> None:
        """Lets nothing of these kinds start for `seconds`, five minutes at most; of none: of all."""
        until = self._clock() + min(seconds, LONGEST_PAUSE)
        for kind in kinds or Kind:
            self._lanes[kind].until = max(self._lanes[kind].until, until)

    def paused(self, kind: Kind = Kind.READ) -> float:
        """Seconds until something of a kind may start again; 0 when it may now."""
        until = self._lanes[kind].until
        return max(0.0, until - self._clock()) if until > 0.0 else 0.0

    def _enter(self, permit: _Permit, stop: threading.Event | None) -> None:
        with self._lock:
            if not self._queue and self._room(permit) and self._fits(permit):
                self._take(permit)
                return
            permit.signal = signal = threading.Lock()
            signal.acquire()
            self._queue.append(permit)
            self._grant()
        while not signal.acquire(timeout=_POLL):
            if stop is not None and stop.is_set() and self._withdraw(permit):
                raise errors.InterruptedRunError(f"interrupted while waiting to ask {self._name}")

    def _withdraw(self, permit: _Permit) -> bool:
        with self._lock:
            if not permit.granted:
                self._queue.remove(permit)
                self._grant()
            return not permit.granted

    def _leave(self, permit: _Permit) -> None:
        lane = permit.lane
        with self._lock:
            permit.granted = False
            self._out -= permit.count
            lane.out -= 1
            if permit.bulk:
                self._bulk -= permit.count
                lane.bulk -= 1
            if self._queue:
                self._grant()

    def _grant(self) -> None:
        """Serves the queue in its order; only who waits for what others do not need is passed by.

        Bulk transfers never pass each other for want of their share of all permits: two permits
        would wait for ever beside many that need one.
        """
        passed: list[_Permit] = []
        crowded = False
        while self._queue:
            permit = self._queue[0]
            crowded = crowded or (permit.bulk and self._crowded(permit))
            if (permit.bulk and crowded) or not self._room(permit):
                passed.append(self._queue.popleft())
                continue
            if not self._fits(permit):
                break
            self._queue.popleft()
            self._take(permit)
            if permit.signal:
                permit.signal.release()
        self._queue.extendleft(reversed(passed))

    def _fits(self, permit: _Permit) -> bool:
        return not self._out or self._out + permit.count <= self.capacity

    def _crowded(self, permit: _Permit) -> bool:
        return bool(self._bulk) and self._bulk + permit.count > self._share

    def _room(self, permit: _Permit) -> bool:
        """Whether the window of its kind has room, and its share, where it is a bulk transfer."""
        lane = permit.lane
        if lane.out + 1 > lane.window:
            return False
        if not permit.bulk:
            return True
        return not self._crowded(permit) and lane.bulk < _share(lane.window)

    def _take(self, permit: _Permit) -> None:
        permit.granted = True
        self._out += permit.count
        permit.lane.out += 1
        if permit.bulk:
            self._bulk += permit.count
            permit.lane.bulk += 1


def _share(window: float) -> int:
    """What bulk transfers may have of a window."""
    return max(1, int(int(window) * _BULK_SHARE))
