"""Manifests of one registry: looked up, read, stored and deleted, byte for byte."""

from __future__ import annotations

import itertools

import httpx

from syncer import errors, manifest, reference
from syncer.manifest import Manifest
from syncer.registry import limits
from syncer.registry.exchange import Answer, Ask, Exchange
from syncer.store import Resolved, TagDelete

_ACCEPT = (("Accept", manifest.ACCEPT),)
# After these a GET may tell more than the HEAD did: a method that is not taken, or no reason given.
_ASK_AGAIN = frozenset({400, 405, 501})
_GONE_CODES = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "TAG_EXPIRED"})  # the last is Quay's
_DELETED = (202, 200, 204, 404)
# distribution 2.8 takes a tag for a malformed digest; Harbor says so; both delete by digest.
_BY_DIGEST_CODES = frozenset({"DIGEST_INVALID", "UNSUPPORTED"})
# The distribution-spec asks registries to take this much; distribution takes no more.
_SURE_SIZE = 4 * 1024 * 1024
_USUAL = "sha256"


def resolve(exchange: Exchange, repository: str, target: str) -> Resolved | None:
    """What a tag or digest points to, or None when the registry says that it is not there.

    One HEAD; a GET after it where the answer leaves a question open.

    Raises:
        RegistryError: Any other answer.
        DigestMismatchError: The digest it names is not the one that was asked for.
    """
    url, scopes = _url(exchange, repository, target), _pull(repository)
    budget = exchange.shared.budget
    mark = budget.answered
    try:
        answer = exchange.ask(Ask("HEAD", url, scopes, _ACCEPT, ok=(200, 404)))
    except errors.RegistryError as error:
        if error.status not in _ASK_AGAIN:
            raise
        return _resolve_by_get(exchange, repository, target)
    budget.note(answer.headers, mark)
    if answer.status == 404:
        # A web page is no registry's answer: whoever sent it does not know what is there.
        page = "html" in answer.headers.get("content-type", "")
        return _resolve_by_get(exchange, repository, target) if page else None
    digest, media_type = _named(answer), _type(answer)
    if not digest or not media_type:
        return _resolve_by_get(exchange, repository, target)
    if reference.is_digest(target):
        if digest != target and _algorithm(digest) == _algorithm(target):
            raise _mismatch(exchange, repository, target, digest)
        digest = target
    length = answer.headers.get("content-length", "")
    return Resolved(digest, media_type, int(length) if length.isdecimal() else 0)


def read(exchange: Exchange, repository: str, target: str) -> Manifest:
    """The manifest or index under a tag or digest, its digest checked.

    Raises:
        NotFoundError: It is not there.
        RegistryError: Another answer; a body over `manifest.LIMIT` is a ProtocolError.
        ContentError: The bytes have another digest, or are no manifest.
    """
    answer = _get(exchange, repository, target)
    try:
        return manifest.parse(answer.body, _type(answer), _checked(answer, target))
    except errors.ContentError as error:
        raise type(error)(f"{exchange.name}/{repository}: {error}") from None


def put(exchange: Exchange, repository: str, target: str, content: Manifest) -> None:
    """Stores exact bytes under a tag or their digest, and notes whether referrers are kept.

    Raises:
        DigestMismatchError: The registry names another digest than was sent.
        UnsupportedContentError: It does not take this type, size or kind of digest, now or later.
        RegistryError: It does not take it.
    """
    unusual = _algorithm(content.digest) != _USUAL and not reference.is_digest(target)
    if unusual:  # where it cannot be kept under this digest, no tag may lead to it under another
        put(exchange, repository, content.digest, content)
    ask = Ask(
        "PUT",
        _url(exchange, repository, target),
        (f"repository:{repository}:pull,push",),
        (("Content-Type", content.media_type),),
        content.raw,
        ok=(201, 200, 202),
        counts_as=limits.Kind.MANIFEST,
    )
    answer = _sent(exchange, ask, content)
    stored = _named(answer)
    if stored and _known(stored) and manifest.digest_of(content.raw, _algorithm(stored)) != stored:
        raise _mismatch(exchange, repository, content.digest, stored)
    if unusual and stored != content.digest:
        raise errors.UnsupportedContentError(
            f"{exchange.name}/{repository} names manifest {content.digest} as {stored}"
        )
    if content.subject:
        known = exchange.shared.learned.referrers
        known.setdefault(repository, False)
        known[repository] |= "oci-subject" in answer.headers


def delete(exchange: Exchange, repository: str, digest: str) -> None:
    """Deletes a manifest by digest, and with it every tag on it. Being gone already is fine.

    Raises:
        UnsupportedError: This registry does not delete.
        RegistryError: Any other refusal.
    """
    _delete(exchange, repository, digest)


def delete_tag(exchange: Exchange, repository: str, tag: str) -> bool:
    """Deletes one tag alone; whether the registry can do that. Being gone already is fine.

    Raises:
        UnsupportedError: This registry does not delete.
        RegistryError: Any other refusal.
    """
    learned = exchange.shared.learned
    if learned.tag_delete is TagDelete.DIGEST:
        return False
    try:
        answer = _delete(exchange, repository, tag)
    except errors.RegistryError as error:
        if error.status != 400 or _BY_DIGEST_CODES.isdisjoint(error.codes):
            raise
        learned.tag_delete = TagDelete.DIGEST
        return False
    if answer.status != 404:
        learned.tag_delete = TagDelete.TAG
    return True


