"""What Prometheus is told. Counters grow with events; gauges are read from the state when asked.

Labels hold names of the rules file and words of this program, so none of them is unbounded. Names
follow Prometheus' own advice ("Metric and label naming").
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from jobs.live import Live, lag, registries
from syncer import errors, events, stores
from syncer.report import EXIT_CODES, Report, RuleReport
from syncer.rules import PolicyRules
from syncer.state import RuleState, State

_TOO_MANY = 429
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one daemon. Listens to runs (`observe`) and to their ends (`ended`)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        _Process(registry=self.registry)
        build = Info("syncer_build", "What runs.", registry=self.registry)
        version = metadata.version("syncer")
        build.info({"version": version, "python": platform.python_version()})
        self._requests = self._counter(
            "requests",
            "Requests by method and status of the answer; status 0: broken off.",
            ("registry", "method", "status"),
        )
        self._request_seconds = Histogram(
            "syncer_request_duration_seconds",
            "Time to the head of the answer.",
            ("registry",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._retries = self._counter("request_retries", "Requests sent again.", ("registry",))
        self._waits = self._counter(
            "rate_limit_waits", "Requests that waited since the registry said 429.", ("registry",)
        )
        self._waited = self._counter(
            "rate_limit_wait_seconds", "Time that those requests waited.", ("registry",)
        )
        self._circuit = Gauge(
            "syncer_circuit_open",
            "1 while a registry failed so often that it is not asked.",
            ("registry",),
            registry=self.registry,
        )
        self._blobs = self._counter(
            "blobs", "Blobs copied, mounted, or found present at a target.", ("registry", "how")
        )
        self._bytes = self._counter(
            "blob_bytes", "Blob bytes read from and written to registries.", ("registry", "direction")
        )
        self._steps = self._counter(
            "steps", "Steps by what they were to do and how they ended.", ("rule", "action", "outcome")
        )
        self._runs = self._counter("runs", "Scheduled runs by how they ended.", ("rule", "outcome"))
        self._run_seconds = Summary(
            "syncer_run_duration_seconds",
            "How long the scheduled runs of a rule took.",
            ("rule",),
            registry=self.registry,
        )
        self._notices = self._counter(
            "notices", "Attempts to deliver a notice to the webhook.", ("result",)
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"syncer_{name}", text, labels, registry=self.registry)

    def observe(self, event: events.Event) -> None:
        """Counts one event. Safe to call from several threads."""
        match event:
            case events.RequestDone():
                status = str(event.status)
                self._requests.labels(event.registry, event.method, status).inc()
                self._request_seconds.labels(event.registry).observe(event.seconds)
            case events.Retried():
                self._retries.labels(event.registry).inc()
                if event.status == _TOO_MANY:
                    self._waits.labels(event.registry).inc()
                    self._waited.labels(event.registry).inc(event.delay)
            case events.CircuitChanged():
                self._circuit.labels(event.registry).set(event.opened)
            case events.BytesMoved():
                self._bytes.labels(event.registry, event.direction).inc(event.count)
            case events.BlobDone():
                self._blobs.labels(event.registry, event.how).inc()
            case events.StepDone():
                self._steps.labels(event.rule, str(event.action), event.outcome).inc()

    def ended(self, rule: str, fared: RuleReport, report: Report | None) -> None:
        """Counts a run that ended."""
        self._runs.labels(rule, fared.outcome).inc()
        if report:
            self._run_seconds.labels(rule).observe(report.seconds)

    def noticed(self, *, delivered: bool) -> None:
        """Counts an attempt to deliver a notice."""
        self._notices.labels("delivered" if delivered else "failed").inc()


class Standing(Collector):
    """How the rules stand, read from the state at each scrape.

    Args:
        live: The rules in force, and what runs.
        state: How the rules have fared.
        next_runs: When each rule runs next.
    """

    def __init__(
        self, live: Live, state: State, next_runs: Callable[[], Mapping[str, datetime]]
    ) -> None:
        self._live = live
        self._state = state
        self._next_runs = next_runs

    def collect(self) -> Iterable[Metric]:
        """The families, each with a sample for every rule it is known of."""
        yield _gauge("rules_file_valid", "0 while the rules file is wrong, older ones in force.").of(
            float(not self._live.problem)
        )
        yield _gauge("rules_loaded_timestamp_seconds", "Since when these rules are in force.").of(
            self._live.loaded.timestamp()
        )
        try:
            found = [*self._records(), *self._plans()]
        except errors.StateError:
            found = []
        yield _gauge("state_readable", "0 when the state cannot be read.").of(float(bool(found)))
        yield from found
        yield from self._runs()

    def _records(self) -> Iterator[Metric]:
        now, known = self._live.now(), self._known()
        target = ("rule", "target")
        yield _gauge(
            "rule_last_success_timestamp_seconds",
            "Start of the last run that found every matched tag in step.",
            *target,
        ).each(known, lambda each: _stamp(each.last_success_started))
        yield _gauge(
            "rule_last_run_timestamp_seconds", "End of the last run of a rule.", *target
        ).each(known, lambda each: _stamp(each.last_finished))
        yield _gauge(
            "rule_last_full_pass_timestamp_seconds",
            "End of the last run that went through all of a rule; none before the first.",
            *target,
        ).each(known, lambda each: _stamp(each.last_full_pass))
        yield _gauge(
            "rule_consecutive_failures", "Runs in a row that failed or were refused.", *target
        ).each(known, lambda each: each.consecutive_failures)
        yield _gauge(
            "lag_seconds",
            "Now minus the start of the last run that found every matched tag in step; none before"
            " the first full pass.",
            *target,
        ).each(known, lambda each: span.total_seconds() if (span := lag(each, now)) else None)
        yield _gauge("lag_tags", "Tags that the last run left undone.", *target).each(
            known, lambda each: each.tags_behind
        )
        yield self._outcomes(known)

    def _outcomes(self, known: Mapping[tuple[str, str], RuleState]) -> Metric:
        text = "1 for the outcome of the last run of a rule, 0 for the others."
        family = _gauge("rule_last_outcome", text, "rule", "target", "outcome")
        for labels, record in known.items():
            for outcome in EXIT_CODES if record.last_outcome else ():
                family.add_metric([*labels, outcome], float(outcome == record.last_outcome))
        return family

    def _plans(self) -> Iterator[Metric]:
        family = _gauge("prune_pending_drops", "Tags that the pending plan would drop.", "policy")
        drops = {policy.name: 0 for policy in self._live.rules.policies}
        for plan in reversed(self._state.plans.latest(status="pending")):
            if len(plan.policies) == 1 and plan.policies[0] in drops:
                drops[plan.policies[0]] = int(plan.summary.get("drops", 0))
        for policy, count in drops.items():
            family.add_metric([policy], count)
        yield family

    def _runs(self) -> Iterator[Metric]:
        running = _gauge("rule_running", "1 while a run of a rule is under way.", "rule")
        bytes_ = _gauge(
            "pending_bytes", "Bytes that the run under way knows of and has not placed.", "rule"
        )
        current = {each.rule: each for each in self._live.running}
        for rule in self._rules():
            run = current.get(rule.name)
            running.add_metric([rule.name], float(run is not None))
            bytes_.add_metric([rule.name], float(run.pending if run else 0))
        yield running
        yield bytes_
        times = _gauge("rule_next_run_timestamp_seconds", "When a rule runs next.", "rule")
        for name, moment in self._next_runs().items():
            times.add_metric([name], moment.timestamp())
        yield times

    def _rules(self) -> Iterator[Rule]:
        yield from self._live.rules.replicate
        yield from self._live.rules.policies

    def _known(self) -> dict[tuple[str, str], RuleState]:
        """The records of the rules in force, by rule and name of the registry."""
        rules = self._live.rules
        records = {(each.rule, each.target): each for each in self._state.rules.all()}
        found = {}
        for rule in self._rules():
            for name in registries(rule):
                record = records.get((rule.name, stores.key(rules.registry[name])))
                if record:
                    found[rule.name, name] = record
        return found
