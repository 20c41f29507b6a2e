"""What all pages share: the frame, what is wrong, times and names in words."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata, resources

from jobs.live import Live
from jobs.web.markup import Markup, element, join, link
from syncer import stores
from syncer.cli import text
from syncer.state import State

STYLE = resources.files("jobs.web").joinpath("style.css").read_text()
STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_REFRESH = 15  # seconds
_KINDS = {
    "ok": "good",
    "done": "good",
    "failed": "bad",
    "refused": "bad",
    "empty": "bad",
    "partial": "warn",
    "conflict": "warn",
    "interrupted": "warn",
    "running": "busy",
}


@dataclass(frozen=True)
class View:
    """What the pages are made of.

    Attributes:
        live: The rules in force, and what runs.
        state: What was done, and how the rules have fared.
        next_runs: When each rule runs next.
    """

    live: Live
    state: State
    next_runs: Callable[[], Mapping[str, datetime]]

    def moment(self, then: datetime | None) -> str:
        """A time on the clocks of the rules file, with its age."""
        return text.moment(then, self.live.now(), self.live.rules.timezone)

    def age(self, then: datetime | None) -> str:
        """How long ago, or how long until."""
        return text.age(then, self.live.now())

    def registry(self, key: str) -> str:
        """What the rules file calls a registry."""
        known = self.live.rules.registry.items()
        return next((name for name, settings in known if stores.key(settings) == key), key)


def document(view: View, title: str, *content: str, refresh: bool = False) -> Markup:
    """A whole page."""
    host, up = socket.gethostname(), text.span(view.live.now() - view.live.started)
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title} - syncer on {host}"),
        element("style", Markup(STYLE)),
    ]
    if refresh:
        head.append(element("meta", http_equiv="refresh", content=str(_REFRESH)))
    header = element(
        "header",
        element("h1", link("/", "syncer")),
        element("p", f"{host}, version {metadata.version('syncer')}, up {up}", class_="calm"),
        *_alerts(view),
    )
    body = element("body", header, element("main", *content))
    return join(
        Markup("<!doctype html>\n"), element("html", element("head", *head), body, lang="en")
    )


def badge(word: str) -> Markup:
    """An outcome, in its colour."""
    return element("span", word, class_=f"badge {_KINDS.get(word, '')}".strip())


def why(words: str) -> Markup:
    """A line that explains what stands above it; nothing without words."""
    return element("span", text.shortened(words), class_="why") if words else Markup()


def _alerts(view: View) -> list[Markup]:
    live, found = view.live, []
    if live.problem:
        words = f"The rules file is wrong. The rules of {view.moment(live.loaded)} stay in force."
        found.append(element("div", words, element("pre", live.problem), class_="alert"))
    if live.stopping:
        found.append(element("div", "The daemon is stopping.", class_="note"))
    if any(policy.apply and policy.schedule for policy in live.rules.policies) and view.state.fresh:
        words = "This state is new, so schedules only plan. To let them drop, run once by hand: "
        command = element("code", "syncer prune --apply")
        found.append(element("div", words, command, class_="note"))
    return found
