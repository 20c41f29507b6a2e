"""What every table of the rules file is, and what those share that run on a schedule."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationInfo

from syncer.rules import schedule as schedules
from syncer.rules.values import Array, Duration, Positive, Window, string


class Table(BaseModel):
    """A table: no unknown keys, no conversions between types, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _schedule(value: object, info: ValidationInfo) -> schedules.Schedule:
    text = string(value, "'every 10m' or a cron line, in quotes")
    return schedules.parse(text, info.data.get("jitter", timedelta()))


class Scheduled(Table):
    """A rule or policy that runs on a schedule.

    Attributes:
        jitter: The longest random delay; also in `schedule`, where the daemon looks for it.
        schedule: When it runs; None: only by hand.
        window: When its scheduled runs may be under way; empty: always.
        deadline: How long one may take; what is left is left to the next. None: as long as needed.
    """

    jitter: Duration = timedelta()
    schedule: Annotated[schedules.Schedule, PlainValidator(_schedule)] | None = None
    window: Array[Window] = ()
    deadline: Positive | None = None
