"""Numbers for repositories, so that rows by the million need not spell their names."""

from __future__ import annotations

import sqlite3

_INTERN = "INSERT INTO repository (registry, name) VALUES (?, ?) ON CONFLICT DO NOTHING"
_FIND = "SELECT id FROM repository WHERE registry = ? AND name = ?"


def intern(connection: sqlite3.Connection, registry: str, name: str) -> int:
    """The repository's number, given now if need be; inside a writing transaction."""
    connection.execute(_INTERN, (registry, name))
    (number,) = connection.execute(_FIND, (registry, name)).fetchone()
    return int(number)
