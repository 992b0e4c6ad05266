"""Laboratories' door: score slides in batches and write results."""
