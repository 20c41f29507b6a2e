"""What no table can know by itself: names that lead nowhere, doubles, and rules that go in circles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from syncer.rules import circles
from syncer.rules.model import Rules
from syncer.rules.policies import PolicyRules
from syncer.rules.positions import Location
from syncer.rules.replication import ReplicateRule
from syncer.rules.values import suggestion

Found = tuple[Location, str]


def found(rules: Rules, registries: Collection[str]) -> Iterator[Found]:
    """Every mistake between the tables of `rules`, with its place and one sentence.

    Args:
        rules: The rules, or those of them that have no mistake in themselves.
        registries: The names of all registries of the file.
    """
    yield from _doubles(rules)
    yield from _same_urls(rules)
    yield from _layouts(rules)
    yield from _silent_lag(rules)
    for index, rule in enumerate(rules.replicate):
        for location, message in (*_replicate(rule, registries), *_closed(rules, rule)):
            yield ("replicate", index, *location), message
    for index, policy in enumerate(rules.policies):
        for location, message in (*_policy(policy, registries), *_closed(rules, policy)):
            yield ("retention", "policy", index, *location), message
    for index, message in circles.found(rules.replicate):
        yield ("replicate", index), message


def _doubles(rules: Rules) -> Iterator[Found]:
    """Names given twice: commands take those of rules and policies alike."""
    places: list[tuple[Location, ReplicateRule | PolicyRules]] = [
        *((("replicate", index), rule) for index, rule in enumerate(rules.replicate)),
        *((("retention", "policy", index), policy) for index, policy in enumerate(rules.policies)),
    ]
    yield from _twice(((*location, "name"), each.name) for location, each in places)


def _twice(names: Iterable[tuple[Location, str]]) -> Iterator[Found]:
    seen: set[str] = set()
    for location, name in names:
        if name in seen:
            yield location, f"{name!r} is the name of another rule or policy already"
        seen.add(name)


def _same_urls(rules: Rules) -> Iterator[Found]:
    first: dict[str, str] = {}
    for name, registry in rules.registry.items():
        other = first.setdefault(registry.url, name)
        if other != name:
            message = f"is the same registry as {other!r}: leases and limits need one name for it"
            yield ("registry", name, "url"), message


def _silent_lag(rules: Rules) -> Iterator[Found]:
    if rules.notify.lag and not rules.notify.webhook:
        yield ("notify", "lag"), "means nothing without a webhook"


def _layouts(rules: Rules) -> Iterator[Found]:
    """Keys that say how to speak to a registry, where there is a directory instead."""
    for name, registry in rules.registry.items():
        if registry.layout:
            for key in sorted(registry.model_fields_set - {"url", "window"}):
                yield ("registry", name, key), "means nothing for an image layout, a directory"


def _unknown(name: str, registries: Collection[str]) -> str:
    hint = suggestion(name, registries) or f"; write a [registry.{name}] table"
    return f"{name!r} is no registry of this file{hint}"


def _dangling(
    location: Location, names: Sequence[str], registries: Collection[str]
) -> Iterator[Found]:
    for index, name in enumerate(names):
        if name not in registries:
            yield (*location, index), _unknown(name, registries)
        elif name in names[:index]:
            yield (*location, index), f"{name!r} is named twice"


def _scheduled(rule: ReplicateRule | PolicyRules) -> Iterator[Found]:
    for key in ("jitter", "window", "deadline"):
        if getattr(rule, key) and rule.schedule is None:
            yield (key,), "means nothing without a schedule"


def _closed(rules: Rules, rule: ReplicateRule | PolicyRules) -> Iterator[Found]:
    if not rules.hours(rule).minutes:
        yield ("schedule",), "its window and those of its registries are never open together"


def _replicate(rule: ReplicateRule, registries: Collection[str]) -> Iterator[Found]:
    yield from _scheduled(rule)
    if rule.source not in registries:
        yield ("source",), _unknown(rule.source, registries)
    yield from _dangling(("target",), rule.target, registries)
    if circles.onto_itself(rule):
        yield ("target",), f"{rule.source!r} is the source too: this copies onto itself"


def _policy(policy: PolicyRules, registries: Collection[str]) -> Iterator[Found]:
    yield from _scheduled(policy)
    if policy.registry not in registries:
        yield ("registry",), _unknown(policy.registry, registries)
    yield from _dangling(("require_mirrored",), policy.require_mirrored, registries)
    if policy.registry in policy.require_mirrored:
        yield ("require_mirrored",), f"{policy.registry!r} is what is pruned, not a mirror of it"
    yield from _twice(
        (("rule", index, "name"), rule.name) for index, rule in enumerate(policy.rule) if rule.name
    )
