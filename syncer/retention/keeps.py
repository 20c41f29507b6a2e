"""Which digests of one group the keeps of its rule hold, and why. Pure.

Every keep looks at every digest by itself and the result is their union, as in restic's `forget`:
that is why a keep that is added or raised never drops anything (`internal/data/snapshot_policy.go`
there). Where a count would cut among digests of equal order, all of them stay; a digest of unknown
order stays and takes no place.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from syncer import patterns
from syncer.retention import wording
from syncer.retention.policy import PERIODS, Rule
from syncer.retention.snapshot import TagFact, possible

K = TypeVar("K", datetime, patterns.Version)


class Hold(NamedTuple):
    """One keep that holds a digest, and until when; None: until something newer comes."""

    reason: str
    until: datetime | None = None


def reasons(holds: Iterable[Hold]) -> str:
    """All reasons, in one line."""
    return ", ".join(hold.reason for hold in holds)


def end(holds: Iterable[Hold]) -> datetime | None:
    """When the last of `holds` ends; None when one of them does not."""
    ends = [hold.until for hold in holds]
    known = [until for until in ends if until is not None]
    return max(known, default=None) if len(known) == len(ends) else None


def after(moment: datetime, span: timedelta) -> datetime | None:
    """`span` after `moment`; None beyond the end of the calendar."""
    try:
        return moment + span
    except OverflowError:
        return None


@dataclass(slots=True)
class Unit:
    """A digest in a group: its tags there share one fate, and it is counted once.

    Attributes:
        facts: Its tags in the group.
        arrived: The newest evidence of their arrival; None when it is unknown for one of them.
        ordered: The newest of what orders them; None likewise.
        holds: What keeps it; empty: nothing does.
        place: Where it stands among the others by the rule's order, from 1; 0: nobody knows.
    """

    facts: list[TagFact]
    arrived: datetime | None
    ordered: datetime | None
    holds: list[Hold] = field(default_factory=list)
    place: int = 0

    @classmethod
    def of(cls, facts: list[TagFact], now: datetime) -> Unit:
        """The unit of `facts`, which all point to one digest."""
        return cls(
            facts,
            _if_known([fact.arrived() for fact in facts]),
            _if_known([fact.ordered(now) for fact in facts]),
        )

    def version(self) -> patterns.Version | None:
        """The highest version among its tags; None when one of them is no version."""
        return _if_known([patterns.version(fact.tag) for fact in self.facts])

    def pulled(self) -> datetime | None:
        """When it was last pulled by any of its tags."""
        return max(possible(fact.pulled for fact in self.facts), default=None)


class Terms(NamedTuple):
    """What a judgement depends on beside the rule."""

    now: datetime
    zone: ZoneInfo
    pulls_known: bool


def judge(rule: Rule, units: Sequence[Unit], where: str, terms: Terms) -> None:
    """Fills `holds` and `place` of the units of one group.

    Args:
        rule: The rule that claimed them.
        units: The whole group.
        where: How reasons name the group, such as " of 1.4"; empty where there are no groups.
        terms: The moment, the zone of the calendar and whether pulls are known.
    """
    keep = rule.keep
    if rule.sort == "semver":
        _last(units, Unit.version, keep.last or 0, "highest", where)
    else:
        _last(units, _ordered, keep.last or 0, "newest", where)
    for period, value in keep.calendar:
        _calendar(units, (period, value), where, terms, fill=keep.oldest)
    if keep.within is not None:
        reason = f"within {wording.duration(keep.within)}"
        for unit in units:
            _hold_while(unit, unit.arrived, keep.within, reason, terms.now)
    if keep.pulled_within is not None:
        _pulled(units, keep.pulled_within, terms)


def _last(
    units: Iterable[Unit], key: Callable[[Unit], K | None], count: int, word: str, where: str
) -> None:
    ranked = []
    for unit in units:
        rank = key(unit)
        if rank is not None:
            ranked.append((rank, unit))
        elif count:
            unit.holds.append(Hold(f"last {count}{where}: its order is not known"))
    ranked.sort(key=operator.itemgetter(0), reverse=True)
    above: tuple[K, Unit] | None = None
    for place, (rank, unit) in enumerate(ranked, start=1):
        # A tie shares its first place, so that a cut never falls inside it.
        unit.place = above[1].place if above and above[0] == rank else place
        above = (rank, unit)
        if unit.place <= count:
            nth = word if unit.place == 1 else f"{wording.ordinal(unit.place)} {word}"
            unit.holds.append(Hold(f"last {count}{where}: {nth}"))


def _calendar(
    units: Iterable[Unit],
    keep: tuple[str, int | timedelta],
    where: str,
    terms: Terms,
    *,
    fill: bool,
) -> None:
    period, value = keep
    known = []
    for unit in units:
        if unit.ordered is None:
            unit.holds.append(Hold(f"{period}{where}: its order is not known"))
        else:
            known.append((unit.ordered, unit))
    known.sort(key=operator.itemgetter(0), reverse=True)
    newest_of: dict[str, datetime] = {}
    for moment, unit in known:
        label = moment.astimezone(terms.zone).strftime(PERIODS[period])
        if label not in newest_of and len(newest_of) == value:
            return
        if newest_of.setdefault(label, moment) == moment:
            reason = f"{period} {label}{where}"
            if isinstance(value, int):
                unit.holds.append(Hold(reason))
            else:
                _hold_while(unit, unit.arrived, value, reason, terms.now)
    if fill and isinstance(value, int) and len(newest_of) < value:
        for _, unit in itertools.takewhile(lambda pair: pair[0] == known[-1][0], reversed(known)):
            unit.holds.append(Hold(f"oldest{where}, {period} has room for {value}"))


def _pulled(units: Iterable[Unit], span: timedelta, terms: Terms) -> None:
    reason = f"pulled within {wording.duration(span)}"
    for unit in units:
        if not terms.pulls_known:
            unit.holds.append(Hold(f"{reason}: the registry does not tell pulls"))
            continue
        # What was never pulled may be on its way into use: its arrival counts as a pull.
        _hold_while(unit, unit.arrived, span, f"{reason}: it arrived within them", terms.now)
        if pulled := unit.pulled():
            _hold_while(unit, pulled, span, reason, terms.now)


def _hold_while(
    unit: Unit, since: datetime | None, span: timedelta, reason: str, now: datetime
) -> None:
    if since is None:
        unit.holds.append(Hold(f"{reason}: its age is not known"))
    elif now - since <= span:
        unit.holds.append(Hold(reason, after(since, span)))


def _ordered(unit: Unit) -> datetime | None:
    return unit.ordered


def _if_known(values: Sequence[K | None]) -> K | None:
    """The largest, or None when one is unknown: that one could be larger."""
    largest = values[0]
    for value in values:
        if value is None or largest is None:
            return None
        largest = max(largest, value)
    return largest
