"""When a registry is left alone, and how long to wait before it is asked again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from syncer import errors
from syncer.registry.limits.gate import LONGEST_PAUSE, Clock


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
