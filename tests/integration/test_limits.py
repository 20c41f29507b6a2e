"""Limits on a registry that answers: what slows down, what does not, and what a run leaves undone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncer import credentials, errors, events, rules, store, stores
from syncer.registry import limits
from syncer.registry.client import Client
from syncer.registry.shared import Allowed, Shared
from tests import content
from tests.clients import Opened, descriptor, noise, opened, parsed, read, source
from tests.fake_registry import Asked, FakeRegistry
from tests.operator import Operator
from tests.registries import wait_for

Kind = limits.Kind
# How long a transfer should take by its cap; a tenth of a second may have been saved up before.
SECONDS = 1
LEAST, MOST = 0.89 * SECONDS, 1.5 * SECONDS
BLOBS = [noise(1_500_000, f"blob{number}") for number in range(12)]
SMALL = [noise(9_000, f"small{number}") for number in range(300)]
WHOLE = content.manifest("limits")
UPLOADS = "/v2/a/blobs/uploads/.*"
ONCE_A_DAY = """
[[replicate]]
name = "mirror"
source = "hub"
target = ["us"]
repos = ["library/app"]
referrers = false
"""


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.holds("a").blobs = {descriptor(data).digest: data for data in [*BLOBS, *SMALL]}
        registry.holds("a").manifests[WHOLE.digest] = (WHOLE.media_type, WHOLE.data)
        registry.holds("a").tags["v1"] = WHOLE.digest
        yield registry


def test_reading_keeps_to_the_cap_with_many_streams(fake: FakeRegistry) -> None:
    rate = sum(map(len, BLOBS)) // SECONDS
    with patient(fake, Allowed(bandwidth=rate)) as eu:
        seconds = timed(lambda data: read(eu.client, "a", descriptor(data)), BLOBS)
    assert LEAST <= seconds <= MOST


def test_writing_small_blobs_keeps_to_the_cap_of_all_registries(fake: FakeRegistry) -> None:
    rate = sum(map(len, SMALL)) // SECONDS
    allowed = Allowed(overall=limits.Bandwidth(rate))
    with patient(fake, allowed) as eu, patient(fake, allowed, name="us") as us:

        def send(data: bytes) -> None:
            side = eu if data[0] % 2 else us
            side.client.put_blob("b", descriptor(data), source(data))

        seconds = timed(send, SMALL)
    assert LEAST <= seconds <= MOST
    assert len(fake.holds("b").blobs) == len(SMALL)


def test_large_uploads_keep_to_the_cap_of_the_target(fake: FakeRegistry) -> None:
    rate = sum(map(len, BLOBS)) // SECONDS
    with (
        patient(fake, Allowed()) as eu,
        patient(fake, Allowed(bandwidth=rate), name="us") as us,
    ):

        def copy(data: bytes) -> None:
            what = descriptor(data)
            us.client.put_blob("b", what, lambda: eu.client.open_blob("a", what))

        seconds = timed(copy, BLOBS)
    assert LEAST <= seconds <= MOST
    assert len(fake.holds("b").blobs) == len(BLOBS)


def test_a_cap_far_below_the_slowest_peer_is_no_trouble_of_the_peers(fake: FakeRegistry) -> None:
    """Ten kB a second for two streams: each waits longer than a peer may be silent."""
    with patient(fake, Allowed(bandwidth=10_000), timeout=0.2) as eu:
        timed(lambda data: read(eu.client, "a", descriptor(data)), SMALL[:2])
        assert not eu.told(events.Retried)


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_stop_ends_the_wait_for_bandwidth(fake: FakeRegistry, way: str) -> None:
    with patient(fake, Allowed(bandwidth=100_000)) as eu:
        what, data = descriptor(BLOBS[0]), source(BLOBS[0])
        acts: dict[str, Callable[[], object]] = {
            "read": lambda: read(eu.client, "a", what),
            "write": lambda: eu.client.put_blob("b", what, data),
        }
        threading.Timer(0.2, eu.stop.set).start()
        began = time.monotonic()
        with pytest.raises(errors.InterruptedRunError):
            acts[way]()
        assert time.monotonic() - began < 5
        assert not eu.told(events.Retried)


def test_requests_per_second_hold_for_all_threads(fake: FakeRegistry) -> None:
    with patient(fake, Allowed(requests_per_second=50)) as eu:
        seconds = timed(lambda _: eu.client.resolve("a", "v1"), [b""] * 100)
        assert eu.requests() == {"HEAD": 100}
    assert 1.0 <= seconds < 3


def test_who_waits_for_its_turn_holds_no_permit(fake: FakeRegistry) -> None:
    asleep = threading.Event()
    with patient(fake, Allowed(requests_per_second=0.01)) as eu:

        def sleep(seconds: float) -> None:
            asleep.set()
            eu.stop.wait(seconds)

        eu.client._exchange._sleep = sleep
        assert eu.client.resolve("a", "v1")
        with ThreadPoolExecutor(2) as pool, ending(eu):
            acts: list[Callable[[], object]] = [
                lambda: eu.client.tags("a"),
                lambda: read(eu.client, "a", descriptor(BLOBS[0])),
            ]
            ends = [pool.submit(stopped, eu, act) for act in acts]
            assert asleep.wait(10)
            assert eu.shared.gate._out == 0
            eu.stop.set()
            assert all(end.result(10) for end in ends)
    assert fake.methods() == ["HEAD"]


def test_a_request_that_has_to_show_who_we_are_counts_twice(
    fake: FakeRegistry, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("secret")
    user = credentials.PasswordFile("ci", tmp_path / "password")
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    fake.on("GET", "/v2/a/tags/list", lambda asked: asked.answer(401, b"", challenge), times=1)
    fake.on("GET", "/v2/a/tags/list", lambda asked: asked.answer(200, {"tags": []}))
    with opened(fake.url, allowed=Allowed(requests_per_second=1), source=user) as eu:
        eu.client.tags("a")
        eu.client.tags("a")
        assert eu.waits == pytest.approx([2], abs=0.5)
    assert len(fake.asked) == 3


def test_a_large_copy_counts_as_a_read_here_and_as_an_upload_there(fake: FakeRegistry) -> None:
    with opened(fake.url) as eu, FakeRegistry() as there, opened(there.url, name="us") as us:
        with store.permits(eu.client, us.client):
            assert [lane.out for lane in eu.shared.gate._lanes] == [1, 0, 0, 0]
            assert [lane.out for lane in us.shared.gate._lanes] == [0, 1, 0, 0]
        with store.permits(eu.client, eu.client):
            assert [lane.out for lane in eu.shared.gate._lanes] == [0, 1, 0, 0]
            assert eu.shared.gate._out == 2


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        (Kind.READ, lambda client: client.resolve("a", "v1")),
        (Kind.READ, lambda client: client.manifest("a", "v1")),
        (Kind.UPLOAD, lambda client: client.put_blob("b", descriptor(b"x"), source(b"x"))),
        (Kind.MANIFEST, lambda client: client.put_manifest("b", "v1", parsed(WHOLE))),
        (Kind.DELETE, lambda client: client.delete_manifest("a", WHOLE.digest)),
    ],
)
def test_a_429_lowers_the_window_of_what_was_asked(
    fake: FakeRegistry, eu: Opened, kind: limits.Kind, act: Callable[[Client], object]
) -> None:
    fake.on("*", ".*", lambda asked: asked.fail(429, "TOOMANYREQUESTS"), times=1)
    act(eu.client)
    assert [each for each in Kind if eu.shared.gate.window(each) < 16] == [kind]


def test_a_429_on_uploads_does_not_slow_reads(fake: FakeRegistry) -> None:
    """Every upload is told to come back in a minute, and more wait than there are permits."""
    later = {"Retry-After": "60"}
    fake.on("POST", UPLOADS, lambda asked: asked.fail(429, "TOOMANYREQUESTS", later))
    with (
        patient(fake, Allowed(concurrency=4)) as eu,
        ThreadPoolExecutor(8) as pool,
        ending(eu),
    ):

        def upload(data: bytes) -> bool:
            what = descriptor(data)
            return stopped(eu, lambda: eu.client.put_blob("a", what, source(data)))

        uploads = [pool.submit(upload, data) for data in BLOBS[:8]]
        wait_for(lambda: eu.shared.gate.paused(Kind.UPLOAD) > 50, "an upload to be refused")
        began = time.monotonic()
        with opened(fake.url, shared=eu.shared) as other:
            for _ in range(20):
                assert other.client.resolve("a", "v1")
        assert time.monotonic() - began < 5
        assert other.waits == []
        windows = [eu.shared.gate.window(kind) for kind in (Kind.READ, Kind.UPLOAD)]
        assert windows[0] == 4
        assert windows[1] < 4
        eu.stop.set()
        assert all(each.result(10) for each in uploads)


def test_a_503_with_a_time_pauses_everything(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("POST", UPLOADS, lambda a: a.fail(503, "UNAVAILABLE", {"Retry-After": "9"}), times=1)
    eu.client.put_blob("a", descriptor(b"x"), source(b"x"))
    assert eu.shared.gate.paused(Kind.READ) > 5


@pytest.mark.parametrize("plain", [True, False])
def test_a_429_for_pulls_is_not_asked_again_and_slows_nothing(
    fake: FakeRegistry, eu: Opened, *, plain: bool
) -> None:
    text = "You have reached your pull rate limit. You may increase the limit by authenticating"
    error = {"errors": [{"code": "TOOMANYREQUESTS", "message": text}]}
    fake.on(
        "GET",
        "/v2/a/manifests/v1",
        lambda asked: asked.answer(429, text if plain else error, {"Retry-After": "3600"}),
    )
    with pytest.raises(errors.RateBudgetError, match="pull rate limit"):
        eu.client.manifest("a", "v1")
    with pytest.raises(errors.RateBudgetError):
        eu.client.manifest("a", "v1")
    assert fake.methods() == ["GET"]
    assert eu.client.resolve("a", "v1")
    assert (eu.shared.gate.paused(), eu.waits) == (0, [])


@pytest.fixture
def eu(fake: FakeRegistry) -> Iterator[Opened]:
    with opened(fake.url) as client:
        yield client


class Hub:
    """Docker Hub's way to limit: GETs of manifests count, HEADs tell how many are left."""

    def __init__(self, registry: FakeRegistry, left: int) -> None:
        self.left = left
        registry.on("*", "/v2/library/app/manifests/.*", self._answer)

    def _answer(self, asked: Asked) -> None:
        self.left -= asked.method == "GET"
        assert self.left >= 0
        media_type, data = asked.registry.holds("library/app").manifests[self._digest(asked)]
        window = "w=21600"
        headers = {"Content-Type": media_type, "Docker-Content-Digest": self._digest(asked)}
        headers["RateLimit-Limit"] = f"20;{window}"
        headers["RateLimit-Remaining"] = f"{self.left};{window}"
        asked.answer(200, data, headers)

    def _digest(self, asked: Asked) -> str:
        target = asked.path.rpartition("/")[2]
        return asked.registry.holds("library/app").tags.get(target, target)


