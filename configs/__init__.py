"""Hydra YAML: one entry file per command, groups, and experiment/ with the named runs."""
