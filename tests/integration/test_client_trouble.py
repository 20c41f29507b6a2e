"""Redirects, storms, silence: credentials stay home, and trouble is bounded in requests and time."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from syncer import credentials, errors, events, store
from tests import content
from tests.authority import Authority
from tests.clients import Opened, descriptor, noise, opened, read, source
from tests.fake_registry import Asked, FakeRegistry

WHOLE = content.manifest("hostile")
DATA = noise(3_000_000)
BLOB = f"/v2/a/blobs/{descriptor(DATA).digest}"
TAGS = "/v2/a/tags/list"


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


def test_a_challenge_of_a_redirects_target_is_not_answered(
    fake: FakeRegistry, tmp_path: Any
) -> None:
    """The target names a realm of its own, and gets nothing: no token, no password."""
    with FakeRegistry() as evil:
        challenge = {"WWW-Authenticate": f'Bearer realm="{evil.url}/token",service="x"'}
        evil.on("GET", "/.*", lambda asked: asked.answer(401, b"", challenge))
        _ask_for_password(fake)
        fake.on("GET", BLOB, lambda asked: asked.answer(307, b"", {"Location": f"{evil.url}/x"}))
        with (
            opened(fake.url, source=_password(tmp_path)) as eu,
            pytest.raises(errors.UnauthorizedError),
        ):
            read(eu.client, "a", descriptor(DATA))
        assert [url for _, url in evil.asked] == ["/x"]
        assert "Authorization" not in evil.headers[0]
        assert any("Authorization" in headers for headers in fake.headers)


def test_credentials_do_not_come_back_after_a_detour(fake: FakeRegistry, tmp_path: Any) -> None:
    with FakeRegistry() as evil:
        evil.on("GET", "/x", lambda asked: asked.answer(302, b"", {"Location": f"{fake.url}/back"}))
        _ask_for_password(fake, but="/back")
        fake.on("GET", "/back", lambda asked: asked.answer(200, DATA))
        fake.on("GET", BLOB, lambda asked: asked.answer(302, b"", {"Location": f"{evil.url}/x"}))
        with opened(fake.url, source=_password(tmp_path)) as eu:
            assert read(eu.client, "a", descriptor(DATA)) == DATA
        assert fake.asked[-1] == ("GET", "/back")
        assert "Authorization" not in fake.headers[-1]


def test_redirects_in_a_circle_end(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("GET", BLOB, lambda asked: asked.answer(302, b"", {"Location": BLOB}))
    with pytest.raises(errors.ProtocolError, match="redirected more than 5 times"):
        read(eu.client, "a", descriptor(DATA))
    assert len(fake.asked) == 6


def test_no_redirect_leads_from_https_to_http(authority: Authority) -> None:
    with FakeRegistry() as plain, FakeRegistry(authority) as secure:
        secure.on("GET", BLOB, lambda a: a.answer(302, b"", {"Location": f"{plain.url}/x"}))
        with (
            opened(secure.url, ca_file=str(authority.ca_file)) as eu,
            pytest.raises(errors.ProtocolError, match="leads from https to http"),
        ):
            read(eu.client, "a", descriptor(DATA))
        assert plain.asked == []


def test_a_write_is_never_redirected(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("POST", "/v2/a/blobs/uploads/", lambda a: a.answer(307, b"", {"Location": "/x"}))
    fake.on("DELETE", "/v2/a/manifests/.*", lambda a: a.answer(307, b"", {"Location": "/x"}))
    with pytest.raises(errors.ProtocolError, match="307"):
        eu.client.put_blob("a", descriptor(b"x"), source(b"x"))
    with pytest.raises(errors.ProtocolError, match="307"):
        eu.client.delete_manifest("a", WHOLE.digest)
    assert "/x" not in [url for _, url in fake.asked]


def test_a_storm_of_429_is_weathered_with_fewer_requests_at_once(
    fake: FakeRegistry, eu: Opened
) -> None:
    fake.on("HEAD", "/v2/a/manifests/v1", lambda asked: asked.fail(429, "TOOMANYREQUESTS"), times=6)
    assert eu.client.resolve("a", "v1")
    assert eu.shared.gate.window() < eu.shared.gate.capacity
    assert not eu.told(events.CircuitChanged)


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_is_kept_for_all_requests(
    fake: FakeRegistry, eu: Opened, *, dated: bool
) -> None:
    """A date is measured against the answer's own, however wrong the registry's clock is."""
    now = 1_000_000_000
    later, date = (email.utils.formatdate(when, usegmt=True) for when in (now + 7, now))
    headers = {"Retry-After": later, "Date": date} if dated else {"Retry-After": "7"}
    fake.on(
        "HEAD", "/v2/a/manifests/v1", lambda a: a.fail(429, "TOOMANYREQUESTS", headers), times=1
    )
    assert eu.client.resolve("a", "v1")
    assert eu.waits[0] == pytest.approx(7, abs=0.5)
    assert eu.shared.gate.paused() > 5


def test_a_registry_that_is_always_busy_is_given_up_on(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("GET", TAGS, lambda asked: asked.fail(429, "TOOMANYREQUESTS"))
    with pytest.raises(errors.TooManyRequestsError):
        eu.client.tags("a")
    assert len(fake.asked) == 8


@pytest.mark.parametrize(("status", "tries"), [(500, 4), (502, 4), (503, 4), (504, 4), (408, 4)])
def test_what_may_pass_is_tried_four_times(
    fake: FakeRegistry, eu: Opened, status: int, tries: int
) -> None:
    fake.on("GET", TAGS, lambda asked: asked.answer(status, "<html>gateway</html>"))
    with pytest.raises(errors.UnavailableError, match=f"{status}: gateway"):
        eu.client.tags("a")
    assert len(fake.asked) == tries
    assert [event.delay for event in eu.told(events.Retried)] == [0.0] * (tries - 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 412, 416, 501, 505])
def test_what_means_no_is_asked_once(fake: FakeRegistry, eu: Opened, status: int) -> None:
    fake.on("GET", "/v2/a/manifests/v1", lambda asked: asked.answer(status))
    with pytest.raises(errors.RegistryError, match=str(status)) as caught:
        eu.client.manifest("a", "v1")
    assert len(fake.asked) == 1
    assert caught.value.status == status
    assert caught.value.registry == "eu"


def test_a_dead_registry_is_not_asked_by_anybody(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("GET", TAGS, lambda asked: asked.hang_up())
    for _ in range(30):
        with pytest.raises(errors.UnavailableError):
            eu.client.tags("a")
    assert len(fake.asked) <= 8
    with opened(fake.url, shared=eu.shared) as other, pytest.raises(errors.CircuitOpenError):
        other.client.tags("b")


def test_a_trickle_ends_and_is_tried_again(fake: FakeRegistry) -> None:
    def trickle(asked: Asked) -> None:
        asked.send(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % len(DATA))
        while asked.wait(0.02):
            asked.send(b"x")

    fake.on("GET", BLOB, trickle)
    with opened(fake.url, timeout=0.2) as eu:
        began = time.monotonic()
        with pytest.raises((errors.UnavailableError, errors.ContentError)):
            read(eu.client, "a", descriptor(DATA))
        assert time.monotonic() - began < 10


def test_a_stop_ends_a_wait_between_attempts(fake: FakeRegistry, eu: Opened) -> None:
    eu.client._exchange._sleep = lambda seconds: eu.stop.set()
    fake.on("GET", TAGS, lambda asked: asked.answer(503))
    with pytest.raises(errors.InterruptedRunError):
        eu.client.tags("a")
    assert len(fake.asked) == 1
    with pytest.raises(errors.InterruptedRunError):
        eu.client.tags("a")
    assert len(fake.asked) == 1


def test_many_threads_stay_within_the_concurrency(fake: FakeRegistry) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def count(asked: Asked) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        asked.wait(0.005)
        with lock:
            inside -= 1

    fake.on("HEAD", "/v2/a/manifests/v1", count)
    with opened(fake.url, concurrency=3) as eu:
        _all(lambda _: [eu.client.resolve("a", "v1") for _ in range(5)], 8)
        assert eu.requests() == {"HEAD": 40}
        assert most == 3
        assert fake.connections <= 3


def test_copies_in_both_directions_do_not_wait_for_each_other(fake: FakeRegistry) -> None:
    """One permit on each side, eight copies at once, each of which needs both sides."""
    what = descriptor(DATA)
    with (
        FakeRegistry() as there,
        opened(fake.url, concurrency=1) as eu,
        opened(there.url, concurrency=1, name="us") as us,
    ):
        there.holds("a").blobs[what.digest] = DATA

        def copy(number: int) -> None:
            source, target = (eu, us) if number % 2 else (us, eu)
            with store.permits(source.client, target.client):
                target.client.put_blob(
                    f"b/{number}", what, lambda: source.client.open_blob("a", what)
                )

        _all(copy, 8)
        held = [*fake.repositories.items(), *there.repositories.items()]
        assert sum(what.digest in each.blobs for name, each in held if name != "a") == 8


def test_a_copy_inside_a_registry_with_one_permit_does_not_wait_for_itself(
    fake: FakeRegistry,
) -> None:
    what = descriptor(DATA)
    with opened(fake.url, concurrency=1) as eu, store.permits(eu.client, eu.client):
        eu.client.put_blob("b", what, lambda: eu.client.open_blob("a", what))
    assert fake.holds("b").blobs == {what.digest: DATA}


def test_an_error_body_is_one_short_line_without_secrets(fake: FakeRegistry, eu: Opened) -> None:
    body = {"errors": [{"code": "DENIED", "message": "no\r\n\x1b[31m" + "x" * 5000, "detail": [1]}]}
    fake.on("GET", TAGS, lambda asked: asked.answer(403, json.dumps(body)))
    with pytest.raises(errors.DeniedError) as caught:
        eu.client.tags("a")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert caught.value.codes == ("DENIED",)


def test_a_warning_is_passed_on_once(fake: FakeRegistry, eu: Opened) -> None:
    warning = {"Warning": '299 - "this registry closes in May"'}
    fake.on("GET", TAGS, lambda asked: asked.answer(200, {"tags": ["a"]}, warning))
    eu.client.tags("a")
    eu.client.tags("a")
    assert [event.message for event in eu.told(events.Noticed)] == [warning["Warning"]]


def _ask_for_password(fake: FakeRegistry, but: str = "-") -> None:
    def check(asked: Asked) -> None:
        if "Authorization" not in asked.headers and asked.path != but:
            asked.answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    fake.on("*", ".*", check)


def _password(tmp_path: Any) -> credentials.PasswordFile:
    path = tmp_path / "password"
    path.write_text("secret-pw")
    path.chmod(0o600)
    return credentials.PasswordFile("ci", path)


def _all(work: Callable[[int], object], threads: int) -> None:
    """Runs `work` in threads of its own, and sees that all end well."""
    done: list[int] = []

    def run(number: int) -> None:
        work(number)
        done.append(number)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(30)
    assert sorted(done) == list(range(threads))
