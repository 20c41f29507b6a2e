"""Gate: how much a registry is asked at once, together and of each kind."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors
from syncer.registry import limits
from syncer.registry.limits import gate as gates
from tests.clients import Clock
from tests.registries import wait_for

Kind = limits.Kind


class Crowd:
    """Threads that each hold permits of a gate until they are let go, in any order."""

    def __init__(self, gate: limits.Gate) -> None:
        self.gate = gate
        self.inside: list[str] = []
        self._leave: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def come(
        self, name: str, count: int = 1, kind: Kind = Kind.READ, *, bulk: bool = False
    ) -> None:
        """Starts a thread that asks; returns once it is inside or in the queue."""
        self._leave[name] = threading.Event()
        before = len(self.gate._queue) + len(self.inside)
        thread = threading.Thread(target=self._stay, args=(name, count, kind, bulk))
        self._threads.append(thread)
        thread.start()
        wait_for(lambda: len(self.gate._queue) + len(self.inside) > before, f"{name} to ask")

    def go(self, name: str) -> None:
        """Lets one thread go; returns once its permits are back."""
        self.inside.remove(name)
        self._leave[name].set()
        self._threads[list(self._leave).index(name)].join(10)

    def end(self) -> None:
        for leave in self._leave.values():
            leave.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _stay(self, name: str, count: int, kind: Kind, bulk: bool) -> None:  # noqa: FBT001
        with self.gate.hold(count, kind, bulk=bulk):
            self.inside.append(name)
            self._leave[name].wait(10)


@contextmanager
def crowd(capacity: int) -> Iterator[Crowd]:
    people = Crowd(limits.Gate("eu", capacity))
    try:
        yield people
    finally:
        people.end()


def test_no_more_than_capacity_are_inside() -> None:
    with crowd(2) as people:
        for name in "abcd":
            people.come(name)
        assert people.inside == ["a", "b"]
        people.go("a")
        wait_for(lambda: people.inside == ["b", "c"], "the next to enter")


def test_the_queue_is_served_in_its_order() -> None:
    with crowd(1) as people:
        for name in "abcd":
            people.come(name)
        for expected in "abcd":
            wait_for(lambda who=expected: people.inside == [who], f"{expected} to enter")  # type: ignore[misc]
            people.go(expected)


def test_two_permits_are_taken_at_once_and_not_overtaken() -> None:
    with crowd(2) as people:
        people.come("a")
        people.come("pair", 2)
        people.come("late")
        assert people.inside == ["a"]
        people.go("a")
        wait_for(lambda: people.inside == ["pair"], "the pair to enter")


def test_asking_for_more_than_there_is_gives_all() -> None:
    with crowd(1) as people:
        people.come("pair", 2)
        people.come("late")
        assert people.inside == ["pair"]
        assert people.gate._out == 1


@pytest.mark.parametrize(("capacity", "bulk"), [(1, 1), (2, 1), (4, 3), (16, 12)])
def test_bulk_transfers_leave_a_quarter_to_small_requests(capacity: int, bulk: int) -> None:
    with crowd(capacity) as people:
        for number in range(capacity + 1):
            people.come(f"bulk{number}", bulk=True)
        assert len(people.inside) == bulk
        for number in range(capacity - bulk):
            people.come(f"small{number}")
        assert len(people.inside) == capacity


def test_a_thread_that_holds_permits_uses_those() -> None:
    gate = limits.Gate("eu", 1)
    with gate.hold(bulk=True), gate.hold(), gate.hold(2, bulk=True):
        assert gate._out == 1
    assert gate._out == 0
    with gate.hold():
        assert gate._out == 1


def test_a_stop_ends_the_waiting_and_leaves_no_trace() -> None:
    gate, stop = limits.Gate("eu", 1), threading.Event()
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            with gate.hold(stop=stop):
                pass
        except errors.InterruptedRunError as error:
            failed.append(error)

    with gate.hold():
        thread = threading.Thread(target=ask)
        thread.start()
        wait_for(lambda: len(gate._queue) == 1, "the thread to queue")
        stop.set()
        thread.join(10)
    assert len(failed) == 1
    assert not gate._queue
    with gate.hold():
        assert gate._out == 1


def test_simultaneous_429s_halve_the_window_once() -> None:
    clock = Clock()
    gate = limits.Gate("eu", 16, clock=clock)
    for _ in range(10):
        gate.congested()
    assert gate.window() == 8
    clock.now += limits.EPOCH
    gate.congested()
    assert gate.window() == 4


def test_the_window_grows_back_by_one_for_a_window_of_answers_up_to_the_ceiling() -> None:
    gate = limits.Gate("eu", 4, clock=Clock())
    gate.congested()
    assert gate.window() == 2
    for _ in range(3):
        gate.succeeded()
    assert gate.window() == 3
    for _ in range(100):
        gate.succeeded()
    assert gate.window() == 4


def test_a_smaller_window_lets_fewer_in_but_always_one() -> None:
    with crowd(2) as people:
        people.come("a")
        people.come("b")
        people.gate.congested()
        people.come("c")
        people.go("a")
        assert people.inside == ["b"]
        people.go("b")
        wait_for(lambda: people.inside == ["c"], "c to enter")


def test_a_pause_is_kept_and_five_minutes_long_at_most() -> None:
    clock = Clock()
    gate = limits.Gate("eu", 1, clock=clock)
    gate.pause(20)
    gate.pause(5)
    assert gate.paused() == 20
    gate.pause(86400)
    assert gate.paused() == limits.LONGEST_PAUSE
    clock.now += limits.LONGEST_PAUSE
    assert gate.paused() == 0


def test_a_429_halves_the_window_of_its_kind_alone() -> None:
    clock = Clock()
    gate = limits.Gate("eu", 16, clock=clock)
    gate.congested(Kind.UPLOAD)
    gate.congested(Kind.MANIFEST)
    windows = {kind: gate.window(kind) for kind in Kind}
    assert windows == {Kind.READ: 16, Kind.UPLOAD: 8, Kind.MANIFEST: 8, Kind.DELETE: 16}
    for _ in range(8):
        gate.succeeded(Kind.READ)
    assert gate.window(Kind.UPLOAD) == 8
    for _ in range(9):
        gate.succeeded(Kind.UPLOAD)
    assert gate.window(Kind.UPLOAD) == 9


def test_who_waits_for_room_of_its_kind_is_passed_by_the_others() -> None:
    with crowd(2) as people:
        people.gate.congested(Kind.UPLOAD)
        people.come("upload", kind=Kind.UPLOAD)
        people.come("more", kind=Kind.UPLOAD)
        people.come("most", kind=Kind.UPLOAD)
        people.come("head")
        assert people.inside == ["upload", "head"]
        people.go("head")
        people.come("again")
        assert people.inside == ["upload", "again"]
        people.go("upload")
        wait_for(lambda: people.inside == ["again", "more"], "the next upload to enter")


def test_all_kinds_together_stay_within_the_capacity() -> None:
    with crowd(3) as people:
        for kind in Kind:
            people.come(kind.name, kind=kind)
        assert len(people.inside) == 3


def test_bulk_transfers_leave_room_in_a_window_that_has_shrunk() -> None:
    with crowd(8) as people:
        people.gate.congested()
        for number in range(4):
            people.come(f"bulk{number}", bulk=True)
        assert len(people.inside) == 3
        people.come("head")
        assert people.inside[3] == "head"
        people.come("put", kind=Kind.UPLOAD, bulk=True)
        assert people.inside[4] == "put"


def test_single_permits_for_bulk_do_not_overtake_a_pair_for_ever() -> None:
    with crowd(4) as people:
        for name in ("a", "b"):
            people.come(name, bulk=True)
        people.come("pair", 2, Kind.UPLOAD, bulk=True)
        people.come("late", bulk=True)
        assert people.inside == ["a", "b"]
        people.go("a")
        wait_for(lambda: people.inside == ["b", "pair"], "the pair to enter")


def test_a_pause_is_kept_for_its_kind_alone_unless_it_is_for_all() -> None:
    gate = limits.Gate("eu", 1, clock=Clock())
    gate.pause(20, Kind.UPLOAD)
    assert (gate.paused(Kind.UPLOAD), gate.paused()) == (20, 0)
    gate.pause(10)
    assert (gate.paused(Kind.UPLOAD), gate.paused()) == (20, 10)


Wish = tuple[int, bool, limits.Kind]
WISHES = st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.sampled_from(Kind)), max_size=14)


@given(capacity=st.integers(1, 6), wishes=WISHES, order=st.randoms(use_true_random=False))
def test_permits_exceed_neither_what_there_is_nor_a_window_and_all_are_served(
    capacity: int, wishes: list[Wish], order: random.Random
) -> None:
    """Granting is a pure step over the queue, so threads are not needed to try every order."""
    gate = limits.Gate("eu", capacity, clock=Clock())
    permits = {index: _permit(gate, wish) for index, wish in enumerate(wishes)}
    coming, waiting, inside = list(permits), list[int](), list[int]()
    while coming or inside:
        match order.choice(["come", "go", "429", "fine"]):
            case "come" if coming:
                waiting.append(coming.pop(0))
                gate._queue.append(permits[waiting[-1]])
                gate._grant()
            case "go" if inside:
                gone = order.choice(inside)
                inside.remove(gone)
                gate._leave(permits[gone])
            case "429":
                lane = gate._lanes[order.choice(list(Kind))]
                lane.window = max(1.0, lane.window / 2)
            case _:
                gate.succeeded(order.choice(list(Kind)))
        entered = [index for index in waiting if permits[index].granted]
        inside += entered
        _check(gate, [wishes[index] for index in inside], [wishes[index] for index in entered])
        for index in entered:
            alike = [other for other in waiting if wishes[other] == wishes[index]]
            assert alike[0] == index
            waiting.remove(index)
        assert inside or not waiting
    assert (gate._out, gate._bulk, len(gate._queue)) == (0, 0, 0)


def _permit(gate: limits.Gate, wish: Wish) -> gates._Permit:
    count, bulk, kind = wish
    lane = gate._lanes[kind]
    return gates._Permit(gate, lane, min(count, gate.capacity), None, bulk=bulk)


def _check(gate: limits.Gate, inside: list[Wish], entered: list[Wish]) -> None:
    """What is inside fits; windows may have shrunk since others entered."""
    capacity = gate.capacity
    assert sum(min(count, capacity) for count, _, _ in inside) <= capacity
    bulk = [min(count, capacity) for count, bulk, _ in inside if bulk]
    assert len(bulk) <= 1 or sum(bulk) <= max(1, int(capacity * 0.75))
    for _, is_bulk, kind in entered:
        alike = [wish for wish in inside if wish[2] is kind]
        assert len(alike) <= gate.window(kind)
        if is_bulk:
            assert sum(wish[1] for wish in alike) <= max(1, int(gate.window(kind) * 0.75))


def test_many_threads_share_one_gate_without_losing_permits() -> None:
    gate = limits.Gate("eu", 3)
    most, now, lock = 0, 0, threading.Lock()

    def work(number: int) -> None:
        nonlocal most, now
        for turn in range(30):
            with ExitStack() as stack:
                kind = Kind((number + turn) % len(Kind))
                stack.enter_context(gate.hold(1 + turn % 2, kind, bulk=bool(number % 2)))
                gate.congested(kind) if turn % 7 == 0 else gate.succeeded(kind)
                with lock:
                    now += 1
                    most = max(most, now)
                with lock:
                    now -= 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert most <= 3
    assert (gate._out, gate._bulk) == (0, 0)
