"""The pages of one run, down to each step that failed and why, and of one prune plan."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from jobs.web.document import View, badge, document, why
from jobs.web.front import counts, took
from jobs.web.markup import Markup, element, facts, join, table
from syncer.cli import text
from syncer.state import PlanPart, Run, Step

_MOST = 500
_TROUBLE = ("failed", "conflict", "refused", "held", "interrupted")
_HEADS = ("what", "action", "outcome", "digest", "at")


def run_page(view: View, run: Run) -> Markup:
    """A run: its totals, what went wrong, what was done.

    Raises:
        StateError: The state cannot be read.
    """
    trouble = view.state.runs.steps(run.id, outcomes=_TROUBLE, limit=_MOST)
    done = view.state.runs.steps(run.id, outcomes=("done",), limit=_MOST)
    moved, requests = run.report.get("bytes", {}), run.report.get("requests", {})
    sent = sum(sum(each.values()) for each in requests.values())
    return document(
        view,
        f"run {run.id}",
        element("h2", f"Run {run.id} ", badge(run.outcome)),
        facts(
            command=" ".join((run.command, *run.rules)),
            began=view.moment(run.started),
            took=took(view, run),
            steps=counts(run) if run.report else "",
            requests=f"{sent:,}" if sent else "",
            read=text.size(moved["read"]) if moved.get("read") else "",
            written=text.size(moved["written"]) if moved.get("written") else "",
            by=f"process {run.pid} on {run.host}",
        ),
        *_reasons(run),
        element("h2", "What went wrong"),
        _steps(view, trouble, "Nothing."),
        element("h2", "What was done"),
        _steps(view, done, "Nothing."),
    )


def plan_page(view: View, plan_id: str) -> Markup | None:
    """A stored prune plan: what goes and why, repository by repository; None if there is none.

    Raises:
        StateError: The state cannot be read.
    """
    plan = view.state.plans.get(plan_id)
    if plan is None:
        return None
    command = element("code", f"syncer apply {plan.id}")
    pending = element("p", "Carried out by hand with ", command, ": only what still goes then.")
    return document(
        view,
        f"plan {plan.id}",
        element("h2", f"Prune plan {plan.id} ", badge(plan.status)),
        facts(
            policies=", ".join(plan.policies),
            drops=f"{plan.summary.get('drops', 0):,}",
            made=view.moment(plan.created),
            expires=view.moment(plan.expires),
        ),
        pending if plan.status == "pending" else "",
        *(_part(view, part) for part in view.state.plans.parts(plan.id)),
    )


def _reasons(run: Run) -> Iterator[Markup]:
    for rule in run.report.get("rules", ()):
        if rule["reason"]:
            said = text.shortened(f"{rule['name']}: {rule['reason']}")
            yield element("p", badge(rule["outcome"]), " ", said)


def _steps(view: View, steps: list[Step], empty: str) -> Markup:
    rows = [
        (
            join(element("code", _reference(view, step)), why(step.reason)),
            step.action,
            join(badge(step.outcome), why(step.code)),
            element("code", text.shortened(step.digest)),
            f"{step.at.astimezone(view.live.rules.timezone):%H:%M:%S}",
        )
        for step in steps
    ]
    shown = table(_HEADS, rows, empty)
    if len(steps) < _MOST:
        return shown
    return join(shown, element("p", f"Only the first {_MOST}; see `syncer history`."))


def _reference(view: View, step: Step) -> str:
    name = f"{view.registry(step.registry)}/{step.repository}"
    return f"{name}:{step.tag}" if step.tag else name


def _part(view: View, part: PlanPart) -> Markup:
    body: dict[str, Any] = part.body
    drops = [tag for tag in body["tags"] if not tag[2]]
    rows = [
        (element("code", name), element("code", text.shortened(digest)), rule, reason)
        for name, digest, _, rule, reason in islice(drops, _MOST)
    ]
    kept = len(body["tags"]) - len(drops)
    return join(
        element("h2", f"{view.registry(part.registry)}/{part.repository}"),
        element("p", f"{part.drops:,} go, {kept:,} stay. {body['refused']}", class_="calm"),
        table(("tag", "digest", "rule", "reason"), rows, "Nothing goes."),
        element("p", f"Only the first {_MOST}.") if len(drops) > _MOST else "",
    )
