"""`WWW-Authenticate`: what a registry wants to see, and what may be believed of it.

Grammar: RFC 9110, section 11.6.1. Scopes: distribution, "Token Scope Documentation".
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httpx

from syncer import errors

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"({_WORD})(?:[ \t]+[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$)))?")  # and token68
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"?|([^\s,]*))', re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate that a registry offers.

    Attributes:
        scheme: `bearer`, `basic` ..., in lower case.
        parameters: `realm`, `scope`, `error` ...: names in lower case, values without quotes.
    """

    scheme: str
    parameters: Mapping[str, str]

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes it demands, in its order."""
        return tuple(s for s in self.parameters.get("scope", "").split() if s.isprintable())


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Every challenge in the values of the `WWW-Authenticate` headers, in their order.

    Several headers and several schemes in one header are understood, as are commas and escapes
    inside quotes and values without quotes. What fits no grammar is skipped.
    """
    return [challenge for value in values for challenge in _parse(value)]


def _parse(value: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(value):
        if parameter := _PARAMETER.match(value, at):
            name, quoted, bare = parameter.groups()
            if found:
                text = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if bare is None else bare
                found[-1][1].setdefault(name.lower(), text)
            at = parameter.end()
        elif scheme := _SCHEME.match(value, at):
            found.append((scheme[1].lower(), {}))
            at = scheme.end()
        else:
            at += 1
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def merge(scopes: Iterable[str]) -> tuple[str, ...]:
    """`scopes` with the actions of each resource united, in the order they come.

    A resource's name may hold a colon (`host:port`): the actions follow the last one.
    """
    resources: dict[str, dict[str, None]] = {}
    for scope in scopes:
        resource, actions = scope.rsplit(":", 1) if ":" in scope else (scope, "")
        resources.setdefault(resource, {}).update(dict.fromkeys(actions.split(",")))
    return tuple(f"{name}:{','.join(does)}".rstrip(":") for name, does in resources.items())


def repository(scopes: Iterable[str]) -> str:
    """The first repository that `scopes` name, or empty."""
    parts = (
        scope.partition(":")[2].rpartition(":") for scope in scopes if scope[:10] == "repository"
    )
    return next((name for name, _, _ in parts), "")


def token_realm(realm: str, base: httpx.URL, registry: str) -> httpx.URL:
    """The token server a challenge names, if it may see a credential of the registry at `base`.

    A host of its own is normal (`auth.docker.io`). Clear text for a registry that speaks TLS is
    refused, and so is an address or name of this machine or a private network, unless the registry
    itself is at one: otherwise any registry could point us at what only we can reach.

    Raises:
        ProtocolError: It may not. The sentence says why.
    """
    url = http_url(realm)
    reason = _unsafe(url, base) if url else "its realm is no http or https URL"
    if reason or not url:
        raise errors.ProtocolError(
            f"{registry} sends us to a token server that gets no credentials: {reason}",
            registry=registry,
            status=401,
        )
    return url.copy_with(fragment=None)


def http_url(text: str, base: httpx.URL | None = None) -> httpx.URL | None:
    """The URL that `text` spells, seen from `base`; None when no connection could be made to it."""
    try:
        url = base.join(text) if base else httpx.URL(text)
        url.host.encode("idna")  # as the resolver will; httpx itself decodes only when asked
    except (httpx.InvalidURL, ValueError):
        return None
    usable = url.scheme in ("http", "https") and url.host and (url.port or 1) < 1 << 16
    return url if usable else None


def _unsafe(url: httpx.URL, base: httpx.URL) -> str:
    if url.userinfo:
        return f"its realm names a user before {url.host}"
    if base.scheme == "https" and url.scheme != "https":
        return f"{url.host} is asked over plain http, the registry over https"
    if _inside(url.host) and not _inside(base.host):
        return f"{url.host} is an address inside a private network, and the registry is not"
    return ""


def _inside(host: str) -> bool:
    """Whether `host` is this machine by name, or an IP address outside the public internet."""
    host = host.rstrip(".").lower()
    try:
        # Resolvers also take 127.1, 0x7f000001 and 2130706433 for an IPv4 address.
        address = ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))
    except (OSError, ValueError):
        return host == "localhost" or host.endswith(".localhost")
    return not address.is_global or address.is_multicast
