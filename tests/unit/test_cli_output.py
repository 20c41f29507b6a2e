"""Progress, summaries and consoles: what is printed for which events."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

import pytest

from syncer import events, report
from syncer.cli import console, progress, summary

ONE, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(outcome: str, tag: str, *, action: str = "copy", **more: str) -> events.StepDone:
    made = events.StepDone("r", action, outcome, "us", "app", tag, ONE)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def fed(*seen: events.Event, rules: tuple[str, ...] = ("r",)) -> report.Report:
    made = report.Report("run-1", "sync", dict.fromkeys(rules, False))
    for event in seen:
        made(event)
    return made


def planned(steps: int, in_step: int = 0, size: int = 0) -> events.StepsPlanned:
    return events.StepsPlanned("r", "us", "app", steps, in_step, size)


def shown(run: report.Report, capsys: pytest.CaptureFixture[str]) -> str:
    tally = progress.Tally()
    for rule in run.rules.values():
        tally.done[rule.name, "copy"] = rule.steps["done"]
    summary.show(run, tally.done, "syncer sync r")
    return capsys.readouterr().out


def test_a_run_with_nothing_to_do_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = fed(
        events.RuleMatched("r", 1, 2), planned(0, 2), events.RequestDone("us", "HEAD", 200, 0.1)
    )
    run.seconds = 1.24
    assert shown(run, capsys) == "ok: 2 tags in step, nothing to do (1 request in 1.2 s)\n"


def test_the_summary_begins_with_the_outcome_and_ends_with_what_to_type(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = fed(
        events.RuleMatched("r", 1, 7),
        planned(6, 1, 5000),
        step("done", "v1"),
        *(step("failed", f"v{n}", code="DENIED", reason=f"no push of v{n}") for n in range(2, 6)),
        step("conflict", "v6", code="CONFLICT", reason=f"points to {OTHER}"),
        events.BlobDone("us", "app", ONE, 4000, "copied"),
        events.BytesMoved("eu", "read", 4000),
        events.BytesMoved("us", "written", 4000),
        events.RequestDone("eu", "GET", 200, 0.1),
        events.RequestDone("us", "PUT", 201, 0.1),
        events.Retried("us", "PUT", "503", 0.5),
    )
    run.seconds = 71
    assert (
        shown(run, capsys)
        == """\
partial: 2 tags in step, 1 copied, 1 conflict, 4 failed

rule  outcome  repos  tags  in step  copied  conflicts  failed
r     partial      1     7        1       1          1       4

moved     4.0 kB read, 4.0 kB written; blobs: 1 copied
requests  eu 1 (0.1 a tag), us 1 (0.1 a tag); 1 retry
took      1 min 11 s

4 failed, DENIED
  us/app:v2: no push of v2
  us/app:v3: no push of v3
  us/app:v4: no push of v4
  and 1 more
  syncer check --online shows what this user may do where

1 conflict: points to sha256:bbbbbbbbbbbb
  us/app:v6
  to replace what stands there: overwrite = "always" in the rule

syncer history run-1  shows every step
syncer sync r  tries again
"""
    )


def test_a_pattern_that_matched_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(fed(events.RuleMatched("r", 0, 0)), capsys)
    assert out.startswith("empty: 0 tags in step\n")
    assert "r: its patterns matched nothing; set allow_empty = true if that is fine\n" in out


def test_notices_are_told_once_with_their_places(capsys: pytest.CaptureFixture[str]) -> None:
    run = fed(
        events.RuleMatched("r", 1, 1),
        planned(0, 1),
        *(events.Noticed("r", f"us/{name}", "QUOTA", "nearly full") for name in "abcd"),
    )
    out = shown(run, capsys)
    assert out.endswith("\nnote: nearly full\n  us/a, us/b, us/c and 1 more\n")


def test_problems_of_one_kind_are_told_a_few_times_then_only_counted() -> None:
    told: list[str] = []
    lines = progress.Lines(trouble=lambda line, _: told.append(line))
    for number in range(20):
        lines(step("failed", f"v{number}", code="DENIED", reason=f"v{number}: no"))
    lines(step("failed", "v1", code="GONE", reason="lost"))
    assert told == [
        "failed us/app:v0: v0: no",
        "failed us/app:v1: v1: no",
        "failed us/app:v2: v2: no",
        "more failed, DENIED: the summary counts them",
        "failed us/app:v1: lost",
    ]


def test_each_overwrite_and_drop_is_a_line_and_copies_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = (
        step("done", "v1"),
        step("done", "v2", action="overwrite", previous=OTHER),
        step("done", "v3", action="drop", reason="rule 1: old"),
    )
    for verbose in (False, True):
        lines = progress.Lines(verbose=verbose)
        for event in seen:
            lines(event)
    quiet = (
        "overwrote us/app:v2: sha256:bbbbbbbbbbbb -> sha256:aaaaaaaaaaaa\n"
        "dropped us/app:v3: sha256:aaaaaaaaaaaa (rule 1: old)\n"
    )
    assert capsys.readouterr().err == f"{quiet}copied us/app:v1\n{quiet}"


def test_a_heartbeat_comes_when_work_begins_and_then_with_an_event_after_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    tally = progress.Tally(clock=clock)
    beat = progress.Heartbeat(tally, clock)
    moments: Iterator[tuple[float, events.Event]] = iter(
        [
            (0, events.RuleMatched("r", 2, 300)),
            (9, events.RequestDone("us", "HEAD", 200, 0.1)),
            (1, events.RequestDone("us", "HEAD", 200, 0.1)),
            (3, planned(0, 5)),
            (2, planned(300, 0, 3_400_000_000)),
            (9, events.BlobDone("us", "app", ONE, 1_200_000_000, "copied")),
            (1, events.RequestDone("us", "PUT", 201, 0.1)),
        ]
    )
    for seconds, event in moments:
        clock.time += seconds
        tally(event)
        beat(event)
    assert capsys.readouterr().err == (
        "listing: 2 repositories, 300 tags, 0 compared, 2 requests\n"
        "copying: 0 of 300 tags, 0 B of 3.4 GB\n"
        "copying: 0 of 300 tags, 1.2 of 3.4 GB, 18 s left\n"
    )


def test_progress_tells_rate_and_time_left() -> None:
    clock = Clock()
    tally = progress.Tally(clock=clock)
    tally(planned(4, 0, 4_000_000))
    for number in range(2):
        clock.time += 5
        tally(events.BytesMoved("us", "written", 1_000_000))
        tally(events.BlobDone("us", "app", ONE, 1_000_000, "copied"))
        tally(step("done", f"v{number}"))
    assert tally.fraction == 0.5
    assert tally.steps == "2 of 4 tags, 2.0 of 4.0 MB, 200 kB/s, 10 s left"


def test_steps_that_were_never_planned_are_no_progress() -> None:
    tally = progress.Tally()
    tally(planned(2))
    tally(step("conflict", "v1", action="overwrite"))
    tally(step("failed", "v2", action="compare"))
    assert tally.ended == 0


def test_colours_are_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for variable, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", variable)
        screen = Terminal()
        monkeypatch.setattr("sys.stdout", screen)
        console.outcome("failed", "all of it")
        assert ("\x1b[1;31mfailed" in screen.getvalue()) is coloured


def test_a_pipe_gets_whole_lines_without_padding_and_empty_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.table(("name", "empty", ">count"), [("x" * 200, "", "1"), ("y", "", "1,000")])
    assert capsys.readouterr().out == (
        f"name{' ' * 198}count\n{'x' * 200}      1\ny{' ' * 201}1,000\n"
    )
