"""The status page: how each rule fares, what ran last, which prune plans wait."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata, resources

from jobs.live import Live, lag, registries
from jobs.markup import Markup, element, facts, join, link, table
from jobs.prune import waits_for
from syncer import stores
from syncer.cli import schedules, text
from syncer.rules import PolicyRules, ReplicateRule
from syncer.state import Plan, RuleState, Run, State

STYLE = resources.files("jobs").joinpath("status.css").read_text()
STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_REFRESH = 15  # seconds
_RUNS = 25
_KINDS = {
    "ok": "good",
    "failed": "bad",
    "refused": "bad",
    "empty": "bad",
    "partial": "warn",
    "conflict": "warn",
    "held": "",
    "interrupted": "warn",
    "running": "busy",
    "done": "good",
}


@dataclass(frozen=True)
class View:
    """What the pages are made of: see `jobs.live`, `syncer.state` and `Schedule.next_runs`."""

    live: Live
    state: State
    next_runs: Callable[[], Mapping[str, datetime]]

    def moment(self, then: datetime | None) -> str:
        """A time on the clocks of the rules file, with its age."""
        return text.moment(then, self.live.now(), self.live.rules.timezone)

    def age(self, then: datetime | None) -> str:
        """How long ago, or how long until."""
        return text.age(then, self.live.now())

    def name(self, key: str) -> str:
        """What the rules file calls a registry."""
        for name, settings in self.live.rules.registry.items():
            if stores.key(settings) == key:
                return name
        return key


def document(view: View, title: str, *content: str, refresh: bool = False) -> Markup:
    """A whole page."""
    host = socket.gethostname()
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title} - syncer on {host}"),
        element("style", Markup(STYLE)),
    ]
    if refresh:
        head.append(element("meta", http_equiv="refresh", content=str(_REFRESH)))
    about = f"{host}, syncer {metadata.version('syncer')}, up {_up(view)}"
    header = element(
        "header",
        element("h1", link("/", "syncer")),
        element("p", about, class_="calm"),
        *_alerts(view),
    )
    body = element("body", header, element("main", *content))
    return join(
        Markup("<!doctype html>\n"), element("html", element("head", *head), body, lang="en")
    )


def index(view: View) -> Markup:
    """The first page."""
    runs = view.state.runs.latest(limit=_RUNS)
    plans = [
        plan for plan in view.state.plans.latest(status="pending") if plan.summary.get("drops")
    ]
    return document(
        view,
        "status",
        element("h2", "Rules"),
        table(
            ("rule", "last outcome", "lag", "next run"),
            _rules(view),
            "The rules file has no rules.",
        ),
        element("h2", "Prune plans that wait"),
        table(
            ("plan", "policies", "drops", "made", "until"),
            [_plan(view, plan) for plan in plans],
            "None.",
        ),
        element("h2", "Last runs"),
        table(
            ("run", "what", "outcome", "began", "took", "steps"),
            [_run(view, run) for run in runs],
            "None yet.",
        ),
        refresh=True,
    )


def badge(word: str) -> Markup:
    """An outcome, in its colour."""
    return element("span", word, class_=f"badge {_KINDS.get(word, '')}".strip())


def _up(view: View) -> str:
    return text.span(view.live.now() - view.live.started)


def _alerts(view: View) -> list[Markup]:
    found = []
    if view.live.problem:
        since = view.moment(view.live.loaded)
        words = f"The rules file is wrong. The rules loaded {since} stay in force."
        found.append(element("div", words, element("pre", view.live.problem), class_="alert"))
    if view.live.stopping:
        found.append(element("div", "The daemon is stopping.", class_="note"))
    applies = any(policy.apply and policy.schedule for policy in view.live.rules.policies)
    if applies and view.state.fresh:
        words = "This state is new: schedules only plan. To let them drop, run once by hand: "
        found.append(
            element("div", words, element("code", "syncer prune --apply"), class_="note")
        )
    return found


def _rules(view: View) -> list[tuple[str, ...]]:
    records = {(each.rule, each.target): each for each in view.state.rules.all()}
    next_runs, running = view.next_runs(), {run.rule: run for run in view.live.running}
    newest = _newest(view)
    rows = []
    for rule in (*view.live.rules.replicate, *view.live.rules.policies):
        found = [
            (name, records.get((rule.name, key)) or RuleState(rule.name, key))
            for name in registries(rule)
            for key in (stores.key(view.live.rules.registry[name]),)
        ]
        current = running.get(rule.name)
        state = (
            join(
                badge("running"),
                element(
                    "span",
                    f"{current.ended:,} of {text.number(current.planned, 'step')},"
                    f" {text.size(current.written)} sent, since {text.span(view.live.now() - current.since)}",
                    class_="why",
                ),
            )
            if current
            else Markup()
        )
        rows.append(
            (
                _title(rule),
                join(state, _outcome(view, rule, [record for _, record in found], newest)),
                _lags(view, rule, found),
                _next(view, rule, next_runs.get(rule.name)),
            )
        )
    return rows
