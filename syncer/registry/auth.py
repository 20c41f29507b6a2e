"""Being somebody at a registry: nothing, Basic or a bearer token, as its challenges ask.

Source: distribution, "Docker Registry v2 authentication via central service".

A caller sends `headers(scopes)`, or `ensure(scopes)` where a 401 would be expensive; on a 401 *of
the registry's own origin* it asks `challenged` and, when that says so, sends once more. Challenges
of a redirect's target are not to be passed in: nobody there has a claim on our credentials.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

import httpx

from syncer import credentials, errors
from syncer.registry import challenge as challenge_
from syncer.registry.challenge import Challenge, parse_challenges
from syncer.registry.grants import Grant, Grants
from syncer.registry.tokens import LEAST_LIFE, Send, TokenServer, basic

__all__ = ["Authorizer", "Challenge", "Send", "parse_challenges"]

_RENEW_AT = 0.8  # of a token's life
_FRESH = 30.0  # seconds in which a refused token means no, not that it ran out
_REFUSED_FOR = 60.0  # seconds until a refused grant is asked for again


class Authorizer:
    """Who we are at one registry; one for each registry and process, for all its threads.

    Args:
        registry: The registry's name, for messages.
        base: Its URL.
        source: Where its credential comes from: read at the first challenge and when refused.
        send: Sends one request and returns the answer, its body unread, following no redirect. It
            must not wait for a permit that a caller of this class may hold.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        registry: str,
        base: httpx.URL,
        source: credentials.Source,
        send: Send,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._base = base
        self._source = source
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._known = False
        self._server: TokenServer | None = None  # the last one named; None: Basic
        self._grants = Grants()
        self._home: tuple[str, str, int | None] | None = None  # where identity tokens go
        self._rotated = ("", "")  # an identity token, and the one that took its place

    def renew(self, source: credentials.Source) -> None:
        """Forgets every token and what was shown for it; the next one is asked for as `source` says.

        Requests under way go on, and those after them do not start from nothing: what the registry
        wants is still known.
        """
        with self._lock:
            self._source, self._grants = source, Grants()
            self._home, self._rotated = None, ("", "")

    @property
    def known(self) -> bool:
        """Whether the registry has asked yet; until then `ensure` has nothing to go by."""
        return self._known

    def headers(self, scopes: tuple[str, ...]) -> dict[str, str]:
        """What to send now without being asked: Basic, a token we have for `scopes`, or nothing.

        A token near its end is renewed; a first one is not fetched.

        Raises:
            CredentialError: The credential cannot be read.
            RegistryError: As `ensure`.
        """
        if self._known and (self._server is None or self._grants.get(scopes)):
            return self.ensure(scopes)
        return {}

    def ensure(self, scopes: tuple[str, ...]) -> dict[str, str]:
        """As `headers`, but with a token fetched if there is none, so that no 401 need follow.

        Raises:
            CredentialError: The credential cannot be read.
            RegistryError: The token server refuses it, or fails: see `TokenServer.token`.
        """
        held = self._grants.get(scopes)
        if not self._known or (held and self._clock() < held.renew):
            return held.headers if held else {}
        server, asked = (held.server, held.asked) if held else (self._server, ())
        asked = asked or challenge_.merge(scopes)
        try:
            return self._grants.single(
                scopes,
                lambda grant: self._clock() < grant.renew,
                lambda: self._obtain(server, asked),
            ).headers
        except errors.RegistryError as error:
            if error.temporary and held and self._clock() < held.expires:
                return held.headers
            raise

    def challenged(
        self, challenges: Sequence[Challenge], scopes: tuple[str, ...], sent: str | None
    ) -> bool:
        """Answers the challenges of a 401; whether sending the request again is worthwhile.

        However many threads bring the same refused value, one token is fetched. A caller asks at
        most twice for one request.

        Args:
            challenges: Those of the registry's own answer.
            scopes: What the request needs, as given to `headers`.
            sent: The `Authorization` that was refused, if any.

        Returns:
            False when no challenge is one we can answer.

        Raises:
            CredentialError: The credential cannot be read.
            DeniedError: A fresh token for exactly these scopes is refused: they know us and say no.
            UnauthorizedError: The password is wrong, or one is wanted and we have none.
            RegistryError: The token server fails, or is none that may see credentials.
        """
        asking = _answerable(challenges)
        if asking is None:
            return False
        server = self._server_of(asking)
        with self._lock:
            self._known, self._server = True, server
        held = self._grants.get(scopes)
        again = held is not None and held.header == (sent or "")
        asked = challenge_.merge((*asking.scopes, *scopes))
        if held and again and self._final(held, server, asking.scopes):
            raise self._refuse(scopes, held, asking)
        grant = self._grants.single(
            scopes,
            lambda grant: grant.header != (sent or "") and self._clock() < grant.renew,
            lambda: self._obtain(server, asked, fresh=again),
        )
        if grant.header == (sent or ""):
            raise self._refuse(scopes, grant, asking)
        return True

    def _server_of(self, asking: Challenge) -> TokenServer | None:
        if asking.scheme == "basic":
            return None
        realm = challenge_.token_realm(asking.parameters["realm"], self._base, self._registry)
        service = asking.parameters.get("service", "")
        return TokenServer(self._registry, realm, service, self._send)

    def _obtain(
        self, server: TokenServer | None, asked: tuple[str, ...], *, fresh: bool = False
    ) -> Grant:
        repository = challenge_.repository(asked)
        if server is None:
            who = self._source.read(repository, fresh=fresh)
            return Grant("" if not who.password else basic(who), who)
        shown = self._newest(self._source.read(repository))
        try:
            return self._token(server, asked, shown)
        except errors.UnauthorizedError:
            again = self._newest(self._source.read(repository, fresh=True))
            if again == shown:
                raise
            return self._token(server, asked, again)

    def _token(
        self, server: TokenServer, asked: tuple[str, ...], who: credentials.Credential
    ) -> Grant:
        if who.identity_token:
            self._stay_home(server)
        began = self._clock()
        token = server.token(asked, who)
        if who.identity_token and token.refresh_token:
            with self._lock:
                first, newest = self._rotated
                first = first if newest == who.identity_token else who.identity_token
                self._rotated = first, token.refresh_token
        renew = began + _RENEW_AT * max(token.life, LEAST_LIFE)
        header = f"Bearer {token.value}"
        return Grant(header, who, server, asked, began, renew, began + token.life)

    def _newest(self, who: credentials.Credential) -> credentials.Credential:
        """`who` with the identity token that the token server last put in the place of its own."""
        first, newest = self._rotated
        if not who.identity_token or who.identity_token != first:
            return who
        return dataclasses.replace(who, identity_token=newest)

    def _stay_home(self, server: TokenServer) -> None:
        """Identity tokens live for months: they go to the first origin that a challenge named."""
        with self._lock:
            self._home = self._home or server.origin
        if self._home != server.origin:
            raise errors.ProtocolError(
                f"{self._registry} named {self._home[1]} as its token server and now names"
                f" {server.realm.host}: the identity token stays with the first",
                registry=self._registry,
                status=401,
            )

    def _final(self, held: Grant, server: TokenServer | None, demanded: tuple[str, ...]) -> bool:
        """Whether a refusal of `held` would meet the next one like it too."""
        if held.server != server or challenge_.merge((*held.asked, *demanded)) != held.asked:
            return False
        now = self._clock()
        young = now < min(held.obtained + _FRESH, held.expires)
        return young or (held.refused and now < held.renew)

    def _refuse(
        self, scopes: tuple[str, ...], grant: Grant, asking: Challenge
    ) -> errors.RegistryError:
        """The error for a grant that is refused for good; it is not asked for again for a while."""
        self._grants.refuse(scopes, grant, min(grant.renew, self._clock() + _REFUSED_FOR))
        kind, sentence = _verdict(grant, asking)
        return kind(f"{self._registry} {sentence}", registry=self._registry, status=401)


def _answerable(challenges: Sequence[Challenge]) -> Challenge | None:
    """The challenge to answer: a bearer one that names its realm before a basic one."""
    for scheme, needs in (("bearer", "realm"), ("basic", "")):
        for offered in challenges:
            if offered.scheme == scheme and (not needs or offered.parameters.get(needs)):
                return offered
    return None


def _verdict(grant: Grant, asking: Challenge) -> tuple[type[errors.RegistryError], str]:
    who, wanted = grant.who, " ".join(grant.asked) or "this"
    if grant.server is None:
        if grant.header:
            return errors.UnauthorizedError, f"refuses {who.who}: {who.remedy}"
        return errors.UnauthorizedError, f"asks for a user name and a password: {who.remedy}"
    if asking.parameters.get("error") == "invalid_token":
        return errors.UnauthorizedError, (
            f"refuses the token that {grant.server.realm.host} made for {who.who}:"
            " check that it trusts this token server, and the clocks of both"
        )
    if who.anonymous:
        return errors.UnauthorizedError, f"does not give {wanted} to anonymous: {who.remedy}"
    return errors.DeniedError, (
        f"does not give {wanted} to {who.who} of {who.origin or 'the rules file'}:"
        " grant it there, or name another user"
    )
