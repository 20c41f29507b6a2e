"""What refers to a manifest: asked of the referrers API, else read from the fallback tag.

Source: distribution-spec 1.1, "Listing Referrers", "Referrers Tag Schema".
"""

from __future__ import annotations

from syncer import errors, manifest, reference
from syncer.manifest import Descriptor
from syncer.registry import listing, manifests
from syncer.registry.exchange import Answer, Ask, Exchange


def referrers(exchange: Exchange, repository: str, digest: str) -> list[Descriptor]:
    """Every referrer of `digest`, each once.

    Raises:
        ProtocolError: What stands there is no index.
        RegistryError: Any answer that does not mean that there are none.
    """
    known = exchange.shared.learned.referrers
    if known.get(repository) is not False:
        found = by_api(exchange, repository, digest)
        if found is not None:
            return found
    return _by_tag(exchange, repository, digest)


def by_api(exchange: Exchange, repository: str, digest: str) -> list[Descriptor] | None:
    """The referrers, or None where there is no such API."""
    known = exchange.shared.learned.referrers
    url = exchange.url(f"/v2/{repository}/referrers/{digest}")
    scopes = (f"repository:{repository}:pull",)
    found: dict[str, Descriptor] = {}
    try:
        for page in listing.pages(exchange, Ask("GET", url, scopes, limit=listing.PAGE_LIMIT)):
            if not _is_index(page):
                known[repository] = False
                return None
            found.update((each.digest, each) for each in _entries(exchange, page))
            if len(found) > listing.MOST_ENTRIES:
                raise listing.endless(exchange, f"the referrers of {digest}")
    except (errors.NotFoundError, errors.UnsupportedError) as error:
        if "NAME_UNKNOWN" not in error.codes:  # the repository may come into being yet
            known[repository] = False
        return None
    except errors.RegistryError as error:
        if error.status != 400:
            raise
        return None
    known[repository] = True
    return list(found.values())


def _by_tag(exchange: Exchange, repository: str, digest: str) -> list[Descriptor]:
    tag = reference.fallback_tag(digest)
    standing = manifests.resolve(exchange, repository, tag)
    if standing is None:
        return []
    index = manifests.read(exchange, repository, standing.digest)
    if not index.is_index:
        raise errors.ProtocolError(
            f"{exchange.name}/{repository}:{tag} should list the referrers of {digest} and is a"
            f" {index.media_type}",
            registry=exchange.name,
        )
    return list({each.digest: each for each in index.manifests}.values())


def _is_index(page: Answer) -> bool:
    media_type = page.headers.get("content-type", "").partition(";")[0].strip()
    return bool(media_type == manifest.OCI_INDEX)


def _entries(exchange: Exchange, page: Answer) -> tuple[Descriptor, ...]:
    try:
        return manifest.parse(page.body, manifest.OCI_INDEX).manifests
    except errors.ContentError as error:
        raise errors.ProtocolError(
            f"{page.url.path} of {exchange.name}: {error}", registry=exchange.name
        ) from error
