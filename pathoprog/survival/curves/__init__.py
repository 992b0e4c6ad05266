"""Survival curves, cumulative incidence, and the tests that compare them."""
