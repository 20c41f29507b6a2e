"""When: the scheduled side of syncer."""
