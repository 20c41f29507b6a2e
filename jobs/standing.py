"""What Prometheus is told of how things stand: gauges, read from the state at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.live import Labels, Live, known, lag, rules_of
from syncer import errors
from syncer.report import EXIT_CODES
from syncer.state import RuleState, State

_AT = ("rule", "target")


class Standing(Collector):
    """The gauges of one daemon.

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
        """The families, each with a sample for every rule in force that it is known of."""
        yield from self._daemon()
        yield from self._runs()
        yield from self._last_runs()
        try:
            found = [*self._records(), *self._plans()]
        except errors.StateError:
            found = []
        yield _gauge("state_readable", "0 when the state cannot be read.", (), {(): bool(found)})
        yield from found

    def _daemon(self) -> Iterator[Metric]:
        live = self._live
        yield _gauge(
            "rules_file_valid",
            "0 while the rules file is wrong and the rules before it stay in force.",
            (),
            {(): not live.problem},
        )
        yield _gauge(
            "rules_loaded_timestamp_seconds",
            "Since when these rules are in force.",
            (),
            {(): live.loaded.timestamp()},
        )

    def _runs(self) -> Iterator[Metric]:
        current = {run.rule: run for run in self._live.running}
        names = [rule.name for rule in rules_of(self._live.rules)]
        yield _gauge(
            "rule_running",
            "1 while a run of the rule is under way.",
            ("rule",),
            {(name,): name in current for name in names},
        )
        yield _gauge(
            "pending_bytes",
            "Blob bytes that the run under way knows of and has not placed yet.",
            ("rule",),
            {(name,): current[name].pending if name in current else 0 for name in names},
        )
        yield _gauge(
            "rule_next_run_timestamp_seconds",
            "When the rule runs next.",
            ("rule",),
            {(name,): moment.timestamp() for name, moment in self._next_runs().items()},
        )

    def _last_runs(self) -> Iterator[Metric]:
        """What only the reports of this daemon's own runs say."""
        last = {
            rule.name: fared
            for rule in rules_of(self._live.rules)
            if (fared := self._live.last.get(rule.name))
        }
        for outcome, text in (
            ("conflict", "Tags left alone at a target because syncer did not put them there"),
            ("suppressed", "Tags not copied because a retention policy dropped them"),
            ("refused", "Repositories that a guard refused"),
        ):
            yield _gauge(
                f"rule_{outcome}",
                f"{text}, in the last run of the rule.",
                ("rule",),
                {(name,): fared.steps[outcome] for name, fared in last.items()},
            )

    def _records(self) -> Iterator[Metric]:
        records, now = known(self._live.rules, self._state), self._live.now()
        yield _gauge(
            "rule_last_success_timestamp_seconds",
            "Start of the last run that found every matched tag in step.",
            _AT,
            {at: _stamp(each.last_success_started) for at, each in records.items()},
        )
        yield _gauge(
            "rule_last_run_timestamp_seconds",
            "End of the last run of the rule.",
            _AT,
            {at: _stamp(each.last_finished) for at, each in records.items()},
        )
        yield _gauge(
            "rule_last_full_pass_timestamp_seconds",
            "End of the last run that went through all of the rule.",
            _AT,
            {at: _stamp(each.last_full_pass) for at, each in records.items()},
        )
        yield _gauge(
            "rule_consecutive_failures",
            "Runs in a row that failed or were refused.",
            _AT,
            {at: each.consecutive_failures for at, each in records.items()},
        )
        yield _gauge(
            "rule_last_outcome",
            "1 for the outcome of the last run of the rule, 0 for the others.",
            (*_AT, "outcome"),
            {
                (*at, outcome): outcome == each.last_outcome
                for at, each in records.items()
                for outcome in EXIT_CODES
                if each.last_outcome
            },
        )
        yield from self._lags(records, now)

    def _lags(self, records: Mapping[Labels, RuleState], now: datetime) -> Iterator[Metric]:
        mirrors = {rule.name for rule in self._live.rules.replicate}
        behind = {at: each for at, each in records.items() if each.rule in mirrors}
        lags = {at: lag(each, now) for at, each in behind.items()}
        yield _gauge(
            "lag_seconds",
            "Now minus the start of the last run that found every matched tag in step; none before"
            " the first full pass.",
            _AT,
            {at: None if span is None else span.total_seconds() for at, span in lags.items()},
        )
        yield _gauge(
            "lag_tags",
            "Tags that the last run left undone.",
            _AT,
            {at: each.tags_behind for at, each in behind.items()},
        )

    def _plans(self) -> Iterator[Metric]:
        drops: dict[Labels, float] = {(policy.name,): 0 for policy in self._live.rules.policies}
        for plan in reversed(self._state.plans.latest(status="pending")):
            if plan.policies in drops:  # one that a schedule made: of a single policy
                drops[plan.policies] = plan.summary.get("drops", 0)
        text = "Tags that the pending plan of the policy would drop."
        yield _gauge("prune_pending_drops", text, ("policy",), drops)


def _gauge(
    name: str, text: str, labels: Labels, values: Mapping[Labels, float | None]
) -> GaugeMetricFamily:
    """A family with one sample for each of `values` that is known."""
    family = GaugeMetricFamily(f"syncer_{name}", text, labels=labels)
    for at, value in values.items():
        if value is not None:
            family.add_metric(at, float(value))
    return family


def _stamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
