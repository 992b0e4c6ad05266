"""Validation of a locked ensemble: plan, lock, flow, populations and their analyses. No torch."""
