"""The state: what syncer remembers in one SQLite file. Memory, never proof (DESIGN section 7).

`open_state` gives a `State`, whose parts are by topic: `runs`, `tags`, `blobs`, `leases`, `drops`,
`plans`, `rules`. All are safe to use from many threads, any method may raise `StateError`, and no
transaction outlives the call that began it.

This package alone imports SQLModel and SQLAlchemy (0.3 to 0.7 s): import it where a command needs it.
"""

from syncer.state.leases import Lease, Leases
from syncer.state.opening import State, open_state
from syncer.state.records import (
    BlobSeen,
    Drop,
    Dropped,
    Holder,
    Pin,
    Plan,
    PlanPart,
    RuleState,
    Run,
    Step,
    TagRecord,
)

__all__ = [
    "BlobSeen",
    "Drop",
    "Dropped",
    "Holder",
    "Lease",
    "Leases",
    "Pin",
    "Plan",
    "PlanPart",
    "RuleState",
    "Run",
    "State",
    "Step",
    "TagRecord",
    "open_state",
]
