"""Registries behind a forward proxy: named in the rules, or by the environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import content, forward_proxy
from tests.authority import Authority
from tests.forward_proxy import ForwardProxy
from tests.operator import ANONYMOUS, Operator
from tests.registries import Factory

MIRROR = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
"""


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with forward_proxy.running() as running:
        yield running


@pytest.fixture
def operator(tmp_path: Path, registry: Factory, authority: Authority) -> Operator:
    """From a plain registry to one behind TLS."""
    eu, us = registry(), registry(tls=authority)
    content.push(eu, "prod/app", "v1", content.platforms())
    trusting = f"{ANONYMOUS}\nca_file = '{authority.ca_file}'\n"
    return Operator(tmp_path, {"eu": eu, "us": us}, MIRROR, extra={"us": trusting})


def copied(operator: Operator) -> None:
    report = operator.sync()
    assert report.outcome == "ok", report.as_dict()
    us = operator.registries["us"]
    assert content.fetch(us, "prod/app", "v1")[0] == content.platforms().data


def test_the_environment_names_a_proxy_for_either_scheme(
    operator: Operator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("https_proxy", proxy.url)

    copied(operator)

    lines = proxy.ended()
    assert f"GET {operator.registries['eu'].url}/v2/_catalog?n=1000" in lines
    assert f"CONNECT {operator.registries['us'].host}" in lines


def test_no_proxy_takes_a_registry_out(
    operator: Operator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", operator.registries["us"].host)

    copied(operator)

    lines = proxy.ended()
    assert lines
    assert not any(line.startswith("CONNECT") for line in lines)


def test_a_registry_has_a_proxy_of_its_own_or_none(
    operator: Operator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    operator.extra["eu"] = f"{ANONYMOUS}\nproxy = ''"
    operator.extra["us"] += f"proxy = '{proxy.url}'"

    copied(operator)

    assert set(proxy.ended()) == {f"CONNECT {operator.registries['us'].host}"}
