"""Decoded tiles through reader processes: the one way slides are read. No torch."""
