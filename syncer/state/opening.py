"""Opening the state: ownership, damage, schema; and the object the rest of the program holds."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from syncer import errors
from syncer.state import blobs, engine, files, migrate, records
from syncer.state.drops import Drops
from syncer.state.leases import Leases
from syncer.state.presence import Presence
from syncer.state.rulestates import RuleStates
from syncer.state.runs import Runs, store_steps
from syncer.state.tags import Tags
from syncer.state.writer import Writer

if TYPE_CHECKING:
    from syncer.state.plans import Plans

_PATIENCE = 10.0  # seconds for another process to finish starting
_PAUSE = 0.05
_CONFIRMED = "SELECT value FROM meta WHERE name = 'operator_confirmed'"
_CONFIRM = "INSERT OR IGNORE INTO meta (name, value) VALUES ('operator_confirmed', ?)"


class State:
    """An open state. A context manager.

    Attributes:
        path: The file.
        notices: What an operator should read about the opening: a damaged file set aside, a backup.
        runs: What was done.
        tags: Which tag pointed where since when.
        blobs: Mount candidates.
        leases: Who may write where.
        drops: What undo and suppression rest on.
        rules: How each rule has fared.
    """

    def __init__(
        self,
        path: Path,
        presence: Presence,
        now: Callable[[], datetime],
        notices: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.notices = notices
        self._presence = presence
        self._database = engine.Database(path, now)
        self._writer = Writer(
            self._database, {records.Step: store_steps, records.BlobSeen: blobs.store}
        )
        self.runs = Runs(self._database, presence, self._writer)
        self.tags = Tags(self._database)
        self.blobs = blobs.Blobs(self._database, self._writer)
        self.leases = Leases(self._database, presence, self._writer)
        self.drops = Drops(self._database)
        self.rules = RuleStates(self._database)

    @cached_property
    def plans(self) -> Plans:
        """Stored prune plans."""
        from syncer.state.plans import Plans  # noqa: PLC0415  (it imports SQLAlchemy)

        return Plans(self._database.core)

    @property
    def fresh(self) -> bool:
        """Whether no operator has applied a prune since this state began: schedules only plan."""
        return not self._database.quick(_CONFIRMED)

    def confirm_operator(self) -> None:
        """Records that an operator has run `prune --apply`: schedules may drop from now on."""
        with self._database.write(durable=True) as connection:
            connection.execute(_CONFIRM, (self._database.now().isoformat(),))

    def recover(self) -> list[str]:
        """Tidies up after dead processes: ends their runs as interrupted, frees their leases.

        Returns:
            The ids of the runs that had been cut off.
        """
        self.leases.free_dead()
        return self.runs.mark_interrupted()

    def flush(self) -> None:
        """Waits until all that was recorded is stored.

        Raises:
            StateError: It could not be; nothing more is accepted.
        """
        self._writer.flush()

    def maintain(self, *, keep_runs: int = 10_000, keep_days: int = 90) -> int:
        """Forgets what is old; returns the number of rows. For a quiet moment, once a day."""
        from syncer.state.maintain import maintain  # noqa: PLC0415  (it imports SQLAlchemy)

        return maintain(self._database.core, keep_runs=keep_runs, keep_days=keep_days)

    def close(self) -> None:
        """Stores what is left, releases every lease and closes the file."""
        self._writer.close()
        self.leases.close()
        self._database.close()
        self._presence.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_state(url: str, *, now: Callable[[], datetime]) -> State:
    """Opens the state, making or migrating it where needed. Several may do so at once.

    Args:
        url: `sqlite:///` and a path.
        now: The clock; aware.

    Raises:
        ForeignStateError: It belongs to another user; the message has the line to type.
        NewerStateError: A newer syncer wrote it.
        StateError: It cannot be read or made, or is damaged while another process has it open.
    """
    path = files.locate(url)
    files.prepare(path)
    with ExitStack() as undo:
        try:
            presence = Presence(path.with_name(f"{path.name}.lock"))
            undo.callback(presence.close)
            with engine.translated(path):
                notices = _settle(path, presence, now)
        except OSError as error:
            raise errors.StateError(f"the state {path} cannot be opened: {error}") from error
        state = State(path, presence, now, notices)
        undo.pop_all()
    return state


def _settle(path: Path, presence: Presence, now: Callable[[], datetime]) -> tuple[str, ...]:
    """Leaves a sound file of this program's schema; returns what there is to say about it."""
    notices: list[str] = []
    deadline = time.monotonic() + _PATIENCE
    while True:
        alone = presence.enter()
        try:
            stored = migrate.version(path)
        except sqlite3.Error as error:
            if not alone or not engine.is_damage(error):
                raise
            aside = files.set_aside(path, now())
            notices.append(f"the state {path} was damaged ({error}): set aside as {aside}")
            files.prepare(path)
            continue
        if stored != migrate.HEAD and alone and (backup := migrate.upgrade(path, stored)):
            notices.append(f"the state {path} was migrated; as it was: {backup}")
        if stored == migrate.HEAD or alone:
            presence.share()
            return tuple(notices)
        if time.monotonic() > deadline:
            raise errors.StateError(
                f"the state {path} has to be migrated and an older syncer has it open: stop that"
                " one first (systemctl stop syncer)"
            )
        presence.leave()
        time.sleep(_PAUSE)
