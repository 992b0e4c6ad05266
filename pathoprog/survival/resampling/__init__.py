"""Statistics recomputed in resamples of the patients."""
