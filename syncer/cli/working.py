"""What the commands that run rules share: progress while it goes on, a summary or JSON at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncer import errors, events
from syncer.cli import console, progress
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
def on(session: Session, rules: Rules) -> Iterator[Working]:
    """An environment whose runs are shown on stderr: live on a terminal, as plain lines elsewhere."""
    tally = progress.Tally()
    with ExitStack() as stack:
        observers: tuple[events.Observer, ...]
        if sys.stderr.isatty():
            from syncer.cli import live

            observers = stack.enter_context(live.display(tally, session.stop, session.verbose))
        else:
            observers = (progress.Lines(verbose=session.verbose), progress.Heartbeat(tally))
        opened = session.environment(rules, (tally, *observers))
        yield Working(stack.enter_context(opened), tally)


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


def finish(report: Report, done: progress.Tally, again: str, *, as_json: bool) -> int:
    """Prints how a run ended; returns the exit code."""
    if as_json:
        console.emit(report.as_dict())
    else:
        from syncer.cli import summary

        summary.show(report, done.ended_by, again)
    return report.exit_code
