"""What tests of scoring share: a small bundle, and PyTorch's threads as they were."""

import pytest
import torch
from made_bundle import made_bundle

TILE_PX = 64


@pytest.fixture(autouse=True)
def threads():
    """A worker run in this process sets PyTorch to one thread: undo it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("locked") / "bundle", TILE_PX)
