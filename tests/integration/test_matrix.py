"""Everything registries hold, from every kind to every kind, compared by clients that are not ours."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.client import Client
from tests.ends import End, Hosted, OnDisk
from tests.operator import Operator, between
from tests.registries import KINDS, Factory
from tests.zoo import Zoo, zoo

RULE = """
[[replicate]]
name = "zoo"
source = "eu"
target = "us"
repos = ["zoo"]
rename = "from/{kind}/{{repo}}"
"""
LAYOUT = "layout"
ENDS = sorted([*KINDS, LAYOUT])
Ends = Callable[[str], End]


@pytest.fixture(scope="session")
def animals() -> Zoo:
    return zoo()


@pytest.fixture(scope="session")
def source(
    shared_registries: Factory, tmp_path_factory: pytest.TempPathFactory, animals: Zoo
) -> Iterator[Ends]:
    """The source of a kind, filled once."""

    with ExitStack() as clients:

        @functools.cache
        def filled(kind: str) -> End:
            end: End = OnDisk(tmp_path_factory.mktemp("zoo"))
            if kind != LAYOUT:
                registry = shared_registries(kind, name="zoo")
                end = Hosted(registry, clients.enter_context(Client(registry)))
            end.fill("zoo", animals)
            return end

        yield filled


@pytest.fixture
def target(make_registry: Factory, tmp_path: Path) -> Iterator[Ends]:
    with ExitStack() as clients:

        def empty(kind: str) -> End:
            if kind == LAYOUT:
                return OnDisk(tmp_path / "layout")
            registry = make_registry(kind, name="zoo-target")
            return Hosted(registry, clients.enter_context(Client(registry)))

        yield empty


@pytest.mark.parametrize("to", ENDS)
@pytest.mark.parametrize("kind", ENDS)
def test_every_tag_child_and_referrer_arrives_byte_for_byte(
    tmp_path: Path, source: Ends, target: Ends, animals: Zoo, kind: str, to: str
) -> None:
    us, eu = target(to), source(kind)
    operator = between(tmp_path, eu, us, RULE.format(kind=kind))

    report = operator.sync()

    assert [event.reason for event in (*report.errors, *report.skipped)] == []
    assert report.outcome == "ok"
    compare(animals, eu, us, f"from/{kind}/zoo")
    if kind == LAYOUT:  # once for each target is enough: a process for each tag
        for tag, each in animals.tags.items():
            assert us.skopeo(f"from/{kind}/zoo", tag) in (each.data, None), tag
    again = operator.sync()
    assert (again.outcome, again.total("done")) == ("ok", 0)
    assert operator.verify().report.outcome == "ok"


def compare(animals: Zoo, eu: End, us: End, there: str) -> None:
    everything = animals.everything()
    fallback = {each.replace(":", "-") for each in everything}
    assert us.tags(there) - fallback == set(animals.tags)
    for tag, each in animals.tags.items():
        assert us.manifest(there, tag) == eu.manifest("zoo", tag) == each.data, tag
    for digest, each in everything.items():
        assert us.manifest(there, digest) == each.data
        assert us.referrers(there, digest) == eu.referrers("zoo", digest)
        for blob in each.blobs:
            assert us.blob(there, blob.digest) == blob.data
