"""What the commands that run rules share: progress while it goes on, a summary or JSON at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncer import errors, events
from syncer.cli import console, progress, summary
from syncer.cli.session import Session

if TYPE_CHECKING:
    from syncer.patterns import Selection
    from syncer.report import Report
    from syncer.rules import Rules
    from syncer.run import Environment


@dataclass(frozen=True)
class Working:
    """A run's surroundings.

    Attributes:
        environment: What `syncer.run` wants.
        tally: What was done so far.
    """

    environment: Environment
    tally: progress.Tally


@contextmanager
def shown(
    session: Session, doing: str = "copying"
) -> Iterator[tuple[progress.Tally, tuple[events.Observer, ...]]]:
    """Observers that show a run on stderr: live on a terminal, as plain lines elsewhere.

    Args:
        session: Says how much to show.
        doing: What the run does with its steps; empty when it only looks.
    """
    tally = progress.Tally(doing)
    with ExitStack() as stack:
        shows: tuple[events.Observer, ...]
        if sys.stderr.isatty():
            from syncer.cli import live

            display = live.display(tally, session.stop, verbose=session.verbose)
            shows = (stack.enter_context(display),)
        else:
            shows = (progress.Lines(verbose=session.verbose), progress.Heartbeat(tally))
        session.log()  # after the display, which log lines must go around
        yield tally, (tally, *shows)


@contextmanager
def on(session: Session, rules: Rules, doing: str = "copying") -> Iterator[Working]:
    """An environment whose runs are shown."""
    with (
        shown(session, doing) as (tally, observers),
        session.environment(rules, observers) as opened,
    ):
        yield Working(opened, tally)


def selection(glob: str | None) -> Selection | None:
    """What `--repo GLOB` selects; None without it.

    Raises:
        UsageError: It is no pattern.
    """
    if glob is None:
        return None
    from syncer import patterns

    try:
        return patterns.Selection((patterns.parse(glob),))
    except ValueError as error:
        raise errors.UsageError(f"--repo: {error}") from None


def finish(report: Report, done: summary.Done, again: str, *, as_json: bool) -> int:
    """Prints how a run ended; returns the exit code.

    Args:
        report: How it went.
        done: How many steps ended well, by (rule, action).
        again: What to type to try what failed again.
        as_json: Whether to print the JSON object instead.
    """
    if as_json:
        console.emit(report.as_dict())
    else:
        summary.show(report, done, again)
    return report.exit_code
