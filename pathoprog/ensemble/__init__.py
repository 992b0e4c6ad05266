"""The locked ensemble: bundle, members, thresholds, classes, stage groups, signature."""
