"""Notices to a webhook: once for each change for the worse or the better, retried until taken.

What is wanted to be known (the troubles of each rule) is compared with what the webhook has been
told; the difference is delivered, and remembered beside the state. So a restart repeats nothing, a
webhook that is down for long gets what is then the truth, and there is no queue to grow.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from syncer import log
from syncer.report import Report, RuleReport
from syncer.rules import Notify

_TIMEOUT = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 300.0
_LAST_WAIT = 5.0  # for what is left to say when the daemon ends
_FAILURES = frozenset({"failed", "empty"})
Key = tuple[str, str]


@dataclass(frozen=True)
class Trouble:
    """Something about a rule that an operator should know of while it lasts.

    Attributes:
        rule: The rule or policy.
        kind: failure, refused, conflict or lag.
        message: One sentence.
        since: When it began, in ISO 8601.
        run: The run that found it; empty for a lag.
    """

    rule: str
    kind: str
    message: str
    since: str
    run: str = ""


class Notifier:
    """Knows the troubles of all rules and tells the webhook of changes, in a thread of its own.

    Args:
        path: Where it remembers what the webhook was told.
        settings: The `[notify]` table.
        now: The clock.
        told: Told of every attempt, whether it was delivered.
    """

    def __init__(
        self,
        path: Path,
        settings: Notify,
        now: Callable[[], datetime],
        told: Callable[[bool], None] = lambda delivered: None,  # noqa: ARG005
    ) -> None:
        self._path = path
        self._settings = settings
        self._now = now
        self._report = told
        self._changed = threading.Condition()
        self._told = _load(path)
        self._wanted = dict(self._told)
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="notices", daemon=True)

    def start(self) -> None:
        """Begins to deliver."""
        self._thread.start()

    def configure(self, settings: Notify, rules: set[str]) -> None:
        """Adopts other settings; what is known of rules that are gone is forgotten."""
        with self._changed:
            self._settings = settings
            for troubles in (self._wanted, self._told):
                for key in [key for key in troubles if key[0] not in rules]:
                    del troubles[key]
            self._changed.notify_all()

    def ended(self, rule: str, fared: RuleReport, report: Report | None) -> None:
        """Notes how a run ended. One that was held or interrupted says nothing."""
        if fared.outcome in ("held", "interrupted"):
            return
        run = report.run if report else ""
        found = dict(_troubles(fared))
        for kind in ("failure", "refused", "conflict"):
            self._note(rule, kind, found.get(kind, ""), run)

    def lags(self, found: Mapping[str, str]) -> None:
        """Notes the rules that lag more than their bound, each with a sentence, and no others."""
        with self._changed:
            known = {rule for rule, kind in self._wanted if kind == "lag"}
        for rule in known | found.keys():
            self._note(rule, "lag", found.get(rule, ""), "")

    def close(self) -> None:
        """Ends, a few seconds later at most when something is still to be told."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_LAST_WAIT)

    def _note(self, rule: str, kind: str, message: str, run: str) -> None:
        with self._changed:
            if not message:
                self._wanted.pop((rule, kind), None)
            elif (rule, kind) not in self._wanted:
                since = self._now().isoformat(timespec="seconds")
                self._wanted[rule, kind] = Trouble(rule, kind, log.mask(message), since, run)
            self._changed.notify_all()

    def _work(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._next())
        with httpx.Client(timeout=_TIMEOUT) as client:  # not before: its certificates take 10 MB
            self._tell_all(client)

    def _tell_all(self, client: httpx.Client) -> None:
        wait = _FIRST_WAIT
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._next())
                notice = self._next()
                settings = self._settings
            if notice is None:
                return
            if self._deliver(client, settings, *notice):
                wait = _FIRST_WAIT
                continue
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, wait):
                    return
            wait = min(_LONGEST_WAIT, wait * 2)

    def _next(self) -> tuple[str, Trouble] | None:
        """The next thing to tell: its event and its trouble; None when all is told."""
        return next(self._pending(), None) if self._settings.webhook else None

    def _pending(self) -> Iterator[tuple[str, Trouble]]:
        for key, trouble in self._told.items():
            if key not in self._wanted:
                yield "recovery", trouble
        for key, trouble in self._wanted.items():
            if key not in self._told and trouble.kind in self._settings.on:
                yield trouble.kind, trouble

    def _deliver(
        self, client: httpx.Client, settings: Notify, event: str, trouble: Trouble
    ) -> bool:
        silent = event == "recovery" and event not in settings.on
        if not silent:
            error = _post(client, settings, self._body(event, trouble))
            self._report(not error)
            if error:
                log.get().warning("notice.failed", notice=event, rule=trouble.rule, error=error)
                return False
            log.get().info("notice.delivered", notice=event, rule=trouble.rule)
        with self._changed:
            key = (trouble.rule, trouble.kind)
            if event == "recovery":
                self._told.pop(key, None)
            else:
                self._told[key] = trouble
            found = list(self._told.values())
        _save(self._path, found)
        return True

    def _body(self, event: str, trouble: Trouble) -> dict[str, Any]:
        host, message = socket.gethostname(), trouble.message
        if event == "recovery":
            message = f"no longer: {trouble.kind}: {message}"
        return {
            **asdict(replace(trouble, message=message)),
            "event": event,
            "host": host,
            "at": self._now().isoformat(timespec="seconds"),
            "id": f"{host}/{trouble.rule}/{trouble.kind}/{trouble.since}/{event}",
            # What chat programs show.
            "text": f"syncer on {host}: rule {trouble.rule}: {event}: {message}",
        }


def _troubles(fared: RuleReport) -> Iterator[tuple[str, str]]:
    steps = fared.steps
    if fared.outcome in _FAILURES or steps["failed"]:
        yield "failure", f"{fared.outcome}: {fared.reason}"
    if steps["refused"]:
        yield "refused", f"refused by a guard: {fared.reason}"
    if steps["conflict"]:
        yield "conflict", f"{steps['conflict']} tags were left alone: {fared.reason}"


def _post(client: httpx.Client, settings: Notify, body: Mapping[str, Any]) -> str:
    """Sends one notice; returns why it did not arrive, in words without the address' secrets."""
    try:
        url = settings.address()
        answer = client.post(url, json=body)
    except OSError as error:
        return f"the file of [notify] webhook cannot be read: {error.strerror}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{type(error).__name__} at {urlsplit(url).hostname}"
    return "" if answer.is_success else f"{answer.status_code} from {urlsplit(url).hostname}"


def _load(path: Path) -> dict[Key, Trouble]:
    """What the webhook was told; nothing where that is not known."""
    try:
        found = [Trouble(**each) for each in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return {}
    return {(each.rule, each.kind): each for each in found}


def _save(path: Path, troubles: list[Trouble]) -> None:
    new = path.with_name(f"{path.name}.new")
    with contextlib.suppress(OSError):  # at worst a restart tells it once more
        new.write_text(json.dumps([asdict(each) for each in troubles]))
        new.replace(path)
