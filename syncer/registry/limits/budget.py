"""Reads of manifests that a registry counts and limits, such as Docker Hub's pulls.

It says what is left in `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`: reads
in a window of seconds. A HEAD has these headers, too, and does not count; an answer without them is
not limited. Source: docs.docker.com, "Docker Hub pull usage and limits".
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from syncer import errors
from syncer.registry.limits.gate import LONGEST_PAUSE, Clock

_COUNT = re.compile(r"([0-9]{1,9});w=([0-9]{1,9})")
# What was seen this long ago is asked for again before anything is refused by it.
_OLD = 60.0
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Budget:
    """The counted reads that a registry has left for us.

    Before they are used up, those above a reserve are: then a read is refused at once, so that the
    run goes on with what costs nothing. Windows of a few minutes are left to retries.

    Args:
        name: The registry's name, for messages.
        reserve: Percent of the limit that are left to others.
        clock: Seconds that only go forward.
    """

    def __init__(self, name: str, reserve: int = 10, *, clock: Clock = time.monotonic) -> None:
        self._name = name
        self._reserve = reserve
        self._clock = clock
        self._lock = threading.Lock()
        self._left = math.inf
        self._limit = 0
        self._window = 0
        self._asked = 0
        self._answered = 0
        self._seen = 0.0

    @property
    def doubtful(self) -> bool:
        """Whether a read would be refused by what was seen a while ago."""
        return self._short and self._clock() - self._seen >= _OLD

    @property
    def answered(self) -> int:
        """How many reads have been answered: the mark of a question that is sent now."""
        return self._answered

    def note(self, headers: Mapping[str, str], mark: int) -> None:
        """Takes in what an answer to a HEAD or GET of a manifest says.

        Args:
            headers: The answer's.
            mark: What `answered` was when the question was sent.
        """
        text = headers.get("ratelimit-remaining")
        if text is None and self._left == math.inf:
            return
        left = _COUNT.fullmatch(text or "")
        limit = _COUNT.fullmatch(headers.get("ratelimit-limit", ""))
        with self._lock:
            if left and limit and int(left[2]) > LONGEST_PAUSE:
                self._limit, self._window = int(limit[1]), int(left[2])
                self._left = self._newest(int(left[1]), mark)
                self._seen = self._clock()
            elif not self._short or self.doubtful:
                self._left = math.inf

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Sends one counted read.

        Raises:
            RateBudgetError: None is left, or only the reserve; or the answer said so.
        """
        with self._lock:
            if self._short:
                raise errors.RateBudgetError(self._why(), registry=self._name)
            self._asked += 1
        try:
            yield
        except errors.RateBudgetError:
            self._left, self._seen = 0, self._clock()
            raise
        finally:
            with self._lock:
                self._asked -= 1
                self._answered += 1

    def _newest(self, told: int, mark: int) -> float:
        """What is left, by what is known and by an answer that may be older than that.

        An answer need not count the reads that were under way with it. If it tells of more than
        those explain, reads have come back to us.
        """
        others = self._answered + self._asked - mark
        return told if told - others > self._left else min(told, self._left)

    @property
    def _kept(self) -> int:
        return self._limit * self._reserve // 100

    @property
    def _short(self) -> bool:
        return self._left - self._asked <= self._kept

    def _why(self) -> str:
        if not self._limit:
            return (
                f"{self._name} is not asked for manifests: it said that its pull limit is reached;"
                " what is missing is read by a later run"
            )
        window = next(
            f"{self._window // size} {unit}" for size, unit in _UNITS if not self._window % size
        )
        left = max(0, int(self._left) - self._asked)
        kept = f", and rate_limit_reserve keeps {self._kept} of them" if self._kept else ""
        return (
            f"{self._name} is not asked for manifests: of the {self._limit} it gives in {window}"
            f" {left} are left{kept}; run again when there are more, in {window} at the latest"
        )
