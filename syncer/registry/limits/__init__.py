"""How much a registry is asked at once, and when it is left alone. One of each per registry.

`Gate` bounds the requests in flight, all runs together, with a window for each kind of request that
halves when the registry says 429 and grows back. `Pace` bounds the requests a second, `Bandwidth`
the bytes. `Budget` keeps some of the reads that a registry counts and limits. `Circuit` stops
asking a registry that fails every time. `Backoff` says how long to wait before a request is sent
again.
"""

from syncer.registry.limits.bandwidth import Bandwidth, Meter
from syncer.registry.limits.budget import Budget
from syncer.registry.limits.circuit import Backoff, Circuit
from syncer.registry.limits.gate import EPOCH, LONGEST_PAUSE, Gate, Kind
from syncer.registry.limits.pace import Bucket, Pace

__all__ = [
    "EPOCH",
    "LONGEST_PAUSE",
    "Backoff",
    "Bandwidth",
    "Bucket",
    "Budget",
    "Circuit",
    "Gate",
    "Kind",
    "Meter",
    "Pace",
]