def test_a_run_goes_on_with_what_is_free_when_the_budget_is_short_and_the_next_run_goes_on(
    tmp_path: Path,
) -> None:
    with FakeRegistry() as there, FakeRegistry() as us:
        fill(there, range(6))
        hub = Hub(there, left=20)
        operator = Operator(tmp_path, {"hub": there, "us": us}, ONCE_A_DAY)  # type: ignore[dict-item]
        operator.extra["hub"] = "auth = 'anonymous'\nconcurrency = 1\nrate_limit_reserve = 25"
        assert operator.sync().outcome == "ok"
        fill(there, range(6, 16))
        hub.left = 9

        short = operator.sync()

        assert short.outcome == "partial"
        assert hub.left == 5
        rule = short.rules["mirror"]
        assert (rule.in_step, rule.steps["done"], rule.steps["failed"]) == (6, 4, 6)
        assert {each.code for each in short.errors} == {"RATE_BUDGET"}
        assert "of the 20 it gives in 6 h 5 are left" in rule.reason
        assert short.requests["hub"]["HEAD"] >= 6

        hub.left = 20
        full = operator.sync()
        assert full.outcome == "ok"
        assert full.rules["mirror"].in_step + full.rules["mirror"].steps["done"] == 16


def test_a_head_is_enough_to_know_that_the_budget_is_short(fake: FakeRegistry) -> None:
    fill(fake, range(2))
    Hub(fake, left=2)
    with opened(fake.url) as eu:
        assert eu.client.resolve("library/app", "v0")
        with pytest.raises(errors.RateBudgetError):
            eu.client.manifest("library/app", "v1")
    assert fake.methods() == ["HEAD"]


