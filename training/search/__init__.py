"""Sweeps and searches: many settings, judged on the same tuning patients or folds, counted at the lock."""
