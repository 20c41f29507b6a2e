"""Names for runs and plans: short, sortable by time, easy to type."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o or u to misread
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def new(now: datetime) -> str:
    """Ten characters such as `6fz3k0qd-x7`: the millisecond (until 2054), then chance."""
    return f"{_spell((now - _EPOCH) // timedelta(milliseconds=1), 8)}-{_spell(secrets.randbits(10), 2)}"


def _spell(number: int, width: int) -> str:
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(width)))
