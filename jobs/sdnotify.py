"""What systemd is told, over the datagram socket in `$NOTIFY_SOCKET`; see sd_notify(3).

Without that variable (a terminal, a container) every call does nothing.
"""

from __future__ import annotations

import os
import socket
import time

_MILLION = 1_000_000


def ready() -> None:
    """The first schedule is set, or a reload is over."""
    _send("READY=1")


def reloading() -> None:
    """The rules file is being read again; `ready` ends it. The time is `Type=notify-reload`'s."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """Nothing new begins."""
    _send("STOPPING=1")


def extend(seconds: float) -> None:
    """The stop, or start, takes at least so much longer than the unit allows for it."""
    _send(f"EXTEND_TIMEOUT_USEC={round(seconds * _MILLION)}")


def status(text: str) -> None:
    """The line that `systemctl status` shows."""
    _send(f"STATUS={' '.join(text.split())}")


def alive() -> None:
    """The watchdog may wait anew."""
    _send("WATCHDOG=1")


def patience() -> float | None:
    """Seconds within which systemd wants the next `alive`; None when it does not ask for any."""
    microseconds, process = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if not microseconds or (process and int(process) != os.getpid()):
        return None
    return int(microseconds) / _MILLION


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux' abstract namespace
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
        try:
            notifier.sendto(message.encode(), address)
        except OSError:
            # systemd has gone or is being replaced: no reason to stop working.
            return
