"""Storing a blob: mounted where it can be, else sent in the way this registry takes it.

Tried in turn: POST and PUT; POST, one PATCH, PUT; POST, several PATCHes, PUT. What worked is
remembered for the registry. A transfer that broke off goes on where the registry says it stands,
or begins anew where it has forgotten. Source: distribution-spec 1.1, "Pushing blobs".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext

import httpx

from syncer import errors, events, log, manifest
from syncer.manifest import Descriptor
from syncer.registry.exchange import Answer, Ask, Exchange
from syncer.registry.outgoing import Outgoing, Parts, Supply
from syncer.registry.shared import SMALL_BLOB, Style
from syncer.store import OpenBlob

# Below what gateways in front of registries were seen to take (ACR names a limit near 20 MB).
CHUNK = 10 * 1024 * 1024
_NEXT = {Style.PUT: Style.PATCH, Style.PATCH: Style.CHUNKS}
_MOST_RESTARTS = 2
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
_OCTETS = ("Content-Type", "application/octet-stream")
_STORED = (201, 200, 204)
# Not this way: too large for one request, or no such method.
_NOT_SO = frozenset({405, 411, 413, 501})
_SESSION_CODES = frozenset({"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"})


def put_blob(
    exchange: Exchange,
    repository: str,
    descriptor: Descriptor,
    source: OpenBlob,
    mount_from: Sequence[str] = (),
) -> str:
    """Stores a blob and returns `"mounted"` or `"copied"`; see `store.Store.put_blob`.

    Raises:
        RegistryError: The registry does not take it.
        SyncerError: What `source` raised.
    """
    upload = _Upload(exchange, repository, descriptor, source)
    with ExitStack() as undo:
        undo.callback(upload.cancel)
        mounted = upload.mounted(mount_from)
        if not mounted:
            upload.copy()
        undo.pop_all()
    return "mounted" if mounted else "copied"


def may_push(exchange: Exchange, repository: str) -> None:
    """Opens an upload and cancels it.

    Raises:
        RegistryError: We may not, or the registry takes no uploads.
    """
    nothing = Descriptor("application/octet-stream", manifest.digest_of(b""), 0)
    upload = _Upload(exchange, repository, nothing, lambda: nullcontext(iter(())))
    upload.begin()
    upload.cancel()


class _Upload:
    """One blob on its way into one repository."""

    def __init__(
        self, exchange: Exchange, repository: str, descriptor: Descriptor, source: OpenBlob
    ) -> None:
        self._exchange = exchange
        self._learned = exchange.shared.learned
        self._repository = repository
        self._digest = descriptor.digest
        self._size = descriptor.size
        self._small = descriptor.size <= SMALL_BLOB
        self._supply = Supply(source)
        self._content: bytes | None = None
        self._scopes = (f"repository:{repository}:pull,push",)
        self._style = self._learned.styles[self._small]
        self._location: tuple[httpx.URL, str] | None = None  # what it is relative to, and as given
        self._chunk = CHUNK
        self._offset = 0
        self._restarts = 0

    def mounted(self, candidates: Sequence[str]) -> bool:
        """Whether the registry took the blob from another repository.

        A mount that is not done opens an upload, which is then used. One that is refused counts for
        nothing: distribution answers 401 when the token does not reach the other repository.
        """
        for other in candidates:
            scopes = (*self._scopes, f"repository:{other}:pull")
            try:
                answer = self._post(scopes, mount=self._digest, **{"from": other})
            except errors.RegistryError as error:
                if error.temporary or not 400 <= error.status < 500:
                    raise
                log.get().debug("mount refused", source=other, reason=str(error))
                continue
            if answer.status == 201:
                return True
            self._move(answer)
            return False
        return False

    def begin(self) -> None:
        """Opens an upload."""
        answer = self._post(self._scopes)
        self._chunk = max(CHUNK, _number(answer.headers.get("oci-chunk-min-length", "")))
        self._move(answer)

    def copy(self) -> None:
        """Sends the blob, in as many attempts and ways as it takes."""
        for attempt in itertools.count(1):
            try:
                if self._small and self._content is None:
                    self._content = self._read()
                self._send()
            except errors.SyncerError as error:
                self._recover(error, attempt)
            else:
                self._learned.styles[self._small] = self._style
                return

    def cancel(self) -> None:
        """Tells the registry that an upload is not going to be finished; it need not listen."""
        if self._location is None:
            return
        try:
            ask = Ask(
                "DELETE",
                self._where(),
                self._scopes,
                ok=(204, 200, 202, 404),
                retry=False,
                urgent=True,
            )
            self._exchange.ask(ask)
        except errors.SyncerError as error:
            log.get().debug("upload not cancelled", repository=self._repository, reason=str(error))
        self._location = None

    def _post(self, scopes: tuple[str, ...], **query: str) -> Answer:
        url = self._exchange.url(f"/v2/{self._repository}/blobs/uploads/", **query)
        return self._exchange.ask(Ask("POST", url, scopes, ok=(202, 201) if query else (202,)))

    def _read(self) -> bytes:
        with self._supply.open() as parts:
            content = b"".join(bytes(part) for part in parts.take(self._size))
        if len(content) != self._size:
            raise errors.SizeMismatchError(
                f"blob {self._digest} should have {self._size} bytes and has {len(content)}"
            )
        return content

    def _send(self) -> None:
        if self._style is Style.PUT and not self._offset:
            self._put(self._content if self._content is not None else self._body(self._size))
            return
        if self._style is Style.CHUNKS:
            with self._supply.open(self._offset) as parts:
                while size := min(self._chunk, self._size - self._offset):
                    self._patch(self._body(size, parts), ranged=True)
        elif size := self._size - self._offset:
            self._patch(self._body(size))
        self._put(b"")

    def _patch(self, body: Outgoing, *, ranged: bool = False) -> None:
        """Sends bytes from the offset on. Only the registry's word on what it has counts."""
        last = self._offset + len(body) - 1
        headers = [_OCTETS]
        if ranged or self._offset:
            headers.append(("Content-Range", f"{self._offset}-{last}"))
        answer = self._ask("PATCH", headers, body, (202, 201, 204))
        self._move(answer)
        found = _RANGE.fullmatch(answer.headers.get("range", ""))
        if found and int(found[1]) != last:
            raise errors.ProtocolError(
                f"{self._exchange.name} has {int(found[1]) + 1} bytes of an upload of which"
                f" {last + 1} were sent",
                registry=self._exchange.name,
                status=416,
            )
        self._offset = last + 1

    def _put(self, body: bytes | Outgoing) -> None:
        answer = self._ask("PUT", [_OCTETS], body, (201, 200, 204), closing=True)
        self._location = None
        stored = answer.headers.get("docker-content-digest", self._digest)
        if stored != self._digest and stored.split(":")[0] == self._digest.split(":")[0]:
            raise errors.DigestMismatchError(
                f"{self._exchange.name} stored blob {self._digest} as {stored}"
            )
        if isinstance(body, bytes) and body:
            self._sent(len(body))

    def _ask(
        self,
        method: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | Outgoing,
        ok: tuple[int, ...],
        *,
        closing: bool = False,
    ) -> Answer:
        if self._location is None:
            self.begin()
        return self._exchange.ask(
            Ask(
                method,
                self._where(f"digest={self._digest}" if closing else ""),
                self._scopes,
                tuple(headers),
                body,
                ok,
                retry=False,
                bulk=not self._small,
            )
        )

    def _body(self, size: int, parts: Parts | None = None) -> Outgoing:
        return Outgoing(
            self._supply,
            size,
            start=self._offset,
            parts=parts,
            sent=self._sent,
            throttled=self._exchange.throttled,
        )

    def _move(self, answer: Answer) -> None:
        """Follows the upload to where the answer says it goes on."""
        if where := answer.headers.get("location"):
            self._location = (answer.url, where.partition("#")[0])

    def _where(self, query: str = "") -> httpx.URL:
        """Where the upload is; what the registry put into its query is its own and stays whole.

        Raises:
            ProtocolError: The registry opened it and did not say where, or nowhere one can go.
        """
        if self._location is None:
            raise errors.ProtocolError(
                f"{self._exchange.name} opened an upload and does not say where",
                registry=self._exchange.name,
            )
        base, given = self._location
        mark = "&" if "?" in given else "?"
        return self._exchange.join(base, f"{given}{mark}{query}" if query else given)

    def _sent(self, count: int) -> None:
        self._exchange.observer(events.BytesMoved(self._exchange.name, "written", count))

    def _recover(self, error: errors.SyncerError, attempt: int) -> None:
        """Makes ready for another attempt.

        Raises:
            SyncerError: `error`, when there is to be none.
        """
        if error is self._supply.failed:
            if attempt > 1 or not (isinstance(error, errors.ContentError) and error.temporary):
                raise error
            self._restart()  # a second reading settles it
        elif self._location is None or not isinstance(error, errors.RegistryError):
            raise error
        elif error.status in _NOT_SO:
            self._change_style(error)
        elif error.status == 416 or not _SESSION_CODES.isdisjoint(error.codes):
            # The session is lost, or has come further than it said when it was asked.
            self._restarts += 1
            if self._restarts > _MOST_RESTARTS:
                self._change_style(error)
            elif error.status == 416:
                self._resume()
            else:
                self._restart()
        elif self._offset and "DIGEST_INVALID" in error.codes and not self._restarts:
            self._restarts += 1
            self._restart()
        else:
            self._exchange.again("PUT", attempt, error)
            self._resume()

    def _change_style(self, error: errors.RegistryError) -> None:
        if self._style not in _NEXT:
            raise error
        self._style = _NEXT[self._style]
        self._restarts = 0
        log.get().debug("upload refused", style=self._style.value, reason=str(error))
        self._restart()

    def _restart(self) -> None:
        self.cancel()
        self._offset = 0

    def _resume(self) -> None:
        """Asks where the upload stands; a small one, and one that is lost, begins anew."""
        if self._small or self._location is None:
            self._restart()
            return
        try:
            answer = self._exchange.ask(
                Ask("GET", self._where(), self._scopes, ok=(204,), retry=False)
            )
            self._move(answer)
        except errors.RegistryError as error:
            log.get().debug("upload lost", repository=self._repository, reason=str(error))
            self._restart()
            return
        found = _RANGE.fullmatch(answer.headers.get("range", ""))
        # A fresh session says 0-0 too (distribution): one byte is not worth telling them apart.
        self._offset = int(found[1]) + 1 if found and int(found[1]) else 0
        if self._offset > self._size:
            self._restart()


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
