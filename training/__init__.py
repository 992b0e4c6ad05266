"""Researchers' door: train members, choose and lock the ensemble. The only folder that knows MLflow's tracking of training."""
