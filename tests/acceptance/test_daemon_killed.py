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
TAGS = 120
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


class Watched:
    """A repository, looked at between the kills.

    Attributes:
        expected: What its tags should point to, where they are there.
        counts: How many tags there were at each look.
    """

    def __init__(self, registry: RegistryProcess, expected: Mapping[str, Content]) -> None:
        self._registry = registry
        self._whole: set[str] = set()
        self.expected = expected
        self.counts: list[int] = []

    def look(self) -> set[str]:
        """The tags that are there; each points to its digest, and all of that is there."""
        with Client(self._registry) as client:
            found = {tag for tag in client.tags("app") if client.has("app", tag)}
            assert found <= set(self.expected)
            for tag in found - self._whole:
                assert client.fetch("app", tag)[0] == self.expected[tag].data
                for blob in self.expected[tag].blobs:
                    assert client.blob("app", blob.digest) == blob.data
        self._whole |= found
        self.counts.append(len(found))
        return found


def test_a_sync_that_is_killed_ten_times_leaves_no_half_tag_and_ends_in_step(
    tmp_path: Path, registry: Factory
) -> None:
    source, target = registry(), registry()
    watched = Watched(target, _series(source))
    slow = registries(a=source, b=target) + "concurrency = 2\n"
    daemon = SyncerDaemon(tmp_path, slow + rule("mirror", ["app"]))
    _kill_at_random(daemon, watched.look, seed=1)
    assert watched.counts == sorted(watched.counts)
    assert watched.counts[-1] < TAGS, "the last kill came after the work: it proves nothing"
    _finish(daemon, "mirror")
    assert watched.look() == set(watched.expected)
    _no_trace_of_the_dead(daemon)


def test_a_prune_that_is_killed_ten_times_drops_only_what_it_kept_the_bytes_of(
    tmp_path: Path, registry: Factory
) -> None:
    source = registry()
    watched = Watched(source, _series(source))
    daemon = SyncerDaemon(tmp_path, registries(a=source) + "concurrency = 2\n" + POLICY)
    with _open(daemon) as opened:
        opened.confirm_operator()
    kept = set(list(watched.expected)[-KEPT:])

    def look() -> None:
        there = watched.look()
        assert kept <= there
        with _open(daemon) as opened:
            undo = {drop.tag: drop.id for drop in opened.drops.dropped()}
            for tag in set(watched.expected) - there:
                kept_bytes = [each.raw for each in opened.drops.manifests(undo[tag])]
                assert kept_bytes[-1] == watched.expected[tag].data, f"{tag} cannot be undone"

    _kill_at_random(daemon, look, seed=2)
    assert watched.counts == sorted(watched.counts, reverse=True)
    assert watched.counts[-1] > KEPT, "the last kill came after the work: it proves nothing"
    _finish(daemon, "releases")
    assert watched.look() == kept
    _no_trace_of_the_dead(daemon)


def _series(registry: RegistryProcess) -> Mapping[str, Content]:
    content.series(registry, "app", TAGS)
    return content.versions(TAGS, seed="app")


def _kill_at_random(daemon: SyncerDaemon, look: Callable[[], object], seed: int) -> None:
    """Starts the daemon, kills it so many steps and milliseconds into its run, and looks."""
    moments = random.Random(seed)
    for _ in range(KILLS):
        daemon.start()
        daemon.logged("run.started")
        daemon.logged("step.done", moments.randrange(3))
        threading.Event().wait(moments.uniform(0.0, 0.05))  # the moment itself, not a wait for one
        daemon.kill()
        look()


def _finish(daemon: SyncerDaemon, name: str) -> None:
    with daemon:
        daemon.logged("run.finished", rule=name, outcome="ok")


def _no_trace_of_the_dead(daemon: SyncerDaemon) -> None:
    """What was cut off is marked as such, and no dead process holds anything."""
    with _open(daemon) as opened:
        outcomes = [run.outcome for run in opened.runs.latest()]
        assert outcomes[0] == "ok"
        assert set(outcomes[1:]) == {"interrupted"}
        assert opened.leases.held() == []


def _open(daemon: SyncerDaemon) -> state.State:
    return state.open_state(f"sqlite:///{daemon.state}", now=lambda: datetime.now(UTC))
