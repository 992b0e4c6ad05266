"""Bags: a patient's tiles over all slides, by number, in whatever order they are asked for."""

import numpy as np
import pytest

pytest.importorskip("torch")
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.tile_store import StoredSlide


@pytest.mark.parametrize("shape", [(8, 8, 3), (5,)])
def test_tiles_of_several_slides_come_in_the_order_asked_for(shape):
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 256, (n, *shape)).astype(np.uint8 if len(shape) == 3 else np.float16) for n in (3, 1, 4)]
    patient = Patient("P", [StoredSlide(f"S{n}", "", part) for n, part in enumerate(parts)], 1.0, 0, "", "", "")
    whole = np.concatenate(parts)
    assert patient.n_tiles == 8
    for index in ([0, 1, 2, 3, 4, 5, 6, 7], [7, 0, 3, 3, 4], [5]):
        found = patient.gather(np.array(index))
        assert found.dtype == whole.dtype and np.array_equal(found, whole[index])
