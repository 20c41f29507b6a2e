"""The file on disk: where it is, whose it is, how it is made and set aside."""

from __future__ import annotations

import os
import pwd
import shlex
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from syncer import errors
from syncer.state import engine

_SIDES = ("", "-wal", "-shm")


def locate(url: str) -> Path:
    """The absolute path in a `sqlite:///` URL.

    Raises:
        StateError: It is a URL of another kind, or names no file.
    """
    scheme, _, rest = url.partition(":///")
    if scheme != "sqlite" or not rest or rest.startswith(":"):
        raise errors.StateError(
            f"{url!r} is no state this version can use: write sqlite:////var/lib/syncer/state.db"
        )
    return Path(rest).absolute()


def prepare(path: Path) -> None:
    """Makes the directory (0700) and the file (0600) where they are missing.

    Raises:
        ForeignStateError: It is another user's. Root is refused as well: it would leave files
            behind that their owner cannot write.
        StateError: They cannot be made.
    """
    _check_owner(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never opened when it is there: closing it would end this process's own locks on it.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise errors.StateError(f"the state {path} cannot be made: {error.strerror}") from error


def _check_owner(path: Path) -> None:
    nearest = _nearest(path)
    owner, me = nearest.stat().st_uid, os.geteuid()
    if owner == me:
        return
    if nearest == path or me == 0 or not os.access(nearest, os.W_OK | os.X_OK):
        raise errors.ForeignStateError(
            f"the state {path} belongs to {_user(owner)}; type: "
            + shlex.join(["sudo", "-u", _user(owner), *sys.argv])
        )


def _nearest(path: Path) -> Path:
    """The first of `path` and its parents that can be seen from here."""
    for place in (path, *path.parents):
        try:
            place.stat()
        except OSError:
            continue
        return place
    raise errors.StateError(f"the state {path} cannot be made: no part of that path exists")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"


def set_aside(path: Path, now: datetime) -> Path:
    """Renames a damaged file with what belongs to it, and returns its new path."""
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
    for side in _SIDES:
        old = path.with_name(path.name + side)
        if old.exists():
            old.rename(aside.with_name(aside.name + side))
    engine.suspect(path).unlink(missing_ok=True)
    return aside
