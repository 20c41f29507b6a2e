"""What is missing, brought: blobs first, then what names them, tags last."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from syncer import copy, errors, plan, reference, work
from syncer.manifest import Manifest
from syncer.memory import Lease, Memory
from syncer.verify.findings import Finding, Wrong

Tell = Callable[[Finding, str, str, str], None]
_Stage = tuple[Iterable[Any], Callable[[Any, Callable[[], None]], None], int]


class Repair:
    """One target repository under its lease; nothing that is there is sent again.

    Cost: a blob GET + POST + PUT, a manifest PUT (the walk has read it), the list of a subject's
    referrers a GET + PUT where the target has no API for it, a tag as in a sync.

    Args:
        run: The graph of work to run in.
        copier: Brings blobs and whole tags; keeps the manifests that were read.
        memory: Has the lease.
        comparison: The two sides.
        tell: Told how it ended for each finding: outcome, reason, code.
    """

    def __init__(
        self,
        run: work.Work,
        copier: copy.Copier,
        memory: Memory,
        comparison: copy.Comparison,
        tell: Tell,
    ) -> None:
        self._run = run
        self._copier = copier
        self._memory = memory
        self._comparison = comparison
        self._source = comparison.source
        self._target = comparison.target
        self._tell = tell
        self._failed: set[str] = set()

    def start(
        self, findings: Sequence[Finding], absent: set[str], ended: Callable[[], None]
    ) -> None:
        """Begins; calls `ended` when each finding has been told of.

        Args:
            findings: What is missing, what a manifest names before the manifest.
            absent: Manifests that the target does not have.
            ended: Called at the end.
        """
        rule, where = self._comparison.plan.rule, self._target.key

        def acquired(outcome: work.Outcome[Lease]) -> None:
            if outcome.error is not None:
                for finding in findings:
                    self._tell(finding, *plan.failure(outcome.error))
                ended()
                return
            lease = outcome.get()
            self._target = dataclasses.replace(self._target, check=lease.check)
            self._next(iter(self._stages(findings, absent)), lease, ended)

        self._run.submit(lambda: self._memory.lease(where, rule), acquired, copy.READ)

    def _stages(self, findings: Sequence[Finding], absent: set[str]) -> Iterator[_Stage]:
        window = self._run.threads * 2
        kinds: defaultdict[Wrong, list[Finding]] = defaultdict(list)
        for finding in findings:
            kinds[finding.wrong].append(finding)
        yield kinds[Wrong.BLOB], self._blob, window
        put = [
            finding
            for finding in findings
            if finding.wrong is Wrong.MANIFEST
            or (finding.wrong is Wrong.REFERRER and self._needs_put(finding.digest, absent))
        ]
        yield [finding for finding in put if not finding.is_index], self._manifest, window
        # One at a time and in their order: an index may name another.
        yield [finding for finding in put if finding.is_index], self._manifest, 1
        subjects: defaultdict[str, list[Finding]] = defaultdict(list)
        for finding in kinds[Wrong.REFERRER]:
            subjects[finding.by].append(finding)
        yield subjects.values(), self._list, window
        yield kinds[Wrong.TAG], self._tag, window

    def _needs_put(self, referrer: str, absent: set[str]) -> bool:
        # A target with the API that has it and does not list it takes note when it is put again.
        return referrer in absent or bool(
            self._target.store.capabilities(self._target.repository).referrers
        )

    def _next(self, stages: Iterator[_Stage], lease: Lease, ended: Callable[[], None]) -> None:
        for items, begin, window in stages:
            self._run.each(items, begin, lambda: self._next(stages, lease, ended), window)
            return
        lease.release()
        ended()

    def _end(self, finding: Finding, ended: Callable[[], None], *, last: bool = True) -> work.Then:
        def told(outcome: work.Outcome[Any]) -> None:
            error = outcome.error
            if error is not None:
                self._failed.add(finding.digest)
                self._tell(finding, *self._failure(error))
            elif last:
                self._tell(finding, "done", f"{finding.name} was missing", "")
            ended()

        return told

    def _failure(self, error: errors.SyncerError) -> tuple[str, str, str]:
        outcome, reason, code = plan.failure(error)
        lenient = not self._comparison.unsupported_fails
        if lenient and isinstance(error, errors.UnsupportedContentError):
            outcome = "skipped"
        return outcome, reason, code

    def _blob(self, finding: Finding, ended: Callable[[], None]) -> None:
        # Nothing need be asked: it has just been found missing.
        bare = dataclasses.replace(self._target, empty=True)
        self._copier.blob(self._source, finding.descriptor, bare, self._end(finding, ended))

    def _manifest(self, finding: Finding, ended: Callable[[], None]) -> None:
        end = self._end(finding, ended, last=finding.wrong is Wrong.MANIFEST)

        def read(outcome: work.Outcome[Manifest]) -> None:
            if outcome.error is not None:
                end(outcome)
            else:
                self._run.submit(lambda: self._put(outcome.get()), end, copy.PUT)

        self._copier.read(self._source, finding.digest, read)

    def _put(self, content: Manifest) -> None:
        for part in (*content.manifests, *content.blobs()):
            if part.digest in self._failed:
                raise errors.NotFoundError(
                    f"manifest {content.digest} is not put while {part.digest} is missing",
                    registry=self._target.store.name,
                )
        self._target.check()
        self._target.store.put_manifest(self._target.repository, content.digest, content)

    def _list(self, group: Sequence[Finding], ended: Callable[[], None]) -> None:
        """Has the target list what refers to one subject, all of it in one write."""
        there = [finding for finding in group if finding.digest not in self._failed]
        found = [finding.descriptor for finding in there]
        subject = group[0].by
        copied = reference.fallback_tag(subject) in {finding.tag for finding in group}
        listing = copy.merge_listing if copied else copy.list_referrers

        def listed(outcome: work.Outcome[bool]) -> None:
            for finding in there:
                self._end(finding, lambda: None)(outcome)
            ended()

        self._run.submit(lambda: listing(self._target, subject, found), listed, copy.PUT)

    def _tag(self, finding: Finding, ended: Callable[[], None]) -> None:
        known = self._comparison.manifests.get(finding.digest)
        self._copier.put(
            self._source,
            finding.digest,
            self._target,
            lambda content: self._put_tag(finding.tag, content),
            self._end(finding, ended),
            known,
        )

    def _put_tag(self, tag: str, content: Manifest) -> None:
        target = self._target
        target.check()
        origins = self._comparison.origins
        self._memory.will_write(target.key, {tag: content.digest}, self._source.key, origins)
        target.store.put_manifest(target.repository, tag, content)
