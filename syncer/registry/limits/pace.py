"""Requests a second: what an operator allows, and what big vendors are known to take."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType

from syncer.registry.limits.gate import Clock, Kind

# A request in the terms of vendors, which count the steps of an upload one by one.
Call = tuple[Kind, str]


class Bucket:
    """Tokens that come at a rate; nobody takes one before another who asked earlier.

    A token that is not there yet is taken in advance: who gets it waits until it comes. Source:
    the generic cell rate algorithm (ITU-T I.371), which is a token bucket kept in one number.

    Args:
        rate: Tokens a second.
        burst: How many are there after a rest.
        clock: Seconds that only go forward.
    """

    def __init__(self, rate: float, burst: float, clock: Clock = time.monotonic) -> None:
        self.rate = rate
        self._rest = burst / rate
        self._clock = clock
        self._lock = threading.Lock()
        self._taken_until = float("-inf")

    def take(self, count: float = 1.0) -> float:
        """Takes `count` tokens; the seconds until they are there."""
        with self._lock:
            now = self._clock()
            self._taken_until = max(self._taken_until, now - self._rest) + count / self.rate
            return max(0.0, self._taken_until - now)


_ECR: Mapping[Call, float] = MappingProxyType(
    {
        (Kind.UPLOAD, "POST"): 100.0,  # InitiateLayerUpload
        (Kind.UPLOAD, "PATCH"): 500.0,  # UploadLayerPart
        (Kind.UPLOAD, "PUT"): 100.0,  # CompleteLayerUpload
        (Kind.MANIFEST, "PUT"): 10.0,  # PutImage
    }
)
_ECR_PUBLIC = {call: rate / 10 for call, rate in _ECR.items()}
# By host: requests a second all together, and of single calls. As their vendors document them
# (Amazon ECR and ECR Public: service quotas; GitHub: 2,000 requests a minute), seen through ocync,
# which keeps to the same. The rates are defaults of theirs, which may be raised or lowered.
CEILINGS: tuple[tuple[re.Pattern[str], float | None, Mapping[Call, float]], ...] = (
    (re.compile(r"[0-9]+\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com"), None, _ECR),
    (re.compile(r"public\.ecr\.aws"), None, _ECR_PUBLIC),
    (re.compile(r"ghcr\.io"), 2000 / 60, {}),
)


class Pace:
    """How many requests a second go to a registry, all runs together.

    Args:
        host: The registry's host, by which big vendors are known.
        most: Requests a second as the operator says, instead of the vendor's for all of them; None:
            as the vendor says.
        clock: Seconds that only go forward.
    """

    def __init__(self, host: str, most: float | None = None, clock: Clock = time.monotonic) -> None:
        known = ((total, calls) for name, total, calls in CEILINGS if name.fullmatch(host))
        total, calls = next(known, (None, {}))
        most = most or total
        self._all = _second(most, clock) if most else None
        self._calls = {call: _second(rate, clock) for call, rate in calls.items()}

    def __bool__(self) -> bool:
        return bool(self._all or self._calls)

    def take(self, kind: Kind, method: str) -> float:
        """Counts a request; the seconds to wait before it may be sent."""
        one = self._calls.get((kind, method))
        return max(
            self._all.take() if self._all else 0.0,
            one.take() if one else 0.0,
        )


def _second(rate: float, clock: Clock) -> Bucket:
    """A bucket that holds what comes in a second, and one token at least."""
    return Bucket(rate, max(1.0, rate), clock)
