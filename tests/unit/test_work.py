"""The graph of work: windows, joins and single flights, under failure and stop."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer import errors, events, work
from syncer.run.base import MOST_THREADS, NEAR_THREADS, Distance


def run(
    begin: Callable[[work.Work], None], threads: int = 4, stop: threading.Event | None = None
) -> work.Work:
    graph = work.Work(threads, stop or threading.Event())
    begin(graph)
    graph.run()
    return graph


@given(count=st.integers(0, 60), window=st.integers(1, 9), threads=st.integers(1, 8))
def test_a_window_begins_every_item_once_and_never_opens_more_than_it_may(
    count: int, window: int, threads: int
) -> None:
    open_now: set[int] = set()
    begun: list[int] = []
    widest = 0
    finished: list[bool] = []

    def begin(graph: work.Work) -> None:
        def one(item: int, ended: Callable[[], None]) -> None:
            nonlocal widest
            open_now.add(item)
            begun.append(item)
            widest = max(widest, len(open_now))

            def then(_: work.Outcome[Any]) -> None:
                open_now.discard(item)
                ended()

            if item % 3:  # some items end at once, without a leaf
                graph.submit(lambda: None, then)
            else:
                then(work.DONE)

        graph.each(range(count), one, lambda: finished.append(True), window)

    run(begin, threads)

    assert sorted(begun) == list(range(count))
    assert widest <= window
    assert finished == [True]


@given(failing=st.sets(st.integers(0, 9)), parts=st.integers(0, 10))
def test_a_join_ends_once_after_all_parts_with_an_error_if_any_part_had_one(
    failing: set[int], parts: int
) -> None:
    ends: list[work.Outcome[Any]] = []

    def begin(graph: work.Work) -> None:
        join = work.Join(ends.append)
        for number in range(parts):
            graph.submit(functools.partial(fail_if, number in failing), join.part())
        join.seal()

    run(begin)

    assert len(ends) == 1
    assert (ends[0].error is not None) == bool(failing & set(range(parts)))


def fail_if(wanted: bool) -> None:  # noqa: FBT001
    if wanted:
        raise errors.UnavailableError("no")


@settings(max_examples=60)
@given(askers=st.lists(st.booleans(), min_size=1, max_size=20), threads=st.integers(1, 8))
def test_single_flight_succeeds_for_everyone_after_the_first_success(
    askers: list[bool], threads: int
) -> None:
    """Each failing start ends only its own asker; the first good start serves all who still wait."""
    started: list[int] = []
    ended: dict[int, bool] = {}

    def end(number: int, outcome: work.Outcome[Any]) -> None:
        ended[number] = outcome.error is None

    def begin(graph: work.Work) -> None:
        once = work.Once()

        def start(number: int, *, good: bool) -> work.Start:
            def go(end: work.Then) -> None:
                started.append(number)
                graph.submit(lambda: fail_if(wanted=not good), end)

            return go

        for number, good in enumerate(askers):
            once.ask("key", start(number, good=good), functools.partial(end, number))

    run(begin, threads)

    assert len(ended) == len(askers)
    first_good = next((n for n, good in enumerate(askers) if good), len(askers))
    assert started == list(range(min(first_good + 1, len(askers))))
    assert [ended[n] for n in range(len(askers))] == [n >= first_good for n in range(len(askers))]


@given(askers=st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_convoy_lets_nobody_start_before_the_first_has_succeeded(askers: list[bool]) -> None:
    log: list[tuple[str, int]] = []
    ended: list[int] = []

    def begin(graph: work.Work) -> None:
        convoy = work.Convoy()

        def start(number: int, good: bool, end: work.Then) -> None:  # noqa: FBT001
            log.append(("start", number))

            def then(outcome: work.Outcome[Any]) -> None:
                log.append(("good" if outcome.error is None else "bad", number))
                end(outcome)

            graph.submit(lambda: fail_if(wanted=not good), then)

        for number, good in enumerate(askers):
            done = functools.partial(note, number)
            convoy.ask("key", functools.partial(start, number, good), done)

    def note(number: int, _: work.Outcome[Any]) -> None:
        ended.append(number)

    run(begin)

    assert sorted(ended) == list(range(len(askers)))
    flying = 0
    for kind, _ in log:
        if kind == "start":
            assert flying == 0, "two leaders at once"
            flying += 1
        else:
            flying -= 1
            if kind == "good":
                break


def test_a_stop_ends_what_has_not_begun_as_interrupted_and_lets_the_running_finish() -> None:
    stop = threading.Event()
    outcomes: list[type | None] = []

    def begin(graph: work.Work) -> None:
        for _ in range(50):
            graph.submit(stop.set, lambda o: outcomes.append(type(o.error) if o.error else None))

    run(begin, threads=1, stop=stop)

    assert len(outcomes) == 50
    assert outcomes.count(None) >= 1
    assert outcomes.count(errors.InterruptedRunError) >= 40


def test_a_defect_in_one_leaf_is_reported_and_does_not_stop_the_others() -> None:
    outcomes: list[work.Outcome[Any]] = []

    def begin(graph: work.Work) -> None:
        graph.submit(lambda: 1 // 0, outcomes.append)
        graph.submit(lambda: "fine", outcomes.append)

    run(begin)

    assert {o.value for o in outcomes} == {None, "fine"}
    (broken,) = (o.error for o in outcomes if o.error)
    assert "ZeroDivisionError" in str(broken)


def test_an_outcome_raises_its_error_when_asked_for_the_value() -> None:
    with pytest.raises(errors.HeldError):
        work.Outcome(error=errors.HeldError("held")).get()


def test_no_more_leaves_run_at_once_than_are_of_use() -> None:
    running = most = 0
    guard, graph = threading.Lock(), work.Work(16, threading.Event(), lambda: 2)

    def leaf() -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.001)  # long enough for others to run beside it, if they may
        with guard:
            running -= 1

    for _ in range(100):
        graph.submit(leaf, lambda _: None)
    graph.run()

    assert most <= 2 + 4  # the few that are handed out ahead


def test_a_run_takes_more_threads_once_its_quickest_answer_is_slow() -> None:
    distance = Distance()

    def answered(registry: str, seconds: float, status: int = 200) -> None:
        distance(events.RequestDone(registry, "HEAD", status, seconds))

    assert distance.threads() == NEAR_THREADS
    answered("eu", 60.0, status=0)  # no answer at all says nothing
    answered("eu", 0.2)
    answered("us", 0.001)
    assert distance.threads() == MOST_THREADS
    answered("eu", 0.001)
    assert distance.threads() == NEAR_THREADS
