"""Reading ahead by several threads: a step's patients are read side by side, and land in their order."""

from threading import Barrier

import numpy as np
import pytest

pytest.importorskip("torch")

from pathoprog.errors import InputError
from pathoprog.training.data.bags import Patient, Sampler
from pathoprog.training.data.prefetch import Prefetch
from pathoprog.training.data.tile_store import StoredSlide

THREADS = 3


class MetTiles:
    """Tiles that can only be read while two other readers read theirs."""

    def __init__(self, value: int, barrier: Barrier):
        self.barrier, self.values = barrier, np.full((4, 8, 8, 3), value, np.uint8)
        self.shape, self.dtype = self.values.shape, self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index):
        self.barrier.wait(timeout=60)
        return self.values[index]


def patients_of(tiles):
    return [
        Patient(str(number), [StoredSlide(str(number), "", part)], 1.0, number % 2, "", "", "")
        for number, part in enumerate(tiles)
    ]


@pytest.mark.parametrize("depth", [0, 2])
def test_a_step_s_patients_are_read_side_by_side_in_order(depth):
    barrier = Barrier(THREADS)
    patients = patients_of([MetTiles(number, barrier) for number in range(THREADS)])
    with Prefetch(Sampler(patients, "none", THREADS, 2, seed=1), 0, 3, depth, THREADS) as batches:
        for step in range(3):
            batch = batches.get(step)
            assert batch.tiles[::2, 0, 0, 0].tolist() == batch.patients


def test_what_fails_in_a_thread_is_the_step_s_error():
    class Gone(MetTiles):
        def __getitem__(self, index):
            raise InputError("S1.npy: has changed")

    patients = patients_of([np.zeros((4, 8, 8, 3), np.uint8), Gone(0, Barrier(1))])
    sampler = Sampler(patients, "none", 2, 2, seed=1)
    with Prefetch(sampler, 0, 3, 2, 2) as batches, pytest.raises(InputError, match=r"S1\.npy: has changed"):
        batches.get(0)
