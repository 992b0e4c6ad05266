"""One random generator for each thing that is drawn, from the seed and the thing's own number."""

import numpy as np


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one thing (a patient, a slide), whatever else is drawn."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
