"""Asking a registry: permits, credentials, redirects, retries, and an event for each request.

Credentials go to the registry's own origin only. A redirect that leaves it goes on without them,
and what its target answers to that is never taken for a challenge.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlencode, urljoin

import httpx

from syncer import errors, events
from syncer.registry import answers, limits
from syncer.registry.auth import parse_challenges
from syncer.registry.connection import Origin
from syncer.registry.outgoing import Outgoing
from syncer.registry.shared import Shared
from syncer.registry.transport import WITH_BODY, Body

# What comes encoded has neither the size nor the digest it should have.
_ALWAYS = (("User-Agent", "syncer"), ("Accept-Encoding", "identity"))
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTED = frozenset({"GET", "HEAD"})
_MOST_REDIRECTS = 5
# A caller asks the authorizer at most twice for one request.
_MOST_CHALLENGES = 2
# What is not worth a wait: whoever comes next waits for it, too.
_INSTANT = 0.005
SMALL = 1024 * 1024


@dataclass(frozen=True)
class Ask:
    """One request to the registry.

    Attributes:
        method: The method.
        url: Where; not always the registry itself, as an upload may lie elsewhere.
        scopes: What a token must allow.
        headers: Headers beside the usual ones.
        body: What is sent.
        ok: The statuses that are welcome.
        limit: The longest answer that is read.
        retry: Whether an attempt that may pass is repeated here.
        bulk: Whether this moves a lot of bytes.
        urgent: Whether it is sent although the run was told to stop.
        counts_as: What it is limited with, where that is not what its method says.
    """

    method: str
    url: httpx.URL
    scopes: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Outgoing = b""
    ok: tuple[int, ...] = (200,)
    limit: int = SMALL
    retry: bool = True
    bulk: bool = False
    urgent: bool = False
    counts_as: limits.Kind | None = None

    @property
    def kind(self) -> limits.Kind:
        """What it is limited with."""
        return limits.Kind.of(self.method) if self.counts_as is None else self.counts_as


@dataclass(frozen=True)
class Answer:
    """What came back, read to its end.

    Attributes:
        status: The status.
        headers: The headers.
        body: The body.
        url: Where it came from; links and locations are relative to this.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    url: httpx.URL


