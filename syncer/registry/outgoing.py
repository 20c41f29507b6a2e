"""A blob's bytes on their way out: opened, cut and counted, never copied."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager

import httpx

from syncer import errors
from syncer.store import Chunks, OpenBlob

# How many bytes are told to the observer at once.
TOLD = 4 * 1024 * 1024


class Parts:
    """A stream of chunks, handed out in parts of any size."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, or fewer at the end. Valid until the next is asked for."""
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    return
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            yield part

    def skip(self, size: int) -> None:
        """Drops the next `size` bytes."""
        for _ in self.take(size):
            pass


class Supply:
    """Where a blob's bytes come from.

    Args:
        source: Opens the whole blob.

    Attributes:
        failed: Why it broke, if it did: that is no fault of the registry that is being sent to.
    """

    def __init__(self, source: OpenBlob) -> None:
        self.failed: errors.SyncerError | None = None
        self._source = source

    @contextmanager
    def open(self, start: int = 0) -> Iterator[Parts]:
        """The bytes from `start` on."""
        with ExitStack() as stack:
            try:
                chunks = stack.enter_context(self._source())
            except errors.SyncerError as error:
                self.failed = error
                raise
            parts = Parts(self._watched(chunks))
            parts.skip(start)
            yield parts

    def _watched(self, chunks: Chunks) -> Chunks:
        try:
            yield from chunks
        except errors.SyncerError as error:
            self.failed = error
            raise
        except OSError as error:
            self.failed = errors.ContentError(f"the bytes to send cannot be read: {error}")
            raise self.failed from error


class Outgoing(httpx.SyncByteStream):
    """The body of one request: `size` bytes of a supply.

    Args:
        supply: Where they come from.
        size: How many.
        start: The first one; the supply is opened anew for each attempt.
        parts: Takes them from here instead, which can be done only once.
        sent: Told how many bytes went out, in large pieces.
        throttled: Hands the bytes on as fast as they may go.
    """

    def __init__(
        self,
        supply: Supply,
        size: int,
        *,
        start: int = 0,
        parts: Parts | None = None,
        sent: Callable[[int], None],
        throttled: Callable[[Iterator[memoryview]], Iterator[memoryview]],
    ) -> None:
        self._supply = supply
        self._size = size
        self._start = start
        self._parts = parts
        self._sent = sent
        self._throttled = throttled
        self._running: Generator[memoryview] | None = None

    @property
    def failed(self) -> errors.SyncerError | None:
        """Why the supply broke, if it did."""
        return self._supply.failed

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[memoryview]:  # type: ignore[override]
        if self._running and self._parts:
            # The registry answered 401 or broke off half way; what went out is gone.
            raise errors.UnavailableError("part of an upload has to be sent again")
        self._running = self._chunks()
        return self._running

    def close(self) -> None:
        """Closes the supply, unless it is used further."""
        if self._running:
            self._running.close()

    def _chunks(self) -> Generator[memoryview]:
        if self._parts is None:
            with self._supply.open(self._start) as parts:
                yield from self._counted(parts.take(self._size))
        else:
            yield from self._counted(self._parts.take(self._size))

    def _counted(self, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
        count = 0
        try:
            for chunk in self._throttled(chunks):
                yield chunk
                count += len(chunk)
                if count >= TOLD:
                    self._sent(count)
                    count = 0
        finally:
            if count:
                self._sent(count)
