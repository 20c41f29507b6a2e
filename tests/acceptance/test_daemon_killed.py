"""A power cut at any moment: nothing is lost, nothing stands half done, and the next start goes on.

Twenty moments in all, chosen by a seed; each is a SIGKILL of the daemon in the middle of its run.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from syncer import state
from tests import content
from tests.client import Client
from tests.content import Content
from tests.daemon import SyncerDaemon, registries, rule
from tests.registries import Factory, RegistryProcess

KILLS = 10
TAGS = 40
KEPT = 5
POLICY = f"""
[retention.guard]
min_age = "0h"
max_delete = 1000
max_delete_pct = 100
[[retention.policy]]
name = "releases"
registry = "a"
repos = ["app"]
schedule = "every 1h"
apply = true
  [[retention.policy.rule]]
  tags = "v*"
  sort = "semver"
  keep = {{ last = {KEPT} }}
"""


def test_a_sync_that_is_killed_ten_times_leaves_no_half_tag_and_ends_in_step(
    tmp_path: Path, registry: Factory
) -> None:
    source, target = registry(), registry()
    expected = content.versions(TAGS)
    with Client(source) as client:
        for tag, each in expected.items():
            content._push(client, "app", tag, each)
    slow = registries(a=source, b=target) + "concurrency = 2\n"
    daemon = SyncerDaemon(tmp_path, slow + rule("mirror", ["app"]))
    seen: list[int] = []

    def look() -> None:
        seen.append(len(_complete(target, "app", expected)))

    _kill_at_random(daemon, look, seed=1)
    assert seen == sorted(seen)
    assert seen[0] < TAGS, "the first kill came after the work: it proves nothing"
    _finish(daemon, "mirror")
    assert _complete(target, "app", expected) == set(expected)
    _no_trace_of_the_dead(daemon, KILLS)


def test_a_prune_that_is_killed_ten_times_drops_only_what_it_kept_the_bytes_of(
    tmp_path: Path, registry: Factory
) -> None:
    source = registry()
    expected = content.versions(TAGS)
    with Client(source) as client:
        for tag, each in expected.items():
            content._push(client, "app", tag, each)
    daemon = SyncerDaemon(tmp_path, registries(a=source) + "concurrency = 2\n" + POLICY)
    with _open(daemon) as opened:
        opened.confirm_operator()
    kept = set(list(expected)[-KEPT:])
    seen: list[int] = []

    def look() -> None:
        there = _complete(source, "app", expected)
        assert kept <= there
        with _open(daemon) as opened:
            undo = {drop.tag: drop.id for drop in opened.drops.dropped()}
            for tag in set(expected) - there:
                bytes_ = [each.raw for each in opened.drops.manifests(undo[tag])]
                assert expected[tag].data in bytes_, f"{tag} is gone and cannot be undone"
        seen.append(len(there))

    _kill_at_random(daemon, look, seed=2)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] > KEPT, "the first kill came after the work: it proves nothing"
    _finish(daemon, "releases")
    assert _complete(source, "app", expected) == kept
    _no_trace_of_the_dead(daemon, KILLS)


def _kill_at_random(daemon: SyncerDaemon, look: Callable[[], None], seed: int) -> None:
    """Starts the daemon, kills it so many steps and milliseconds into its run, and looks."""
    moments = random.Random(seed)
    for _ in range(KILLS):
        daemon.start()
        daemon.logged("run.started")
        daemon.logged("step.done", moments.randrange(4))
        threading.Event().wait(moments.uniform(0.0, 0.1))  # the moment itself, not a wait for one
        daemon.kill()
        look()


def _finish(daemon: SyncerDaemon, name: str) -> None:
    with daemon:
        daemon.logged("run.finished", rule=name, outcome="ok")


def _complete(
    registry: RegistryProcess, repository: str, expected: Mapping[str, Content]
) -> set[str]:
    """The tags that are there; each of them points to its digest, and all of that is there."""
    with Client(registry) as client:
        found = {tag for tag in client.tags(repository) if client.has(repository, tag)}
        assert found <= set(expected)
        for tag in found:
            data, _, _ = client.fetch(repository, tag)
            assert data == expected[tag].data
        for blob in {blob for tag in found for blob in expected[tag].blobs}:
            assert client.blob(repository, blob.digest) == blob.data
    return found


def _no_trace_of_the_dead(daemon: SyncerDaemon, kills: int) -> None:
    with _open(daemon) as opened:
        outcomes = [run.outcome for run in opened.runs.latest()]
        assert outcomes.count("interrupted") >= 1
        assert set(outcomes) <= {"interrupted", "ok"}
        assert len(outcomes) <= kills + 1
        assert opened.runs.active() == []
        assert opened.leases.held() == []


def _open(daemon: SyncerDaemon) -> state.State:
    return state.open_state(f"sqlite:///{daemon.state}", now=lambda: datetime.now(UTC))
