"""Analyses that a report has where its plan asks for them, and the columns that they need."""
