"""A project without room: nothing more is sent to it, and its sources are left alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest

from syncer import copy, errors, manifest, work
from syncer.layout import Layout
from syncer.manifest import Descriptor, Manifest
from syncer.registry import answers
from syncer.store import OpenBlob


class Full(Layout):
    """A target whose projects have no room."""

    tried = 0

    def put_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        source: OpenBlob,
        mount_from: Sequence[str] = (),
    ) -> str:
        self.tried += 1
        raise errors.QuotaError("no room")


class Read(Layout):
    """A source that counts what is read."""

    manifests = 0

    def manifest(self, repository: str, target: str) -> Manifest:
        self.manifests += 1
        return super().manifest(repository, target)


def test_after_a_quota_refusal_the_project_is_left_alone_and_so_is_its_source(
    tmp_path: Path,
) -> None:
    source = Read(tmp_path / "source")
    tags = [_push(source, f"v{number}") for number in range(20)]
    target = Full(tmp_path / "target")
    ends: list[work.Outcome[object]] = []
    graph = work.Work(1, threading.Event())
    copier = copy.Copier(graph)
    side, there = copy.Side(source, "team/app"), copy.Destination(target, "team/app", empty=True)

    def begin(digest: str, ended: work.Then) -> None:
        def then(outcome: work.Outcome[object]) -> None:
            ends.append(outcome)
            ended(outcome)

        copier.put(side, digest, there, lambda _: None, then)

    graph.each(tags, lambda digest, ended: begin(digest, lambda _: ended()), lambda: None, 1)
    graph.run()

    assert [type(each.error) for each in ends] == [errors.QuotaError] * 20
    assert target.tried <= 2  # the config and the one blob beside it
    assert source.manifests == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "storage quota exceeded"),
        (412, "adding 1 MiB of storage will exceed the configured upper limit of 10 MiB"),
    ],
)
def test_an_answer_that_speaks_of_a_quota_is_told_apart_from_a_denial(
    status: int, message: str
) -> None:
    body = f'{{"errors": [{{"code": "DENIED", "message": "{message}"}}]}}'.encode()
    url = httpx.URL("https://us.example.com/v2/team/app/blobs/uploads/")

    found = answers.failure("us", "POST", url, status, httpx.Headers(), body)

    assert isinstance(found, errors.QuotaError)
    assert not found.temporary


def _push(store: Layout, tag: str) -> str:
    config = tag.encode()
    blob = Descriptor("application/json", manifest.digest_of(config), len(config))
    store.put_blob("team/app", blob, lambda: nullcontext(iter((config,))))
    raw = (
        f'{{"schemaVersion":2,"mediaType":"{manifest.OCI_MANIFEST}","config":{{"mediaType":'
        f'"application/json","digest":"{blob.digest}","size":{blob.size}}},"layers":[]}}'
    ).encode()
    content = manifest.parse(raw, manifest.OCI_MANIFEST)
    store.put_manifest("team/app", tag, content)
    return content.digest
