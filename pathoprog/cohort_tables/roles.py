"""The roles of a cohort's slides: what each may be used for, spelled once."""

ROLES = ("training", "tuning", "test", "external")
DEVELOPMENT_ROLES = ("training", "tuning")
"""What an ensemble learned from or was chosen on: outcomes of these selected the members."""
EVALUATION_ROLES = ("test", "external")
