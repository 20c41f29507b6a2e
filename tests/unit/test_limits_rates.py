"""Bucket, Pace and Bandwidth: requests and bytes a second, on a clock that is told what it is."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.registry import limits
from syncer.registry.shared import Allowed, connect
from tests.clients import Clock

Kind = limits.Kind
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
HOME = "registry.example.com"
MB = 1_000_000
REST = 0.1  # seconds of a cap that may be saved up


def test_after_a_burst_tokens_come_one_by_one_in_the_order_they_were_asked_for() -> None:
    clock = Clock()
    bucket = limits.Bucket(10, 3, clock)
    assert [bucket.take() for _ in range(6)] == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])
    clock.now += 0.3
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 60
    assert [bucket.take() for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


@given(
    rate=st.floats(0.1, 1000),
    burst=st.floats(1, 50),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=40),
)
def test_no_span_of_time_sees_more_than_the_rate_and_one_burst(
    rate: float, burst: float, gaps: list[float]
) -> None:
    clock = Clock()
    bucket = limits.Bucket(rate, burst, clock)
    sent: list[float] = []
    for gap in gaps:
        clock.now += gap
        sent.append(clock.now + bucket.take())
    assert sent == sorted(sent)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            span = sent[last] - sent[first]
            assert last - first + 1 <= burst + rate * span + 1e-6 * rate + 1e-6


def test_an_operators_requests_per_second_hold_for_all_kinds_together() -> None:
    pace = limits.Pace(HOME, 2, Clock())
    calls = [(Kind.READ, "HEAD"), (Kind.UPLOAD, "POST"), (Kind.DELETE, "DELETE")]
    assert [pace.take(*call) for call in calls] == pytest.approx([0, 0, 0.5])


def test_less_than_one_request_a_second_still_lets_the_first_go_at_once() -> None:
    pace = limits.Pace(HOME, 0.5, Clock())
    assert [pace.take(Kind.READ, "GET") for _ in range(3)] == pytest.approx([0, 2, 4])


@pytest.mark.parametrize(
    ("host", "kind", "method", "rate"),
    [
        (ECR, Kind.UPLOAD, "POST", 100),
        (ECR, Kind.UPLOAD, "PATCH", 500),
        (ECR, Kind.UPLOAD, "PUT", 100),
        (ECR, Kind.MANIFEST, "PUT", 10),
        ("public.ecr.aws", Kind.UPLOAD, "POST", 10),
        ("public.ecr.aws", Kind.UPLOAD, "PATCH", 50),
        ("public.ecr.aws", Kind.MANIFEST, "PUT", 1),
        ("ghcr.io", Kind.READ, "HEAD", 2000 / 60),
        ("ghcr.io", Kind.MANIFEST, "PUT", 2000 / 60),
    ],
)
def test_big_vendors_get_what_they_say_they_take(
    host: str, kind: limits.Kind, method: str, rate: float
) -> None:
    assert _rate(limits.Pace(host, clock=Clock()), kind, method) == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("host", [HOME, "ghcr.io.example.com", f"{ECR}.example.com", "127.0.0.1"])
def test_nothing_is_assumed_of_other_registries(host: str) -> None:
    assert not limits.Pace(host)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_ecr_does_not_limit_so_is_free(method: str) -> None:
    pace = limits.Pace(ECR, clock=Clock())
    assert {pace.take(Kind.READ, method) for _ in range(10_000)} == {0}


def test_an_operators_number_replaces_the_vendors_total_and_not_its_single_calls() -> None:
    assert _rate(limits.Pace("ghcr.io", 5, Clock()), Kind.READ, "GET") == pytest.approx(5)
    assert _rate(limits.Pace(ECR, 50, Clock()), Kind.READ, "GET") == pytest.approx(50, rel=0.01)
    assert _rate(limits.Pace(ECR, 50, Clock()), Kind.MANIFEST, "PUT") == pytest.approx(10)


@pytest.mark.parametrize("streams", [1, 4, 32])
@pytest.mark.parametrize("rate", [100_000, 5 * MB, 200 * MB])
def test_large_blobs_keep_to_the_cap_within_five_percent(rate: int, streams: int) -> None:
    meter = _meter(rate)
    moved = _moved(meter, streams, lambda _: iter(lambda: meter.piece, 0))
    assert sum(moved.values()) == pytest.approx(rate * SECONDS, rel=0.05)


@pytest.mark.parametrize("streams", [1, 4, 32])
@pytest.mark.parametrize("rate", [100_000, 5 * MB])
def test_small_blobs_keep_to_the_cap_within_five_percent(rate: int, streams: int) -> None:
    moved = _moved(_meter(rate), streams, _small)
    assert sum(moved.values()) == pytest.approx(rate * SECONDS, rel=0.05)


def test_streams_share_the_cap_alike() -> None:
    meter = _meter(5 * MB)
    meter.take(MB // 2)  # what a rest has saved goes to whoever comes first
    moved = _moved(meter, 8, lambda _: iter(lambda: meter.piece, 0))
    assert max(moved.values()) - min(moved.values()) <= 2 * meter.piece


def test_each_direction_has_the_cap_for_itself_and_the_tightest_cap_counts() -> None:
    own, overall = (limits.Bandwidth(rate, Clock()) for rate in (1 * MB, 10 * MB))
    reads, writes = limits.Meter.reading(own, overall), limits.Meter.writing(overall)
    assert reads
    assert writes
    assert reads.take(2 * MB) == pytest.approx(2 - REST)
    assert writes.take(2 * MB) == pytest.approx(0.2 - REST)


def test_a_cap_for_all_is_shared_by_registries() -> None:
    overall = limits.Bandwidth(MB, Clock())
    first, second = limits.Meter.reading(None, overall), limits.Meter.reading(None, overall)
    assert first
    assert second
    assert first.take(MB) == pytest.approx(1 - REST)
    assert second.take(MB) == pytest.approx(2 - REST)


def test_without_a_cap_there_is_nothing_to_ask() -> None:
    shared = connect("eu", "https://registry.example.com")
    assert (shared.reads, shared.writes, shared.pace) == (None, None, None)
    capped = connect("eu", "https://registry.example.com", allowed=Allowed(bandwidth=MB))
    assert capped.reads
    assert capped.writes


@given(sizes=st.lists(st.integers(0, 5000), max_size=6), piece=st.integers(1, 3000))
def test_what_is_cut_into_turns_is_whole_again(sizes: list[int], piece: int) -> None:
    meter = _meter(MB)
    meter.piece = piece
    data = random.Random(0).randbytes(sum(sizes))
    view, chunks, at = memoryview(data), [], 0
    for size in sizes:
        chunks.append(view[at : at + size])
        at += size
    waited: list[float] = []
    parts = list(meter.sending(iter(chunks), waited.append))
    assert b"".join(parts) == data
    assert max(map(len, parts), default=0) <= piece
    assert len(waited) == len(parts)
    assert b"".join(meter.receiving(iter(parts), len(data), waited.append)) == data


SECONDS = 3.0  # of a clock that is told


def _rate(pace: limits.Pace, kind: limits.Kind, method: str) -> float:
    """How many such requests a second the pace lets through once its burst is used up."""
    waits = [pace.take(kind, method) for _ in range(3000)]
    return 1000 / (waits[2999] - waits[1999])


def _meter(rate: int) -> limits.Meter:
    meter = limits.Meter.reading(limits.Bandwidth(rate, CLOCK))
    assert meter
    return meter


CLOCK = Clock()


def _small(stream: int) -> Iterator[int]:
    """Sizes of small blobs, for ever."""
    order = random.Random(stream)
    while True:
        yield order.randrange(100, 4000)


def _moved(
    meter: limits.Meter, streams: int, sizes: Callable[[int], Iterator[int]]
) -> Counter[int]:
    """How much each of some streams moves in three seconds; they wake up to 20 ms late."""
    order = random.Random(streams)
    wanted = {stream: sizes(stream) for stream in range(streams)}
    began, moved = CLOCK.now, Counter[int]()
    awake = [(began, stream, 0) for stream in wanted]
    while awake:
        CLOCK.now, stream, size = heapq.heappop(awake)
        moved[stream] += size
        size = next(wanted[stream])
        wait = meter.take(size)
        late = order.uniform(0, 0.02) if wait else 0.0
        if CLOCK.now + wait + late <= began + SECONDS:
            heapq.heappush(awake, (CLOCK.now + wait + late, stream, size))
    CLOCK.now = began + SECONDS
    return moved
