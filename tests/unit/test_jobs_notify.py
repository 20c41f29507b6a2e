"""Notices: one for each change, kept until taken, and no run waits for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs import notify
from jobs.notify import Notifier
from syncer.report import Report, RuleReport
from syncer.rules import Notify
from tests.registries import wait_for
from tests.webhook import Webhook


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once."""
    monkeypatch.setattr(notify, "_FIRST_WAIT", 0.01)


@contextmanager
def running(tmp_path: Path, hook: Webhook | str, **settings: Any) -> Iterator[Notifier]:
    url = hook if isinstance(hook, str) else hook.url
    found = Notify(webhook=url, **settings)
    with closing(Notifier(tmp_path / "told", found, lambda: datetime.now(UTC))) as notifier:
        notifier.start()
        yield notifier


def fared(rule: str, *, matched: int = 1, reason: str = "it broke", **steps: int) -> RuleReport:
    report = RuleReport(rule, matched=matched, first_trouble=reason)
    report.in_step = steps.pop("in_step", 0)
    report.steps.update(steps)
    return report


def end(notifier: Notifier, *reports: RuleReport) -> None:
    for each in reports:
        notifier.ended(each.name, each, Report("run-1", "sync", {each.name: False}))


def test_a_failure_and_its_end_are_each_told_once(tmp_path: Path) -> None:
    with Webhook() as hook, running(tmp_path, hook) as notifier:
        bad, good = fared("mirror", failed=1), fared("mirror", in_step=1)
        end(notifier, good, good, bad)
        told = hook.wait(1)[0]
        assert (told["event"], told["rule"], told["run"]) == ("failure", "mirror", "run-1")
        assert told["message"] == "failed: it broke"
        assert "mirror" in told["text"]
        end(notifier, bad, bad, good)
        hook.wait(2)
        end(notifier, good, bad)
        hook.wait(3)
        expected = [(event, "mirror", "failure") for event in ("failure", "recovery", "failure")]
        assert hook.events() == expected
        assert len({each["id"] for each in hook.taken}) >= 2


@pytest.mark.parametrize(
    ("report", "kinds"),
    [
        (fared("r", failed=1), {"failure"}),
        (fared("r", failed=1, in_step=5), {"failure"}),
        (fared("r", matched=0), {"failure"}),  # its patterns matched nothing
        (fared("r", refused=1), {"refused"}),
        (fared("r", conflict=2, in_step=1), {"conflict"}),
        (fared("r", conflict=2, failed=1, in_step=1), {"conflict", "failure"}),
        (fared("r", in_step=1), set()),
    ],
)
def test_each_kind_of_trouble_has_its_notice(
    tmp_path: Path, report: RuleReport, kinds: set[str]
) -> None:
    with Webhook() as hook:
        with running(tmp_path, hook) as notifier:
            end(notifier, report)
        assert {kind for _, _, kind in hook.events()} == kinds


@pytest.mark.parametrize("way", ["interrupted", "held"])
def test_a_run_that_says_nothing_of_its_rule_changes_nothing(tmp_path: Path, way: str) -> None:
    with Webhook() as hook, running(tmp_path, hook) as notifier:
        end(notifier, fared("r", failed=1))
        hook.wait(1)
        end(notifier, RuleReport("r", stopped=way == "interrupted", steps=Counter({way: 1})))
        end(notifier, fared("s", failed=1))
        hook.wait(2)
        assert hook.events() == [("failure", "r", "failure"), ("failure", "s", "failure")]


def test_a_notice_is_tried_again_until_it_is_taken(tmp_path: Path) -> None:
    with Webhook() as hook, running(tmp_path, hook) as notifier:
        hook.status = 503
        end(notifier, fared("r", failed=1))
        wait_for(lambda: hook.attempts >= 3, "attempts")
        hook.status = 200
        hook.wait(1)
        assert hook.events() == [("failure", "r", "failure")]


def test_what_passed_before_it_could_be_told_is_not_told(tmp_path: Path) -> None:
    with Webhook() as hook, running(tmp_path, hook) as notifier:
        hook.status = 500
        hook.pause()
        end(notifier, fared("r", failed=1))
        wait_for(lambda: hook.attempts == 1, "an attempt")
        end(notifier, fared("r", in_step=1), fared("s", failed=1))
        hook.status = 200
        hook.resume()
        hook.wait(1)
    assert hook.events() == [("failure", "s", "failure")]


