"""Events -> log lines: one line for each copy, overwrite and drop, and for what went wrong."""

from __future__ import annotations

import threading
from collections import Counter

from syncer import events, log

# So many troubles of one kind get a line each; the state and the report have all of them.
MOST_ALIKE = 50
_TROUBLE = frozenset({"failed", "conflict", "refused", "held"})


class Journal:
    """Writes the log of one run. Safe to call from several threads."""

    def __init__(self) -> None:
        self._log = log.get()
        self._alike: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        """Writes a line about the event, if it deserves one."""
        match event:
            case events.StepDone(outcome=outcome):
                self._step(event, outcome)
            case events.Noticed():
                self._log.warning(
                    "notice", reference=event.reference, code=event.code, message=event.message
                )
            case events.CircuitChanged():
                state = "opened" if event.opened else "closed"
                self._log.warning(f"circuit.{state}", registry=event.registry, reason=event.reason)
            case events.Retried():
                self._log.debug("request.retried", **vars(event))

    def _step(self, event: events.StepDone, outcome: str) -> None:
        if outcome not in _TROUBLE:
            tell = self._log.info if outcome == "done" else self._log.debug
        elif self._count(event) <= MOST_ALIKE:
            tell = self._log.warning
        else:
            return
        tell(
            f"step.{outcome}",
            rule=event.rule,
            action=str(event.action),
            reference=event.reference,
            digest=event.digest,
            **_given(previous=event.previous, reason=event.reason, code=event.code),
        )

    def _count(self, event: events.StepDone) -> int:
        with self._lock:
            self._alike[event.outcome, event.code] += 1
            return self._alike[event.outcome, event.code]


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
