"""Retention: which tags of a repository stay, which go, and why. Pure: `now` is an argument.

`decide` gives one `Decision` for each tag of a `Snapshot` under a `RetentionPolicy`; `refusal` and
`run_refusal` are the guards; `unreachable` and `untagged` say what no tag holds any longer;
`sentences` prints a policy as a person would say it. The contract is I1-I18 of the reference.
"""

from syncer.retention.case import decide
from syncer.retention.closure import followed
from syncer.retention.collect import unreachable, untagged
from syncer.retention.decision import Decision
from syncer.retention.guard import refusal, run_refusal
from syncer.retention.policy import Guard, Keep, Pin, RetentionPolicy, Rule
from syncer.retention.snapshot import Node, Snapshot, TagFact
from syncer.retention.wording import duration, sentences

__all__ = [
    "Decision",
    "Guard",
    "Keep",
    "Node",
    "Pin",
    "RetentionPolicy",
    "Rule",
    "Snapshot",
    "TagFact",
    "decide",
    "duration",
    "followed",
    "refusal",
    "run_refusal",
    "sentences",
    "unreachable",
    "untagged",
]
