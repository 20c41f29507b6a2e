"""The small parts of the daemon: what systemd is told, what becomes HTML, what becomes a log line."""

from __future__ import annotations

import html
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from jobs import sdnotify
from jobs.journal import MOST_ALIKE, Journal
from jobs.web.markup import Markup, element, table
from syncer import events


@pytest.fixture(params=["path", "abstract"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A notify socket, as a path or in Linux' abstract namespace."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(name)
        found.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        yield found


def test_systemd_is_told_in_its_own_words(listener: socket.socket) -> None:
    for call, expected in (
        (sdnotify.ready, "READY=1"),
        (sdnotify.stopping, "STOPPING=1"),
        (sdnotify.alive, "WATCHDOG=1"),
        (lambda: sdnotify.extend(1.5), "EXTEND_TIMEOUT_USEC=1500000"),
        (lambda: sdnotify.status("running a\nREADY=1"), "STATUS=running a READY=1"),
    ):
        call()
        assert listener.recv(4096).decode() == expected
    sdnotify.reloading()
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", listener.recv(4096).decode())


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sdnotify.ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    sdnotify.ready()
    assert sdnotify.patience() is None


texts = st.text(alphabet="<>&\"'/= abc\0\n\u2028", max_size=30)


@given(texts, texts, texts)
def test_text_and_attributes_never_become_markup(text: str, value: str, cell: str) -> None:
    page = element("p", text, table(("a",), [(cell,)], "none"), title=value)
    bare = re.sub(r"</?(p|table|thead|tbody|tr|th|td)\b[^<>]*>", "", page)
    assert "<" not in bare
    assert html.unescape(bare) == f"{text}a{cell}"
    (title,) = re.findall(r'^<p title="([^"]*)">', page)
    assert html.unescape(title) == value


def test_what_is_markup_already_stays_so() -> None:
    assert element("p", Markup("<b>x</b>"), class_="why") == '<p class="why"><b>x</b></p>'


def step(outcome: str, action: str = "copy", code: str = "") -> events.StepDone:
    return events.StepDone(
        "mirror", action, outcome, "b", "app", "v1", "sha256:1", "sha256:0", "because", code
    )


def test_every_copy_overwrite_and_drop_is_one_line_with_all_of_it() -> None:
    with structlog.testing.capture_logs() as told:
        journal = Journal()
        for action in ("copy", "overwrite", "drop") * 200:
            journal(step("done", action))
    assert len(told) == 600
    assert told[2] == {
        "event": "step.done",
        "log_level": "info",
        "rule": "mirror",
        "action": "drop",
        "reference": "b/app:v1",
        "digest": "sha256:1",
        "previous": "sha256:0",
        "reason": "because",
    }


def test_trouble_of_one_kind_fills_no_disk() -> None:
    """A dead registry has one failure for each of its tags."""
    with structlog.testing.capture_logs() as told:
        journal = Journal()
        for _ in range(10 * MOST_ALIKE):
            journal(step("failed", code="UNAVAILABLE"))
        journal(step("conflict", code="CONFLICT"))
        journal(events.CircuitChanged("b", opened=True, reason="it fails"))
    assert [line["event"] for line in told] == [
        *["step.failed"] * MOST_ALIKE,
        "step.conflict",
        "circuit.opened",
    ]
