"""Uploads that do not go as they should: refused ways, lost sessions, broken connections, sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncer import credentials, errors, events
from syncer.registry import upload
from syncer.registry.shared import Style
from syncer.store import Chunks
from tests.clients import Opened, descriptor, noise, opened, source
from tests.fake_registry import Asked, FakeRegistry
from tests.fault_proxy import FaultProxy
from tests.registries import Factory

UPLOADS = "/v2/a/blobs/uploads/"
SESSION = UPLOADS + "[0-9a-f]+"
LARGE = noise(3_000_000)
SMALL = noise(1000)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def eu(fake: FakeRegistry) -> Iterator[Opened]:
    with opened(fake.url) as client:
        yield client


def put(eu: Opened, data: bytes, **options: Any) -> str:
    return eu.client.put_blob("a", descriptor(data), source(data), **options)


def stored(fake: FakeRegistry, data: bytes) -> bool:
    return fake.holds("a").blobs.get(descriptor(data).digest) == data


def refused(status: int, code: str = "UNSUPPORTED") -> Callable[[Asked], None]:
    """Refuses whatever has a body, as registries do that want uploads in another way."""

    def refuse(asked: Asked) -> None:
        if asked.length:
            asked.fail(status, code)

    return refuse


@pytest.mark.parametrize(
    ("status", "code"),
    [(413, "SIZE_INVALID"), (405, "UNSUPPORTED"), (404, "BLOB_UPLOAD_UNKNOWN"), (411, "UNKNOWN")],
)
def test_where_one_put_is_refused_one_patch_is_tried_and_remembered(
    fake: FakeRegistry, eu: Opened, status: int, code: str
) -> None:
    fake.on("PUT", SESSION, refused(status, code))
    assert put(eu, LARGE) == "copied"
    assert stored(fake, LARGE)
    patches = [
        headers for (m, _), headers in zip(fake.asked, fake.headers, strict=True) if m == "PATCH"
    ]
    assert len(patches) == 1
    assert "Content-Range" not in patches[0]  # GHCR keeps only the last of several
    fake.asked.clear()
    other = LARGE[1:]
    put(eu, other)
    assert fake.methods() == ["POST", "PATCH", "PUT"]
    assert stored(fake, other)


def test_a_large_blob_that_was_refused_says_nothing_about_small_ones(
    fake: FakeRegistry, eu: Opened
) -> None:
    fake.on("PUT", SESSION, lambda asked: asked.fail(413, "X") if asked.length > 10**6 else None)
    put(eu, LARGE)
    fake.asked.clear()
    put(eu, SMALL)
    assert fake.methods() == ["POST", "PUT"]


def test_where_one_patch_is_too_large_chunks_are_sent_no_smaller_than_is_wanted(
    fake: FakeRegistry, eu: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "CHUNK", 500_000)
    for method in ("PUT", "PATCH"):
        fake.on(method, SESSION, lambda a: a.fail(413, "X") if a.length > 10**6 else None)
    fake.on(
        "POST", UPLOADS, lambda asked: fake.begin(asked, "a", **{"OCI-Chunk-Min-Length": "900000"})
    )
    put(eu, LARGE)
    assert stored(fake, LARGE)
    ranges = [
        headers.get("Content-Range") for headers in fake.headers if "Content-Range" in headers
    ]
    assert ranges == ["0-899999", "900000-1799999", "1800000-2699999", "2700000-2999999"]
    assert eu.shared.learned.styles[False] is Style.CHUNKS


def test_what_is_refused_in_every_way_is_an_error_and_no_session_is_left(
    fake: FakeRegistry, eu: Opened
) -> None:
    for method in ("PUT", "PATCH"):
        fake.on(method, SESSION, refused(413))
    with pytest.raises(errors.RegistryError, match="413"):
        put(eu, LARGE)
    assert fake._uploads == {}
    assert eu.shared.learned.styles[False] is Style.PUT


def test_no_deletes_of_sessions_are_no_problem(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("DELETE", SESSION, lambda asked: asked.fail(405, "UNSUPPORTED"))
    fake.on("PUT", SESSION, lambda asked: asked.fail(403, "DENIED"))
    with pytest.raises(errors.DeniedError, match="403 DENIED"):
        put(eu, SMALL)
    assert fake.methods() == ["POST", "PUT", "DELETE"]


def test_a_transfer_that_broke_off_goes_on_where_the_registry_says_it_stands(
    fake: FakeRegistry, eu: Opened
) -> None:
    def take_a_part(asked: Asked) -> None:
        session = asked.path.rpartition("/")[2]
        fake._uploads[session] += asked.read(1_000_000)
        asked.hang_up(reset=True)

    fake.on("PUT", SESSION, take_a_part, times=1)
    put(eu, LARGE)
    assert stored(fake, LARGE)
    assert fake.methods() == ["POST", "PUT", "GET", "PATCH", "PUT"]
    assert fake.headers[3]["Content-Range"] == "1000000-2999999"
    assert len(eu.told(events.Retried)) == 1


@pytest.mark.parametrize("answer", ["gone", "garbage", "too much"])
def test_a_session_that_did_not_survive_is_begun_anew(
    fake: FakeRegistry, eu: Opened, answer: str
) -> None:
    def status(asked: Asked) -> None:
        if answer == "gone":
            asked.fail(404, "BLOB_UPLOAD_UNKNOWN")
        else:
            wrong = "0-99999999" if answer == "too much" else "x-y"
            asked.answer(204, b"", {"Range": wrong, "Location": asked.url})

    fake.on("PUT", SESSION, lambda asked: asked.hang_up(), times=1)
    fake.on("GET", SESSION, status)
    put(eu, LARGE)
    assert stored(fake, LARGE)


def test_a_part_whose_token_ran_out_is_not_followed_by_the_next(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its bytes went out with the refused request: they are read once more."""
    monkeypatch.setattr(upload, "CHUNK", 1_000_000)
    password = tmp_path / "password"
    password.write_text("secret-pw")
    password.chmod(0o600)

    def ask_who(asked: Asked) -> None:
        if asked.body and "Authorization" not in asked.headers:
            asked.answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    fake.on("PATCH", SESSION, ask_who)
    with opened(fake.url, source=credentials.PasswordFile("ci", password)) as eu:
        eu.shared.learned.styles[False] = Style.CHUNKS
        put(eu, LARGE)
    assert stored(fake, LARGE)


