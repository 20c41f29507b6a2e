"""An HTTP answer as a typed error: what it means, and whether asking again can help.

Codes: distribution-spec 1.1, "Error Codes"; those outside it as registries were seen to send them
(Quay, ECR, Google, distribution, zot, Harbor: see the comments).
"""

from __future__ import annotations

import email.utils
import json
import re
from collections.abc import Mapping

import httpx

from syncer import errors, log

_BODY_SHOWN = 200
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
# Harbor: "will exceed the configured upper limit"; the hosted registries: "quota", "storage limit".
_QUOTA = re.compile(r"(?i)\bquota\b|configured upper limit|storage limit")
# Docker Hub, in text or in JSON: "You have reached your (unauthenticated) pull rate limit."
_PULL_LIMIT = re.compile(r"(?i)\bpull (rate )?limit")
_HARMLESS = frozenset({"n", "last", "mount", "from", "digest", "artifactType", "service", "scope"})


# How often a request is tried that meets a failure, the first attempt counted.
NEVER = 1
PASSING = 4  # a gateway between two restarts, a lost connection, an overloaded storage
SLOW_DOWN = 8  # being asked to is no failure; the window of requests shrinks meanwhile

# RFC 9110, sections 15.5 and 15.6; RFC 6585, section 4. Statuses not here mean no.
BY_STATUS: Mapping[int, tuple[type[errors.RegistryError], int]] = {
    401: (errors.UnauthorizedError, NEVER),
    403: (errors.DeniedError, NEVER),
    404: (errors.NotFoundError, NEVER),
    405: (errors.UnsupportedError, NEVER),
    408: (errors.UnavailableError, PASSING),
    410: (errors.NotFoundError, NEVER),
    412: (errors.DeniedError, NEVER),  # Harbor: an immutable tag, a quota
    415: (errors.UnsupportedError, NEVER),  # zot: a media type it does not take
    429: (errors.TooManyRequestsError, SLOW_DOWN),
    500: (errors.UnavailableError, PASSING),
    502: (errors.UnavailableError, PASSING),
    503: (errors.UnavailableError, PASSING),
    504: (errors.UnavailableError, PASSING),
}
# A code says more than its status. (status, code); status 0: whatever the status is.
BY_CODE: Mapping[tuple[int, str], tuple[type[errors.RegistryError], int]] = {
    (0, "TOOMANYREQUESTS"): (errors.TooManyRequestsError, SLOW_DOWN),
    (0, "UNSUPPORTED"): (errors.UnsupportedError, NEVER),  # Harbor: 400 to a DELETE by tag
    (400, "NAME_UNKNOWN"): (errors.NotFoundError, NEVER),  # zot, on a DELETE
    (400, "MANIFEST_UNKNOWN"): (errors.NotFoundError, NEVER),
    (400, "TAG_INVALID"): (errors.DeniedError, NEVER),  # ECR: the tag is immutable
    (400, "DENIED"): (errors.DeniedError, NEVER),
    (405, "DENIED"): (errors.DeniedError, NEVER),  # zot: a child of an index
}
_HINTS: Mapping[type[errors.RegistryError], str] = {
    errors.UnauthorizedError: "check the credentials of registry {name}",
    errors.DeniedError: "the account of registry {name} may not do this",
    errors.RateBudgetError: "what is missing is read by a later run",
    errors.QuotaError: "make room in registry {name}, or raise the project's quota there",
}


def failure(
    registry: str,
    method: str,
    url: httpx.URL,
    status: int,
    headers: httpx.Headers,
    body: bytes,
) -> errors.RegistryError:
    """The error that an unwelcome answer is.

    Its sentence reads `GET https://host/v2/...: 404 MANIFEST_UNKNOWN: manifest unknown`.
    """
    codes, message = _said(body)
    kind = _kind(status, codes)[0]
    if kind is errors.UnauthorizedError and _insufficient(headers):
        # distribution answers so however often one asks: known, but not allowed.
        kind = errors.DeniedError
    if kind is errors.DeniedError and _QUOTA.search(message):
        kind = errors.QuotaError
    if kind is errors.TooManyRequestsError and _PULL_LIMIT.search(message):
        kind = errors.RateBudgetError
    what = " ".join((str(status), *codes[:1])) + (f": {message}" if message else "")
    hint = _HINTS.get(kind, "").format(name=registry)
    return kind(
        log.mask(f"{method} {shown(url)}: {what}" + (f" ({hint})" if hint else "")),
        registry=registry,
        status=status,
        codes=codes,
        retry_after=retry_after(headers),
    )


def attempts(error: errors.RegistryError) -> int:
    """How often the request behind `error` is tried, the first attempt counted."""
    if not error.status:
        return PASSING if error.temporary else NEVER
    if isinstance(error, errors.RateBudgetError):
        return NEVER
    return _kind(error.status, error.codes)[1]


def retry_after(headers: httpx.Headers) -> float | None:
    """The seconds that `Retry-After` asks for (RFC 9110, section 10.2.3).

    A date is measured against the answer's own `Date`, so that no clock need agree with ours.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", value):
        return float(value)
    try:
        later, now = (
            email.utils.parsedate_to_datetime(text) for text in (value, headers.get("date", ""))
        )
        return max(0.0, (later - now).total_seconds())
    except (ValueError, TypeError):  # unreadable, or one of them without a time zone
        return None


def shown(url: httpx.URL) -> str:
    """`url` for a message: without user, password and any query value that may be a secret."""
    query = "&".join(f"{key}={value}" for key, value in url.params.items() if key in _HARMLESS)
    bare = url.copy_with(userinfo=b"", query=None, fragment=None)
    return f"{bare}?{query}" if query else str(bare)


def _kind(status: int, codes: tuple[str, ...]) -> tuple[type[errors.RegistryError], int]:
    for code in codes:
        for key in ((status, code), (0, code)):
            if key in BY_CODE:
                return BY_CODE[key]
    if status < 400:
        return errors.ProtocolError, NEVER
    return BY_STATUS.get(status, (errors.RegistryError, NEVER))


def _insufficient(headers: httpx.Headers) -> bool:
    return any("insufficient_scope" in value for value in headers.get_list("www-authenticate"))


def _said(body: bytes) -> tuple[tuple[str, ...], str]:
    """The codes and the first message of an error body, whatever its format."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return (), _line(body)
    found = parsed.get("errors") if isinstance(parsed, dict) else None
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    if not items:
        return (), _line(body)
    codes = tuple(item["code"] for item in items[:10] if _CODE.fullmatch(str(item.get("code", ""))))
    message = items[0].get("message")
    return codes, _line(message.encode()) if isinstance(message, str) else ""


def _line(text: bytes) -> str:
    """Text that a registry sent, on one line, short, without control characters or markup."""
    line = " ".join(re.sub(r"<[^>]*>", " ", text[:4096].decode("utf-8", "replace")).split())
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= _BODY_SHOWN else f"{line[:_BODY_SHOWN]}…"
