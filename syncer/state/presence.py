"""Who has the state open: locks of the kernel, which end with the process that holds them.

Every process keeps the lock file open. Two kinds of locks on it do not interfere on Linux:

- `flock` on the whole file, shared by all who use the state and exclusive for who starts,
  migrates or sets it aside: nobody changes the file under another process.
- An open-file-description lock on one byte per opened state, its *slot*. A run or lease names its
  holder's slot; the holder is dead exactly when that byte is free. This holds across containers,
  restarts and hidden /proc, where comparing process numbers and boot ids does not.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
from pathlib import Path

_FLOCK = "hhqqi4x"  # struct flock on 64-bit Linux: type, whence, start, length, pid


class Presence:
    """This process's place among those that have the state open.

    Attributes:
        slot: What others can ask `is_dead` about, as text.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._inode = os.fstat(self._descriptor).st_ino
        self._offset = secrets.randbits(62)
        self.slot = f"{self._inode}:{self._offset}"
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _byte(self._offset))

    def enter(self) -> bool:
        """Waits for whoever is just starting; returns whether nobody else has the state open."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.share()
            return False
        return True

    def share(self) -> None:
        """Lets others in."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Steps back, to `enter` again."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def is_dead(self, slot: str) -> bool:
        """Whether the process that had this slot is surely gone.

        A slot of another lock file (somebody removed it) cannot be judged: not dead.
        """
        inode, _, offset = slot.partition(":")
        if slot == self.slot or inode != str(self._inode):
            return False
        answer = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, _byte(int(offset)))
        kind: int = struct.unpack(_FLOCK, answer)[0]
        return kind == fcntl.F_UNLCK

    def close(self) -> None:
        """Gives up the slot and lets others have the state for themselves."""
        os.close(self._descriptor)


def _byte(offset: int) -> bytes:
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
