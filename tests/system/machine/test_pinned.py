"""Page-locked shared memory."""

import mmap

import numpy as np
import pytest
import torch

from pathoprog.system.machine.pinned import register


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_registered_memory_is_fetched_by_the_device_without_a_copy() -> None:
    memory = np.frombuffer(mmap.mmap(-1, 1 << 24), np.uint8)
    memory[:] = np.random.default_rng(0).integers(0, 256, memory.size, np.uint8)
    undo = register(memory)
    tensor = torch.from_numpy(memory)
    assert tensor.is_pinned()
    sent = tensor.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    assert torch.equal(sent.cpu(), tensor)
    undo()
    assert not tensor.is_pinned()
