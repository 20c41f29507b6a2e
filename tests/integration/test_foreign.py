"""Non-distributable layers: left where they are, or copied where a rule asks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import content
from tests.client import Client
from tests.content import Content
from tests.operator import Operator
from tests.registries import Factory

MIRROR = """
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["prod/**"]
"""
URLS = {"validation": {"manifests": {"urls": {"allow": ["^https://elsewhere.example/"]}}}}
DOCKER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
OCI = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def with_foreign(kind: str) -> tuple[Content, content.Blob]:
    """A manifest with a layer that lies elsewhere, and that layer."""
    layer = content.blob("base", media_type=kind)
    plain = content.manifest("foreign", layers=1, docker=kind == DOCKER)
    body = plain.body
    body["layers"].insert(0, layer.descriptor(urls=["https://elsewhere.example/base"]))
    data = json.dumps(body).encode()
    return Content(data, plain.media_type, blobs=plain.blobs), layer


@pytest.mark.parametrize("kind", [DOCKER, OCI])
@pytest.mark.parametrize("foreign", [False, True])
def test_a_layer_that_lies_elsewhere_comes_when_it_is_asked_for(
    tmp_path: Path, registry: Factory, kind: str, *, foreign: bool
) -> None:
    eu, us = registry(extra=URLS), registry(extra=URLS)
    operator = Operator(tmp_path, {"eu": eu, "us": us}, f"{MIRROR}foreign = {str(foreign).lower()}")
    made, layer = with_foreign(kind)
    with Client(eu) as client:
        client.push_blob("prod/app", layer.data)
    content.push(eu, "prod/app", "v1", made)

    report = operator.sync()

    assert report.outcome == "ok", report.as_dict()
    assert content.fetch(us, "prod/app", "v1")[0] == made.data
    assert (us.probe(f"/v2/prod/app/blobs/{layer.digest}") == 200) is foreign
    assert report.blobs["copied"] == 2 + foreign


def test_a_layer_that_the_source_has_not_fails_its_tag_when_it_is_asked_for(
    tmp_path: Path, registry: Factory
) -> None:
    eu, us = registry(extra=URLS), registry(extra=URLS)
    made, layer = with_foreign(DOCKER)
    content.push(eu, "prod/app", "v1", made)
    content.push(eu, "prod/app", "v2", content.manifest("plain"))

    report = Operator(tmp_path, {"eu": eu, "us": us}, f"{MIRROR}foreign = true").sync()

    assert report.outcome == "partial"
    (error,) = report.errors
    assert error.tag == "v1"
    assert layer.digest in error.reason
    assert content.tags(us, "prod/app") == ["v2"]
