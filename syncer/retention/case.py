"""The decision: for every tag of a repository keep or drop, with the rule and the reason. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from syncer.retention import keeps, wording
from syncer.retention.closure import Graph, followed
from syncer.retention.decision import Decision, bars, drop, keep
from syncer.retention.followers import follow
from syncer.retention.policy import Pin, RetentionPolicy, Rule
from syncer.retention.snapshot import Snapshot, TagFact


def decide(policy: RetentionPolicy, snapshot: Snapshot, now: datetime) -> tuple[Decision, ...]:
    """One decision for each tag of the snapshot, sorted by tag.

    Protected and pinned tags first; the first rule that matches claims; in a group the keeps are a
    union; what no rule claims stays. A tag named after a digest goes when its subject goes. The
    `min_age` of the guard and `require_mirrored` turn a drop into a keep; what refuses a whole
    repository is `refusal`.

    Args:
        policy: What the operator wants.
        snapshot: What was observed; when it is not complete, everything stays.
        now: The moment, aware. A later one looks ahead.
    """
    facts = sorted(snapshot.tags, key=lambda fact: fact.tag)
    if not snapshot.complete:
        problem = snapshot.problem or "the repository could not be read to its end"
        return tuple(keep(fact, "incomplete", problem) for fact in facts)
    case = _Case(policy, snapshot, now)
    for fact in facts:
        case.admit(fact)
    case.judge()
    followers = [fact for fact in case.followers if fact.tag not in case.decided]
    if followers:
        for each in follow(policy, snapshot, now, followers, list(case.decided.values())):
            case.decided[each.tag] = each
    return tuple(case.decided[fact.tag] for fact in facts)


class _Case:
    """One repository under one policy: tags are admitted, then the groups judged."""

    def __init__(self, policy: RetentionPolicy, snapshot: Snapshot, now: datetime) -> None:
        self.decided: dict[str, Decision] = {}
        self._policy = policy
        self._snapshot = snapshot
        self._now = now
        self._terms = keeps.Terms(now, policy.timezone, snapshot.pulls_known)
        self._pinned_tags, self._pinned_digests = _pinned(policy, snapshot)
        self._groups: dict[tuple[int, tuple[str, ...]], dict[str, list[TagFact]]] = {}
        self.followers: list[TagFact] = []

    def admit(self, fact: TagFact) -> None:
        """Decides protected, pinned and unclaimed tags; puts the others where they are judged."""
        why = self._shield(fact)
        if why:
            self.decided[fact.tag] = keep(fact, *why)
        if followed(fact.tag):
            self.followers.append(fact)
        elif claim := _claim(self._policy.rules, fact.tag):
            self._groups.setdefault(claim, {}).setdefault(fact.digest, []).append(fact)
        elif not why:
            self.decided[fact.tag] = keep(fact, "unclaimed", "claimed by no rule")

    def judge(self) -> None:
        """Decides the claimed tags, group by group.

        Protected tags lend their digest their age and order, so that to protect one tag of a
        digest never harms another; a digest of protected tags only takes no place in the counts.
        """
        for (number, values), digests in self._groups.items():
            rule = self._policy.rules[number]
            where = f" of {'.'.join(values)}" if values else ""
            units = [
                keeps.Unit.of(facts, self._now)
                for facts in digests.values()
                if any(fact.tag not in self.decided for fact in facts)
            ]
            keeps.judge(rule, units, where, self._terms)
            otherwise = f"held by none of: {', '.join(wording.keeps(rule.keep))}"
            for unit in units:
                place = f"{wording.ordinal(unit.place)}{where}, " if unit.place else ""
                self._settle(unit, rule.name, f"{place}{otherwise}")

    def _shield(self, fact: TagFact) -> tuple[str, str] | None:
        for pattern in self._policy.protect:
            if pattern.matches(fact.tag):
                return "protect", f"protected by {pattern.text!r}"
        pin = self._pinned_tags.get(fact.tag) or self._pinned_digests.get(fact.digest)
        return ("pin", str(pin)) if pin else None

    def _settle(self, unit: keeps.Unit, rule: str, otherwise: str) -> None:
        digest = unit.facts[0].digest
        barred = bars(self._policy, self._snapshot, digest, unit.arrived, self._now)
        held = unit.holds or barred
        reason = keeps.reasons(held)
        due = keeps.end(unit.holds + barred)
        for fact in unit.facts:
            if fact.tag not in self.decided:
                self.decided[fact.tag] = (
                    keep(fact, rule, reason, due)
                    if held
                    else drop(fact, rule, otherwise, self._now)
                )


def _pinned(policy: RetentionPolicy, snapshot: Snapshot) -> tuple[dict[str, Pin], dict[str, Pin]]:
    """The pins by tag, and by each digest that is or holds what they name."""
    pins = policy.pins_of(snapshot.repository)
    tags = {pin.tag: pin for pin in pins if pin.tag}
    digests: dict[str, Pin] = {}
    graph = Graph(snapshot.manifests)
    for pin in pins:
        if pin.digest:
            digests |= dict.fromkeys(graph.holders(pin.digest), pin)
    return tags, digests


def _claim(rules: Sequence[Rule], tag: str) -> tuple[int, tuple[str, ...]] | None:
    """The number of the first rule that matches `tag`, and its values of the rule's group."""
    for number, rule in enumerate(rules):
        if not rule.group:
            if rule.tags.matches(tag):
                return number, ()
        elif (captured := rule.tags.groups(tag)) is not None:
            return number, tuple(captured[name] for name in rule.group)
    return None
