"""From whatever schema the file has to this program's. Alembic is imported only when they differ."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from syncer import errors
from syncer.state import engine

HEAD = "0001"  # versions are numbers of four digits, so they compare as text
_SCRIPTS = Path(__file__).with_name("migrations")


def version(path: Path) -> str:
    """The schema version in the file; empty when it holds nothing yet.

    Raises:
        sqlite3.Error: The file cannot be read, or is damaged.
        NewerStateError: A newer syncer wrote it.
        StateError: It is a database of something else.
    """
    with closing(sqlite3.connect(path, timeout=engine.BUSY_SECONDS)) as connection:
        if engine.suspect(path).exists():
            _look_through(connection)
            engine.suspect(path).unlink(missing_ok=True)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return ""
        if "alembic_version" not in tables:
            raise errors.StateError(f"{path} is a database, but not one of syncer's")
        (stored,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if stored > HEAD:
        raise errors.NewerStateError(
            f"the state {path} has schema {stored} and this syncer knows {HEAD}:"
            " use the newer syncer that wrote it"
        )
    return str(stored)


def _look_through(connection: sqlite3.Connection) -> None:
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        damage = sqlite3.DatabaseError(answer)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


def upgrade(path: Path, stored: str) -> Path | None:
    """Brings the file from schema `stored` to `HEAD` in one transaction.

    Nobody else may have the file open: an older program would go on with a schema that is gone.

    Returns:
        The backup made before; None when there was nothing to back up.
    """
    from alembic import command  # noqa: PLC0415  (0.2 s that hardly any start needs)
    from alembic.config import Config  # noqa: PLC0415

    from syncer.state import core  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    backup = _back_up(path, stored) if stored else None
    database = core.connect(path)
    mode = database.execution_options(mode="migrate")
    try:
        with core.translated(path), mode.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise errors.StateError(
                    f"migrating the state {path} would break it: nothing was done"
                )
    finally:
        database.dispose()
    return backup


def _back_up(path: Path, stored: str) -> Path:
    """A whole copy beside the file; a half-made one never has the backup's name."""
    backup = path.with_name(f"{path.name}.backup-{stored}")
    partial = path.with_name(f"{backup.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as target:
            source.backup(target)
        return partial.replace(backup)
    finally:  # on a full disk the half of a copy is the last thing to keep
        partial.unlink(missing_ok=True)
