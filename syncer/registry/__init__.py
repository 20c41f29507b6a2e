"""The only code that speaks HTTP to a registry (OCI distribution-spec 1.1)."""
