"""The same question to many things at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from syncer import errors

T = TypeVar("T")
R = TypeVar("R")

_WIDTH = 16


def each(items: Iterable[T], call: Callable[[T], R]) -> list[R | errors.SyncerError]:
    """What `call` returns for each item, or the error it raised, in order; several at a time.

    When it is broken off, by Ctrl-C, calls under way are not waited for.
    """

    def caught(item: T) -> R | errors.SyncerError:
        try:
            return call(item)
        except errors.SyncerError as error:
            return error

    wanted = list(items)
    if len(wanted) < 2:
        return [caught(item) for item in wanted]
    pool = ThreadPoolExecutor(min(_WIDTH, len(wanted)), thread_name_prefix="browse")
    try:
        return list(pool.map(caught, wanted))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