class Exchange:
    """Requests to one registry, for one run.

    Args:
        shared: The registry.
        observer: Told of every request.
        stop: Set when the run is to end.
        backoff: How long to wait before another attempt.
        sleep: Waits for some seconds, less when the run is to end.
    """

    def __init__(
        self,
        shared: Shared,
        observer: events.Observer,
        stop: threading.Event,
        backoff: limits.Backoff | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.shared = shared
        self.name = shared.name
        self.observer = observer
        self.stop = stop
        self._backoff = backoff or limits.Backoff()
        self._sleep = sleep or stop.wait

    def url(self, path: str, **query: str) -> httpx.URL:
        """The URL of `path`, such as `/v2/`, at the registry."""
        return _url(self.shared.url + path + (f"?{urlencode(query)}" if query else ""))

    def own(self, url: httpx.URL) -> bool:
        """Whether `url` lies where our credentials may go."""
        return Origin.of(url) == self.shared.origin

    def join(self, base: httpx.URL, reference: str) -> httpx.URL:
        """`reference`, as a header of the answer from `base` gave it, as a URL without fragment.

        Raises:
            ProtocolError: It is none, or it leads from https to http.
        """
        try:
            url = httpx.URL(urljoin(str(base), reference).partition("#")[0])
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host or "%" in url.host:
            problem = "points to something that is no URL"
        elif base.scheme == "https" and url.scheme == "http":
            problem = f"leads from https to http, to {url.host}"
        else:
            return url
        raise errors.ProtocolError(f"{answers.shown(base)}: {problem}", registry=self.name)

    def ask(self, ask: Ask) -> Answer:
        """The answer to a request, if its status is a welcome one.

        Raises:
            RegistryError: It is not, in spite of retries; or there was none.
            InterruptedRunError: The run is to end.
        """
        kind, stop = ask.kind, None if ask.urgent else self.stop
        for attempt in itertools.count(1):
            try:
                self.ready(ask)
                with self.shared.gate.hold(kind=kind, bulk=ask.bulk, stop=stop):
                    response = self._open(ask, first=attempt == 1)
                    body = _body(response).read(ask.limit)
                return Answer(response.status_code, response.headers, body, response.request.url)
            except errors.RegistryError as error:
                if not ask.retry:
                    raise
                self.again(ask.method, attempt, error, kind)
        raise AssertionError("`again` raises in the end")

    def ready(self, ask: Ask) -> None:
        """Waits until a request may be sent, before it takes a permit that another could use.

        Raises:
            InterruptedRunError: The run is to end.
        """
        shared, kind = self.shared, ask.kind
        delay = shared.gate.paused(kind)
        if shared.pace is not None:
            delay = max(delay, shared.pace.take(kind, ask.method))
        if shared.writes is not None and kind is limits.Kind.UPLOAD and isinstance(ask.body, bytes):
            delay = max(delay, shared.writes.take(len(ask.body)))
        if not ask.urgent:
            self.wait(delay)

    def wait(self, seconds: float) -> None:
        """Waits for a turn.

        Raises:
            InterruptedRunError: The run is to end.
        """
        if seconds >= _INSTANT:
            self._sleep(seconds)
            self._check_stop()

    def throttled(self, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
        """Bytes of a blob on their way out, as fast as they may go."""
        writes = self.shared.writes
        return chunks if writes is None else writes.sending(chunks, self.wait)

    @contextmanager
    def stream(self, ask: Ask) -> Iterator[tuple[httpx.Response, Body]]:
        """A welcome answer with its body unread: one attempt, under a permit of the caller's."""
        response = self._open(ask, first=True)
        try:
            yield response, _body(response)
        finally:
            response.close()

    def again(
        self,
        method: str,
        attempt: int,
        error: errors.RegistryError,
        kind: limits.Kind | None = None,
    ) -> None:
        """Waits before another attempt; `attempt` have been made.

        Raises:
            RegistryError: `error`, when there is to be none.
            InterruptedRunError: The run is to end.
        """
        self._check_stop()
        if attempt >= answers.attempts(error) or self.shared.circuit.open:
            raise error
        paused = self.shared.gate.paused(limits.Kind.of(method) if kind is None else kind)
        delay = max(self._backoff.delay(attempt), paused)
        self.observer(events.Retried(self.name, method, str(error), delay, error.status))
        self._sleep(delay)
        self._check_stop()

    def _open(self, ask: Ask, *, first: bool) -> httpx.Response:
        """One attempt: its answer with the body unread, if it is a welcome one."""
        if not ask.urgent:
            self._check_stop()
            if paused := self.shared.gate.paused(ask.kind):
                self._sleep(paused)
                self._check_stop()
        self.shared.circuit.check()
        own = self.own(ask.url)
        if own:
            response = self._authorized(ask, first=first)
        else:
            response = self._transmit(ask, ask.url, None, first=first)
        if response.status_code in _REDIRECTS and ask.method in _REDIRECTED:
            response = self._follow(ask, response, own=own)
        if response.status_code in ask.ok:
            return response
        raise self._failure(ask, response)

    def _authorized(self, ask: Ask, *, first: bool) -> httpx.Response:
        """The answer after the registry's challenges were met."""
        for _ in range(_MOST_CHALLENGES):
            proof = self._proof(ask.scopes)
            response = self._transmit(ask, ask.url, proof, first=first)
            if response.status_code != 401:
                return response
            challenges = parse_challenges(response.headers.get_list("www-authenticate"))
            refusal = self._failure(ask, response)
            if not self.shared.authorizer.challenged(
                challenges, ask.scopes, proof.get("Authorization")
            ):
                raise refusal
            if self.shared.pace is not None:  # what is sent once more counts, and does not wait
                self.shared.pace.take(ask.kind, ask.method)
        return self._transmit(ask, ask.url, self._proof(ask.scopes), first=first)

    def _proof(self, scopes: tuple[str, ...]) -> Mapping[str, str]:
        try:
            return self.shared.authorizer.ensure(scopes)
        except errors.UnavailableError as error:
            self._failed(str(error))
            raise

    def _follow(self, ask: Ask, response: httpx.Response, *, own: bool) -> httpx.Response:
        """Where redirects lead. Once they have left the registry, credentials stay behind."""
        url = ask.url
        for _ in range(_MOST_REDIRECTS):
            location = response.headers.get("location", "")
            _body(response).drain()
            url = self.join(url, location)
            own = own and self.own(url)
            proof = self._proof(ask.scopes) if own else None
            response = self._transmit(ask, url, proof, first=True)
            if response.status_code not in _REDIRECTS:
                return response
        response.close()
        raise errors.ProtocolError(
            f"{ask.method} {answers.shown(ask.url)}: redirected more than {_MOST_REDIRECTS} times",
            registry=self.name,
        )

    def _transmit(
        self, ask: Ask, url: httpx.URL, proof: Mapping[str, str] | None, *, first: bool
    ) -> httpx.Response:
        """Sends one request; tells the observer, the gate and the circuit how it went.

        `proof` is what the registry's own origin is shown, and None for any other.
        """
        own = proof is not None
        headers = [*_ALWAYS, *ask.headers, *(proof or {}).items()]
        body = ask.body if isinstance(ask.body, Outgoing) else httpx.ByteStream(ask.body)
        if ask.method in WITH_BODY:
            headers.append(("Content-Length", str(len(ask.body))))
        request = httpx.Request(ask.method, url, headers=headers, stream=body)
        began = time.perf_counter()
        try:
            response = self.shared.transport.handle_request(request)
        except errors.SyncerError as error:
            if own:
                self._done(ask.method, 0, began)
                theirs = isinstance(error, errors.RegistryError) and error is not _source_error(ask)
                if theirs and not self.stop.is_set():  # a stop breaks connections off itself
                    self._failed(str(error))
            raise
        finally:
            body.close()
        if own:
            self._done(ask.method, response.status_code, began)
            self._judge(ask.kind, response, first=first)
        return response

    def _done(self, method: str, status: int, began: float) -> None:
        seconds = time.perf_counter() - began
        self.observer(events.RequestDone(self.name, method, status, seconds))

    def _judge(self, kind: limits.Kind, response: httpx.Response, *, first: bool) -> None:
        """What an answer says about the registry as a whole.

        A 5xx counts once per request, not per attempt: some registries answer 500 to one manifest
        for ever (distribution to foreign layers), which says nothing about the next.
        """
        shared, status, headers = self.shared, response.status_code, response.headers
        if status == 503 and (seconds := answers.retry_after(headers)):
            shared.gate.pause(seconds)
        if status < 500:
            if status != 429:
                shared.gate.succeeded(kind)
            if shared.circuit.succeeded():
                self.observer(events.CircuitChanged(self.name, opened=False, reason="it answers"))
        elif first:
            self._failed(f"{response.request.method} answered with {status}")
        now = time.time()
        if (shared.learned.date is None or now - shared.learned.date[1] >= 1) and "date" in headers:
            shared.learned.date = (headers["date"], now)
        if "warning" in headers:
            self._warn(headers["warning"])

    def _failed(self, reason: str) -> None:
        if self.shared.circuit.failed(reason):
            self.observer(events.CircuitChanged(self.name, opened=True, reason=reason))

    def _warn(self, warning: str) -> None:
        """Passes a `Warning` on, once (distribution-spec 1.1, "Warnings")."""
        known = self.shared.learned.warnings
        if warning not in known and len(known) < 100:
            known.add(warning)
            shown = "".join(filter(str.isprintable, warning[:500]))
            self.observer(events.Noticed("", self.name, "WARNING", shown))

    def _failure(self, ask: Ask, response: httpx.Response) -> errors.RegistryError:
        """The error that an unwelcome answer is; the answer is read and done with."""
        try:
            body = _body(response).read(SMALL)
        except errors.RegistryError:
            body = b""
        url, status = response.request.url, response.status_code
        error = answers.failure(self.name, ask.method, url, status, response.headers, body)
        if status == 429 and not isinstance(error, errors.RateBudgetError) and self.own(url):
            self.shared.gate.congested(ask.kind)
            self.shared.gate.pause(error.retry_after or 0.0, ask.kind)
        return error

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise errors.InterruptedRunError(f"interrupted while asking {self.name}")


@lru_cache(maxsize=256)  # a tenth of a request goes into parsing its URL
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


def _body(response: httpx.Response) -> Body:
    body = response.stream
    if not isinstance(body, Body):
        raise TypeError("the transport answers with a Body")
    return body


def _source_error(ask: Ask) -> errors.SyncerError | None:
    return ask.body.failed if isinstance(ask.body, Outgoing) else None
