"""What SIGINT and SIGTERM do: the first asks the run to stop, the second ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOPPING = "stopping: finishing what is in flight; press Ctrl-C again to stop at once"
_NUMBERS = (signal.SIGINT, signal.SIGTERM)
# How long the second signal waits for the run to be recorded.
_PATIENCE = 2.0
_SHOW_CURSOR = "\x1b[?25h"


def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Ends a command that has nothing to finish, as Ctrl-C does."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def stopping(stop: threading.Event, record: Callable[[], None]) -> Iterator[None]:
    """Inside the block the first signal sets `stop` and the second calls `record` and exits 130.

    A handler runs between any two instructions of the main thread, which may hold any lock: so it
    writes to the descriptor itself, and `record` runs in a thread of its own, for two seconds.
    """

    def told(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if not stop.is_set():
            stop.set()
            if not os.isatty(2):  # on a terminal the display says it
                os.write(2, f"{STOPPING}\n".encode())
            return
        recording = threading.Thread(target=record, daemon=True)
        recording.start()
        recording.join(_PATIENCE)
        os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}\nstopped at once\n".encode())
        os._exit(130)

    before = {number: signal.signal(number, told) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
