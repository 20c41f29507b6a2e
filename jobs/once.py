"""One run of a rule, and the boundary around it: whatever it raises ends this run and no other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from jobs.journal import Journal
from jobs.live import Current, Live, Rule, registries, scheduled
from jobs.prune import prune
from jobs.replicate import replicate
from syncer import errors, events, log, run, stores
from syncer.report import Report, RuleReport
from syncer.rules import ReplicateRule, Rules
from syncer.state import State

Ended = Callable[[str, RuleReport, Report | None], None]
_T = TypeVar("_T")


class Once:
    """Runs rules, one call for each run, from any thread.

    Args:
        live: The rules in force; told of every run.
        state: Where the runs are recorded.
        connections: Shared by all runs.
        observers: Listen to every run.
        ended: Told after each run: the rule's name, how it fared, and the whole report, which is
            None when the run could not even begin.
    """

    def __init__(
        self,
        live: Live,
        state: State,
        connections: stores.Registries,
        *,
        observers: Sequence[events.Observer] = (),
        ended: Sequence[Ended] = (),
    ) -> None:
        self._live = live
        self._state = state
        self._connections = connections
        self._observers = tuple(observers)
        self._ended = tuple(ended)

    def __call__(self, name: str) -> None:
        """Runs the rule called `name`, unless it is gone or the daemon stops. Raises nothing."""
        rules = self._live.rules
        rule = scheduled(rules).get(name)
        if rule is None or self._live.stopping:
            return
        with log.bound(rule=name):
            _guarded(lambda: self._run_and_tell(rules, rule))

    def _run_and_tell(self, rules: Rules, rule: Rule) -> None:
        with self._live.run(rule.name) as current, _limited(rules, rule, current):
            log.get().info("run.started")
            report, trouble = _guarded(lambda: self._carry_out(rules, rule, current))
            if report is None:
                fared = self._note_failure(rules, rule, current.since, trouble)
            else:
                fared = report.rules[rule.name]
                _tell(report, fared)
            for tell in self._ended:
                tell(rule.name, fared, report)

    def _carry_out(self, rules: Rules, rule: Rule, current: Current) -> Report:
        for key in keys(rules, rule):
            self._state.rules.started(rule.name, key)
        environment = run.Environment(
            rules,
            self._connections,
            self._state,
            (current, Journal(), *self._observers),
            current.stop,
            self._live.now,
        )
        job = replicate if isinstance(rule, ReplicateRule) else prune
        return job(environment, rule.name)

    def _note_failure(self, rules: Rules, rule: Rule, started: datetime, reason: str) -> RuleReport:
        """Remembers a run that broke off; what it raised has been told already."""
        with contextlib.suppress(errors.StateError):
            for key in keys(rules, rule):
                self._state.rules.finished(rule.name, key, started=started, outcome="failed")
        fared = RuleReport(rule.name, first_trouble=reason)
        fared.steps["failed"] = 1
        return fared


def _guarded(call: Callable[[], _T]) -> tuple[_T | None, str]:
    """What `call` returns; or None and why, which has been logged: others go on, whatever it was."""
    try:
        return call(), ""
    except errors.SyncerError as error:
        log.get().error("run.failed", code=error.code, error=str(error))
        return None, str(error)
    except Exception as error:  # noqa: BLE001 - the one boundary of the daemon's runs
        log.get().error("run.crashed", error=str(error), exc_info=error)
        return None, f"unexpected {type(error).__name__}: {error}"


@contextlib.contextmanager
def _limited(rules: Rules, rule: Rule, current: Current) -> Iterator[None]:
    """Ends the run at its deadline, and when the hours of its rule are over."""
    ends = [rules.hours(rule).closing(current.since)]
    ends.append(current.since + rule.deadline if rule.deadline else None)
    end = min(filter(None, ends), default=None)
    if end is None:
        yield
        return

    def stop() -> None:
        log.get().warning("run.out_of_time", rule=rule.name)
        current.stop.set()

    timer = threading.Timer((end - current.since).total_seconds(), stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def keys(rules: Rules, rule: Rule) -> list[str]:
    """The registries, as the state knows them, that a rule's past is kept for."""
    return [stores.key(rules.registry[name]) for name in registries(rule)]


def _tell(report: Report, fared: RuleReport) -> None:
    calm = fared.outcome in ("ok", "held", "interrupted")
    tell = log.get().info if calm else log.get().warning
    tell(
        "run.finished",
        run=report.run,
        outcome=fared.outcome,
        reason=fared.reason,
        matched=fared.matched,
        in_step=fared.in_step,
        steps=dict(fared.steps),
        bytes=dict(report.bytes),
        requests=sum(sum(each.values()) for each in report.requests.values()),
        seconds=round(report.seconds, 3),
    )