def test_a_standing_process_notices_that_the_budget_is_full_again(fake: FakeRegistry) -> None:
    """Nothing but GETs is left to do, and none is sent: a HEAD asks, once a minute."""
    fill(fake, range(3))
    hub = Hub(fake, left=1)
    with opened(fake.url, allowed=Allowed(rate_limit_reserve=0)) as eu:
        assert eu.client.manifest("library/app", "v0")
        with pytest.raises(errors.RateBudgetError):
            eu.client.manifest("library/app", "v1")
        hub.left = 20
        with pytest.raises(errors.RateBudgetError):
            eu.client.manifest("library/app", "v1")
        eu.shared.budget._seen -= 60
        assert eu.client.manifest("library/app", "v1")
    assert fake.methods() == ["GET", "HEAD", "GET"]


LIMITED = """
schema = 1
[limits]
bandwidth = "{overall}"
[registry.eu]
url = "https://registry.example.com"
requests_per_second = 7
bandwidth = "{own}"
"""


def test_what_the_rules_say_is_in_force_and_a_reload_changes_it() -> None:
    with stores.Registries() as registries:

        def shared(overall: str, own: str) -> Shared:
            known = rules.loads(LIMITED.format(overall=overall, own=own))
            registries.open(known, events.ignore, threading.Event())
            return registries.shared("eu", known.registry["eu"])

        first = shared("50MB/s", "1MB/s")
        assert first.reads
        assert first.reads.take(10_000_000) == pytest.approx(9.9, abs=0.2)
        assert first.pace
        assert shared("50MB/s", "1MB/s") is first
        second = shared("50MB/s", "2MB/s")
        assert second is not first
        third = shared("100kB/s", "2MB/s")
        assert third.writes
        assert third.writes.take(1_000_000) == pytest.approx(9.9, abs=0.2)


