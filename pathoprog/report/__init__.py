"""Figures, tables and reports of survival validations. No torch in it."""
