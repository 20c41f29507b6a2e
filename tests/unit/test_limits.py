"""Gate, Circuit and Backoff: how much a registry is asked at once, and when it is left alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors
from syncer.registry import limits
from tests.registries import wait_for


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Crowd:
    """Threads that each hold permits of a gate until they are let go, in any order."""

    def __init__(self, gate: limits.Gate) -> None:
        self.gate = gate
        self.inside: list[str] = []
        self._leave: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def come(self, name: str, count: int = 1, *, bulk: bool = False) -> None:
        """Starts a thread that asks; returns once it is inside or in the queue."""
        self._leave[name] = threading.Event()
        before = len(self.gate._queue) + len(self.inside)
        thread = threading.Thread(target=self._stay, args=(name, count, bulk))
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

    def _stay(self, name: str, count: int, bulk: bool) -> None:  # noqa: FBT001
        with self.gate.hold(count, bulk=bulk):
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
    assert gate.window == 8
    clock.now += limits.EPOCH
    gate.congested()
    assert gate.window == 4


def test_the_window_grows_back_by_one_for_a_window_of_answers_up_to_the_ceiling() -> None:
    gate = limits.Gate("eu", 4, clock=Clock())
    gate.congested()
    assert gate.window == 2
    for _ in range(3):
        gate.succeeded()
    assert gate.window == 3
    for _ in range(100):
        gate.succeeded()
    assert gate.window == 4


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


@given(
    capacity=st.integers(1, 6),
    wishes=st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_permits_never_exceed_what_there_is_and_all_come_back(
    capacity: int, wishes: list[tuple[int, bool]], order: object
) -> None:
    """Granting is a pure step over the queue, so threads are not needed to try every order."""
    gate = limits.Gate("eu", capacity)
    waiting = [limits._Waiter(min(n, capacity), bulk=bulk) for n, bulk in wishes]
    inside: list[limits._Waiter] = []
    queued = list(waiting)
    while queued or inside:
        if queued:
            gate._queue.append(queued.pop(0))
            gate._grant()
        inside = [each for each in waiting if each.granted]
        assert sum(each.count for each in inside) <= capacity
        bulk = [each.count for each in inside if each.bulk]
        assert len(bulk) <= 1 or sum(bulk) <= max(1, int(capacity * 0.75))
        assert inside or not gate._queue
        if inside and (not queued or order.random() < 0.5):  # type: ignore[attr-defined]
            gone = order.choice(inside)  # type: ignore[attr-defined]
            waiting.remove(gone)
            gate._leave(gone)
            inside = [each for each in waiting if each.granted]
    assert (gate._out, gate._bulk_out, len(gate._queue)) == (0, 0, 0)


def test_five_failures_in_a_row_open_the_circuit_and_the_error_says_so() -> None:
    circuit = limits.Circuit("eu", clock=Clock())
    assert [circuit.failed("connection refused") for _ in range(5)] == [False] * 4 + [True]
    with pytest.raises(errors.CircuitOpenError) as caught:
        circuit.check()
    assert str(caught.value) == (
        "eu is not asked for another 30 s: 5 requests in a row failed, the last with:"
        " connection refused"
    )


def test_an_answer_in_between_keeps_the_circuit_closed() -> None:
    circuit = limits.Circuit("eu", clock=Clock())
    for _ in range(4):
        circuit.failed("timed out")
    assert not circuit.succeeded()
    assert [circuit.failed("timed out") for _ in range(4)] == [False] * 4
    circuit.check()


def test_one_request_tries_after_the_pause_and_the_others_wait() -> None:
    clock = Clock()
    circuit = limits.Circuit("eu", threshold=1, clock=clock)
    circuit.failed("502")
    clock.now += 30
    circuit.check()
    with pytest.raises(errors.CircuitOpenError):
        circuit.check()
    assert circuit.succeeded()
    circuit.check()


def test_each_failed_try_doubles_the_pause_up_to_five_minutes() -> None:
    clock = Clock()
    circuit = limits.Circuit("eu", threshold=1, clock=clock)
    circuit.failed("502")
    for pause in (30, 60, 120, 240, 300, 300):
        clock.now += pause - 1
        with pytest.raises(errors.CircuitOpenError):
            circuit.check()
        clock.now += 1
        circuit.check()
        circuit.failed("502")


def test_failures_of_requests_under_way_do_not_lengthen_the_pause() -> None:
    clock = Clock()
    circuit = limits.Circuit("eu", clock=clock)
    for _ in range(16):
        circuit.failed("502")
    clock.now += 30
    circuit.check()


def test_a_try_that_never_comes_back_does_not_keep_the_circuit_open_for_ever() -> None:
    clock = Clock()
    circuit = limits.Circuit("eu", threshold=1, clock=clock)
    circuit.failed("502")
    clock.now += 30
    circuit.check()
    clock.now += 30
    circuit.check()


def test_the_circuit_says_when_it_closes() -> None:
    circuit = limits.Circuit("eu", threshold=1, clock=Clock())
    circuit.failed("502")
    assert circuit.open
    assert circuit.succeeded()
    assert not circuit.open
    assert not circuit.succeeded()


@given(attempt=st.integers(1, 40), share=st.floats(0, 1))
def test_the_wait_doubles_up_to_a_limit_and_any_part_of_it_is_possible(
    attempt: int, share: float
) -> None:
    backoff = limits.Backoff(0.5, 10.0, uniform=lambda low, high: low + share * (high - low))
    assert backoff.delay(attempt) == pytest.approx(share * min(10.0, 0.5 * 2 ** (attempt - 1)))


def test_many_threads_share_one_gate_without_losing_permits() -> None:
    gate = limits.Gate("eu", 3)
    most, now, lock = 0, 0, threading.Lock()

    def work(number: int) -> None:
        nonlocal most, now
        for turn in range(30):
            with ExitStack() as stack:
                stack.enter_context(gate.hold(1 + (number + turn) % 2, bulk=bool(number % 2)))
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
    assert (gate._out, gate._bulk_out) == (0, 0)
