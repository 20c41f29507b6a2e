"""Bytes of blobs a second: caps of a registry and of the whole process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from syncer.registry.limits.gate import Clock
from syncer.registry.limits.pace import Bucket

# Waits for some seconds.
Wait = Callable[[float], None]

# What may go at once after a rest, in seconds: more would show in an average over a few of them,
# and less would be lost whenever a thread wakes up late.
_CREDIT = 0.1
# How much of a second one piece takes, within limits: many streams take turns, piece by piece.
_TURN = 0.02
_SMALLEST, _LARGEST = 2 * 1024, 256 * 1024


class Bandwidth:
    """A cap on the bytes read, and by itself one on the bytes written.

    The directions do not share it, since those of a link do not: a copy through a link of 100 MB/s
    goes at 100 MB/s.

    Args:
        rate: Bytes a second.
        clock: Seconds that only go forward.
    """

    def __init__(self, rate: float, clock: Clock = time.monotonic) -> None:
        self.read = Bucket(rate, rate * _CREDIT, clock)
        self.written = Bucket(rate, rate * _CREDIT, clock)


class Meter:
    """All caps that hold for bytes in one direction.

    Streams get their turns in the order they ask, so that they share the rate alike.

    Attributes:
        piece: How many bytes are best moved in one turn.
    """

    def __init__(self, *caps: Bucket) -> None:
        self._caps = caps
        turn = int(min(cap.rate for cap in caps) * _TURN)
        self.piece = max(_SMALLEST, min(turn, _LARGEST))

    def take(self, count: int) -> float:
        """Counts bytes; the seconds to wait before they may be moved."""
        return max(cap.take(count) for cap in self._caps)

    def sending(self, chunks: Iterator[memoryview], wait: Wait) -> Iterator[memoryview]:
        """Hands bytes on in turns."""
        for chunk in chunks:
            for start in range(0, len(chunk), self.piece):
                part = chunk[start : start + self.piece]
                wait(self.take(len(part)))
                yield part

    def receiving(
        self, pieces: Iterator[memoryview], left: int, wait: Wait
    ) -> Iterator[memoryview]:
        """Asks for each piece when it is its turn; `left` bytes are to come."""
        while left > 0:
            wait(self.take(min(left, self.piece)))
            piece = next(pieces, None)
            if piece is None:
                return
            left -= len(piece)
            yield piece
        yield from pieces

    @classmethod
    def reading(cls, *caps: Bandwidth | None) -> Meter | None:
        """For what is read; None where nothing caps it."""
        found = [cap.read for cap in caps if cap]
        return cls(*found) if found else None

    @classmethod
    def writing(cls, *caps: Bandwidth | None) -> Meter | None:
        """For what is written; None where nothing caps it."""
        found = [cap.written for cap in caps if cap]
        return cls(*found) if found else None
