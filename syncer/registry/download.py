"""Reading a blob: resumed where it broke off, and never handed out whole unless it is right."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import httpx

from syncer import errors, events, manifest
from syncer.manifest import Descriptor
from syncer.registry.exchange import Ask, Exchange
from syncer.registry.outgoing import TOLD
from syncer.registry.shared import SMALL_BLOB
from syncer.registry.transport import Body
from syncer.store import Chunks

# An attempt that brought this much was worth its while and is not counted as a failure in a row.
_PROGRESS = 8 * 1024 * 1024
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@contextmanager
def open_blob(exchange: Exchange, repository: str, descriptor: Descriptor) -> Iterator[Chunks]:
    """The blob's bytes in pieces of up to 256 KiB, each valid until the next is asked for.

    Size and digest are right before the last piece is handed out.

    Raises:
        SizeMismatchError: There are more or fewer bytes than the descriptor says.
        DigestMismatchError: They are others.
        RegistryError: The registry does not give them, in spite of retries.
    """
    bulk = descriptor.size > SMALL_BLOB
    download = _Download(exchange, repository, descriptor)
    exchange.ready(download.ask)
    with (
        exchange.shared.gate.hold(bulk=bulk, stop=exchange.stop),
        closing(download.chunks()) as chunks,
    ):
        yield chunks


class _Download:
    def __init__(self, exchange: Exchange, repository: str, descriptor: Descriptor) -> None:
        self._exchange = exchange
        self._descriptor = descriptor
        self.ask = Ask(
            "GET",
            exchange.url(f"/v2/{repository}/blobs/{descriptor.digest}"),
            (f"repository:{repository}:pull",),
            ok=(200, 206),
        )
        self._where = f"{exchange.name}/{repository}"
        self._size = descriptor.size
        self._ranges = True
        self._hash = manifest.hasher(descriptor.digest.partition(":")[0])
        self._done = 0
        self._told = 0

    def chunks(self) -> Generator[memoryview]:
        """All of the blob, over as many requests as it takes."""
        attempt, mark = 1, 0
        try:
            while True:
                try:
                    yield from self._rest()
                    return
                except errors.RegistryError as error:
                    if self._done - mark >= _PROGRESS:
                        attempt = 1
                    if error.status == 416 and self._ranges:
                        self._ranges = False
                    else:
                        self._exchange.again("GET", attempt, error)
                    attempt, mark = attempt + 1, self._done
                    self._exchange.ready(self.ask)
        finally:
            self._tell()

    def _rest(self) -> Iterator[memoryview]:
        """What one request brings of what is still missing."""
        ask = self.ask
        if self._done and self._ranges:
            ask = replace(ask, headers=(("Range", f"bytes={self._done}-"),))
        with self._exchange.stream(ask) as (response, body):
            skip = self._overlap(response, body)
            for piece in self._pieces(body, skip):
                fresh = piece[skip:]
                skip -= len(piece) - len(fresh)
                if fresh:
                    self._take(fresh, body)
                    yield fresh
        if self._done < self._size or not self._size:
            self._settle()

    def _pieces(self, body: Body, skip: int) -> Iterator[memoryview]:
        """The answer's body, as fast as it may be read."""
        reads = self._exchange.shared.reads
        if reads is None:
            return body.pieces()
        left = self._size - self._done + skip
        return reads.receiving(body.pieces(reads.piece), left, self._exchange.wait)

    def _overlap(self, response: httpx.Response, body: Body) -> int:
        """How many bytes of this answer have been handed out before."""
        if response.status_code == 200:
            if body.length not in (None, self._size):
                raise self._wrong_size(body.length or 0)
            return self._done
        found = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if found and int(found[1]) == self._done and found[3] in ("*", str(self._size)):
            return 0
        self._ranges = False
        raise errors.UnavailableError(
            f"GET {self.ask.url}: the answer is another range than was asked for",
            registry=self._exchange.name,
        )

    def _take(self, piece: memoryview, body: Body) -> None:
        """Counts and hashes a piece; the last one is not let through before all is right."""
        self._done += len(piece)
        self._hash.update(piece)
        if self._done >= self._size:
            self._settle(body)
        if self._done - self._told >= TOLD:
            self._tell()

    def _settle(self, body: Body | None = None) -> None:
        excess = body.excess() if body and self._done == self._size else 0
        if self._done + excess != self._size:
            raise self._wrong_size(self._done + excess)
        algorithm = self._hash.name
        if f"{algorithm}:{self._hash.hexdigest()}" != self._descriptor.digest:
            raise errors.DigestMismatchError(
                f"blob {self._descriptor.digest} of {self._where} has other content:"
                f" {algorithm}:{self._hash.hexdigest()}"
            )

    def _wrong_size(self, size: int) -> errors.SizeMismatchError:
        return errors.SizeMismatchError(
            f"blob {self._descriptor.digest} of {self._where} should have {self._size} bytes"
            f" and has {'at least ' if size > self._size else ''}{size}"
        )

    def _tell(self) -> None:
        if count := self._done - self._told:
            self._told = self._done
            self._exchange.observer(events.BytesMoved(self._exchange.name, "read", count))
