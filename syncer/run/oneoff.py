"""`copy`: one reference, or all tags of a repository, without a rules file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from syncer import apply, diff, errors, events, layout, plan, work
from syncer import copy as copying
from syncer.memory import NoMemory
from syncer.reference import Reference
from syncer.report import Report
from syncer.store import Store

RULE = "copy"
_THREADS = 32


def copy(
    open_store: Callable[[str, events.Observer], Store],
    source: Reference,
    target: Reference,
    *,
    all_tags: bool = False,
    observers: Sequence[events.Observer] = (),
    stop: threading.Event | None = None,
) -> Report:
    """Copies `source` to `target`; what stands there is replaced.

    Args:
        open_store: Opens a registry by the name in a reference.
        source: A tag or digest; with `all_tags` a repository. Of an image layout that is not ours
            the repository may be "", where its plain tags are.
        target: Where it goes; its repository and tag default to those of the source. A tag alone
            is a plain one in an image layout.
        all_tags: Copy every tag.
        observers: Listeners.
        stop: Set to end at the next blob boundary.

    Raises:
        UsageError: The references do not say what to copy where.
    """
    target = _completed(source, target, all_tags=all_tags)
    report = Report("", "copy", {RULE: False})
    observer = events.fan_out((report, *observers))
    graph = work.Work(_THREADS, stop or threading.Event())
    clock = time.monotonic()
    sides = (
        copying.Side(open_store(source.registry, observer), source.repository),
        copying.Side(open_store(target.registry, observer), target.repository),
    )
    memory = NoMemory()
    replicator = apply.Replicator(
        graph, copying.Copier(graph, observer, memory.mounts), memory, observer
    )
    comparison = _compare(*sides, source, target, all_tags=all_tags)
    observer(events.RuleMatched(RULE, 1, comparison.plan.matched))
    replicator(comparison, lambda: None)
    graph.run()
    report.seconds = time.monotonic() - clock
    return report


def _completed(source: Reference, target: Reference, *, all_tags: bool) -> Reference:
    if not source.repository and not _is_layout(source):
        raise errors.UsageError(f"{source} names no repository: write {source}/REPOSITORY:TAG")
    if all_tags and (source.target or target.target):
        raise errors.UsageError("with --all-tags, write both sides without a tag or digest")
    if not all_tags and not source.target:
        raise errors.UsageError(f"{source} names no tag: write {source}:TAG, or say --all-tags")
    if target.digest and target.digest != source.digest:
        raise errors.UsageError(
            f"a copy keeps its digest: write {target.registry} without @{target.digest}"
        )
    plain = _is_layout(target) and target.tag
    filled = target if plain else replace(target, repository=target.repository or source.repository)
    if not filled.repository and not _is_layout(target):
        raise errors.UsageError(f"{target} names no repository: write {target}/REPOSITORY")
    if all_tags or filled.tag:
        return filled
    return replace(filled, tag=source.tag, digest=source.digest if not source.tag else "")


def _is_layout(named: Reference) -> bool:
    return named.registry.startswith(layout.PREFIX)


def _compare(
    source: copying.Side,
    target: copying.Side,
    named: Reference,
    wanted: Reference,
    *,
    all_tags: bool,
) -> copying.Comparison:
    """Looks at both sides; the plan replaces whatever differs."""
    pairs = [(named.target, wanted.tag)]
    if all_tags:
        pairs = [(tag, tag) for tag in source.store.tags(source.repository)]
    digests, standing = {}, {}
    for name, tag in pairs:
        found = source.store.resolve(source.repository, name)
        if found is None:
            raise errors.NotFoundError(
                f"{source}:{name} does not exist", registry=source.store.name
            )
        digests[tag] = found.digest
        there = target.store.resolve(target.repository, tag or found.digest)
        if there:
            standing[tag] = there.digest
    found_diff = diff.diff(digests, standing, overwrite="always")
    return copying.Comparison(
        source,
        copying.Destination(target.store, target.repository, empty=not standing and all_tags),
        plan.replication(
            RULE,
            plan.Place(source.store.name, source.repository),
            plan.Place(target.store.name, target.repository),
            found_diff,
            is_mutable=lambda _: True,
            max_overwrite_pct=100,
        ),
        unsupported_fails=True,
    )
