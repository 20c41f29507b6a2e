"""Numbers for repositories, so that rows by the million need not spell their names."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from syncer.state import tables

_REPOSITORY = tables.core(tables.Repository)


def find(connection: Connection, registry: str, name: str) -> int | None:
    """The repository's number, if it has one."""
    found: int | None = connection.execute(
        select(_REPOSITORY.c.id).where(
            _REPOSITORY.c.registry == registry, _REPOSITORY.c.name == name
        )
    ).scalar()
    return found


def intern(connection: Connection, registry: str, name: str) -> int:
    """The repository's number, given now if need be; inside a writing transaction."""
    found = find(connection, registry, name)
    if found is not None:
        return found
    statement = insert(_REPOSITORY).values(registry=registry, name=name)
    number: int = connection.execute(statement.returning(_REPOSITORY.c.id)).scalar_one()
    return number
