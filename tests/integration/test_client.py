"""The client on real registries: what it stores is what was there, within its request budgets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from syncer import errors, events, manifest, reference
from syncer.manifest import Descriptor
from syncer.registry import listing
from syncer.registry.client import connect
from syncer.store import Chunks, TagDelete
from tests import content
from tests.clients import Opened, descriptor, noise, opened, parsed, pushed, read, source
from tests.registries import Factory, distributions, every_kind

ABSENT = "sha256:" + "0" * 64


@pytest.fixture
def eu(make_registry: Factory, kind: str) -> Iterator[Opened]:
    """A client of the session's registry of `kind`."""
    with opened(make_registry(kind).url) as client:
        yield client


@every_kind
@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1, 3_000_000])
def test_a_blob_comes_back_as_it_went(eu: Opened, repository: str, size: int) -> None:
    data = noise(size, repository)
    what = descriptor(data)
    assert not eu.client.has_blob(repository, what.digest)
    assert eu.client.put_blob(repository, what, source(data)) == "copied"
    assert eu.client.has_blob(repository, what.digest)
    assert read(eu.client, repository, what) == data
    assert eu.requests() == {"HEAD": 2, "POST": 1, "PUT": 1, "GET": 1}
    moved = [(event.direction, event.count) for event in eu.told(events.BytesMoved)]
    assert moved == ([("written", size), ("read", size)] if size else [])


@every_kind
def test_a_blob_is_mounted_with_one_request_and_not_read(eu: Opened, repository: str) -> None:
    data = noise(2000, repository)
    pushed(eu.client, f"{repository}/base", content.manifest(repository), "v1")
    eu.client.put_blob(f"{repository}/base", descriptor(data), source(data))
    eu.events.clear()
    how = eu.client.put_blob(
        f"{repository}/app", descriptor(data), _not_to_be_read, [f"{repository}/base"]
    )
    assert how == "mounted"
    assert eu.requests() == {"POST": 1}
    assert read(eu.client, f"{repository}/app", descriptor(data)) == data


@distributions
def test_a_mount_that_is_not_done_goes_on_in_the_upload_it_opened(
    eu: Opened, repository: str
) -> None:
    data = noise(2000, repository)
    how = eu.client.put_blob(repository, descriptor(data), source(data), ["never/was", "nor/this"])
    assert how == "copied"
    assert eu.requests() == {"POST": 1, "PUT": 1}


@every_kind
def test_a_manifest_is_kept_byte_for_byte(eu: Opened, repository: str) -> None:
    whole = content.attested(repository)
    index = pushed(eu.client, repository, whole, "v1")
    assert eu.client.manifest(repository, "v1").raw == whole.data
    assert eu.client.manifest(repository, index.digest) == index
    for target in ("v1", index.digest):
        found = eu.client.resolve(repository, target)
        assert found
        assert (found.digest, found.media_type, found.size) == (
            index.digest,
            whole.media_type,
            len(whole.data),
        )


@every_kind
def test_resolving_costs_one_head_whether_it_is_there_or_not(eu: Opened, repository: str) -> None:
    pushed(eu.client, repository, content.manifest(repository, docker=True), "v1")
    eu.events.clear()
    assert eu.client.resolve(repository, "v1")
    assert eu.client.resolve(repository, "v2") is None
    assert eu.client.resolve("no/such/repository", "v1") is None
    assert eu.client.resolve(repository, ABSENT) is None
    assert eu.requests() == {"HEAD": 4}


@every_kind
def test_what_is_not_there_is_a_sentence_with_the_specs_code(eu: Opened, repository: str) -> None:
    with pytest.raises(errors.NotFoundError) as caught:
        eu.client.manifest(repository, "gone")
    assert f"/v2/{repository}/manifests/gone: 404 MANIFEST_UNKNOWN: " in str(caught.value)
    assert caught.value.code == "MANIFEST_UNKNOWN"
    with pytest.raises(errors.NotFoundError, match="404"):
        eu.client.tags("no/such/repository")
    with pytest.raises(errors.NotFoundError, match="404 BLOB_UNKNOWN"):
        read(eu.client, repository, Descriptor("", ABSENT, 5))
    assert not eu.told(events.Retried)


