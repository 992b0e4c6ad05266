"""What a clinical sheet's columns probably are: each guess with its reason and certainty, and what must be asked."""
