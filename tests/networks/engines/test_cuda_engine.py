"""The CUDA engine's shapes, and its answer to a lack of memory, on a CPU; what only a device shows is in test_gpu."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

from pathoprog.networks.engines.cuda_engine import CudaEngine
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork
from pathoprog.networks.engines.torch_engine import TorchEngine

CPU = torch.device("cpu")


class Narrow(nn.Module):
    """Means of prepared tiles [n, 3]; out of memory with more than `most` tiles, which are also counted."""

    def __init__(self, most=1000):
        super().__init__()
        self.most, self.sizes = most, []

    def forward(self, tiles):
        self.sizes.append(len(tiles))
        if len(tiles) > self.most:
            raise torch.OutOfMemoryError
        return tiles.mean(dim=(2, 3))


@pytest.fixture
def tiles():
    return np.random.default_rng(0).integers(0, 256, (21, 16, 16, 3), dtype=np.uint8)


def engine(*modules, at_once=8, said=None):
    shown = [TileNetwork(f"network {n}", str(n), module) for n, module in enumerate(modules)]
    place = Place(CPU, at_once=at_once, compiled=True, tell=(said if said is not None else []).append)
    return CudaEngine(shown, Preparation(), place, (16, 16)), TorchEngine(shown, Preparation(), place, (16, 16))


def test_every_call_has_one_shape_and_what_fills_it_up_is_left_out(tiles):
    module, said = Narrow(), []
    made, wanted = engine(module, Narrow(), said=said)
    module.sizes.clear()
    found = made.values(tiles)
    assert module.sizes == [8, 8, 8]
    for one, other in zip(found, wanted.values(tiles), strict=True):
        torch.testing.assert_close(one, other)
    one_tile = made.values(tiles[:1])  # behind it lie tiles of the call before
    assert one_tile[0].shape == (1, 3) and torch.equal(one_tile[0][0], found[0][0])
    assert torch.equal(made.values(torch.from_numpy(tiles))[1], found[1])
    assert said == ["network 0: 8 tiles of 16 px at once, not compiled, no graph"]


def test_a_call_that_does_not_fit_the_memory_becomes_smaller_before_the_first_tile(tiles):
    made, _ = engine(Narrow(most=3))
    assert made.at_once == 2
    assert made.values(tiles)[0].shape == (21, 3)
    with pytest.raises(torch.OutOfMemoryError, match="not even one tile"):
        engine(Narrow(most=0))


def test_memory_that_runs_out_later_is_said_and_the_next_call_is_smaller(tiles):
    module = Narrow()
    made, wanted = engine(module)
    module.most = 4
    with pytest.raises(torch.OutOfMemoryError, match="network 0: 21 tiles"):
        made.values(tiles)
    assert made.at_once == 4
    torch.testing.assert_close(made.values(tiles)[0], torch.cat([wanted.values(tile[None])[0] for tile in tiles]))
