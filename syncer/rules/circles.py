"""Replication rules that lead back to where they read. Pure.

One rule feeds another when it writes to a registry, under names that the other may read there. What
a rule may write and read is told from the fixed beginnings of its patterns and from its `rename`:
"may" errs on the careful side.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from syncer.patterns import Pattern
from syncer.rules.replication import ReplicateRule

_GLOB_START = re.compile(r"[^*?\[]*")
_REGEX_START = re.compile(r"re:([a-z0-9/_-]*)(?![*?{])")


@dataclass(frozen=True)
class _Names:
    """All names that begin with `start`, or just that one."""

    start: str
    exact: bool


def onto_itself(rule: ReplicateRule) -> bool:
    """Whether a rule copies repositories to where they are."""
    keeps_names = rule.rename == "{repo}" or rule.literal_repos == (rule.rename,)
    return rule.source in rule.target and keeps_names


def found(rules: Sequence[ReplicateRule]) -> Iterator[tuple[int, str]]:
    """For each harmful circle the index of a rule in it, and one sentence.

    A circle is harmless when none of its rules replaces tags or makes names longer. Rules that copy
    onto themselves are left to others.
    """
    graph = _Graph(rules)
    told = {index for index, rule in enumerate(rules) if onto_itself(rule)}
    for index, rule in enumerate(rules):
        grows = "{" in rule.rename and rule.rename != "{repo}"
        if index in told or not (grows or rule.overwrite != "never"):
            continue
        if circle := graph.circle(index):
            told.update(circle)
            names = " -> ".join(rules[each].name for each in (*circle, index))
            cure = "" if grows else ", or set overwrite = 'never' in each of them"
            message = (
                f"leads back to its source ({names}): use repos and exclude_repos so that no rule"
                f" reads what another one wrote{cure}"
            )
            yield index, message


class _Graph:
    """Which rule feeds which."""

    def __init__(self, rules: Sequence[ReplicateRule]) -> None:
        self._rules = rules
        self._readers: dict[str, list[int]] = {}
        self._targets: dict[str, set[str]] = {}
        for index, rule in enumerate(rules):
            if not onto_itself(rule):
                self._readers.setdefault(rule.source, []).append(index)
                self._targets.setdefault(rule.source, set()).update(rule.target)
        self._reads = [[_start(each) for each in rule.repos] for rule in rules]
        self._skips = [_skipped(rule) for rule in rules]
        self._reached = functools.cache(self._reach)
        self._fed = functools.cache(self._feed)

    def circle(self, first: int) -> list[int]:
        """The shortest way from a rule back to it, with the rule itself once; empty: none."""
        if self._rules[first].source not in self._reached(self._rules[first].source):
            return []  # the registries alone tell, and much sooner
        ways = {first: [first]}
        queue = [first]
        for index in queue:
            for after in self._fed(index):
                if after == first:
                    return ways[index]
                if after not in ways:
                    ways[after] = [*ways[index], after]
                    queue.append(after)
        return []

    def _reach(self, registry: str) -> set[str]:
        """The registries that content of one may come to."""
        reached: set[str] = set()
        queue = [registry]
        for each in queue:
            new = self._targets.get(each, set()) - reached
            reached |= new
            queue += new
        return reached

    def _feed(self, index: int) -> list[int]:
        """The rules that may read what a rule writes."""
        rule = self._rules[index]
        writes = [_written(rule.rename, each) for each in self._reads[index]]
        return [
            reader
            for target in rule.target
            for reader in self._readers.get(target, ())
            if any(self._may_read(reader, each) for each in writes)
        ]

    def _may_read(self, reader: int, written: _Names) -> bool:
        if written.exact:
            return self._rules[reader].repo_selection.matches(written.start)
        return not written.start.startswith(self._skips[reader]) and any(
            read.start.startswith(written.start)
            or (not read.exact and written.start.startswith(read.start))
            for read in self._reads[reader]
        )


def _start(pattern: Pattern) -> _Names:
    if pattern.is_literal:
        return _Names(pattern.text, exact=True)
    form = _REGEX_START if pattern.text.startswith("re:") else _GLOB_START
    start = form.match(pattern.text)
    if start is None or "|" in pattern.text:
        return _Names("", exact=False)
    return _Names(start[start.lastindex or 0], exact=False)


def _written(rename: str, read: _Names) -> _Names:
    if "{" not in rename or (read.exact and "{repo}" in rename):
        return _Names(rename.replace("{repo}", read.start), exact=True)
    before, _, word = rename.partition("{")
    return _Names(before + (read.start if word.startswith("repo}") else ""), exact=False)


def _skipped(rule: ReplicateRule) -> tuple[str, ...]:
    """What a rule leaves out whole: `prod/` for an exclude of `prod/**`."""
    texts = (each.text.removesuffix("**") for each in rule.exclude_repos)
    return tuple(text for text in texts if text.endswith("/") and not set(text) & set("*?[:"))
