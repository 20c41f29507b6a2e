"""One source repository against its targets: listed, looked at tag by tag, planned."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from syncer import copy, diff, errors, events, newest, plan, reference, retention, work
from syncer.copy import Comparison
from syncer.landing import Context, Landing
from syncer.look import Look, Looker, Target, recalled
from syncer.manifest import Manifest
from syncer.memory import Where
from syncer.patterns import Selection
from syncer.store import Store

_MANIFEST_BYTES = 16 * 1024 * 1024


class Repository:
    """One source repository against all its targets."""

    def __init__(self, context: Context, landing: Landing, ended: Callable[[], None]) -> None:
        self._all = context
        self._run = context.run
        self._job = landing.job
        self._source = landing.source
        self._name = landing.repository
        self._ended = ended
        self._targets = [Target(target) for target in landing.job.targets]
        self._tags: list[str] = []
        self._all_tags: list[str] = []
        self._immutable: frozenset[str] = frozenset()
        self._recalled: dict[str, str] = {}  # in step, and not looked at
        # Of a hundred thousand tags nearly all are in step everywhere: a name and a digest each.
        self._in_step: dict[str, str] = {}
        self._looks: dict[str, Look] = {}  # of the others
        self._manifests: dict[str, Manifest] = {}
        self._manifest_bytes = 0
        # None: not asked yet. Verify looks at every referrer itself.
        asks = landing.job.rule.referrers and not context.verify
        self._api: bool | None = None if asks else False
        self._asking = threading.Lock()
        self._children: set[str] = set()
        self._followed: set[str] = set()
        self._error: errors.SyncerError | None = None

    def start(self) -> None:
        """Queues the listings."""
        join = work.Join(lambda _: self._listed())
        self._run.submit(self._list_source, self._keep_error(join.part()), copy.OPEN)
        for target in self._targets:
            self._run.submit(functools.partial(self._list_target, target), join.part(), copy.OPEN)
        join.seal()

    def _keep_error(self, then: work.Then) -> work.Then:
        def told(outcome: work.Outcome[None]) -> None:
            self._error = outcome.error
            then(outcome)

        return told

    def _list_source(self) -> None:
        rule = self._job.rule
        try:
            listed = self._source.store.tags(self._source.repository)
        except errors.NotFoundError:
            if rule.names(self._source.repository):
                raise
            listed = []  # a catalog may still list what has been emptied
        tags = [tag for tag in listed if not reference.is_trash(tag)]
        self._all_tags = tags
        counts = rule.tag_selection.counts(tags)
        self._all.observer(events.PatternsMatched(rule.name, "tags", counts))
        self._tags = self._newest([tag for tag in tags if rule.tag_selection.matches(tag)])
        self._immutable = self._never_moving() if rule.immutable else frozenset()

    def _never_moving(self) -> frozenset[str]:
        """The tags that never move; what is named after a digest is added to, whatever its name."""
        rule = self._job.rule
        counts = Selection(rule.immutable).counts(self._tags)
        self._all.observer(events.PatternsMatched(rule.name, "immutable", counts))
        matches = rule.immutable_selection.matches
        return frozenset(tag for tag in self._tags if matches(tag) and not retention.followed(tag))

    def _newest(self, tags: list[str]) -> list[str]:
        """Those that `latest` leaves: what the rule names in full is not counted and stays."""
        rule = self._job.rule
        if rule.latest is None:
            return tags
        named = {each.text for each in rule.tags if each.is_literal}.intersection(tags)
        following = {tag for tag in tags if rule.referrers and retention.followed(tag)}
        counted = set(tags) - named - following
        found = newest.newest(counted, rule.latest.count, rule.latest.sort)
        counts = {"taken": len(found.tags), "older": found.older, "no version": found.unordered}
        self._all.observer(events.PatternsMatched(rule.name, "latest", counts))
        return sorted(named | found.tags)

    def _list_target(self, target: Target) -> None:
        try:
            tags = target.store.tags(self._name)
            target.listed = frozenset(tag for tag in tags if not reference.is_trash(tag))
            suppressed = self._all.memory.suppressed((target.store.key, self._name))
            target.dropped = frozenset(tag for tag, _ in suppressed)
        except errors.NotFoundError:
            target.listed = frozenset()
        except errors.SyncerError as error:
            target.error = error
        target.new = not target.listed

    def _listed(self) -> None:
        if self._error is not None:
            self._all.failed(self._job, self._source, self._error)
            self._ended()
            return
        self._all.observer(events.RuleMatched(self._job.rule.name, 0, len(self._tags)))
        for target in self._targets:
            if target.error is not None:
                self._all.failed(self._job, copy.Side(target.store, self._name), target.error)
        self._targets = [target for target in self._targets if target.error is None]
        if not self._targets:
            self._ended()
            return
        self._share_names()
        if self._immutable and not self._all.verify and not self._job.rule.platforms:
            self._run.submit(self._recall, self._look_at_rest, copy.OPEN)
        else:
            self._look_at_rest(work.Outcome({}))

    def _share_names(self) -> None:
        """Makes the name of a tag one string, whichever sides list it."""
        names = {tag: tag for tag in self._all_tags}
        for target in self._targets:
            target.listed = frozenset(names.get(tag, tag) for tag in target.listed)

    def _recall(self) -> dict[str, str]:
        """The tags that never move and were in step when last looked at, lately, on all sides."""
        until, source = self._all.now, self._source.key
        after, known = until - self._job.rule.recheck, self._all.memory.confirmed
        there = [
            (target, known((target.store.key, self._name), source, after, until))
            for target in self._targets
        ]
        return recalled(self._immutable, known(source, None, after, until), there)

    def _look_at_rest(self, outcome: work.Outcome[dict[str, str]]) -> None:
        """Looks at every tag that is not recalled; where nothing can be, at all of them."""
        self._recalled = outcome.value or {}
        if count := len(self._recalled):
            rule = self._job.rule
            self._all.observer(events.TagsRemembered(rule.name, count, rule.recheck))
        rest = [tag for tag in self._tags if tag not in self._recalled]
        if rest and self._api is None:  # beside the first looks: they want to know in the end
            self._run.submit(self._lists_referrers, lambda _: None, copy.READ)
        self._run.each(rest, self._look, self._looked, self._run.threads * 2)

    def _look(self, tag: str, ended: Callable[[], None]) -> None:
        looker = Looker(self._source, self._name, self._targets, self._lists_referrers)

        def looked(outcome: work.Outcome[Look]) -> None:
            if outcome.error is not None:
                for target in self._targets:
                    where = copy.Side(target.store, self._name)
                    self._all.failed(self._job, where, outcome.error, tag)
            else:
                self._note(tag, outcome.get())
            ended()

        self._run.submit(lambda: looker.ask(tag), looked, copy.OPEN)

    def _lists_referrers(self) -> bool:
        """Whether the source does, and is to be asked for new ones; itself asked once."""
        with self._asking:
            if self._api is None:
                try:
                    self._api = self._source.store.referrers_api(self._source.repository)
                except errors.SyncerError as error:
                    self._api, self._error = False, error
            return self._api

    def _note(self, tag: str, look: Look) -> None:
        if not look.digest:
            unsupported = look.code == errors.UnsupportedContentError.code
            fails = unsupported and self._job.rule.unsupported == "fail"
            reason = look.skipped or "listed by the source, but gone"
            self._skip(tag, reason, look.code or "GONE", fails=fails)
            return
        if look.in_step:
            self._in_step[tag] = look.digest
            return
        self._looks[tag] = look
        if look.content is None:
            return
        self._children.update(child.digest for child in look.content.manifests)
        if self._manifest_bytes < _MANIFEST_BYTES:
            self._manifests[look.digest] = look.content
            self._manifest_bytes += look.content.size

    def _skip(self, tag: str, reason: str, code: str, *, fails: bool) -> None:
        for target in self._targets:
            self._all.observer(
                events.StepDone(
                    self._job.rule.name,
                    "copy",
                    "failed" if fails else "skipped",
                    target.store.name,
                    self._name,
                    tag,
                    "",
                    reason=reason,
                    code=code,
                )
            )

    def _looked(self) -> None:
        """Every tag has been looked at: now those named after them, then plan each target."""
        if self._error is not None:
            self._all.failed(self._job, self._source, self._error)
            self._ended()
            return
        followers = self._followers() if self._job.rule.referrers else []
        self._followed.update(followers)
        if followers:  # which others may be named after in turn
            self._all.observer(events.RuleMatched(self._job.rule.name, 0, len(followers)))
            self._run.each(followers, self._look, self._looked, self._run.threads * 2)
        else:
            self._plan_all()

    def _followers(self) -> list[str]:
        """Tags the rule does not match that are named after what it does: signatures and the like."""
        loose = self._loose_followers()
        if not loose:
            return []
        subjects = self._children.union(
            self._recalled.values(), self._in_step.values(), self._differing().values()
        )
        names = {reference.fallback_tag(digest) for digest in subjects}
        return sorted(tag for tag in loose if retention.followed(tag) in names)

    def _loose_followers(self) -> tuple[str, ...]:
        excluded = Selection(self._job.rule.exclude_tags)
        named = {tag for tag in self._all_tags if retention.followed(tag)}
        loose = named.difference(self._tags, self._followed)
        return tuple(tag for tag in loose if not excluded.matches(tag))

    def _plan_all(self) -> None:
        """Plans each target when the source is noted: what is copied is as old as it is there."""

        def noted(_: work.Outcome[None]) -> None:
            join = work.Join(lambda _: self._ended())
            for target in self._targets:
                self._plan(target, join.part())
            join.seal()

        self._run.submit(self._observe_source, noted, copy.READ)

    def _observe_source(self) -> None:
        origins = self._job.origins
        tags = _both(self._in_step, self._differing())
        if origins:
            tags = {tag: origins.get(digest, digest) for tag, digest in tags.items()}
        self._all.memory.listed(self._source.key, tags, self._all_tags, self._all.now)

    def _differing(self) -> dict[str, str]:
        """What the source has that is not in step everywhere."""
        return {tag: look.digest for tag, look in self._looks.items()}

    def _plan(self, target: Target, then: work.Then) -> None:
        def planned(outcome: work.Outcome[Comparison]) -> None:
            if outcome.error is not None:
                self._all.failed(self._job, copy.Side(target.store, self._name), outcome.error)
                then(outcome)
                return
            self._all.apply(outcome.get(), lambda: then(work.DONE))

        self._run.submit(lambda: self._compare(target), planned, copy.READ)

    def _compare(self, target: Target) -> Comparison:
        rule, where = self._job.rule, (target.store.key, self._name)
        source, standing = self._bindings(target)
        attachments = list(self._attachments(target.store.name, source, standing))
        self._observe_target(target, where)
        differs = any(standing[tag] not in (digest, "") for tag, digest in source.items())
        lacks = not all(standing[tag] for tag in source)
        found = diff.diff(
            source,
            standing,
            overwrite=rule.overwrite,
            ours=self._all.memory.ours(where, self._source.key) if differs else (),
            # Asked again: a prune may have dropped tags since the listing.
            suppressed=self._all.memory.suppressed(where) if lacks else (),
            unmatched=self._all_tags,
        )
        # What is recalled must not pass for looked at, or it never would be again.
        if in_step := _both(self._in_step, found.in_step):
            self._all.memory.will_write(where, in_step, self._source.key, self._job.origins)
        found = replace(found, in_step=_both(in_step, self._recalled))
        return Comparison(
            self._source,
            copy.Destination(
                target.store,
                self._name,
                empty=target.new,
                referrers=rule.referrers,
                foreign=rule.foreign,
            ),
            self._planned(target, found, attachments),
            self._manifests,
            found.in_step,
            self._loose_followers() if rule.referrers else (),
            self._job.origins,
            unsupported_fails=rule.unsupported == "fail",
        )

    def _observe_target(self, target: Target, where: Where) -> None:
        """Notes what the looks found there, where a later run may rely on it or must not."""
        name, in_step = target.store.name, self._in_step
        found = {tag: in_step[tag] for tag in self._immutable if tag in in_step}
        for tag, look in self._looks.items():
            digest = look.at(name)
            if digest and (digest != look.digest or tag in self._immutable):
                found[tag] = digest
        if found:
            self._all.memory.standing(where, found, self._all.now)

    def _bindings(self, target: Target) -> tuple[dict[str, str], dict[str, str]]:
        """Tag -> digest of what is not in step everywhere, on both sides, where it was asked."""
        source = self._differing()
        rest = target.listed.difference(self._in_step, self._recalled)
        standing = dict.fromkeys(rest, diff.UNRESOLVED)
        for tag, look in self._looks.items():
            standing[tag] = look.at(target.store.name)
        return source, standing

    def _attachments(
        self, target: str, source: dict[str, str], standing: Mapping[str, str]
    ) -> Iterator[plan.Step]:
        """Referrers to bring to tags that stay; a list to merge is taken out of `source`."""
        for tag, look in self._looks.items():
            if count := look.missing.get(target, 0):
                yield plan.Step(plan.Action.ATTACH, tag, look.digest, reason=f"{count} new")
            elif look.merges and standing[tag] and standing[tag] != look.digest:
                del source[tag]
                yield plan.Step(plan.Action.ATTACH, tag, look.digest, reason="to merge")

    def _planned(
        self, target: Target, found: diff.Diff, attachments: Iterable[plan.Step]
    ) -> plan.RepositoryPlan:
        rule = self._job.rule
        return plan.replication(
            rule.name,
            place_of(self._source.store, self._source.repository),
            place_of(target.store, self._name),
            found,
            is_mutable=rule.mutable_selection.matches,
            max_overwrite_pct=rule.max_overwrite_pct,
            attachments=attachments,
            trimmed=self._trimmed(),
            platforms=rule.platforms,
            new=target.new,
        )

    def _trimmed(self) -> Mapping[str, str]:
        """The tags of indexes of which only some platforms go, and what each is at the source."""
        origins = self._job.origins
        if not origins:
            return {}
        tags = _both(self._in_step, self._differing())
        return {tag: origin for tag, digest in tags.items() if (origin := origins.get(digest))}


def _both(most: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Both; without a copy where there is nothing more."""
    return {**most, **more} if more else most


def place_of(store: Store, repository: str) -> plan.Place:
    """A repository of a store, by name."""
    return plan.Place(store.name, repository)
