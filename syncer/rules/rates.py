"""Rates as people write them: bytes a second, `20MB/s` or `512KiB/s`. Pure."""

from __future__ import annotations

import re

_RATE = re.compile(r"(\d{1,6})(kB|MB|GB|KiB|MiB|GiB)/s", re.ASCII)
_BITS = re.compile(r"[\d.]+ ?[kmgtKMGT]?i?(b|bit|bits|bps)(/s|ps)?", re.ASCII)
_UNITS = {
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
LOWEST = 10_000


def parse_rate(text: str) -> int:
    """The bytes a second that `text` spells: digits, kB, MB, GB, KiB, MiB or GiB, and /s.

    Raises:
        ValueError: It spells none, or less than 10 kB; the message is one sentence.
    """
    match = _RATE.fullmatch(text)
    if match is None and _BITS.fullmatch(text):
        raise ValueError(
            f"{text!r} counts bits: write bytes, an eighth of that, such as '20MB/s' for 160 Mbit/s"
        )
    if match is None:
        raise ValueError(
            f"{text!r} is no bandwidth: write a whole number, one of kB, MB, GB (powers of 1000),"
            " KiB, MiB, GiB (of 1024), and /s, such as '20MB/s'"
        )
    rate = int(match[1]) * _UNITS[match[2]]
    if rate < LOWEST:
        raise ValueError(f"{text!r} is too little to copy anything: write at least '10kB/s'")
    return rate
