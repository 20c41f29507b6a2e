"""A token server on loopback that distribution trusts: signed tokens, by GET and by OAuth2 POST.

Recipe: reference/registries.md section 6, with the EC key of `Authority` in place of an RSA one.
What its users may do is a table; what it was asked is kept; what it does wrong is switched on.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.serialization import Encoding

from tests.authority import Authority
from tests.process import Token

ANONYMOUS = ""


@dataclass(frozen=True)
class User:
    """Somebody the server knows; without a password only the user `ANONYMOUS`.

    Attributes:
        may: Actions by a pattern that the whole `type:name` matches: `{"repository:a/.*": "pull"}`.
        password: What Basic shows.
        refresh_token: What a POST shows.
    """

    may: Mapping[str, str] = field(default_factory=dict)
    password: str = ""
    refresh_token: str = ""

    def granted(self, scope: str) -> dict[str, Any]:
        """The part of `scope` that is allowed, as a claim of the token."""
        resource, _, asked = scope.rpartition(":")
        kind, _, name = resource.partition(":")
        may = {
            action
            for pattern, actions in self.may.items()
            if re.fullmatch(pattern, resource)
            for action in actions.split(",")
        }
        return {"type": kind, "name": name, "actions": sorted(may & set(asked.split(",")))}


@dataclass(frozen=True)
class Asked:
    """One request for a token; status 200 where one was given.

    The actions of each scope are sorted here: distribution names them in any order.
    """

    method: str
    user: str
    scopes: tuple[str, ...]
    service: str
    status: int


class TokenServer:
    """Between `with` and its end it answers at `realm`.

    Attributes:
        users: Who may do what, by name.
        life: Seconds that a token lasts; distribution bears with a minute more.
        refuse: Statuses by method, answered in place of tokens.
        asked: The requests, in order.
    """

    def __init__(self, directory: Path, users: Mapping[str, User]) -> None:
        self.users = dict(users)
        self.life = 300
        self.refuse: dict[str, int] = {}
        self.asked: list[Asked] = []
        self._authority = Authority(directory)
        self._http = _Listener(("127.0.0.1", 0), _Exchange)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def realm(self) -> str:
        """The URL that challenges name."""
        return f"http://127.0.0.1:{self._http.server_port}/token"

    @property
    def trust(self) -> Token:
        """What a registry is told of this server: `registry("docker", token=server.trust)`."""
        return Token(realm=self.realm, rootcertbundle=self._authority.ca_file)

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the requests under way."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, method: str, who: str | None, values: Mapping[str, list[str]]) -> _Answer:
        """Status and content for one request; `who` is None for credentials of nobody."""
        scopes = tuple(map(_sorted, " ".join(values.get("scope", [])).split()))
        service = values.get("service", [""])[0]
        status = self.refuse.get(method, 200 if who is not None else 401)
        self.asked.append(Asked(method, who or "", scopes, service, status))
        if status != 200 or who is None:
            return status, {"errors": [{"code": "UNAUTHORIZED", "message": "refused"}]}
        token = self._token(who, service, scopes)
        name = "token" if method == "GET" else "access_token"
        return 200, {name: token, "expires_in": self.life}

    def who(self, user: str, password: str) -> str | None:
        """The user with this password, or None."""
        known = self.users.get(user)
        return user if known and known.password and known.password == password else None

    def holder(self, refresh_token: str) -> str | None:
        """The user with this refresh token, or None."""
        held = (name for name, user in self.users.items() if refresh_token == user.refresh_token)
        return next(held, None) if refresh_token else None

    def _token(self, who: str, service: str, scopes: tuple[str, ...]) -> str:
        now = int(time.time())
        user = self.users.get(who, User())
        claims = {
            "iss": self.trust.issuer,
            "sub": who,
            "aud": service,
            "iat": now,
            "nbf": now,
            "exp": now + self.life,
            "jti": uuid.uuid4().hex,
            "access": [user.granted(scope) for scope in scopes],
        }
        chain = [base64.b64encode(self._authority.certificate.public_bytes(Encoding.DER)).decode()]
        return jwt.encode(claims, self._authority.key, "ES256", headers={"x5c": chain})


def _sorted(scope: str) -> str:
    resource, colon, actions = scope.rpartition(":")
    return resource + colon + ",".join(sorted(actions.split(",")))


_Answer = tuple[int, dict[str, Any]]


class _Listener(ThreadingHTTPServer):
    owner: TokenServer
    daemon_threads = False


class _Exchange(BaseHTTPRequestHandler):
    server: _Listener

    def do_GET(self) -> None:
        owner, shown = self.server.owner, self.headers.get("Authorization", "")
        who: str | None = ANONYMOUS
        if shown:
            user, _, password = (
                base64.b64decode(shown.removeprefix("Basic ")).decode().partition(":")
            )
            who = owner.who(user, password)
        self._answer(owner.answer("GET", who, parse_qs(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        owner, length = self.server.owner, int(self.headers["Content-Length"])
        values = parse_qs(self.rfile.read(length).decode())
        who = owner.holder(values.get("refresh_token", [""])[0])
        self._answer(owner.answer("POST", who, values))

    def _answer(self, answer: _Answer) -> None:
        status, content = answer
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
