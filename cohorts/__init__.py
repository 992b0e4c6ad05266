"""Statisticians' door: build and check cohorts, validate a locked ensemble."""
