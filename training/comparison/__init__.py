"""Experiments compared under the same folds and seeds: the command `compare`, its table and its figure."""
