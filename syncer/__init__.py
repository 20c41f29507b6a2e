"""How: registries are compared, copied between and pruned."""