def test_a_restart_repeats_nothing_and_forgets_nothing(tmp_path: Path) -> None:
    with Webhook() as hook:
        with running(tmp_path, hook) as notifier:
            end(notifier, fared("r", failed=1))
            hook.wait(1)
        with running(tmp_path, hook) as notifier:
            end(notifier, fared("r", failed=1))
            end(notifier, fared("r", in_step=1))
            hook.wait(2)
        assert hook.events() == [("failure", "r", "failure"), ("recovery", "r", "failure")]


def test_what_is_left_to_tell_is_told_before_the_end(tmp_path: Path) -> None:
    with Webhook() as hook:
        with running(tmp_path, hook) as notifier:
            end(notifier, *(fared(f"r{number}", failed=1) for number in range(20)))
        assert len(hook.taken) == 20


def test_no_run_waits_for_a_webhook_that_does_not_answer(tmp_path: Path) -> None:
    with Webhook() as hook, running(tmp_path, hook) as notifier:
        hook.pause()
        end(notifier, fared("r", failed=1))
        wait_for(lambda: hook.attempts == 1, "the request")
        end(notifier, *(fared(f"r{number}", failed=1) for number in range(50)))
        assert hook.taken == []
        hook.resume()
        hook.wait(51)


def test_lag_over_the_bound_is_told_and_so_is_its_end(tmp_path: Path) -> None:
    with Webhook() as hook, running(tmp_path, hook) as notifier:
        for found in ({}, {"r": "b is behind"}, {"r": "b is behind"}, {}):
            notifier.lags(found)
            if found:
                hook.wait(1)
        hook.wait(2)
        assert hook.events() == [("lag", "r", "lag"), ("recovery", "r", "lag")]


def test_only_what_is_asked_for_is_told(tmp_path: Path) -> None:
    with Webhook() as hook:
        with running(tmp_path, hook, on=("conflict",)) as notifier:
            end(notifier, fared("r", failed=1, conflict=1), fared("r", in_step=1))
            end(notifier, fared("s", conflict=1, in_step=1))
        assert ("conflict", "s", "conflict") in hook.events()
        assert {event for event, _, _ in hook.events()} == {"conflict"}


def test_rules_that_are_gone_are_forgotten_and_a_new_address_is_used(tmp_path: Path) -> None:
    with Webhook() as old, Webhook() as new, running(tmp_path, old) as notifier:
        end(notifier, fared("gone", failed=1), fared("stays", failed=1))
        old.wait(2)
        notifier.configure(Notify(webhook=new.url), {"stays"})
        end(notifier, fared("stays", in_step=1))
        new.wait(1)
        assert new.events() == [("recovery", "stays", "failure")]
        assert len(old.taken) == 2


def test_the_address_may_stand_in_a_file_and_its_secret_is_never_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Webhook("/T0/hunter2") as hook:
        (tmp_path / "address").write_text(f"{hook.url}\n")
        with running(tmp_path, str(tmp_path / "address")) as notifier:
            hook.status = 403
            end(notifier, fared("r", failed=1))
            wait_for(lambda: hook.attempts >= 2, "attempts")
            hook.status = 200
            hook.wait(1)
    told = capsys.readouterr()
    assert "403 from 127.0.0.1" in told.out + told.err
    assert "hunter2" not in told.out + told.err


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/hunter2", "/nowhere/hunter2x"])
def test_a_webhook_that_is_not_there_is_said_and_holds_nothing_up(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results: list[bool] = []
    settings = Notify(webhook=address)
    notifier = Notifier(tmp_path / "told", settings, lambda: datetime.now(UTC), results.append)
    with closing(notifier):
        notifier.start()
        end(notifier, fared("r", failed=1))
        wait_for(lambda: len(results) > 1, "attempts")
    assert not any(results)
    told = capsys.readouterr()
    assert "notice.failed" in told.out + told.err
    assert "hunter2" not in told.out + told.err


def test_without_a_webhook_nothing_is_done(tmp_path: Path) -> None:
    with running(tmp_path, "") as notifier:
        end(notifier, fared("r", failed=1))
    assert not (tmp_path / "told").exists()
