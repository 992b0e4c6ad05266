"""Researchers' door: train members, choose and lock the ensemble. Only here is training tracked in MLflow."""
