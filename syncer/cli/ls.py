"""`syncer ls`: registries, their repositories, their tags, and what a tag points to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from syncer import errors
from syncer.cli import console
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session

if TYPE_CHECKING:
    from syncer.browse import Node, Where
    from syncer.manifest import Descriptor
    from syncer.rules import Rules
    from syncer.stores import Stores


@click.command(
    "ls", cls=Command, exits=(78,), words={1: "it is not there, or part of it cannot be read"}
)
@click.argument("ref", default="", metavar="[REF]")
@as_json
@click.pass_obj
def command(session: Session, ref: str, *, as_json: bool) -> int:
    """Browse registries, repositories, tags and manifests. Quote globs.

    \b
    syncer ls                     the registries of the rules file
    syncer ls eu                  a registry's repositories and what copies them
    syncer ls 'eu/prod/**'        those that a glob matches
    syncer ls eu/prod/app         tags: digest, type, age, in step at each target
    syncer ls 'eu/prod/app:v1.*'  those that a glob matches
    syncer ls eu/prod/app:v1.4.2  the manifest, its platforms, blobs and referrers
    """  # noqa: D301 - click reads the backspace
    from syncer import browse
    from syncer.cli import listing

    rules = session.rules()
    session.log()
    where = browse.where(ref) if ref else None
    if where is None:
        found: dict[str, Any] = {"registries": _registries(rules)}
    else:
        with session.stores(rules) as opened:
            found = _look(session, rules, opened, where)
    if as_json:
        console.emit({"command": "ls", "ref": ref, **found})
    else:
        listing.show(found)
    return int(any(tag["error"] for tag in found.get("tags", ())))


def _registries(rules: Rules) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "url": settings.url,
            "source_of": [rule.name for rule in rules.replicate if rule.source == name],
            "target_of": [rule.name for rule in rules.replicate if name in rule.target],
            "policies": [policy.name for policy in rules.policies if policy.registry == name],
        }
        for name, settings in rules.registry.items()
    ]


def _look(session: Session, rules: Rules, opened: Stores, where: Where) -> dict[str, Any]:
    from syncer import browse

    store = opened.get(where.registry)
    listed = opened.repositories(where.registry) or ()
    names = browse.repositories(store, listed, where.repositories)
    if where.target:
        return {"manifest": _node(browse.tree(store, names[0], where.target))}
    one = where.repositories is not None and where.repositories.is_literal
    if not (one or where.tags):
        return {"repositories": [_repository(rules, where.registry, name) for name in names]}
    return {"tags": [tag for name in names for tag in _tags(session, rules, opened, where, name)]}


def _repository(rules: Rules, registry: str, name: str) -> dict[str, Any]:
    from syncer import browse

    policy = rules.policy_for(registry, name)
    return {
        "repository": f"{registry}/{name}",
        "copied_to": [
            f"{target}/{landing}"
            for rule, landing in browse.copies(rules, registry, name)
            for target in rule.target
        ],
        "copied_from": [
            f"{rule.source}/{source}" for rule, source in browse.origins(rules, registry, name)
        ],
        "policy": policy.name if policy else "",
    }


def _tags(
    session: Session, rules: Rules, opened: Stores, where: Where, repository: str
) -> Iterator[dict[str, Any]]:
    from syncer import browse

    try:
        rows = browse.tags(rules, opened, where.registry, repository, where.tags)
    except errors.NotFoundError as error:
        raise errors.NotFoundError(
            f"{error}; for everything below it write '{where.registry}/{repository}/**'",
            registry=where.registry,
        ) from None
    seen = _first_seen(session, rules, where.registry, repository)
    for row in rows:
        yield {
            "repository": f"{where.registry}/{repository}",
            "tag": row.tag,
            "digest": row.digest,
            "media_type": row.media_type,
            "first_seen": seen.get((row.tag, row.digest)),
            "targets": dict(row.targets),
            "error": row.error,
        }


def _first_seen(
    session: Session, rules: Rules, registry: str, repository: str
) -> dict[tuple[str, str], datetime]:
    """Since when the state knows each (tag, digest); nothing where it cannot be opened."""
    try:
        with session.state(rules) as state:
            seen = state.tags.seen(rules.registry[registry].url, repository)
    except errors.StateError as error:
        console.tell(f"without ages: {error}", "yellow")
        return {}
    return {(tag, at): seen[tag][at].first_seen for tag in seen for at in seen[tag]}


def _node(node: Node) -> dict[str, Any]:
    content = node.content
    blobs = list(content.blobs()) if content else []
    return {
        **_descriptor(node.descriptor),
        "total_size": sum(node.blobs().values()),
        "annotations": dict(content.annotations) if content else {},
        "blobs": [_descriptor(blob) for blob in blobs],
        "manifests": [_node(child) for child in node.children],
        "referrers": [_descriptor(referrer) for referrer in node.referrers],
        "error": node.error,
    }


def _descriptor(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "media_type": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
        "platform": descriptor.platform,
        "artifact_type": descriptor.artifact_type,
    }
