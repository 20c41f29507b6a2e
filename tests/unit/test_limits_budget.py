"""Budget: the reads of manifests that a registry counts, kept above a reserve."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors
from syncer.registry import limits
from tests.clients import Clock

HOUR = 3600


def headers(left: int, limit: int = 100, window: int = 6 * HOUR) -> dict[str, str]:
    return {
        "ratelimit-limit": f"{limit};w={window}",
        "ratelimit-remaining": f"{left};w={window}",
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> limits.Budget:
    return limits.Budget("hub", 10, clock=clock)


def read(budget: limits.Budget, answer: dict[str, str] | None = None) -> None:
    mark = budget.answered
    with budget.spend():
        budget.note(answer or {}, mark)


def test_who_sends_no_headers_is_not_limited(budget: limits.Budget) -> None:
    for _ in range(1000):
        read(budget)


def test_reads_stop_at_the_reserve_and_the_sentence_says_all(budget: limits.Budget) -> None:
    read(budget, headers(11))
    read(budget, headers(10))
    with pytest.raises(errors.RateBudgetError) as caught:
        read(budget)
    assert str(caught.value) == (
        "hub is not asked for manifests: of the 100 it gives in 6 h 10 are left, and"
        " rate_limit_reserve keeps 10 of them; run again when there are more, in 6 h at the latest"
    )
    assert (caught.value.code, caught.value.temporary) == ("RATE_BUDGET", False)


@pytest.mark.parametrize(("reserve", "last"), [(0, 1), (10, 21), (50, 101), (100, 201)])
def test_the_reserve_is_a_share_of_the_limit(reserve: int, last: int) -> None:
    budget = limits.Budget("hub", reserve)
    budget.note(headers(last, limit=200), budget.answered)
    with budget.spend():
        pass
    budget.note(headers(last - 1, limit=200), budget.answered)
    with pytest.raises(errors.RateBudgetError):
        read(budget)


def test_reads_under_way_count_before_they_are_answered(budget: limits.Budget) -> None:
    budget.note(headers(12), budget.answered)
    with budget.spend(), budget.spend(), pytest.raises(errors.RateBudgetError), budget.spend():
        pass
    read(budget, headers(12))


def test_a_head_tells_that_the_budget_is_full_again(budget: limits.Budget) -> None:
    budget.note(headers(3), budget.answered)
    budget.note(headers(100), budget.answered)
    read(budget)


def test_an_answer_that_was_overtaken_gives_no_read_back(budget: limits.Budget) -> None:
    budget.note(headers(12), budget.answered)
    mark = budget.answered
    read(budget, headers(11))
    read(budget, headers(10))
    budget.note(headers(12), mark)
    with pytest.raises(errors.RateBudgetError):
        read(budget)
    budget.note(headers(13), mark)  # more than two reads explain: some have come back
    read(budget)


class Asked:
    """A question on its way: sent, counted at the registry, its answer taken in."""

    def __init__(self, budget: limits.Budget, *, counts: bool) -> None:
        self.mark = budget.answered
        self.counts = counts
        self.told: int | None = None
        self.under_way = ExitStack()
        if counts:
            self.under_way.enter_context(budget.spend())


@given(st.data())
def test_in_whatever_order_answers_come_the_reserve_is_left(data: st.DataObject) -> None:
    budget, left = limits.Budget("hub", 10), 14
    budget.note(headers(left), budget.answered)
    flying: list[Asked] = []
    for _ in range(40):
        step = data.draw(st.sampled_from(["HEAD", "GET", "count", "take in"]))
        waiting = [each for each in flying if (each.told is None) == (step == "count")]
        if step in ("HEAD", "GET"):
            with suppress(errors.RateBudgetError):
                flying.append(Asked(budget, counts=step == "GET"))
        elif waiting:
            chosen = data.draw(st.sampled_from(waiting))
            if step == "count":
                left -= chosen.counts
                chosen.told = left
            else:
                assert chosen.told is not None
                with chosen.under_way:
                    budget.note(headers(chosen.told), chosen.mark)
                flying.remove(chosen)
        assert left >= 10


def test_what_was_seen_a_minute_ago_is_doubted_only_where_it_refuses(
    budget: limits.Budget, clock: Clock
) -> None:
    budget.note(headers(50), budget.answered)
    clock.now += HOUR
    assert not budget.doubtful
    budget.note(headers(5), budget.answered)
    assert not budget.doubtful
    clock.now += 60
    assert budget.doubtful
    budget.note(headers(5), budget.answered)
    assert not budget.doubtful


def test_an_answer_that_the_limit_is_reached_stops_further_reads_for_a_while(
    budget: limits.Budget, clock: Clock
) -> None:
    with pytest.raises(errors.RateBudgetError), budget.spend():
        raise errors.RateBudgetError("429: pull rate limit")
    budget.note({}, budget.answered)  # what was asked before
    with pytest.raises(errors.RateBudgetError, match="pull limit is reached"):
        read(budget)
    clock.now += 60
    assert budget.doubtful
    budget.note({}, budget.answered)  # the HEAD that was asked in doubt
    read(budget)


def test_another_failure_spends_nothing_and_refuses_nothing(budget: limits.Budget) -> None:
    budget.note(headers(12), budget.answered)
    for _ in range(5):
        with pytest.raises(errors.UnavailableError), budget.spend():
            raise errors.UnavailableError("502")
    read(budget)


@pytest.mark.parametrize(
    "sent",
    [
        {"ratelimit-limit": "60", "ratelimit-remaining": "0", "ratelimit-reset": "31"},
        {"ratelimit-limit": "60;w=60", "ratelimit-remaining": "0;w=60"},
        {"ratelimit-remaining": "0;w=21600"},
        {"ratelimit-limit": "x;w=1", "ratelimit-remaining": "-1;w=21600"},
    ],
)
def test_limits_of_a_minute_and_other_dialects_are_left_to_retries(
    budget: limits.Budget, sent: dict[str, str]
) -> None:
    budget.note(sent, budget.answered)
    read(budget)
