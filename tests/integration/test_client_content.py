"""Manifests and blobs that are not what they should be: refused by name, never handed out whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from syncer import errors, events, manifest
from syncer.manifest import Descriptor
from syncer.registry.transport import PIECE
from tests import content
from tests.clients import Opened, descriptor, noise, opened, parsed, read
from tests.fake_registry import Asked, FakeRegistry

WHOLE = content.manifest("hostile")
DATA = noise(3_000_000)
BLOB = f"/v2/a/blobs/{descriptor(DATA).digest}"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.holds("a").blobs[descriptor(DATA).digest] = DATA
        registry.holds("a").manifests[WHOLE.digest] = (WHOLE.media_type, WHOLE.data)
        registry.holds("a").tags["v1"] = WHOLE.digest
        yield registry


@pytest.fixture
def eu(fake: FakeRegistry) -> Iterator[Opened]:
    with opened(fake.url, timeout=2.0) as client:
        yield client


@pytest.mark.parametrize("target", [WHOLE.digest, "v1"])
def test_a_manifest_with_other_content_than_its_digest_is_refused(
    fake: FakeRegistry, eu: Opened, target: str
) -> None:
    headers = {"Content-Type": WHOLE.media_type, "Docker-Content-Digest": WHOLE.digest}
    other = WHOLE.data + b" "
    fake.on("GET", f"/v2/a/manifests/{target}", lambda asked: asked.answer(200, other, headers))
    with pytest.raises(errors.DigestMismatchError, match=r"^eu/a: "):
        eu.client.manifest("a", target)


def test_a_digest_header_that_lies_is_found(fake: FakeRegistry, eu: Opened) -> None:
    other = {"Content-Type": WHOLE.media_type, "Docker-Content-Digest": descriptor(b"x").digest}
    fake.on("GET", "/v2/a/manifests/.*", lambda asked: asked.answer(200, WHOLE.data, other))
    fake.on("HEAD", "/v2/a/manifests/.*", lambda asked: asked.answer(200, WHOLE.data, other))
    with pytest.raises(errors.DigestMismatchError):
        eu.client.manifest("a", "v1")
    with pytest.raises(errors.DigestMismatchError):
        eu.client.manifest("a", WHOLE.digest)
    with pytest.raises(errors.DigestMismatchError):
        eu.client.resolve("a", WHOLE.digest)


def test_a_digest_of_another_algorithm_is_allowed_and_checked(
    fake: FakeRegistry, eu: Opened
) -> None:
    good = manifest.digest_of(WHOLE.data, "sha512")
    headers = {"Content-Type": WHOLE.media_type, "Docker-Content-Digest": good}
    fake.on("GET", "/v2/a/manifests/.*", lambda asked: asked.answer(200, WHOLE.data, headers))
    assert eu.client.manifest("a", WHOLE.digest).raw == WHOLE.data
    assert eu.client.manifest("a", "v1").digest == good
    headers["Docker-Content-Digest"] = manifest.digest_of(b"x", "sha512")
    with pytest.raises(errors.DigestMismatchError):
        eu.client.manifest("a", "v1")


def test_a_gigabyte_of_manifest_is_not_read(fake: FakeRegistry, eu: Opened) -> None:
    def endless(asked: Asked) -> None:
        asked.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1000):
            asked.send(b"100000\r\n" + bytes(0x100000) + b"\r\n")

    fake.on("GET", "/v2/a/manifests/endless", endless)
    fake.on(
        "GET",
        "/v2/a/manifests/huge",
        lambda asked: asked.answer(200, b"", {"Content-Length": "1000000000"}),
    )
    tracemalloc.start()
    for tag in ("endless", "huge"):
        with pytest.raises(errors.ProtocolError, match="longer than 8388608 bytes"):
            eu.client.manifest("a", tag)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000


def test_a_head_without_a_digest_is_followed_by_a_get(fake: FakeRegistry, eu: Opened) -> None:
    plain = {"Content-Type": WHOLE.media_type}
    for method in ("HEAD", "GET"):
        fake.on(method, "/v2/a/manifests/v1", lambda asked: asked.answer(200, WHOLE.data, plain))
    found = eu.client.resolve("a", "v1")
    assert found
    assert (found.digest, found.size) == (WHOLE.digest, len(WHOLE.data))
    assert fake.methods() == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [400, 405])
def test_a_head_that_is_not_taken_is_followed_by_a_get(
    fake: FakeRegistry, eu: Opened, status: int
) -> None:
    fake.on("HEAD", "/v2/a/manifests/.*", lambda asked: asked.answer(status))
    found = eu.client.resolve("a", "v1")
    assert found
    assert found.digest == WHOLE.digest
    assert eu.client.resolve("a", "v2") is None


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_only_a_clean_404_means_that_a_tag_is_gone(
    fake: FakeRegistry, eu: Opened, status: int
) -> None:
    fake.on("HEAD", "/v2/a/manifests/v1", lambda asked: asked.answer(status))
    with pytest.raises(errors.RegistryError):
        eu.client.resolve("a", "v1")
    assert set(fake.methods()) == {"HEAD"}


def test_a_web_page_is_no_word_of_a_registry_on_what_is_gone(
    fake: FakeRegistry, eu: Opened
) -> None:
    page = {"Content-Type": "text/html; charset=utf-8"}
    for method in ("HEAD", "GET"):
        fake.on(
            method,
            "/v2/a/manifests/v1",
            lambda asked: asked.answer(404, "<html><b>Not</b> here</html>", page),
        )
    with pytest.raises(errors.NotFoundError, match=r"404: Not here$"):
        eu.client.resolve("a", "v1")


def test_what_a_put_is_answered_with_must_be_the_digest_that_was_sent(
    fake: FakeRegistry, eu: Opened
) -> None:
    answer: dict[str, str] = {}
    fake.on(
        "PUT",
        "/v2/a/manifests/.*",
        lambda asked: asked.answer(201 if asked.body else 0, b"", answer),
    )
    eu.client.put_manifest("a", "v1", parsed(WHOLE))
    answer["Docker-Content-Digest"] = manifest.digest_of(WHOLE.data, "sha512")
    eu.client.put_manifest("a", "v1", parsed(WHOLE))
    answer["Docker-Content-Digest"] = descriptor(b"x").digest
    with pytest.raises(errors.DigestMismatchError):
        eu.client.put_manifest("a", "v1", parsed(WHOLE))


@pytest.mark.parametrize("status", [413, 415])
def test_a_type_or_size_that_a_registry_does_not_take_is_unsupported_content(
    fake: FakeRegistry, eu: Opened, status: int
) -> None:
    fake.on("PUT", "/v2/a/manifests/.*", lambda asked: asked.fail(status, "MANIFEST_INVALID"))
    with pytest.raises(errors.UnsupportedContentError, match=str(status)):
        eu.client.put_manifest("a", "v1", parsed(WHOLE))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("served", "error"),
    [
        (DATA[:-1], errors.SizeMismatchError),
        (DATA + b"!", errors.SizeMismatchError),
        (DATA[:-1] + b"!", errors.DigestMismatchError),
        (b"", errors.SizeMismatchError),
    ],
    ids=["short", "long", "other", "empty"],
)
def test_wrong_bytes_never_arrive_whole(
    fake: FakeRegistry, eu: Opened, served: bytes, error: type[Exception], *, chunked: bool
) -> None:
    def serve(asked: Asked) -> None:
        if chunked:
            asked.answer(200, _chunked(served), {"Transfer-Encoding": "chunked"})
        else:
            asked.answer(200, served)

    fake.on("GET", BLOB, serve)
    got: list[int] = []
    with (
        pytest.raises(error, match=descriptor(DATA).digest),
        eu.client.open_blob("a", descriptor(DATA)) as chunks,
    ):
        got.extend(len(chunk) for chunk in chunks)
    assert sum(got) < len(DATA)


def test_a_byte_too_many_is_found_even_at_the_edge_of_a_piece(
    fake: FakeRegistry, eu: Opened
) -> None:
    data = noise(2 * PIECE)
    framed = {"Transfer-Encoding": "chunked"}
    path = f"/v2/a/blobs/{descriptor(data).digest}"
    fake.on("GET", path, lambda asked: asked.answer(200, _chunked(data + b"!"), framed))
    got: list[int] = []
    with (
        pytest.raises(errors.SizeMismatchError),
        eu.client.open_blob("a", descriptor(data)) as chunks,
    ):
        got.extend(len(chunk) for chunk in chunks)
    assert sum(got) < len(data)


def test_an_empty_blob_is_checked_as_well(fake: FakeRegistry, eu: Opened) -> None:
    wrong = Descriptor("", descriptor(b"x").digest, 0)
    fake.on("GET", f"/v2/a/blobs/{wrong.digest}", lambda asked: asked.answer(200))
    with pytest.raises(errors.DigestMismatchError):
        read(eu.client, "a", wrong)


def test_a_download_goes_on_where_it_broke_off(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("GET", BLOB, _cut, times=3)
    assert read(eu.client, "a", descriptor(DATA)) == DATA
    starts = [headers.get("Range") for headers in fake.headers]
    assert starts[0] is None
    assert all(start and start.startswith("bytes=") for start in starts[1:])
    assert len(eu.told(events.Retried)) == 3


def test_a_download_that_never_gets_anywhere_ends(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("GET", BLOB, lambda asked: asked.hang_up())
    with pytest.raises(errors.UnavailableError):
        read(eu.client, "a", descriptor(DATA))
    assert len(fake.asked) <= 8


@pytest.mark.parametrize("how", ["whole", "wrong range", "416"])
def test_a_range_that_is_not_honoured_is_made_up_for(
    fake: FakeRegistry, eu: Opened, how: str
) -> None:
    def serve(asked: Asked) -> None:
        if how == "whole" or "Range" not in asked.headers:
            asked.answer(200, DATA)
        elif how == "416":
            asked.fail(416, "RANGE_INVALID")
        else:
            asked.answer(206, DATA[5:], {"Content-Range": f"bytes 5-{len(DATA) - 1}/{len(DATA)}"})

    fake.on("GET", BLOB, _cut, times=1)
    fake.on("GET", BLOB, serve)
    assert read(eu.client, "a", descriptor(DATA)) == DATA


def test_a_reader_who_leaves_costs_nothing(fake: FakeRegistry, eu: Opened) -> None:
    with eu.client.open_blob("a", descriptor(DATA)) as chunks:
        next(chunks)
    assert read(eu.client, "a", descriptor(DATA)) == DATA


def _cut(asked: Asked) -> None:
    """Sends a part of the blob and breaks off."""
    start = int(asked.headers.get("Range", "bytes=0-")[6:-1])
    headers = {"Content-Length": str(len(DATA) - start)}
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
    asked.answer(206 if start else 200, DATA[start : start + 700_000], headers)
    asked.hang_up()


def _chunked(data: bytes) -> bytes:
    pieces = [data[at : at + 99_999] for at in range(0, len(data), 99_999)]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
