"""The keys that say how much may be asked and moved: what they mean, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors, rules
from syncer.rules import rates

NO_BANDWIDTH = (
    "'20MB' is no bandwidth: write a whole number, one of kB, MB, GB (powers of 1000), KiB, MiB,"
    " GiB (of 1024), and /s, such as '20MB/s'"
)
BITS = "'160Mbit/s' counts bits: write bytes, an eighth of that, such as '20MB/s' for 160 Mbit/s"
SIZES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def loaded(registry: str = "", limits: str = "") -> rules.Rules:
    url = 'url = "https://registry.example.com"'
    return rules.loads(f"schema = 1\n[limits]\n{limits}\n[registry.eu]\n{url}\n{registry}\n")


def refused(registry: str = "", limits: str = "") -> str:
    with pytest.raises(errors.RulesError) as caught:
        loaded(registry, limits)
    (problem,) = caught.value.problems
    return f"{problem.path}: {problem.message}"


@given(number=st.integers(1, 999_999), unit=st.sampled_from(sorted(SIZES)))
def test_a_rate_is_a_number_a_unit_and_a_second(number: int, unit: str) -> None:
    if number * SIZES[unit] >= rates.LOWEST:
        assert rates.parse_rate(f"{number}{unit}/s") == number * SIZES[unit]


def test_no_limit_is_the_default_and_a_tenth_the_reserve() -> None:
    eu = loaded().registry["eu"]
    assert (eu.requests_per_second, eu.bandwidth, eu.rate_limit_reserve) == (None, None, 10)
    assert loaded().limits.bandwidth is None


def test_limits_are_read_with_their_units() -> None:
    known = loaded(
        'requests_per_second = 2.5\nbandwidth = "20MB/s"\nrate_limit_reserve = 0',
        'bandwidth = "1GiB/s"',
    )
    eu = known.registry["eu"]
    assert (eu.requests_per_second, eu.bandwidth, eu.rate_limit_reserve) == (2.5, 20_000_000, 0)
    assert known.limits.bandwidth == 2**30


def test_a_whole_number_of_requests_a_second_is_a_number() -> None:
    assert loaded("requests_per_second = 50").registry["eu"].requests_per_second == 50


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("20000000", "must be bytes a second in quotes, such as '20MB/s'"),
        (
            "'20MB'",
            NO_BANDWIDTH,
        ),
        (
            "'160Mbit/s'",
            BITS,
        ),
        ("'9kB/s'", "'9kB/s' is too little to copy anything: write at least '10kB/s'"),
    ],
)
def test_what_is_no_bandwidth_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    assert refused(f"bandwidth = {text}") == f"registry.eu.bandwidth: {sentence}"
    assert refused("", f"bandwidth = {text}") == f"limits.bandwidth: {sentence}"


@pytest.mark.parametrize("text", ["20 MB/s", "20Mb/s", "1.5MB/s", "-1MB/s", "20mb/s", "", "MB/s"])
def test_there_is_one_spelling(text: str) -> None:
    assert refused(f'bandwidth = "{text}"').startswith(f"registry.eu.bandwidth: {text!r} ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0", "must be at least 0.01"),
        ("-1", "must be at least 0.01"),
        ("nan", "must be at most 100000"),
        ("inf", "must be at most 100000"),
        ("'50'", "must be a number without quotes"),
        ("true", "must be a number without quotes"),
    ],
)
def test_requests_per_second_are_a_number_above_nothing(text: str, sentence: str) -> None:
    assert (
        refused(f"requests_per_second = {text}") == f"registry.eu.requests_per_second: {sentence}"
    )


@pytest.mark.parametrize("text", ["-1", "101"])
def test_a_reserve_is_a_percentage(text: str) -> None:
    assert "rate_limit_reserve: must be at" in refused(f"rate_limit_reserve = {text}")


def test_an_image_layout_has_no_such_limits() -> None:
    with pytest.raises(errors.RulesError, match="means nothing for an image layout"):
        rules.loads("schema = 1\n[registry.usb]\nurl = 'oci:/mnt/usb'\nbandwidth = '1MB/s'\n")
