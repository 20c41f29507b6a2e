"""A run as it happens, on stderr: counted here, shown as plain lines, or live (`live`).

Everything is driven by events; no thread of ours looks at the clock.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from syncer import events
from syncer.cli import console, text

HEARTBEAT = 10.0
# So many problems of one kind are told as they happen; the summary counts the rest.
MOST_ALIKE = 3
_TROUBLE = frozenset({"failed", "wrong", "conflict", "refused", "held"})
# The rate is that of the last so many samples, so many seconds apart.
_SAMPLES, _SAMPLE = 20, 0.5
# How a planned step ends, and what is told of what could not be planned.
_UNPLANNED = frozenset({"list", "compare"})
_ENDED = frozenset({"done", "failed", "skipped", "held", "interrupted"})
# No guess at the time left before so much time and so much of the work have passed.
_EARLIEST, _LEAST = 2.0, 0.02


Write = Callable[[str, str], None]


class Tally:
    """Counts what a run has looked at and done so far. Safe to call from several threads.

    Attributes:
        doing: What the run does with its steps: `copying`, `dropping`; empty: it only looks.
        repositories, tags: What the rules' patterns matched.
        compared: Target repositories that have been compared.
        planned, ended: Steps known, and those that have ended.
        known, settled: Bytes of the blobs known to be named, and of those that are in place.
        written: Bytes sent.
        requests: Requests of all registries.
        done: Steps that ended well, by (rule, action).
        patterns: Names that each pattern matched, by (rule, field, pattern).
    """

    def __init__(self, doing: str = "copying", clock: Callable[[], float] = time.monotonic) -> None:
        self.doing = doing
        self.repositories = self.tags = self.compared = 0
        self.planned = self.ended = 0
        self.known = self.settled = self.written = 0
        self.requests = 0
        self.done: Counter[tuple[str, str]] = Counter()
        self.patterns: Counter[tuple[str, str, str]] = Counter()
        self._clock = clock
        self._since = 0.0
        self._samples = deque([(clock(), 0)], maxlen=_SAMPLES)
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        """Counts one event."""
        with self._lock:
            self._count(event)

    def _count(self, event: events.Event) -> None:
        match event:
            case events.RequestDone():
                self.requests += 1
            case events.BytesMoved(direction="written"):
                self._sent(event.count)
            case events.BlobDone():
                self.settled += event.size
            case events.RuleMatched():
                self.repositories += event.repositories
                self.tags += event.tags
            case events.StepsPlanned():
                self.compared += 1
                self.planned += event.steps
                self.known += event.size
                if event.steps and not self._since:
                    self._since = self._clock()
            case events.PatternsMatched():
                for pattern, count in event.counts.items():
                    self.patterns[event.rule, event.field, pattern] += count
            case events.StepDone():
                self.ended += event.action not in _UNPLANNED and event.outcome in _ENDED
                self.done[event.rule, event.action] += event.outcome == "done"

    def _sent(self, count: int) -> None:
        self.written += count
        if self._clock() >= self._samples[-1][0] + _SAMPLE:
            self._samples.append((self._clock(), self.written))

    @property
    def fraction(self) -> float:
        """How much of the known work is done, from 0 to 1: of the bytes, else of the steps."""
        steps = min(self.ended / self.planned, 1.0) if self.planned else 0.0
        sizes = self.settled / self.known if self.known else 1.0
        return sizes if sizes < 1 and steps < 1 else steps

    @property
    def steps(self) -> str:
        """Steps, bytes, rate and time left: `120 of 300 tags, 1.2 of 3.4 GB, 25 MB/s, 1 min left`."""
        parts = [f"{self.ended:,} of {text.number(self.planned, 'tag')}"]
        if self.known:
            parts.append(text.of(min(self.settled, self.known), self.known))
        if rate := self._rate():
            parts.append(f"{text.size(rate)}/s")
        passed = self._clock() - self._since
        if passed >= _EARLIEST and _LEAST < self.fraction < 1:
            parts.append(f"{text.duration(passed / self.fraction - passed)} left")
        return ", ".join(parts)

    def _rate(self) -> int:
        """Bytes sent a second, lately."""
        since, before = self._samples[0]
        passed = self._clock() - since
        return round((self.written - before) / passed) if passed >= 1 else 0

    @property
    def listing(self) -> str:
        """What was looked at: `12 repositories, 300 tags, 8 compared, 612 requests`."""
        return ", ".join(
            (
                text.number(self.repositories, "repository", "repositories"),
                text.number(self.tags, "tag"),
                f"{self.compared:,} compared",
                text.number(self.requests, "request"),
            )
        )


class Lines:
    """Tells each overwrite and each problem in a line as it happens.

    Args:
        write: Takes a line and its style.
        trouble: Takes those about problems instead.
        verbose: Whether finished copies get a line, too.
    """

    def __init__(
        self, write: Write = console.tell, trouble: Write = console.tell, *, verbose: bool = False
    ) -> None:
        self._write = write
        self._trouble = trouble
        self._verbose = verbose
        self._alike: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        """Writes a line about the event, if it deserves one."""
        match event:
            case events.StepDone(outcome=outcome) if outcome in _TROUBLE:
                self._problem(outcome, event.reference, event.reason, event)
            case events.StepDone(action="overwrite" | "drop" | "restore", outcome="done"):
                self._write(f"{_PAST[event.action]} {event.reference}: {_moved(event)}", "")
            case events.StepDone(outcome="done") if self._verbose:
                self._write(f"{_PAST.get(event.action, event.action)} {event.reference}", "")
            case events.Noticed():
                self._problem("note", event.reference, event.message, event)
            case events.CircuitChanged():
                state = "is not asked for a while" if event.opened else "is asked again"
                self._trouble(f"{event.registry} {state}: {event.reason}", "yellow")

    def _problem(
        self, word: str, reference: str, reason: str, event: events.StepDone | events.Noticed
    ) -> None:
        names = [event.repository, event.tag] if isinstance(event, events.StepDone) else []
        with self._lock:
            kind = (event.code, text.shape(reason, reference, *names))
            self._alike[kind] += 1
            count = self._alike[kind]
        if count <= MOST_ALIKE:
            style = console.STYLES.get(word, "")
            self._trouble(text.shortened(f"{word} {reference}: {reason}"), style)
        elif count == MOST_ALIKE + 1:
            self._trouble(f"more {word}, {event.code}: the summary counts them", "")


class Heartbeat:
    """Tells how far a run is: when its work begins, then every ten seconds if something happens."""

    def __init__(self, tally: Tally, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._clock = clock
        self._next = clock() + HEARTBEAT
        self._begun = False
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        """Writes a line when it is time for one."""
        planned = isinstance(event, events.StepsPlanned) and event.steps > 0
        begins = planned and bool(self._tally.doing) and not self._begun
        if (self._clock() < self._next and not begins) or not self._lock.acquire(blocking=False):
            return
        self._begun = self._begun or begins
        self._next = self._clock() + HEARTBEAT
        self._lock.release()
        tally = self._tally
        doing = f"{tally.doing}: {tally.steps}" if self._begun else f"listing: {tally.listing}"
        console.tell(doing)


_PAST = {"copy": "copied", "overwrite": "overwrote", "drop": "dropped", "restore": "restored"}


def _moved(event: events.StepDone) -> str:
    if event.action == "restore":
        return event.digest
    if event.action == "drop":
        return text.shortened(f"{event.digest} ({event.reason})")
    return text.shortened(f"{event.previous} -> {event.digest}")
