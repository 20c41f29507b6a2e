"""Signatures, SBOMs and what refers to them: brought, merged, noticed; and what nobody can copy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncer import errors
from tests import content
from tests.client import Client
from tests.content import Content
from tests.fake_registry import Asked, FakeRegistry
from tests.operator import Operator
from tests.process import RegistryProcess
from tests.registries import Factory
from tests.zoo import attach, listed, typed, zoo

RULE = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
mutable = []
"""
NARROW = RULE + 'tags = ["v*"]\n'
Side = RegistryProcess | FakeRegistry


@pytest.fixture
def api() -> Iterator[FakeRegistry]:
    """A registry with the referrers API, which neither line of distribution has."""
    with FakeRegistry() as registry:
        registry.notes_subjects = True
        yield registry


def url(side: Side) -> str:
    return side.url


def between(path: Path, eu: Side, us: Side, rule: str = RULE) -> Operator:
    return Operator(path, {"eu": eu, "us": us}, rule)  # type: ignore[dict-item]


def test_x(tmp_path, registry, api):
    us = registry()
    z = zoo("prod/app")
    z.push(api.url, "prod/app")
    op = between(tmp_path, api, us)
    r = op.sync()
    print(r.outcome, r.requests, [e.reason for e in r.errors])
    for d in z.everything():
        assert listed(us, "prod/app", d) == listed(api.url, "prod/app", d), d
    r = op.sync()
    print(r.outcome, r.requests, [e.reason for e in r.errors])
    v = op.verify()
    print(v.report.outcome, v.report.requests, [e.reason for e in v.report.errors], v.checked)
    assert 0

def test_y(tmp_path, registry, api):
    eu = registry()
    z = zoo("prod/app")
    z.push(eu, "prod/app")
    op = between(tmp_path, eu, api)
    r = op.sync()
    print(r.outcome, r.requests, [e.reason for e in r.errors])
    for d in z.everything():
        assert listed(eu, "prod/app", d) == listed(api.url, "prod/app", d), d
    r = op.sync()
    print(r.outcome, r.requests, [e.reason for e in r.errors])
    v = op.verify()
    print(v.report.outcome, v.report.requests, [e.reason for e in v.report.errors], v.checked)
    assert 0

def test_z(tmp_path, registry, api):
    eu, us = registry(), registry()
    z = zoo("prod/app")
    child = content.manifest("c")
    top = content.index(child, content.manifest("d"))
    content.push(eu, "prod/app", "v1", top)
    sig = content.artifact(child, seed="s")
    attach(eu, "prod/app", sig)
    sigsig = content.artifact(sig, seed="ss")
    attach(eu, "prod/app", sigsig)
    op = between(tmp_path, eu, us, NARROW)
    r = op.sync()
    print(r.outcome, r.requests, [e.reason for e in r.errors])
    print(content.tags(us,"prod/app"))
    print(content.tags(eu,"prod/app"))
    assert 0

def test_circle(tmp_path, registry, api):
    us = registry()
    s = content.manifest("c")
    content.push(api.url, "prod/app", "v1", s)
    r = content.index(s, subject=s.descriptor())
    content.push(api.url, "prod/app", None, r)
    op = between(tmp_path, api, us, NARROW)
    r = op.sync()
    print(r.outcome, r.requests, [e.reason for e in r.errors], r.as_dict())
    print(content.tags(us,"prod/app"))
    assert 0
