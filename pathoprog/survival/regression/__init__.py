"""Regression of hazards, and what belongs to it."""