def fill(registry: FakeRegistry, numbers: range) -> None:
    held = registry.holds("library/app")
    for number in numbers:
        whole = content.manifest(f"hub{number}")
        held.manifests[whole.digest] = (whole.media_type, whole.data)
        held.tags[f"v{number}"] = whole.digest
        held.blobs |= {blob.digest: blob.data for blob in whole.blobs}


def stopped(client: Opened, act: Callable[[], object]) -> bool:
    """Whether `act` ended because the run was told to stop."""
    try:
        act()
    except errors.InterruptedRunError:
        return client.stop.is_set()
    return False


@contextmanager
def patient(
    fake: FakeRegistry, allowed: Allowed, *, name: str = "eu", timeout: float = 10.0
) -> Iterator[Opened]:
    """A client that really waits."""
    with opened(fake.url, name=name, allowed=allowed, timeout=timeout) as client:
        client.client._exchange._sleep = client.stop.wait
        yield client


@contextmanager
def ending(client: Opened) -> Iterator[None]:
    """Ends what waits, so that a failed test does not wait for it."""
    try:
        yield
    finally:
        client.stop.set()


def timed(act: Callable[[bytes], object], blobs: Sequence[bytes]) -> float:
    """The seconds in which eight threads act on all blobs."""
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, blobs))
    return time.monotonic() - began
