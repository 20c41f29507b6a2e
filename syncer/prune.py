"""Retention policies -> repository plans: what goes, what stays, and why.

A repository that could not be read to its end, or whose registry shows another time than this
host, is judged all the same and drops nothing: the reason stands in every decision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from syncer import copy, errors, events, feeds, observe, plan, reference, retention, work
from syncer.retention import Decision, Pin, RetentionPolicy, Snapshot, TagFact
from syncer.state import State
from syncer.store import Store, TagDelete, TagTimes

REPOSITORY_WINDOW = 8
MOST_SKEW = timedelta(minutes=5)


# Where a repository stands at the registry of that name; None where no rule copies it.
Mirrors = Callable[[copy.Side, str], copy.Side | None]


@dataclass(frozen=True)
class Job:
    """The policies of one registry, opened.

    Attributes:
        store: The registry.
        policies: All its policies in the order of the rules file, each with the repositories it
            matches; the first that matches decides.
        names: The policies that are to run.
        literal: Repositories that the rules name, where there is no catalog to ask; else None.
    """

    store: Store
    policies: Sequence[tuple[RetentionPolicy, Callable[[str], bool]]]
    names: Collection[str]
    literal: Sequence[str] | None = None

    def policy_for(self, repository: str) -> RetentionPolicy | None:
        """The policy that decides about `repository`."""
        for policy, matches in self.policies:
            if matches(repository):
                return policy
        return None


@dataclass(frozen=True)
class Planned:
    """What is to go from one repository.

    Attributes:
        policy: The policy that decided.
        side: The repository.
        plan: The drops, or why they are refused.
    """

    policy: RetentionPolicy
    side: copy.Side
    plan: plan.RepositoryPlan


@dataclass(frozen=True)
class Verdict(Planned):
    """One repository, judged.

    Attributes:
        snapshot: What it was decided by.
        decisions: One for each tag.
    """

    snapshot: Snapshot
    decisions: tuple[Decision, ...]

    @property
    def drops(self) -> list[Decision]:
        """The decisions that drop, whether or not a guard refuses them."""
        return [decision for decision in self.decisions if not decision.keep]


class Judge:
    """Turns what was observed of a repository into a verdict.

    Args:
        state: When each tag was first seen, what is pinned, what is trash.
        now: The moment to judge at; a later one than the clock's looks ahead.
        observed_at: When the repositories are read.
        problem: Why no repository may be pruned at all, such as a clock that ran backwards.
        sources: The keys of the registries that rules copy from.
        mirrors: Where a repository is mirrored, by the name of the other registry.
    """

    def __init__(
        self,
        state: State,
        now: datetime,
        observed_at: datetime,
        problem: str = "",
        sources: Collection[str] = (),
        mirrors: Mirrors = lambda side, name: None,  # noqa: ARG005
    ) -> None:
        self._sources = sources
        self._mirrors = mirrors
        self._state = state
        self._now = now
        self._observed_at = observed_at
        self._problem = problem

    def judge(
        self,
        policy: RetentionPolicy,
        side: copy.Side,
        found: observe.Observed,
        times: dict[str, TagTimes],
        *,
        lifted: bool = False,
    ) -> Verdict:
        """The verdict; remembers the tags that are seen for the first time.

        `lifted` means that an operator has allowed the drops by their exact number.
        """
        if not found.problem:
            self._state.tags.observe(*side.key, found.digests, complete=True, at=self._observed_at)
        seen = self._state.tags.seen(*side.key)
        problem = (
            self._problem
            or _skew(side.store)
            or feeds.problem(self._state, seen, self._sources, policy.guard, self._now)
        )
        pinned = self._pinned(policy, side)
        snapshot = self._snapshot(side, found, times, seen, problem)
        snapshot = self._with_mirrors(pinned, side, snapshot)
        decisions = retention.decide(pinned, snapshot, self._now)
        allowed = sum(not each.keep for each in decisions) if lifted else None
        refused = problem or retention.refusal(policy.guard, decisions, allowed)
        made = plan_of(policy, side, decisions, refused, self._expired(side, found))
        return Verdict(policy, side, made, snapshot, decisions)

    def _with_mirrors(
        self, policy: RetentionPolicy, side: copy.Side, snapshot: Snapshot
    ) -> Snapshot:
        """The snapshot with where each digest that would go is whole besides here."""
        if not policy.require_mirrored:
            return snapshot
        alone = dataclasses.replace(policy, require_mirrored=())
        going = {
            each.digest for each in retention.decide(alone, snapshot, self._now) if not each.keep
        }
        held = {digest: self._held(policy, side, digest) for digest in going}
        return dataclasses.replace(snapshot, mirrored=held)

    def _held(self, policy: RetentionPolicy, side: copy.Side, digest: str) -> frozenset[str]:
        places = {name: self._mirrors(side, name) for name in policy.require_mirrored}
        return frozenset(
            name
            for name, place in places.items()
            if place and feeds.is_whole(place.store, place.repository, digest)
        )

    def _snapshot(
        self,
        side: copy.Side,
        found: observe.Observed,
        times: dict[str, TagTimes],
        seen: feeds.Seen,
        problem: str,
    ) -> Snapshot:
        trash = self._state.drops.trash(*side.key)
        nothing = TagTimes()
        facts = []
        for tag, digest in found.digests.items():
            if reference.is_trash(tag):
                continue
            record = seen.get(tag, {}).get(digest)
            told = times.get(tag, nothing)
            facts.append(
                TagFact(
                    tag,
                    digest,
                    first_seen=record.first_seen if record else None,
                    pushed=told.pushed,
                    pulled=told.pulled,
                    source_order=record.source_first_seen if record else None,
                )
            )
        problem = problem or found.problem
        return Snapshot(
            side.repository,
            tuple(facts),
            complete=not problem,
            problem=problem,
            manifests=found.nodes,
            pulls_known=any(told.pulled for told in times.values()),
            roots=frozenset(drop.digest for drop in trash),
        )

    def _expired(self, side: copy.Side, found: observe.Observed) -> dict[str, str]:
        """Trash tags whose undo windows are all over, with their digests."""
        ends: dict[str, datetime] = {}
        for drop in self._state.drops.trash(*side.key):
            ends[drop.trash_tag] = max(ends.get(drop.trash_tag, drop.expires), drop.expires)
        standing = found.digests if not found.problem else {}
        return {
            tag: standing[tag] for tag, end in ends.items() if end <= self._now and tag in standing
        }

    def _pinned(self, policy: RetentionPolicy, side: copy.Side) -> RetentionPolicy:
        """The policy with what an undo pinned in this repository."""
        pins = tuple(
            Pin(side.repository, pin.tag, "" if pin.tag else pin.digest, pin.reason, "undo")
            for pin in self._state.drops.pins(*side.key)
        )
        return dataclasses.replace(policy, pins=(*policy.pins, *pins)) if pins else policy


class Pruning:
    """Lists and judges the repositories that policies speak of.

    Args:
        run: The graph of work to run in.
        jobs: The registries with their policies.
        judge: Decides.
        observer: Told what was matched and what could not be read.
        then: Gets each verdict, and what to call when it is done with.
    """

    def __init__(
        self,
        run: work.Work,
        jobs: Sequence[Job],
        judge: Judge,
        observer: events.Observer,
        then: Callable[[Verdict, Callable[[], None]], None],
    ) -> None:
        self._run = run
        self._jobs = jobs
        self._judge = judge
        self._observer = observer
        self._then = then
        self._reader = observe.Reader(run)

    def start(self) -> None:
        """Queues the first leaves; `Work.run` does the rest."""
        for job in self._jobs:
            self._run.submit(
                lambda job=job: _repositories(job),  # type: ignore[misc]
                lambda outcome, job=job: self._listed(job, outcome),  # type: ignore[misc]
            )

    def _listed(self, job: Job, outcome: work.Outcome[list[str]]) -> None:
        if outcome.error is not None:
            for name in job.names:
                self._failed(name, copy.Side(job.store, ""), outcome.error)
            return
        wanted = [
            (policy, copy.Side(job.store, repository))
            for repository in outcome.get()
            if (policy := job.policy_for(repository)) and policy.name in job.names
        ]
        self._run.each(wanted, self._open, lambda: None, REPOSITORY_WINDOW)

    def _open(self, item: tuple[RetentionPolicy, copy.Side], ended: Callable[[], None]) -> None:
        policy, side = item
        walks = walk(policy, side)
        self._reader.read(side, lambda found: self._read(policy, side, found, ended), walks)

    def _read(
        self,
        policy: RetentionPolicy,
        side: copy.Side,
        found: observe.Observed,
        ended: Callable[[], None],
    ) -> None:
        def judged(outcome: work.Outcome[Verdict]) -> None:
            if outcome.error is not None:
                self._failed(policy.name, side, outcome.error)
                ended()
                return
            verdict = outcome.get()
            self._observer(events.RuleMatched(policy.name, 1, len(verdict.decisions)))
            self._observer(events.PatternsMatched(policy.name, "tags", _counts(verdict)))
            if found.error is not None:
                self._failed(policy.name, side, found.error)
            self._then(verdict, ended)

        self._run.submit(
            lambda: self._judge.judge(policy, side, found, side.store.times(side.repository)),
            judged,
            copy.READ,
        )

    def _failed(self, policy: str, side: copy.Side, error: errors.SyncerError) -> None:
        interrupted = isinstance(error, errors.InterruptedRunError)
        self._observer(
            events.StepDone(
                policy,
                "list",
                "interrupted" if interrupted else "failed",
                side.store.name,
                side.repository,
                "",
                "",
                reason=str(error),
                code=error.code,
            )
        )


def walk(policy: RetentionPolicy, side: copy.Side) -> Callable[[Iterable[str]], bool]:
    """When the indexes of a repository must be read to judge it.

    Tags named after a digest follow a subject that may stand inside an index; so do pinned digests;
    and where only digests can be deleted, an index that stays may hold what a dropped tag names.
    """

    def wanted(tags: Iterable[str]) -> bool:
        return (
            side.store.capabilities(side.repository).tag_delete is TagDelete.DIGEST
            or any(pin.digest for pin in policy.pins_of(side.repository))
            or any(retention.followed(tag) for tag in tags)
        )

    return wanted


def lift(verdict: Verdict) -> Verdict:
    """The verdict with its number of drops allowed by an operator; `min_keep` still holds."""
    refused = retention.refusal(verdict.policy.guard, verdict.decisions, len(verdict.drops))
    return dataclasses.replace(verdict, plan=dataclasses.replace(verdict.plan, refused=refused))


def plan_of(
    policy: RetentionPolicy,
    side: copy.Side,
    decisions: Sequence[Decision],
    refused: str,
    expired: Mapping[str, str] = MappingProxyType({}),
) -> plan.RepositoryPlan:
    """The drops among `decisions`, or why they are refused, as a plan; and trash tags to remove."""
    drops = tuple(
        plan.Step(
            plan.Action.DROP,
            decision.tag,
            decision.digest,
            decision.digest,
            f"{decision.rule}: {decision.reason}",
        )
        for decision in decisions
        if not decision.keep
    )
    expiries = tuple(
        plan.Step(plan.Action.EXPIRE, tag, digest, digest, "its undo window is over")
        for tag, digest in sorted(expired.items())
    )
    return plan.RepositoryPlan(
        policy.name,
        plan.Place(side.store.name, side.repository),
        steps=drops + expiries,
        in_step=len(decisions) - len(drops),
        refused=refused,
    )


def _counts(verdict: Verdict) -> dict[str, int]:
    """How many tags each pattern of the policy matches; one that matches none is worth a look."""
    patterns = [*verdict.policy.protect, *(rule.tags for rule in verdict.policy.rules)]
    tags = [decision.tag for decision in verdict.decisions]
    return {each.text: sum(map(each.matches, tags)) for each in patterns}


def _skew(store: Store) -> str:
    """Why this host's clock cannot be trusted to judge ages at a registry; empty when it can."""
    seconds = store.skew()
    if seconds is None or abs(seconds) <= MOST_SKEW.total_seconds():
        return ""
    way = "ahead of" if seconds > 0 else "behind"
    return (
        f"this host's clock is {abs(seconds) / 60:.0f} minutes {way} that of {store.name};"
        " nothing is pruned until they agree"
    )


def _repositories(job: Job) -> list[str]:
    return sorted(set(job.store.repositories() if job.literal is None else job.literal))
