"""The first page: how each rule fares, which prune plans wait, what ran last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobs.live import Current, Rule, lag, registries, rules_of
from jobs.prune import waits_for
from jobs.web.document import View, badge, document, why
from jobs.web.markup import Markup, element, join, link, table
from syncer import stores
from syncer.cli import schedules, text
from syncer.rules import PolicyRules, ReplicateRule
from syncer.state import Plan, RuleState, Run

_RUNS = 25
Row = tuple[str, ...]


def page(view: View) -> Markup:
    """The first page. It refreshes itself.

    Raises:
        StateError: The state cannot be read.
    """
    plans = view.state.plans
    return document(
        view,
        "status",
        element("h2", "Rules"),
        table(("rule", "outcome", "lag", "next run"), _rules(view), "The file has none."),
        element("h2", "Prune plans that wait"),
        table(
            ("plan", "of", "drops", "made", "expires"),
            [_plan(view, plan) for plan in plans.latest(status="pending") if _drops(plan)],
            "None.",
        ),
        element("h2", "Last runs"),
        _runs(view),
        refresh=True,
    )


def rule_page(view: View, rule: Rule) -> Markup:
    """One rule: its last runs.

    Raises:
        StateError: The state cannot be read.
    """
    title = element("h2", f"Rule {rule.name}")
    return document(view, f"rule {rule.name}", title, _about(rule), _runs(view, rule.name))


def took(view: View, run: Run) -> str:
    """How long a run took, or has been going on."""
    return text.duration(((run.finished or view.live.now()) - run.started).total_seconds())


def counts(run: Run) -> str:
    """How the steps of a run ended, in words."""
    steps = run.report.get("steps", {})
    ended = {outcome: count for outcome, count in steps.items() if outcome != "planned" and count}
    said = ended or {word: steps[word] for word in ("planned",) if steps.get(word)}
    return ", ".join(f"{count:,} {outcome}" for outcome, count in said.items()) or "none"


def _rules(view: View) -> list[Row]:
    records = {(each.rule, each.target): each for each in view.state.rules.all()}
    ended = [run for run in view.state.runs.latest(limit=500) if run.finished]
    newest = {name: run for run in reversed(ended) for name in run.rules}
    next_runs, running = view.next_runs(), {run.rule: run for run in view.live.running}
    rows: list[Row] = []
    for rule in rules_of(view.live.rules):
        found = {}
        for name in registries(rule):
            key = stores.key(view.live.rules.registry[name])
            found[name] = records.get((rule.name, key)) or RuleState(rule.name, key)
        states = list(found.values())
        rows.append(
            (
                _title(rule),
                join(
                    _current(view, running.get(rule.name)),
                    _outcome(view, rule, states, newest.get(rule.name)),
                ),
                _lags(view, rule, found),
                _next(view, rule, next_runs.get(rule.name)),
            )
        )
    return rows


def _title(rule: Rule) -> Markup:
    return join(element("strong", link(f"/rules/{rule.name}", rule.name)), _about(rule))


def _about(rule: Rule) -> Markup:
    if isinstance(rule, ReplicateRule):
        what = f"{rule.source} to {', '.join(rule.target)}"
    else:
        what = f"prunes {rule.registry}"
    windows = f", within {text.listed(map(str, rule.window))}" if rule.window else ""
    return why(f"{what}, {schedules.words(rule.schedule)}{windows}")


def _current(view: View, run: Current | None) -> Markup:
    if run is None:
        return Markup()
    words = f"for {text.span(view.live.now() - run.since)}"
    if run.planned:
        words += f": {run.ended:,} of {text.number(run.planned, 'step')}"
    if run.written:
        words += f", {text.size(run.written)} sent"
    return join(badge("running"), why(words))


def _outcome(view: View, rule: Rule, records: Sequence[RuleState], newest: Run | None) -> Markup:
    ended = [record for record in records if record.last_finished]
    if not ended:
        return badge("never run") if not view.live.is_running(rule.name) else Markup()
    last = max(ended, key=lambda record: record.last_finished or view.live.now())
    words = view.age(last.last_finished)
    if last.consecutive_failures > 1:
        words += f", {last.consecutive_failures} times in a row"
    reason = _reason(rule, newest) if newest and newest.finished else ""
    told = link(f"/runs/{newest.id}", words) if newest else element("span", words)
    return join(badge(last.last_outcome), " ", told, why(reason))


def _reason(rule: Rule, run: Run) -> str:
    """Why a rule did not end well, in its own words."""
    rules = run.report.get("rules", ())
    return next((each["reason"] for each in rules if each["name"] == rule.name), "")


def _lags(view: View, rule: Rule, found: dict[str, RuleState]) -> Markup:
    if isinstance(rule, PolicyRules):
        return Markup()
    lines = []
    for name, record in found.items():
        said = _lag(view, record)
        lines.append(element("div", f"{name}: {said}" if len(found) > 1 else said))
    return join(*lines)


def _lag(view: View, record: RuleState) -> str:
    span = lag(record, view.live.now())
    if span is None:
        return "never in step" if record.last_full_pass else "before the first full pass"
    behind = record.tags_behind
    return text.span(span) + (f", {text.number(behind, 'tag')} behind" if behind else "")


def _next(view: View, rule: Rule, moment: datetime | None) -> Markup:
    said = "by hand" if rule.schedule is None else ""
    if moment:
        said = "now" if moment <= view.live.now() else view.moment(moment)
    waits = ""
    if isinstance(rule, PolicyRules) and rule.schedule:
        what = waits_for(applies=rule.apply, fresh=view.state.fresh)
        waits = f"plans only, until: {what}" if what else ""
    return join(element("span", said), why(waits))


def _runs(view: View, rule: str = "") -> Markup:
    return table(
        ("run", "what", "outcome", "began", "took", "steps"),
        [_run(view, run) for run in view.state.runs.latest(limit=_RUNS, rule=rule)],
        "None yet.",
    )


def _run(view: View, run: Run) -> Row:
    return (
        link(f"/runs/{run.id}", run.id),
        f"{run.command} {text.listed(run.rules)}".strip(),
        badge(run.outcome),
        view.moment(run.started),
        took(view, run),
        counts(run) if run.report else "",
    )


def _drops(plan: Plan) -> int:
    return int(plan.summary.get("drops", 0))


def _plan(view: View, plan: Plan) -> Row:
    return (
        link(f"/plans/{plan.id}", plan.id),
        text.listed(plan.policies),
        f"{_drops(plan):,}",
        view.moment(plan.created),
        view.moment(plan.expires),
    )
