"""Estimates by site, and what they have in common."""
