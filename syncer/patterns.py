r"""Patterns for repositories and tags: globs, `re:` and `semver:`. Pure.

Three forms, each compared with the whole name:

- A glob. `?` is one character, `*` any number, neither crosses `/`; `[a-f]` and `[!a-f]` are
  classes; `**`, alone between slashes, is any number of path components. `prod/**` is everything
  below `prod/` and not `prod` itself; `**/app` is `app` at any depth, also at the top. A character
  that no name can have is an error: a regular expression in the wrong field would match nothing.
- `re:` and a regular expression for RE2, which has no lookaround or backreferences and takes time
  linear in the name. `(?P<branch>...)` captures for `group`.
- `semver:` and comparators, all of which must hold: `semver:>=1.4 <2`. They are `>= > < <= = !=`.
  A version of fewer than three numbers speaks of its whole line: `=1.4` is every 1.4.x and `>1.4`
  begins at 1.5. Pre-releases are left out unless a comparator names one (`>=1.4.0-0`). It captures
  `major`, `minor` and `patch`.

Matching is case-sensitive on every host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# The libraries behind the three forms are imported with the first pattern that needs them.
_CLASS = re.compile(r"\[!?[A-Za-z0-9._-]+\]")
_FOREIGN = re.compile(r"[^A-Za-z0-9._/*?-]")
_COMPARATOR = re.compile(
    r"(?P<op>>=|<=|!=|>|<|=)v?(?P<numbers>\d+(?:\.\d+){0,2})(?P<prerelease>-[0-9A-Za-z.-]+)?",
    re.ASCII,
)
# A lone number is a build number or a date at least as often as a version.
_VERSION = re.compile(
    r"v?(?P<numbers>\d+\.\d+)(?P<patch>\.\d+)?(?P<rest>-[0-9A-Za-z.-]+)?", re.ASCII
)

# Sorts as semver.org section 11 says: numbers, then a release after its pre-releases, then the
# pre-release's identifiers, where numbers come before words and fewer before more.
Version = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]
_Matches = Callable[[str], bool]
_Groups = Callable[[str], dict[str, str] | None]


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern; two are equal when their texts are. Made by `parse`.

    Attributes:
        text: The pattern as it was written.
        group_names: What `groups` captures.
        is_literal: Whether it is a plain name, which matches itself only.
        is_semver: Whether it compares versions.
    """

    text: str
    group_names: frozenset[str] = field(compare=False)
    is_literal: bool = field(compare=False)
    is_semver: bool = field(compare=False)
    _matches: _Matches = field(compare=False, repr=False)
    _groups: _Groups | None = field(compare=False, repr=False)

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` fits."""
        return self._matches(name)

    def groups(self, name: str) -> dict[str, str] | None:
        """The named captures of a match, empty for a group that took no part; None: no match."""
        if self._groups is not None:
            return self._groups(name)
        return {} if self._matches(name) else None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Selection:
    """The names that at least one of `include` matches and none of `exclude` does."""

    include: tuple[Pattern, ...]
    exclude: tuple[Pattern, ...] = ()

    def matches(self, name: str) -> bool:
        """Whether `name` is selected."""
        return any(each.matches(name) for each in self.include) and not any(
            each.matches(name) for each in self.exclude
        )

    def counts(self, names: Iterable[str]) -> dict[str, int]:
        """How many of `names` each pattern matched by itself, by the pattern's text."""
        patterns = {each.text: each for each in (*self.include, *self.exclude)}
        counts = dict.fromkeys(patterns, 0)
        for name in names:
            for text, pattern in patterns.items():
                counts[text] += pattern.matches(name)
        return counts


def parse(text: str) -> Pattern:
    """The pattern that `text` spells.

    Raises:
        ValueError: It spells none; the message is one sentence for the person who wrote it.
    """
    if text.startswith("re:"):
        return _regex(text)
    if text.startswith("semver:"):
        return _semver(text)
    return _glob(text)


def version(tag: str) -> Version | None:
    """A key that sorts `tag` as a version, or None when it is none.

    `v1.4.2`, `1.4.2-rc.1` and `1.4` (as 1.4.0) are versions; `14` and `2024.01` (semver.org
    section 2: no leading zeros) are not.
    """
    match = _VERSION.fullmatch(tag)
    if match is None:
        return None
    numbers, patch, rest = match.groups(default="")
    import semver  # noqa: PLC0415

    try:
        parsed = semver.Version.parse(f"{numbers}{patch or '.0'}{rest}")
    except ValueError:
        return None
    return (
        parsed.major,
        parsed.minor,
        parsed.patch,
        parsed.prerelease is None,
        tuple(map(_identifier, parsed.prerelease.split("."))) if parsed.prerelease else (),
    )


def _identifier(text: str) -> tuple[bool, int, str]:
    return (False, int(text), "") if text.isdigit() else (True, 0, text)


def _is_one_component(name: str) -> bool:
    return bool(name) and "/" not in name


def _glob(text: str) -> Pattern:
    if not text:
        raise ValueError("an empty pattern matches nothing: write '*' for every name")
    if foreign := _FOREIGN.search(_CLASS.sub("", text)):
        raise ValueError(
            f"{text!r} is no glob, since no name has {foreign[0]!r} in it:"
            f" begin with 're:' if it is meant as a regular expression"
        )
    components = text.split("/")
    if "" in components:
        raise ValueError(f"{text!r} matches nothing: no name begins or ends with / or has // in it")
    if any("**" in each and each != "**" for each in components):
        raise ValueError(f"'**' in {text!r} must stand alone between slashes, as in 'prod/**'")
    if not set(text) & set("*?["):
        return Pattern(text, frozenset(), True, False, text.__eq__, None)
    if text == "*":
        return Pattern(text, frozenset(), False, False, _is_one_component, None)
    from wcmatch import glob  # noqa: PLC0415

    flags = glob.CASE | glob.DOTGLOB | glob.FORCEUNIX | glob.GLOBSTAR
    found = re.compile(glob.translate(text, flags=flags)[0][0]).match
    return Pattern(text, frozenset(), False, False, lambda name: found(name) is not None, None)


def _regex(text: str) -> Pattern:
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False  # RE2 would write to stderr what is raised here
    try:
        # Bytes in, offsets out: for str the binding converts every offset and takes twice as long.
        regex = re2.compile(text.removeprefix("re:").encode(), options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise ValueError(f"{text!r} is no regular expression of RE2: {reason}") from None
    names = [(name.decode(), number - 1) for name, number in regex.groupindex.items()]

    def matches(name: str) -> bool:
        return regex.fullmatch(name.encode(errors="replace")) is not None

    def groups(name: str) -> dict[str, str] | None:
        match = regex.fullmatch(name.encode(errors="replace"))
        if match is None:
            return None
        values = match.groups(default=b"")
        return {key: values[index].decode() for key, index in names}

    return Pattern(
        text,
        frozenset(name for name, _ in names),
        False,
        False,
        matches,
        groups if names else None,
    )


def _semver(text: str) -> Pattern:
    words = text.removeprefix("semver:").split()
    if not words:
        raise ValueError(f"{text!r} compares with nothing: write for example 'semver:>=1.4 <2'")
    comparators = [_comparator(word, text) for word in words]
    prereleases = any("-" in word for word in words)

    def found(name: str) -> Version | None:
        candidate = version(name)
        if candidate is None or not (prereleases or candidate[3]):
            return None
        return candidate if all(holds(candidate) for holds in comparators) else None

    def groups(name: str) -> dict[str, str] | None:
        candidate = found(name)
        if candidate is None:
            return None
        return dict(zip(("major", "minor", "patch"), map(str, candidate[:3]), strict=True))

    return Pattern(
        text,
        frozenset({"major", "minor", "patch"}),
        False,
        True,
        lambda name: found(name) is not None,
        groups,
    )


def _comparator(word: str, text: str) -> Callable[[Version], bool]:
    match = _COMPARATOR.fullmatch(word)
    if match is None:
        raise ValueError(
            f"{word!r} in {text!r} is no comparator: write >= > < <= = or != and a version, no space"
            " between them, as in 'semver:>=1.4 <2'"
        )
    numbers, prerelease = match["numbers"], match["prerelease"] or ""
    length = numbers.count(".") + 1
    if prerelease and length < 3:
        raise ValueError(f"{word!r} in {text!r} names a pre-release of no full version")
    wanted = version(numbers + ".0" * (3 - length) + prerelease)
    if wanted is None:
        raise ValueError(f"{word!r} in {text!r} has no version as semver.org defines it")
    # A partial version is compared with as many numbers as it has.
    size = len(wanted) if length == 3 else length
    return _comparison(match["op"], wanted[:size], size)


def _comparison(op: str, wanted: tuple[object, ...], size: int) -> Callable[[Version], bool]:
    compare: Callable[[tuple[object, ...], tuple[object, ...]], bool] = {
        ">=": tuple.__ge__,
        ">": tuple.__gt__,
        "<": tuple.__lt__,
        "<=": tuple.__le__,
        "=": tuple.__eq__,
        "!=": tuple.__ne__,
    }[op]
    return lambda candidate: compare(candidate[:size], wanted)
