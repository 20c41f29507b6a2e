"""A target repository walked from the tags in step down to blobs and referrers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from syncer import copy, errors, plan, reference, retention, work
from syncer.manifest import Descriptor, Manifest
from syncer.store import Resolved
from syncer.verify.findings import Finding, Wrong

# What a copy may reach at most: indexes in indexes, and as deep again below each referrer.
_DEEPEST = copy.MAX_DEPTH**2


@dataclass
class Checked:
    """How much was looked at; each digest counts once per repository."""

    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    referrers: int = 0


@dataclass(frozen=True)
class _At:
    """The tag a walk began at; `join` ends when all below it has been looked at."""

    tag: str
    digest: str
    join: work.Join


class Walk:
    """One walk; everything but the requests runs in the coordinator.

    Cost at the target: a GET for each manifest, a HEAD for each blob, once per digest. At the
    source: a GET for what the target lacks and, where it has the referrers API, one for each
    manifest; only where there are referrers the target is asked for its own. Tags named after what
    an index holds, which nobody looked at, cost a HEAD a side.

    Attributes:
        findings: What is wrong; what a manifest names stands before the manifest.
        absent: Manifests that the target does not have.
    """

    def __init__(
        self,
        run: work.Work,
        copier: copy.Copier,
        comparison: copy.Comparison,
        checked: Checked,
        unsure: Callable[[plan.Step, errors.SyncerError], None],
    ) -> None:
        self._run = run
        self._window = run.threads * 2
        self._copier = copier
        self._source = comparison.source
        self._target = comparison.target
        self._checked = checked
        self._unsure = unsure
        self._tags: Mapping[str, str] = {
            step.tag: step.digest
            for step in comparison.plan.steps
            if step.action is plan.Action.ATTACH
        } | dict(comparison.in_step)
        self._followers = set(comparison.followers)
        self._once = work.Once()
        self._seen: set[str] = set()
        self._api = False
        self._unlisted: set[str] = set()
        self._stopped = False
        self.findings: list[Finding] = []
        self.absent: set[str] = set()

    def start(self, finished: Callable[[], None]) -> None:
        """Begins; calls `finished` when everything has been looked at."""

        def learned(outcome: work.Outcome[bool]) -> None:
            if outcome.error is not None:
                self._fail("", "", outcome.error)
                finished()
                return
            self._api = outcome.get()
            self._run.each(
                self._tags.items(), self._begin, lambda: self._follow(finished), self._window
            )

        self._run.submit(self._has_api, learned, copy.OPEN)

    def _has_api(self) -> bool:
        wanted = self._target.referrers and bool(self._tags)
        return wanted and self._source.store.referrers_api(self._source.repository)

    def _begin(self, item: tuple[str, str], ended: Callable[[], None]) -> None:
        tag, digest = item
        join = work.Join(lambda _: ended())
        at = _At(tag, digest, join)
        self._checked.tags += 1
        if reference.subject_of(tag):
            self._listing(at)
        else:
            self._manifest(digest, at, join.part())
        join.seal()

    def _follow(self, finished: Callable[[], None]) -> None:
        """Goes on with tags that turn out to be named after what was looked at."""
        names = {reference.fallback_tag(digest) for digest in self._seen}
        found = [tag for tag in self._followers if retention.followed(tag) in names]
        self._followers.difference_update(found)
        if found:
            self._run.each(found, self._compare, lambda: self._follow(finished), self._window)
        else:
            finished()

    def _compare(self, tag: str, ended: Callable[[], None]) -> None:
        def told(outcome: work.Outcome[tuple[Resolved | None, Resolved | None]]) -> None:
            if outcome.error is not None:
                self._fail(tag, "", outcome.error)
            else:
                here, there = outcome.get()
                if here and there and (here.digest == there.digest or reference.subject_of(tag)):
                    self._begin((tag, here.digest), ended)
                    return
                if here:
                    wrong, by = (Wrong.DIFFERS, there.digest) if there else (Wrong.TAG, "")
                    self.findings.append(Finding(wrong, tag, here.digest, here.digest, by))
            ended()

        self._run.submit(lambda: self._resolve(tag), told, copy.READ)

    def _resolve(self, tag: str) -> tuple[Resolved | None, Resolved | None]:
        source, target = self._source, self._target
        return (
            source.store.resolve(source.repository, tag),
            target.store.resolve(target.repository, tag),
        )

    def _listing(self, at: _At) -> None:
        """Looks at referrers under a fallback tag, to which the target may have added its own."""
        then, subject = at.join.part(), reference.subject_of(at.tag)

        def read(outcome: work.Outcome[tuple[Manifest, Manifest] | None]) -> None:
            if outcome.error is not None:
                self._fail(at.tag, at.digest, outcome.error)
            elif outcome.value is None:
                self.findings.append(Finding(Wrong.TAG, at.tag, at.digest, at.digest))
            else:
                standing, wanted = outcome.value
                self._listed(wanted.manifests, _digests(standing.manifests), at, 0, subject)
                self._parts(wanted, at, then, 0)
                return
            then(work.DONE)

        self._run.submit(lambda: self._listings(at), read, copy.READ)

    def _listings(self, at: _At) -> tuple[Manifest, Manifest] | None:
        try:
            standing = self._target.store.manifest(self._target.repository, at.tag)
        except errors.NotFoundError:
            return None
        if standing.digest == at.digest:
            return standing, standing
        return standing, self._source.store.manifest(self._source.repository, at.digest)

    def _manifest(
        self, digest: str, at: _At, then: work.Then, depth: int = 0, by: str = ""
    ) -> None:
        self._once.ask(digest, lambda end: self._open(digest, at, end, depth, by), then)

    def _open(self, digest: str, at: _At, end: work.Then, depth: int, by: str) -> None:
        def read(outcome: work.Outcome[Manifest]) -> None:
            error = outcome.error
            if error is None:
                self._parts(outcome.get(), at, end, depth)
            elif isinstance(error, errors.NotFoundError):
                self._lacking(
                    Finding(Wrong.MANIFEST, at.tag, at.digest, digest, by), at, end, depth
                )
            elif isinstance(error, errors.DigestMismatchError):
                self._lacking(Finding(Wrong.BYTES, at.tag, at.digest, digest, by), at, end, depth)
            else:
                self._fail(at.tag, at.digest, error)
                end(work.DONE)

        if depth > _DEEPEST:
            self._fail(at.tag, at.digest, errors.InvalidManifestError(f"{digest} lies too deep"))
            end(work.DONE)
            return
        self._checked.manifests += 1
        self._seen.add(digest)
        self._run.submit(lambda: self._read(digest), read, copy.READ)

    def _read(self, digest: str) -> Manifest:
        store, repository = self._target.store, self._target.repository
        try:
            return store.manifest(repository, digest)
        except errors.DigestMismatchError:
            return store.manifest(repository, digest)  # a broken transfer looks the same once

    def _lacking(self, finding: Finding, at: _At, end: work.Then, depth: int) -> None:
        """Goes on below a manifest the target cannot give, by what the source has."""

        def read(outcome: work.Outcome[Manifest]) -> None:
            def add(_: work.Outcome[None]) -> None:
                if finding.wrong is Wrong.BYTES or finding.digest not in self._unlisted:
                    is_index = outcome.error is None and outcome.get().is_index
                    self.findings.append(dataclasses.replace(finding, is_index=is_index))
                end(work.DONE)

            if outcome.error is None:
                self._parts(outcome.get(), at, add, depth)
            else:
                add(work.DONE)

        if finding.wrong is Wrong.MANIFEST:
            self.absent.add(finding.digest)
        self._copier.read(self._source, finding.digest, read)

    def _parts(self, found: Manifest, at: _At, end: work.Then, depth: int) -> None:
        """Looks at what a manifest names, then calls `end`; its referrers belong to the tag."""
        join = work.Join(end)
        for child in found.manifests:
            if child.is_manifest:
                self._manifest(child.digest, at, join.part(), depth + 1, found.digest)
            else:
                self._blob(child, at, join.part(), found.digest)
        for blob in found.blobs():
            self._blob(blob, at, join.part(), found.digest)
        # Not a part of this join: a referrer may name its subject, and both would wait.
        self._referrers(found.digest, at, depth)
        join.seal()

    def _blob(self, blob: Descriptor, at: _At, then: work.Then, by: str) -> None:
        store, repository = self._target.store, self._target.repository

        def ask(end: work.Then) -> None:
            def told(outcome: work.Outcome[bool]) -> None:
                self._checked.blobs += 1
                if outcome.error is not None:
                    self._fail(at.tag, at.digest, outcome.error)
                elif not outcome.value:
                    self.findings.append(
                        Finding(Wrong.BLOB, at.tag, at.digest, blob.digest, by, blob)
                    )
                end(work.DONE)

            self._run.submit(lambda: store.has_blob(repository, blob.digest), told, copy.READ)

        if blob.is_foreign and not self._target.foreign:
            then(work.DONE)
        else:
            self._once.ask(("blob", blob.digest), ask, then)

    def _referrers(self, subject: str, at: _At, depth: int) -> None:
        if not self._api:
            return
        then = at.join.part()

        def told(outcome: work.Outcome[tuple[list[Descriptor], set[str]]]) -> None:
            if outcome.error is not None:
                self._fail(at.tag, at.digest, outcome.error)
            else:
                self._listed(*outcome.get(), at, depth, subject)
            then(work.DONE)

        self._run.submit(lambda: self._both_lists(subject), told, copy.READ)

    def _both_lists(self, subject: str) -> tuple[list[Descriptor], set[str]]:
        wanted = self._source.store.referrers(self._source.repository, subject)
        if not wanted:
            return [], set()
        return wanted, _digests(self._target.store.referrers(self._target.repository, subject))

    def _listed(
        self,
        wanted: Iterable[Descriptor],
        listed: Collection[str],
        at: _At,
        depth: int,
        subject: str,
    ) -> None:
        """Looks at each referrer of the source's, and whether the target lists it."""
        for each in wanted:
            self._checked.referrers += 1
            then = at.join.part()
            if each.digest not in listed:
                self._unlisted.add(each.digest)
                then = self._adding(
                    Finding(
                        Wrong.REFERRER,
                        at.tag,
                        at.digest,
                        each.digest,
                        subject,
                        each,
                        is_index=each.is_index,
                    ),
                    then,
                )
            self._manifest(each.digest, at, then, depth + 1, subject)

    def _adding(self, finding: Finding, then: work.Then) -> work.Then:
        def add(outcome: work.Outcome[None]) -> None:
            self.findings.append(finding)
            then(outcome)

        return add

    def _fail(self, tag: str, digest: str, error: errors.SyncerError) -> None:
        if isinstance(error, errors.InterruptedRunError):
            if self._stopped:
                return  # once says it all
            self._stopped = True
        self._unsure(plan.Step(plan.Action.VERIFY, tag, digest), error)


def _digests(found: Iterable[Descriptor]) -> set[str]:
    return {each.digest for each in found}