def test_a_small_blob_is_simply_sent_again(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("PUT", SESSION, lambda asked: asked.fail(503, "UNKNOWN"), times=2)
    put(eu, SMALL)
    assert stored(fake, SMALL)
    assert fake.methods() == ["POST", "PUT", "DELETE"] * 2 + ["POST", "PUT"]


def test_a_session_lost_once_is_begun_anew_in_the_same_way(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("PUT", SESSION, lambda asked: asked.fail(404, "BLOB_UPLOAD_UNKNOWN"), times=1)
    put(eu, LARGE)
    assert stored(fake, LARGE)
    assert eu.shared.learned.styles[False] is Style.PUT


def test_a_registry_that_has_fewer_bytes_than_were_sent_is_not_believed(
    fake: FakeRegistry, eu: Opened
) -> None:
    """2.8 takes chunks out of order with a 202: only its Range tells."""

    def short(asked: Asked) -> None:
        _ = asked.body
        asked.answer(202, b"", {"Location": asked.url, "Range": "0-4"})

    fake.on("PUT", SESSION, refused(405))
    fake.on("PATCH", SESSION, short)
    with pytest.raises(errors.ProtocolError, match="has 5 bytes of an upload of which"):
        put(eu, LARGE)
    assert fake._uploads == {}


def test_the_location_is_never_rebuilt(fake: FakeRegistry, eu: Opened) -> None:
    """`state=a%2Fb` must come back as it was: distribution answers 404 without its `_state`."""
    put(eu, SMALL)
    method, url = fake.asked[1]
    assert method == "PUT"
    assert url.endswith(f"?state=a%2Fb&digest={descriptor(SMALL).digest}")


def test_an_upload_on_another_host_goes_there_without_credentials(
    fake: FakeRegistry, eu: Opened
) -> None:
    eu.shared.authorizer.ensure = lambda scopes: {"Authorization": "Basic secret"}  # type: ignore[method-assign]
    with FakeRegistry() as storage:
        storage.on("PUT", "/there", lambda asked: asked.answer(201 if asked.body else 400))
        there = {"Location": f"{storage.url}/there?signed=1"}
        fake.on("POST", UPLOADS, lambda asked: asked.answer(202, b"", there))
        put(eu, SMALL)
        assert fake.headers[0]["Authorization"] == "Basic secret"
        assert [url for _, url in storage.asked] == [
            f"/there?signed=1&digest={descriptor(SMALL).digest}"
        ]
        assert "Authorization" not in storage.headers[0]
    assert eu.requests() == {"POST": 1}


@pytest.mark.parametrize("location", ["", "ftp://x/y", "http://[", "http://"])
def test_a_location_that_is_none_is_a_protocol_error(
    fake: FakeRegistry, eu: Opened, location: str
) -> None:
    headers = {"Location": location} if location else {}
    fake.on("POST", UPLOADS, lambda asked: asked.answer(202, b"", headers))
    with pytest.raises(errors.ProtocolError):
        put(eu, SMALL)


def test_another_digest_in_the_answer_is_an_error(fake: FakeRegistry, eu: Opened) -> None:
    other = {"Docker-Content-Digest": descriptor(b"other").digest}
    fake.on("PUT", SESSION, lambda asked: asked.answer(201, b"", other) if asked.body else None)
    with pytest.raises(errors.DigestMismatchError, match="stored blob"):
        put(eu, SMALL)


class Source:
    """A source that breaks in the ways it is told to, one for each time it is opened."""

    def __init__(self, data: bytes, *failures: errors.SyncerError | None) -> None:
        self.data = data
        self.failures = list(failures)
        self.opened = 0

    def __call__(self) -> AbstractContextManager[Chunks]:
        return self._open()

    @contextmanager
    def _open(self) -> Iterator[Chunks]:
        self.opened += 1
        yield self._chunks(self.failures.pop(0) if self.failures else None)

    def _chunks(self, failure: errors.SyncerError | None) -> Chunks:
        half = len(self.data) // 2
        yield self.data[:half]
        if failure:
            raise failure
        yield self.data[half:]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_source_that_breaks_is_not_the_targets_fault(
    fake: FakeRegistry, eu: Opened, data: bytes
) -> None:
    eu.shared.circuit._threshold = 1
    broken = errors.UnavailableError("the source is away", registry="us")
    given = Source(data, *[broken] * 10)
    for _ in range(6):
        with pytest.raises(errors.UnavailableError) as caught:
            eu.client.put_blob("a", descriptor(data), given)
        assert caught.value is broken
    assert given.opened == 6
    assert not eu.told(events.CircuitChanged)
    assert not eu.told(events.Retried)
    assert fake._uploads == {}


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_bytes_that_were_wrong_are_read_once_more(
    fake: FakeRegistry, eu: Opened, data: bytes
) -> None:
    given = Source(data, errors.DigestMismatchError("torn"))
    eu.client.put_blob("a", descriptor(data), given)
    assert stored(fake, data)
    assert given.opened == 2
    with pytest.raises(errors.DigestMismatchError):
        eu.client.put_blob(
            "a", descriptor(data), Source(data, *[errors.DigestMismatchError("x")] * 2)
        )


def test_a_small_blob_is_read_before_anything_is_asked(fake: FakeRegistry, eu: Opened) -> None:
    with pytest.raises(errors.NotFoundError):
        eu.client.put_blob("a", descriptor(SMALL), Source(SMALL, errors.NotFoundError("gone")))
    assert fake.asked == []


@pytest.mark.parametrize("size", [len(LARGE) - 7, len(LARGE) + 7])
def test_a_source_of_another_size_leaves_nothing_behind(
    fake: FakeRegistry, eu: Opened, size: int
) -> None:
    what = descriptor(LARGE)
    claim = type(what)(what.media_type, what.digest, size)
    with pytest.raises((errors.SizeMismatchError, errors.RegistryError)):
        eu.client.put_blob("a", claim, source(LARGE))
    assert fake.holds("a").blobs == {}
    assert fake._uploads == {}


def test_a_stop_ends_an_upload_and_cancels_its_session(fake: FakeRegistry, eu: Opened) -> None:
    def stop(asked: Asked) -> None:
        eu.stop.set()
        eu.shared.abort()
        asked.wait(5)

    eu.shared.circuit._threshold = 1
    fake.on("PUT", SESSION, stop, times=1)
    with pytest.raises(errors.InterruptedRunError):
        put(eu, LARGE)
    assert fake.methods() == ["POST", "PUT", "DELETE"]
    assert fake._uploads == {}
    assert not eu.shared.circuit.open


@pytest.mark.parametrize(("kind", "begun"), [("docker", 2), ("distribution", 1)])
def test_an_upload_to_distribution_goes_on_after_a_break(
    make_registry: Factory, repository: str, kind: str, begun: int
) -> None:
    """3.1.1 knows how far a PATCH got; 2.8.2 has forgotten the session."""
    running = make_registry(kind)
    with FaultProxy(running.port, b"PATCH ", 1_000_000) as cut, opened(cut.url) as eu:
        eu.shared.learned.styles[False] = Style.PATCH
        eu.client.put_blob(repository, descriptor(LARGE), source(LARGE))
        assert eu.client.has_blob(repository, descriptor(LARGE).digest)
        assert cut.done
        assert eu.requests()["POST"] == begun
        assert eu.requests()["PATCH"] > 1
