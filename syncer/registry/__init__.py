"""The only code that speaks HTTP to a registry (OCI distribution-spec 1.1)."""

import sys

# httpx imports its own command line where it can, and that brings click, rich and pygments along:
# nearly half of what importing it costs. It does without.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
