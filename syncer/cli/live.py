"""The display of a run on a terminal: one line a phase, problems above it as they happen."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from syncer import events
from syncer.cli import console, progress, signals

_A_SECOND = 4
_BAR = 16
_TROUBLES = 5


@contextmanager
def display(tally: progress.Tally, stop: Event, *, verbose: bool) -> Iterator[events.Observer]:
    """Shows a run on stderr until the block ends: the latest problems and a line for each phase.

    It leaves only the lines about what was overwritten or dropped; the summary has the problems.

    Yields:
        The observer that prints them.
    """
    terminal = console.on(sys.stderr)
    troubles: deque[Text] = deque(maxlen=_TROUBLES)
    live = Live(
        console=terminal,
        get_renderable=lambda: _render(tally, troubles, stop),
        refresh_per_second=_A_SECOND,
        transient=True,
        redirect_stdout=False,
    )
    lines = progress.Lines(
        lambda line, style: terminal.print(line, style=style or None),
        lambda line, style: troubles.append(Text(line, style)),
        verbose=verbose,
    )
    with live:
        yield lines


def _render(tally: progress.Tally, troubles: Iterable[Text], stop: Event) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_row("listing", Text(tally.listing, overflow="ellipsis", no_wrap=True))
    parts: list[RenderableType] = [*tuple(troubles), grid]
    if tally.planned and tally.doing:
        steps = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=tally.fraction, width=_BAR)
        steps.add_row(tally.doing, bar, Text(tally.steps, overflow="ellipsis", no_wrap=True))
        parts.append(steps)
    if stop.is_set():
        parts.append(Text(signals.STOPPING, style="yellow"))
    return Group(*parts)
