"""Replication rules -> repository plans: both sides listed, tags compared by digest.

`Replication` streams: the plan of one repository is handed on while others are still being listed.
Only what spans repositories is settled first: which sources there are, and where each would land.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from syncer import copy, errors, events, plan, reference, work
from syncer.compare import Repository, place_of
from syncer.landing import Apply, Context, Job, Landing
from syncer.memory import Memory
from syncer.patterns import Selection

__all__ = ["Apply", "Job", "Replication", "repositories"]

REPOSITORY_WINDOW = 8


class Replication:
    """Lists and compares the repositories of several jobs.

    Args:
        run: The graph of work to run in.
        jobs: The rules, opened.
        memory: What was seen before; this adds what is seen now.
        observer: Told what was matched, planned and could not be looked at.
        apply: What becomes of each comparison.
        only: Narrows every rule to the source repositories it matches.
        verify: Whether all is looked at, for a verify, which finds new referrers itself.
        now: When the run began.
    """

    def __init__(
        self,
        run: work.Work,
        jobs: Sequence[Job],
        memory: Memory,
        observer: events.Observer,
        apply: Apply,
        *,
        only: Selection | None = None,
        verify: bool = False,
        now: datetime,
    ) -> None:
        self._context = Context(run, memory, observer, apply, verify, now)
        self._jobs = jobs
        self._only = only
        self._landings: list[Landing] = []

    def start(self) -> None:
        """Queues the first leaves; `Work.run` does the rest."""
        join = work.Join(lambda _: self._listed_all())
        for job in self._jobs:
            self._list(job, join.part())
        join.seal()

    def _list(self, job: Job, then: work.Then) -> None:
        def listed(outcome: work.Outcome[list[str]]) -> None:
            if outcome.error is not None:
                self._context.failed(job, copy.Side(job.source, ""), outcome.error)
            else:
                self._landings += self._land(job, outcome.get())
            then(outcome)

        self._context.run.submit(
            lambda: repositories(job, self._only, self._context.observer), listed
        )

    def _land(self, job: Job, repositories: list[str]) -> Iterator[Landing]:
        for repository in repositories:
            landing = Landing(job, copy.Side(job.source, repository), job.rule.renamed(repository))
            if not reference.is_repository(landing.repository):
                landing.refused = (
                    f"rename makes {landing.repository!r}, which is no repository name"
                )
            yield landing

    def _listed_all(self) -> None:
        """Settles what spans repositories, then opens them one by one."""
        self._refuse_collisions()
        counts = {job.rule.name: 0 for job in self._jobs}
        for landing in self._landings:
            counts[landing.job.rule.name] += 1
        for name, count in counts.items():
            self._context.observer(events.RuleMatched(name, count, 0))
        self._context.run.each(self._landings, self._open, lambda: None, REPOSITORY_WINDOW)

    def _refuse_collisions(self) -> None:
        places = [
            (
                landing,
                place_of(landing.job.source, landing.source.repository),
                place_of(target, landing.repository),
            )
            for landing in self._landings
            for target in landing.job.targets
        ]
        found = plan.collisions(
            [(at.job.rule.name, source, target) for at, source, target in places]
        )
        for landing, source, target in places:
            landing.refused = landing.refused or found.get(
                (landing.job.rule.name, source, target), ""
            )

    def _open(self, landing: Landing, ended: Callable[[], None]) -> None:
        if landing.refused:
            for target in landing.job.targets:
                where = copy.Side(target, landing.repository)
                self._context.failed(landing.job, where, errors.RefusedError(landing.refused))
            ended()
            return
        Repository(self._context, landing, ended).start()


def repositories(
    job: Job, only: Selection | None = None, observer: events.Observer = events.ignore
) -> list[str]:
    """The source repositories a rule speaks of; literal names are taken without a catalog."""
    rule = job.rule
    literal = rule.literal_repos
    names = literal if literal is not None else tuple(job.source.repositories())
    observer(events.PatternsMatched(rule.name, "repos", rule.repo_selection.counts(names)))
    return sorted(
        name
        for name in set(names)
        if rule.repo_selection.matches(name) and (only is None or only.matches(name))
    )