@every_kind
def test_tags_are_sorted_over_pages_and_none_is_lost(
    eu: Opened, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are prefixes of each other and of mixed case, in pages of seven."""
    monkeypatch.setattr(listing, "_PAGE_SIZE", "7")
    whole = pushed(eu.client, repository, content.manifest(repository), "latest")
    names = [f"v{number}" for number in range(30)] + ["V1", "v1-rc", "a", "_a"]
    for name in names:
        eu.client.put_manifest(repository, name, whole)
    assert eu.client.tags(repository) == sorted([*names, "latest"])


@every_kind
def test_the_catalog_names_every_repository(eu: Opened, repository: str) -> None:
    names = {f"{repository}/{name}" for name in ("app", "app-extra", "app/inner")}
    for name in names:
        pushed(eu.client, name, content.manifest(repository), "v1")
    assert names <= set(eu.client.repositories())


@every_kind
def test_deleting_a_tag_leaves_its_siblings_and_a_digest_takes_them_all(
    eu: Opened, repository: str
) -> None:
    whole = pushed(eu.client, repository, content.manifest(repository), "a", "b", "c")
    eu.client.delete_tag(repository, "a")
    assert eu.client.tags(repository) == ["b", "c"]
    found = eu.client.resolve(repository, "b")
    assert found
    assert found.digest == whole.digest
    eu.client.delete_tag(repository, "a")
    eu.client.delete_manifest(repository, whole.digest)
    assert eu.client.resolve(repository, whole.digest) is None
    assert eu.client.resolve(repository, "b") is None
    eu.client.delete_manifest(repository, whole.digest)


def test_what_deleting_takes_is_learned_by_asking(registry: Factory, repository: str) -> None:
    with opened(registry("docker").url) as old:
        assert old.client.capabilities().tag_delete is TagDelete.UNKNOWN
        pushed(old.client, repository, content.manifest(), "a", "b", "c")
        old.client.delete_tag(repository, "a")
        assert old.client.capabilities().tag_delete is TagDelete.DIGEST
        old.events.clear()
        old.client.delete_tag(repository, "b")
        # HEAD, GET, PUT over it, HEAD, DELETE, HEAD: the proof was given the first time.
        assert old.requests() == {"HEAD": 3, "GET": 1, "PUT": 1, "DELETE": 1}
        assert old.client.tags(repository) == ["c"]


def test_a_registry_that_does_not_delete_is_asked_once(registry: Factory, repository: str) -> None:
    with opened(registry("docker", delete=False).url) as eu:
        whole = pushed(eu.client, repository, content.manifest(), "a", "b")
        eu.events.clear()
        for tag in ("a", "b"):
            with pytest.raises(errors.UnsupportedError, match=r"does not delete.*delete\.enabled"):
                eu.client.delete_tag(repository, tag)
        with pytest.raises(errors.UnsupportedError):
            eu.client.delete_manifest(repository, whole.digest)
        assert eu.requests() == {"DELETE": 1}
        assert eu.client.capabilities().tag_delete is TagDelete.NONE
        assert eu.client.tags(repository) == ["a", "b"]


def test_a_read_only_registry_refuses_and_nothing_is_retried(
    registry: Factory, repository: str
) -> None:
    with opened(registry("docker", readonly=True).url) as eu:
        with pytest.raises(errors.UnsupportedError, match="405"):
            eu.client.put_blob(repository, descriptor(b"x"), source(b"x"))
        assert eu.requests() == {"POST": 1}
        assert "405" in eu.client.may(repository, "push")


@distributions
def test_referrers_come_from_the_fallback_tag_where_there_is_no_api(
    eu: Opened, repository: str
) -> None:
    subject = content.manifest(repository)
    whole = pushed(eu.client, repository, subject, "v1")
    assert eu.client.referrers(repository, whole.digest) == []
    assert eu.client.capabilities(repository).referrers is False
    one, two = (content.artifact(subject, seed=seed) for seed in ("one", "two"))
    for each in (one, two):
        pushed(eu.client, repository, each)
    listed = content.index(one, two)
    pushed(eu.client, repository, listed, reference.fallback_tag(whole.digest))
    eu.events.clear()
    found = eu.client.referrers(repository, whole.digest)
    assert [each.digest for each in found] == [one.digest, two.digest]
    assert eu.requests() == {"HEAD": 1, "GET": 1}


@pytest.mark.parametrize("kind", ["zot"])
def test_referrers_come_from_the_api_where_there_is_one(eu: Opened, repository: str) -> None:
    subject = content.manifest(repository)
    whole = pushed(eu.client, repository, subject, "v1")
    one = content.artifact(subject, seed="one")
    pushed(eu.client, repository, one)
    assert [each.digest for each in eu.client.referrers(repository, whole.digest)] == [one.digest]
    assert eu.client.capabilities(repository).referrers is True


@distributions
def test_layers_that_lie_elsewhere_fail_for_good_after_bounded_tries(
    eu: Opened, repository: str
) -> None:
    """It answers 500 UNKNOWN to them for ever: the next manifest must not suffer."""
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": ABSENT,
        "size": 5,
        "urls": ["https://elsewhere.example/layer"],
    }
    good = content.manifest(repository, docker=True)
    pushed(eu.client, repository, good)
    body = {**good.body, "layers": [layer]}
    raw = json.dumps(body).encode()
    foreign = manifest.parse(raw, good.media_type)
    eu.events.clear()
    with pytest.raises(errors.RegistryError, match="500 UNKNOWN") as caught:
        eu.client.put_manifest(repository, "foreign", foreign)
    assert not caught.value.temporary
    assert eu.requests() == {"PUT": 4}
    eu.client.put_manifest(repository, "good", parsed(good))
    assert not eu.told(events.CircuitChanged)


@distributions
def test_a_damaged_blob_is_never_handed_out_whole(eu: Opened, repository: str) -> None:
    data = noise(600_000, repository)
    what = descriptor(data)
    eu.client.put_blob(repository, what, source(data))
    wrong = Descriptor("", manifest.digest_of(b"other"), len(data))
    for claim, error in (
        (Descriptor("", what.digest, len(data) - 1), errors.SizeMismatchError),
        (Descriptor("", what.digest, len(data) + 1), errors.SizeMismatchError),
    ):
        with pytest.raises(error):
            read(eu.client, repository, claim)
    with pytest.raises(errors.NotFoundError):
        read(eu.client, repository, wrong)


def test_a_blob_changed_on_the_registrys_disk_is_found_before_its_last_piece(
    registry: Factory, repository: str
) -> None:
    running = registry("docker")
    data = noise(600_000, repository)
    what = descriptor(data)
    with opened(running.url) as eu:
        eu.client.put_blob(repository, what, source(data))
        running.blob_file(what.digest).write_bytes(data[:-1] + b"!")
        with eu.client.open_blob(repository, what) as chunks:
            got = [len(next(chunks)), len(next(chunks))]
            with pytest.raises(errors.DigestMismatchError):
                next(chunks)
        assert sum(got) < len(data)


def test_a_registry_that_dies_costs_little_and_is_found_again(
    registry: Factory, repository: str
) -> None:
    running = registry("docker")
    with opened(running.url) as eu:
        pushed(eu.client, repository, content.manifest(), "v1")
        running.stop()
        eu.events.clear()
        for _ in range(20):
            with pytest.raises(errors.UnavailableError):
                eu.client.resolve(repository, "v1")
        assert eu.requests()["HEAD"] <= 8
        assert [event.opened for event in eu.told(events.CircuitChanged)] == [True]
        with pytest.raises(errors.CircuitOpenError, match=r"^eu is not asked for another \d+ s: "):
            eu.client.tags(repository)
        running.start()
        eu.shared.circuit._until = time.monotonic()
        assert eu.client.resolve(repository, "v1")
        assert [event.opened for event in eu.told(events.CircuitChanged)] == [True, False]


def test_a_restarted_registry_costs_no_error(registry: Factory, repository: str) -> None:
    """Every kept connection is dead then; a dead one is noticed, or its request sent again."""
    running = registry("docker")
    with opened(running.url) as eu:
        pushed(eu.client, repository, content.manifest(), "v1")
        port = running.port
        running.restart()
        assert running.port == port
        assert eu.client.resolve(repository, "v1")


def test_one_registry_has_one_key_whatever_its_url_looks_like() -> None:
    for url in ("https://EU.example", "https://eu.example:443/", "https://eu.example/"):
        assert connect("eu", url).url == "https://eu.example"
    assert connect("hub", "https://docker.io").url == "https://registry-1.docker.io"
    for wrong in (
        "http://a?b",
        "eu.example",
        "ftp://eu.example",
        "https://",
        "https://a:b@eu.example",
    ):
        with pytest.raises(errors.UsageError, match="is no registry URL"):
            connect("eu", wrong)


def test_docker_hubs_own_repositories_have_a_longer_name() -> None:
    with opened("https://docker.io") as hub, opened("https://eu.example") as eu:
        assert hub.client._named("alpine") == "library/alpine"
        assert hub.client._named("me/app") == "me/app"
        assert eu.client._named("alpine") == "alpine"


@pytest.mark.parametrize("name", ["../x", "A/b", "a//b", "a/../b", "a?b", ""])
def test_names_that_would_climb_or_break_out_of_a_path_are_not_asked(name: str) -> None:
    with opened("http://127.0.0.1:1") as eu:
        for repository, target in ((name, "v1"), ("a/b", name)):
            with pytest.raises(errors.UsageError):
                eu.client.resolve(repository, target)
        assert eu.events == []


def _not_to_be_read() -> AbstractContextManager[Chunks]:
    raise AssertionError("nobody should have read this blob")
