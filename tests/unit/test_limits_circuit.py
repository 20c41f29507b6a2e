"""Circuit and Backoff: when a registry is left alone, and how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors
from syncer.registry import limits
from tests.clients import Clock


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
