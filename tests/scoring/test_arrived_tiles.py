"""Tiles that stay on the device until a slide is done give what tiles on the host give."""

import numpy as np
import torch

from pathoprog.scoring.arrived_tiles import CANDIDATES, STRONGEST, TilesOnDevice, TilesOnHost


def test_scores_and_the_strongest_tiles_are_those_of_the_host_also_where_means_are_equal():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (70, 4, 4, 3), dtype=np.uint8)
    scores = rng.integers(0, 3, (70, 5)).astype(np.float32) / 4  # many equal means, over several batches
    assert (scores.mean(axis=1) == scores.mean(axis=1).max()).sum() > STRONGEST
    host, device = TilesOnHost(), TilesOnDevice()
    for start, stop in ((0, 3), (3, 40), (40, 70)):
        part = slice(start, stop)
        host.add(start, pixels[part], [], scores[part])
        device.add(start, torch.from_numpy(pixels[part].copy()), [], torch.from_numpy(scores[part]))
    assert len(host) == len(device) == 70 > CANDIDATES
    assert np.array_equal(device.fetch()[0], host.fetch()[0])
    for (number, shown), (wanted_number, wanted) in zip(device.fetch()[1], host.fetch()[1], strict=True):
        assert number == wanted_number and np.array_equal(shown, wanted)
