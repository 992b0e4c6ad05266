"""Poolings: how the tiles of a bag become one vector. `networks.config.POOLINGS` is their table."""
