"""Everything registries hold, from every kind to every kind, compared by clients that are not ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import content
from tests.client import Client
from tests.operator import Operator
from tests.registries import KINDS, Factory, RegistryProcess
from tests.zoo import Zoo, listed, zoo

RULE = """
[[replicate]]
name = "zoo"
source = "eu"
target = "us"
repos = ["zoo"]
rename = "from/{kind}/{{repo}}"
"""
kinds = sorted(KINDS)


@pytest.fixture(scope="session")
def animals() -> Zoo:
    return zoo()


@pytest.fixture(scope="session")
def source(shared_registries: Factory, animals: Zoo) -> Callable[[str], RegistryProcess]:
    """A registry of a kind, filled once."""

    @functools.cache
    def filled(kind: str) -> RegistryProcess:
        registry = shared_registries(kind, name="zoo")
        animals.push(registry, "zoo")
        return registry

    return filled


@pytest.mark.parametrize("to", kinds)
@pytest.mark.parametrize("kind", kinds)
def test_every_tag_child_and_referrer_arrives_byte_for_byte(
    tmp_path: Path,
    source: Callable[[str], RegistryProcess],
    make_registry: Factory,
    animals: Zoo,
    kind: str,
    to: str,
) -> None:
    eu, us = source(kind), make_registry(to, name="zoo-target")
    operator = Operator(tmp_path, {"eu": eu, "us": us}, RULE.format(kind=kind))

    report = operator.sync()

    there = f"from/{kind}/zoo"
    assert [event.reason for event in report.errors] == []
    assert report.outcome == "ok"
    assert not operator.steps("skipped")
    assert content.tags(us, there) == content.tags(eu, "zoo")
    for tag, each in animals.tags.items():
        assert content.skopeo_raw(us, there, tag) == each.data, tag
    with Client(us) as target, Client(eu) as origin:
        for tag in content.tags(eu, "zoo"):
            assert target.fetch(there, tag) == origin.fetch("zoo", tag), tag
        for digest, each in animals.everything().items():
            assert target.fetch(there, digest) == (each.data, each.media_type, digest)
            for blob in each.blobs:
                assert target.blob(there, blob.digest) == blob.data
    for digest in animals.everything():
        assert listed(us, there, digest) == listed(eu, "zoo", digest)
    assert operator.verify().report.outcome == "ok"
    again = operator.sync()
    assert (again.outcome, again.total("done")) == ("ok", 0)

