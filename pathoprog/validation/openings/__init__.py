"""The lock, the plans, and every opening of the outcomes, on record."""
