"""The `[[replicate]]` tables: what is copied from where to where, and what is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from syncer import patterns
from syncer.patterns import Pattern, Selection
from syncer.rules.table import Scheduled, Table
from syncer.rules.values import (
    Array,
    Name,
    Percent,
    Platform,
    Positive,
    Rename,
    RepositoryPattern,
    Some,
    Sort,
    TagPattern,
    filled,
    placeholders,
    suggestion,
)

_EVERY = patterns.parse("*")
_LATEST = patterns.parse("latest")
# The state forgets what was not seen for 90 days, and with it how old a tag is.
_LONGEST_RECHECK = timedelta(days=60)


def _check_capture(name: str, repos: Sequence[Pattern]) -> None:
    """Raises ValueError where `rename` cannot know what `{name}` stands for."""
    capturing = [pattern for pattern in repos if name in pattern.group_names]
    if name == "repo" and capturing:
        raise ValueError(
            f"{{repo}} is the whole name, and {capturing[0].text!r} captures a part of it by that"
            " word: call the capture something else"
        )
    without = [pattern for pattern in repos if name not in pattern.group_names]
    if name != "repo" and without:
        known = sorted({each for pattern in repos for each in pattern.group_names})
        raise ValueError(
            f"{{{name}}} is neither {{repo}}, the source's repository name, nor captured by"
            f" {without[0].text!r} in repos, as 're:prod/(?P<{name}>.+)' would"
            f"{suggestion(name, known)}"
        )


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Latest(Table):
    """`latest = { count = ..., sort = ... }`: only the newest of the tags that a rule matches.

    Attributes:
        count: How many in each repository.
        sort: What newer means: a higher version, or a later name.
    """

    count: int = Field(ge=1)
    sort: Sort = "semver"


class ReplicateRule(Scheduled):
    """`[[replicate]]`: what is copied from one registry to others.

    Attributes:
        name: Unique among rules and retention policies.
        source: The name of the registry to read.
        target: The names of the registries to write.
        repos, exclude_repos: The source's repositories, and those of them to leave out.
        tags, exclude_tags: Their tags, and those of them to leave out.
        latest: How many of those at most; None for all. What `tags` names in full comes anyway.
        rename: The repository's name at the targets, `{repo}` being that at the source and
            `{name}` what a `re:` pattern of `repos` captured.
        platforms: What indexes are trimmed to; empty for all of them as they are.
        overwrite: Which tags of the targets may be replaced.
        mutable: Tags that are expected to move.
        immutable: Tags that never move, those of `mutable` excepted: while all sides list one and
            the last look at it, not older than `recheck`, found it in step, it is in step. Not with
            `platforms`.
        recheck: After how long each of them is looked at all the same. Until then a tag that was
            moved at the source or put anew by somebody else at a target goes unnoticed, as do its
            new referrers where the source has the referrers API.
        max_overwrite_pct: Above so many percent of replaced tags a repository is refused.
        allow_empty: Whether matching nothing is fine.
        unsupported: What to do with content that cannot be copied.
        referrers: Whether signatures and other referrers come along.
        foreign: Whether non-distributable layers are copied, too.
    """

    name: Name
    source: str
    target: Annotated[Some[str], BeforeValidator(_several)]
    repos: Some[RepositoryPattern]
    exclude_repos: Array[RepositoryPattern] = ()
    tags: Some[TagPattern] = (_EVERY,)
    exclude_tags: Array[TagPattern] = ()
    latest: Latest | None = None
    rename: Rename = "{repo}"
    platforms: Array[Platform] = ()
    overwrite: Literal["ours", "always", "never"] = "ours"
    mutable: Array[TagPattern] = (_LATEST,)
    immutable: Array[TagPattern] = ()
    recheck: Positive = timedelta(days=7)
    max_overwrite_pct: Percent = 30
    allow_empty: bool = False
    unsupported: Literal["skip", "fail"] = "skip"
    referrers: bool = True
    foreign: bool = False

    @field_validator("rename")
    @classmethod
    def _keeps_apart(cls, rename: str, info: ValidationInfo) -> str:
        repos: tuple[Pattern, ...] = info.data.get("repos", ())
        used = placeholders(rename)
        for name in used:
            _check_capture(name, repos)
        if not used and repos and not (len(repos) == 1 and repos[0].is_literal):
            raise ValueError(
                f"{rename!r} gives every repository the same name: write {{repo}} in it, or name one"
                " repository in repos"
            )
        return rename

    @field_validator("immutable")
    @classmethod
    def _moves_or_not(cls, found: tuple[Pattern, ...], info: ValidationInfo) -> tuple[Pattern, ...]:
        for each in found:
            if each in info.data.get("mutable", ()):
                raise ValueError(
                    f"{each.text!r} is in mutable, too, where 'latest' is by default: a tag either"
                    " moves or never does"
                )
        return found

    @field_validator("recheck")
    @classmethod
    def _is_of_use(cls, recheck: timedelta, info: ValidationInfo) -> timedelta:
        if not info.data.get("immutable", True):
            raise ValueError("means nothing without immutable")
        if recheck > _LONGEST_RECHECK:
            raise ValueError(
                f"must be at most '{_LONGEST_RECHECK.days}d': what is not looked at for longer is"
                " forgotten"
            )
        return recheck

    @property
    def repo_selection(self) -> Selection:
        """The source's repositories."""
        return Selection(self.repos, self.exclude_repos)

    @property
    def tag_selection(self) -> Selection:
        """The tags of each."""
        return Selection(self.tags, self.exclude_tags)

    @property
    def mutable_selection(self) -> Selection:
        """The tags that are expected to move."""
        return Selection(self.mutable)

    @property
    def immutable_selection(self) -> Selection:
        """The tags that never move."""
        return Selection(self.immutable, self.mutable)

    @property
    def literal_repos(self) -> tuple[str, ...] | None:
        """The repositories, where all are named in full and no catalog is needed; else None."""
        return (
            tuple(each.text for each in self.repos)
            if all(p.is_literal for p in self.repos)
            else None
        )

    def names(self, repository: str) -> bool:
        """Whether `repository` is named in full, so that its absence is an error."""
        return any(each.is_literal and each.text == repository for each in self.repos)

    def renamed(self, repository: str) -> str:
        """What the source's `repository` is called at the targets.

        Captures are those of the first pattern in `repos` that matches it.
        """
        captures = (pattern.groups(repository) for pattern in self.repos)
        found = next((each for each in captures if each is not None), {})
        return filled(self.rename, found | {"repo": repository})