def _delete(exchange: Exchange, repository: str, target: str) -> Answer:
    learned = exchange.shared.learned
    if learned.tag_delete is TagDelete.NONE:
        raise _no_deletes(exchange)
    url = _url(exchange, repository, target)
    try:
        return exchange.ask(Ask("DELETE", url, (f"repository:{repository}:delete",), ok=_DELETED))
    except errors.UnsupportedError as error:
        if error.status != 405:
            raise
        learned.tag_delete = TagDelete.NONE
        raise _no_deletes(exchange, error) from error


def _no_deletes(
    exchange: Exchange, cause: errors.RegistryError | None = None
) -> errors.UnsupportedError:
    return errors.UnsupportedError(
        f"{exchange.name} does not delete"
        + (f": {cause}" if cause else "")
        + "; its operator can allow it (distribution: storage.delete.enabled)",
        registry=exchange.name,
        status=405,
        codes=cause.codes if cause else (),
    )


def _resolve_by_get(exchange: Exchange, repository: str, target: str) -> Resolved | None:
    try:
        answer = _get(exchange, repository, target)
    except errors.NotFoundError as error:
        if _GONE_CODES.isdisjoint(error.codes):
            raise
        return None
    digest = _checked(answer, target) or manifest.digest_of(answer.body)
    if manifest.digest_of(answer.body, _algorithm(digest)) != digest:
        raise _mismatch(exchange, repository, digest, manifest.digest_of(answer.body))
    return Resolved(digest, _type(answer), len(answer.body))


def _get(exchange: Exchange, repository: str, target: str) -> Answer:
    url, scopes = _url(exchange, repository, target), _pull(repository)
    budget = exchange.shared.budget
    mark = budget.answered
    if budget.doubtful:  # a HEAD is free and tells what is left now
        budget.note(exchange.ask(Ask("HEAD", url, scopes, _ACCEPT, ok=(200, 404))).headers, mark)
        mark = budget.answered
    with budget.spend():
        answer = exchange.ask(Ask("GET", url, scopes, _ACCEPT, limit=manifest.LIMIT))
        budget.note(answer.headers, mark)
    return answer


def _checked(answer: Answer, target: str) -> str:
    """The digest that the body must have: the one asked for, else the one the answer names."""
    named = _named(answer)
    if not reference.is_digest(target):
        return named if _known(named) else ""
    if named and _algorithm(named) == _algorithm(target) and named != target:
        raise errors.DigestMismatchError(f"asked for manifest {target}, was offered {named}")
    return target


def _sent(exchange: Exchange, ask: Ask, content: Manifest) -> Answer:
    for attempt in itertools.count(1):
        try:
            return exchange.ask(ask)
        except errors.RegistryError as error:
            if not _raced(error, content):
                raise _refusal(error, content) from error
            passing = errors.UnavailableError(str(error), registry=exchange.name, codes=error.codes)
        exchange.again(ask.method, attempt, passing)
    raise AssertionError("`again` raises in the end")


def _raced(error: errors.RegistryError, content: Manifest) -> bool:
    """Whether a refusal cannot be meant: the digest is right, for it was taken from the bytes.

    distribution 2.8 on a file system rewrites a link in place. While a child is put once more, be
    it under a tag of its own, whoever puts its index finds the link empty and takes it for broken.
    """
    wrong = error.status == 400 and "DIGEST_INVALID" in error.codes
    return wrong and _algorithm(content.digest) == _USUAL


def _refusal(error: errors.RegistryError, content: Manifest) -> errors.SyncerError:
    """What a refused PUT means for this very content."""
    digest = error.status == 400 and "DIGEST_INVALID" in error.codes
    if digest and _algorithm(content.digest) != _USUAL:
        return errors.UnsupportedContentError(f"{error} (it keeps no {content.digest})")
    too_large = content.size > _SURE_SIZE and "MANIFEST_INVALID" in error.codes
    if error.status in (413, 415) or too_large:
        return errors.UnsupportedContentError(
            f"{error} ({content.media_type}, {content.size} bytes)"
        )
    if error.status == 500 and "UNKNOWN" in error.codes:
        # distribution, to layers that lie elsewhere: it will say so every time.
        return errors.RegistryError(
            str(error), registry=error.registry, status=error.status, codes=error.codes
        )
    return error


def _mismatch(
    exchange: Exchange, repository: str, wanted: str, found: str
) -> errors.DigestMismatchError:
    return errors.DigestMismatchError(
        f"{exchange.name}/{repository} names manifest {wanted} as {found}"
    )


def _url(exchange: Exchange, repository: str, target: str) -> httpx.URL:
    return exchange.url(f"/v2/{repository}/manifests/{target}")


def _pull(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull",)


def _named(answer: Answer) -> str:
    digest = answer.headers.get("docker-content-digest", "")
    return digest if reference.is_digest(digest) else ""


def _type(answer: Answer) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip()


def _algorithm(digest: str) -> str:
    return digest.partition(":")[0]


def _known(digest: str) -> bool:
    return _algorithm(digest) in ("sha256", "sha512")
