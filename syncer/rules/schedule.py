"""When a rule runs: at an interval, or by a cron line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from syncer.rules import cron, durations

SHORTEST = timedelta(seconds=10)


@dataclass(frozen=True)
class Schedule:
    """Either an interval or a cron line. Made by `parse`.

    Attributes:
        text: As it was written.
        every: The interval; None for a cron line.
        cron: The cron line, five fields or `@daily` and its like; empty for an interval.
        jitter: The longest random delay to add to each time; `next_after` leaves it to its caller.
    """

    text: str
    every: timedelta | None = None
    cron: str = ""
    jitter: timedelta = timedelta()

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """The first time after `moment` (aware), in UTC and without jitter.

        An interval counts from `moment`, whatever the clocks do. A cron line follows the clocks of
        `zone` as `cron.Cron.next_after` says.
        """
        if self.every is not None:
            return moment.astimezone(UTC) + self.every
        return cron.parse(self.cron).next_after(moment, zone)

    def __str__(self) -> str:
        return self.text


def parse(text: str, jitter: timedelta = timedelta()) -> Schedule:
    """The schedule that `text` spells: `every 10m`, or a cron line.

    Raises:
        ValueError: It spells none, or one that cannot fire; the message is one sentence.
    """
    word, _, rest = text.strip().partition(" ")
    if word != "every":
        cron.parse(text.strip())
        return Schedule(text, cron=text.strip(), jitter=jitter)
    every = durations.parse_duration(rest.strip())
    if every < SHORTEST:
        raise ValueError(
            f"{text!r} is too often: every {SHORTEST.seconds}s is the shortest interval"
        )
    if jitter >= every:
        raise ValueError(
            f"{text!r} is shorter than the jitter: leave less than the interval to chance"
        )
    return Schedule(text, every=every, jitter=jitter)
