"""What `ls` found, as tables and a tree."""

from __future__ import annotations

from typing import Any

from syncer import manifest, reference
from syncer.cli import console, text
from syncer.cli.session import now


def show(found: dict[str, Any]) -> None:
    """Prints whichever level it is."""
    match found:
        case {"registries": registries}:
            _registries(registries)
        case {"repositories": repositories}:
            _repositories(repositories)
        case {"tags": tags}:
            _tags(tags)
        case {"manifest": node}:
            _node(node, "")


def _registries(rows: list[dict[str, Any]]) -> None:
    console.table(
        ("registry", "url", "source of", "target of", "policies"),
        (
            (
                row["name"],
                row["url"],
                *(", ".join(row[key]) for key in ("source_of", "target_of", "policies")),
            )
            for row in rows
        ),
    )


def _repositories(rows: list[dict[str, Any]]) -> None:
    console.table(
        ("repository", "copied to", "copied from", "policy"),
        (
            (
                row["repository"],
                ", ".join(row["copied_to"]),
                ", ".join(row["copied_from"]),
                row["policy"],
            )
            for row in rows
        ),
    )
    console.tell(text.number(len(rows), "repository", "repositories"))


def _tags(rows: list[dict[str, Any]]) -> None:
    targets = sorted({target for row in rows for target in row["targets"]})
    several = len({row["repository"] for row in rows}) > 1
    moment = now()
    console.table(
        ("tag", "digest", "type", "first seen", *targets),
        (
            (
                f"{row['repository']}:{row['tag']}" if several else row["tag"],
                reference.short(row["digest"]) if row["digest"] else row["error"],
                _kind(row["media_type"]),
                text.age(row["first_seen"], moment) if row["first_seen"] else "",
                *(row["targets"].get(target, "") for target in targets),
            )
            for row in rows
        ),
    )
    console.tell(text.number(len(rows), "tag"))


def _kind(media_type: str) -> str:
    if media_type in manifest.INDEX_TYPES:
        return "index"
    if media_type in manifest.MANIFEST_TYPES:
        return "manifest"
    return "schema 1" if media_type in manifest.SCHEMA1_TYPES else media_type


def _node(node: dict[str, Any], indent: str) -> None:
    """A manifest, its blobs, then what is below it, each level further in."""
    digest = _short(node["digest"]) if indent else node["digest"]
    words = [_kind(node["media_type"]), text.size(node["total_size"]), digest]
    if node["platform"]:
        words.insert(0, node["platform"])
    if node["artifact_type"]:
        words.append(node["artifact_type"])
    console.say(f"{indent}{'  '.join(words)}", "" if indent else "bold")
    if node["error"]:
        console.say(f"{indent}  {node['error']}", "red")
    for name, value in node["annotations"].items():
        console.say(f"{indent}  {name}: {value}")
    rows = [
        (_short(blob["digest"]), text.size(blob["size"]), blob["media_type"])
        for blob in node["blobs"]
    ]
    for digest, size, media_type in rows:
        console.say(f"{indent}  {digest}  {size:>7}  {media_type}")
    for child in node["manifests"]:
        _node(child, f"{indent}  ")
    for referrer in node["referrers"]:
        kind = referrer["artifact_type"] or referrer["media_type"]
        console.say(f"{indent}  referrer  {_short(referrer['digest'])}  {kind}")


def _short(digest: str) -> str:
    return text.shortened(digest)
