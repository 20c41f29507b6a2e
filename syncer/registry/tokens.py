"""Asking a token server: distribution's "Token Authentication" (GET) and "OAuth2" (POST).

Answers are hostile until checked: at most 1 MiB, JSON, a token that fits a header.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from syncer import errors
from syncer.credentials import Credential
from syncer.registry import answers, challenge

Send = Callable[[httpx.Request], httpx.Response]

_CLIENT = "syncer"
_ALWAYS = {"User-Agent": _CLIENT, "Accept-Encoding": "identity"}
LEAST_LIFE = 60.0  # seconds; also the life of a token that comes without one
_MOST_BYTES = 1 << 20
_MOST_REDIRECTS = 3


@dataclass(frozen=True)
class Token:
    """What a token server gave.

    Attributes:
        value: The bearer token.
        life: Seconds it lasts, as the server says.
        refresh_token: What replaces the identity token that was shown, or empty.
    """

    value: str = field(repr=False)
    life: float
    refresh_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class TokenServer:
    """The token server of a registry.

    Attributes:
        registry: The registry's name, for messages.
        realm: Its URL, checked by `challenge.token_realm`.
        service: What it calls the registry.
        send: Sends one request and follows nothing.
    """

    registry: str
    realm: httpx.URL
    service: str
    send: Send = field(repr=False, compare=False)

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """Scheme, host and port."""
        return _origin(self.realm)

    def token(self, scopes: tuple[str, ...], who: Credential) -> Token:
        """A token for `scopes`: perhaps for fewer of them, which no token server calls an error.

        Raises:
            UnauthorizedError: `who` is refused: a wrong password, mostly.
            TooManyRequestsError: It asks us to slow down.
            UnavailableError: It answers 5xx or nothing.
            ProtocolError: It answers something else, or redirects to another origin.
        """
        if who.identity_token:
            response = self._exchange(self._refresh(scopes, who))
            if response.status_code not in (404, 405):  # those know GET only
                return self._read(response, scopes, who)
        return self._read(self._exchange(self._get(scopes, who)), scopes, who)

    def _get(self, scopes: tuple[str, ...], who: Credential) -> httpx.Request:
        asked = [("service", self.service)] if self.service else []
        asked += [("scope", scope) for scope in scopes]
        asked += [("account", who.username)] if who.username else []
        asked += [("client_id", _CLIENT)]
        url = self.realm.copy_with(
            params=httpx.QueryParams([*self.realm.params.multi_items(), *asked])
        )
        proof = {} if who.anonymous else {"Authorization": basic(who)}
        return httpx.Request("GET", url, headers=_ALWAYS | proof)

    def _refresh(self, scopes: tuple[str, ...], who: Credential) -> httpx.Request:
        form = {
            "grant_type": "refresh_token",
            "service": self.service,
            "client_id": _CLIENT,
            "scope": " ".join(scopes),
            "refresh_token": who.identity_token,
        }
        return httpx.Request("POST", self.realm, data=form, headers=_ALWAYS)

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body read; redirects within the origin followed."""
        for _ in range(1 + _MOST_REDIRECTS):
            response = self._once(request)
            if not response.has_redirect_location:
                return response
            request = self._redirected(request, response)
        raise self._broken(f"redirects more than {_MOST_REDIRECTS} times")

    def _once(self, request: httpx.Request) -> httpx.Response:
        try:
            response = self.send(request)
            try:
                body = self._body(response)
            finally:
                response.close()
        except (httpx.HTTPError, OSError) as error:
            raise errors.UnavailableError(
                f"{self._name} gives no answer: {str(error) or type(error).__name__}",
                registry=self.registry,
            ) from error
        return httpx.Response(response.status_code, headers=_plain(response), content=body)

    def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise self._broken("answers with more than 1 MiB")
        return bytes(body)

    def _redirected(self, request: httpx.Request, response: httpx.Response) -> httpx.Request:
        url = challenge.http_url(response.headers["Location"], request.url)
        if url is None:
            raise self._broken("redirects to something that is no URL")
        if _origin(url) != self.origin or url.userinfo:
            raise self._broken(f"redirects to {url.host}: credentials stay with one origin")
        if request.method != "GET" and response.status_code not in (307, 308):
            raise self._broken(f"redirects a POST with {response.status_code}")
        kept = ("Authorization", "Content-Type", *_ALWAYS)
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        return httpx.Request(request.method, url, headers=headers, content=request.content)

    def _read(self, response: httpx.Response, scopes: tuple[str, ...], who: Credential) -> Token:
        if response.status_code != 200:
            raise self._refusal(response, scopes, who)
        content = self._json(response)
        value = content.get("token") or content.get("access_token")
        if not isinstance(value, str) or not _fits_header(value):
            raise self._broken("answers without a token that can be sent")
        refresh = content.get("refresh_token")
        return Token(value, _life(content), refresh if isinstance(refresh, str) else "")

    def _json(self, response: httpx.Response) -> Mapping[str, Any]:
        try:
            content = json.loads(response.content)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise self._broken("answers with something that is no JSON object")
        return content

    def _refusal(
        self, response: httpx.Response, scopes: tuple[str, ...], who: Credential
    ) -> errors.RegistryError:
        status = response.status_code
        if status in (401, 403) or (status == 400 and b"invalid_grant" in response.content):
            wanted = " ".join(scopes) or "no scope"
            return errors.UnauthorizedError(
                f"{self._name} refuses {who.who} ({status}, asked for {wanted}): {who.remedy}",
                registry=self.registry,
                status=status,
            )
        if status == 429:
            return errors.TooManyRequestsError(
                f"{self._name} asks us to slow down (429)",
                registry=self.registry,
                status=status,
                retry_after=answers.retry_after(response.headers),
            )
        if status == 408 or status >= 500:
            return errors.UnavailableError(
                f"{self._name} answers {status}",
                registry=self.registry,
                status=status,
                retry_after=answers.retry_after(response.headers),
            )
        return self._broken(f"answers {status}", status)

    def _broken(self, what: str, status: int = 0) -> errors.ProtocolError:
        return errors.ProtocolError(f"{self._name} {what}", registry=self.registry, status=status)

    @property
    def _name(self) -> str:
        return f"the token server {self.realm.host} of {self.registry}"


def basic(who: Credential) -> str:
    """The `Authorization` value that shows a password, or an identity token in its place."""
    user, secret = who.username, who.password
    if not secret:
        user, secret = who.username or "<token>", who.identity_token
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _plain(response: httpx.Response) -> dict[str, str]:
    """The headers that are looked at; without `Content-Encoding`, as the body is decoded."""
    names = ("Location", "Retry-After", "Date")
    return {name: response.headers[name] for name in names if name in response.headers}


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def _life(content: Mapping[str, Any]) -> float:
    """`expires_in` in seconds. `issued_at` is left aside: it is another clock than ours."""
    try:
        seconds = float(content.get("expires_in") or 0)
    except (TypeError, ValueError, OverflowError):
        return LEAST_LIFE
    return seconds if seconds > 0 else LEAST_LIFE
