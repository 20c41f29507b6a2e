"""The state: what syncer remembers in one SQLite file. Memory, never proof (DESIGN section 7).

`open_state` gives a `State`, whose parts are by topic: `runs`, `tags`, `blobs`, `leases`, `drops`,
`plans`, `rules`. All are safe to use from many threads, any method may raise `StateError`, and no
transaction outlives the call that began it.

`tables` says with SQLModel what the file is made of. What a replication run, verify or ls does with
it is plain SQL over sqlite3, in constants that a test holds against the tables; SQLAlchemy, which
takes half a second to import, comes with the first question of `history` or `archive`, with plans,
maintenance and migrations.
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
