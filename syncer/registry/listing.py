"""Lists that come in pages: tags, repositories, referrers. All of them, or an error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from syncer import errors, events, reference
from syncer.registry.exchange import Answer, Ask, Exchange

PAGE_LIMIT = 64 * 1024 * 1024
MOST_PAGES = 10_000
MOST_ENTRIES = 1_000_000
# ECR and distribution take no more.
_PAGE_SIZE = "1000"
# These codes of a 400 say what is asked for, not how much of it.
_UNNAMED = frozenset({"NAME_INVALID", "NAME_UNKNOWN"})
_PARAMETER = r"\s*;\s*[^;,=\s\"]+(?:\s*=\s*(?:\"[^\"]*\"|[^;,\"\s]*))?"
_LINK = re.compile(rf"<([^>]*)>((?:{_PARAMETER})*)")
_NEXT = re.compile(
    r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next(?![^\s;,]))", re.IGNORECASE
)


def tags(exchange: Exchange, repository: str) -> list[str]:
    """Every tag of a repository, sorted, each once.

    Raises:
        NotFoundError: There is no such repository.
        ProtocolError: The list is not one, or does not end.
    """
    where = f"{exchange.name}/{repository}"
    scopes = (f"repository:{repository}:pull",)
    found: set[str] = set()
    for page in _sized_pages(exchange, f"/v2/{repository}/tags/list", scopes):
        found.update(_names(exchange, page, "tags", where))
        if len(found) > MOST_ENTRIES:
            raise endless(exchange, f"the tags of {where}")
    return sorted(_valid(exchange, found, reference.is_tag, "tag", where))


def repositories(exchange: Exchange) -> Iterator[str]:
    """Every repository name, as the catalog lists them, each once.

    Raises:
        UnsupportedError: There is no catalog, or not for us.
        ProtocolError: The list is not one, or does not end.
    """
    seen: set[str] = set()
    try:
        for page in _sized_pages(exchange, "/v2/_catalog", ("registry:catalog:*",)):
            fresh = set(_names(exchange, page, "repositories", exchange.name)) - seen
            seen |= fresh
            if len(seen) > MOST_ENTRIES:
                raise endless(exchange, f"the catalog of {exchange.name}")
            yield from sorted(
                _valid(exchange, fresh, reference.is_repository, "repository", exchange.name)
            )
    except errors.RegistryError as error:
        if error.status not in (401, 403, 404, 405):
            raise
        exchange.shared.learned.catalog = False
        raise errors.UnsupportedError(
            f"{exchange.name} does not list its repositories to us ({error});"
            " name them one by one in `repos`",
            registry=exchange.name,
            status=error.status,
            codes=error.codes,
        ) from error


def pages(exchange: Exchange, ask: Ask) -> Iterator[Answer]:
    """The answer to `ask` and those that its `Link` headers lead to (RFC 8288).

    Links are opaque and stay at the registry: the address of the next page is the registry's to
    choose, whom we ask is not.

    Raises:
        ProtocolError: A link leads elsewhere or back, or the pages do not end.
    """
    seen = {str(ask.url)}
    for _ in range(MOST_PAGES):
        answer = exchange.ask(ask)
        yield answer
        link = _next_link(answer.headers.get_list("link"))
        if not link:
            return
        url = exchange.join(answer.url, link)
        if not exchange.own(url):
            raise errors.ProtocolError(
                f"{ask.url.path} of {exchange.name} goes on at another host, {url.host}:"
                " it is not followed",
                registry=exchange.name,
            )
        if str(url) in seen:
            raise endless(exchange, f"{ask.url.path} of {exchange.name}")
        seen.add(str(url))
        ask = replace(ask, url=url)
    raise endless(exchange, f"{ask.url.path} of {exchange.name}")


def _sized_pages(exchange: Exchange, path: str, scopes: tuple[str, ...]) -> Iterator[Answer]:
    """Pages as large as can be had; in the registry's own size where it refuses to be told."""
    learned = exchange.shared.learned
    first = Ask("GET", exchange.url(path), scopes, limit=PAGE_LIMIT)
    if learned.page_size:
        large = replace(first, url=exchange.url(path, n=_PAGE_SIZE))
        try:
            yield from pages(exchange, large)
        except errors.RegistryError as error:
            if error.status != 400 or not _UNNAMED.isdisjoint(error.codes):
                raise
            learned.page_size = False
        else:
            return
    yield from pages(exchange, first)


def _next_link(values: list[str]) -> str:
    for value in values:
        for target, parameters in _LINK.findall(value):
            if _NEXT.search(parameters):
                return str(target)
    return ""


def _names(exchange: Exchange, answer: Answer, key: str, where: str) -> list[str]:
    """The list under `key`, which is null for an emptied repository."""
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        content = None
    names = content.get(key, ...) if isinstance(content, dict) else ...
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise errors.ProtocolError(
            f"{where} answers with something that is no list of {key}", registry=exchange.name
        )
    return names


def _valid(
    exchange: Exchange, names: set[str], check: Callable[[str], bool], what: str, where: str
) -> list[str]:
    """The names that can be used; the others are told of, once."""
    good = [name for name in names if check(name)]
    if len(good) < len(names):
        bad = sorted(names.difference(good))
        message = f"{len(bad)} listed names are no {what} names and are left out: {bad[0][:140]!r}"
        exchange.observer(events.Noticed("", where, "NAME_INVALID", message))
    return good


def endless(exchange: Exchange, what: str) -> errors.ProtocolError:
    """The error for a list that has no end, or too late a one."""
    return errors.ProtocolError(f"{what} does not end", registry=exchange.name)
