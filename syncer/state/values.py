"""How values stand in the file: as SQLAlchemy's SQLite dialect writes them, for it reads them too.

A moment is text in UTC of one width, so that text sorts as time does; JSON is text; a yes is 1.
sqlite3 picks the way back by the declared type of a column: an expression over one comes as it is.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=1024)  # the tags of one listing share theirs
def to_text(moment: datetime) -> str:
    """An aware moment as it is stored, such as `2026-11-22 07:00:00.000000`."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


@lru_cache(maxsize=1024)
def to_moment(stored: bytes) -> datetime:
    """The moment that was stored as this text."""
    return datetime.fromisoformat(stored.decode()).replace(tzinfo=UTC)


def register() -> None:
    """Teaches sqlite3, for connections that look at declared types."""
    sqlite3.register_adapter(datetime, to_text)
    sqlite3.register_converter("DATETIME", to_moment)
    sqlite3.register_converter("BOOLEAN", b"1".__eq__)
    sqlite3.register_converter("JSON", json.loads)
