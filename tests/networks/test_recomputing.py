"""Activation checkpointing: the gradients of the plain pass, statistics written once, less held between the passes."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor, nn

from pathoprog.errors import ConfigError
from pathoprog.networks.config import EncoderSettings, NetworkSettings
from pathoprog.networks.encoders import make_encoder
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.recomputing import blocks_of, check_blocks, kept_buffers, recompute_blocks


def twins(**settings: object) -> tuple[MilNetwork, MilNetwork]:
    """A network, and the same with its encoder's blocks computed again."""
    torch.manual_seed(3)
    plain = MilNetwork(NetworkSettings(instance_dim=8, dropout=0.2, **settings)).train()
    other = copy.deepcopy(plain)
    recompute_blocks(other.encoder)
    return plain, other


def step(network: MilNetwork, bf16: bool) -> Tensor:
    """Gradients of two bags, each of two parts' mean."""
    torch.manual_seed(4)  # dropout, stochastic depth
    for part in range(2):
        tiles = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(part))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = network(tiles, [2, 2])
        nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1])).backward()
    return logits


@pytest.mark.parametrize("bf16", [False, True])
def test_gradients_and_running_statistics_are_those_of_the_plain_pass(bf16):
    plain, other = twins(width=0.35)
    for network in (plain, other):  # something that draws numbers inside a block
        network.encoder.features[3].conv.insert(1, nn.Dropout2d(0.3))
    assert torch.equal(step(plain, bf16), step(other, bf16))
    wanted, found = dict(plain.named_parameters()), dict(other.named_parameters())
    assert wanted.keys() == found.keys()
    for name, parameter in wanted.items():
        assert torch.equal(parameter.grad, found[name].grad), name
    wanted, found = dict(plain.named_buffers()), dict(other.named_buffers())
    assert wanted.keys() == found.keys()
    for name, buffer in wanted.items():
        assert torch.equal(buffer, found[name]), f"{name}: of two passes, not four"
    counts = {int(buffer) for name, buffer in found.items() if name.endswith("num_batches_tracked")}
    assert counts == {2}


def test_a_compiled_network_writes_its_statistics_once_too():
    torch.manual_seed(3)
    plain = nn.Sequential(*make_encoder(EncoderSettings(width=0.35))[0].features[:2])
    other = copy.deepcopy(plain)
    recompute_blocks(other)
    compiled = torch.compile(other, backend="aot_eager_decomp_partition")
    for forward in (plain, compiled):
        tiles = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        maps = forward(tiles)
        (maps * torch.randn(maps.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for (name, one), two in zip(plain.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, rtol=1e-3, atol=1e-4), name
    for (name, one), two in zip(plain.named_buffers(), other.named_buffers(), strict=True):
        assert torch.allclose(one.float(), two[1].float(), rtol=1e-4, atol=1e-5), name


@contextmanager
def held() -> Iterator[dict[int, int]]:
    """Bytes that are kept for the backward pass, by the storage that they lie in."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def test_less_is_held_between_the_passes():
    kept = []
    for network in twins(width=0.35):
        with held() as sizes:
            logits = network(torch.randn(4, 3, 96, 96), [2, 2])
        weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        kept.append(sum(size for place, size in sizes.items() if place not in weights))
        assert logits.requires_grad
    assert kept[1] < 0.25 * kept[0], kept


def test_judging_computes_nothing_twice():
    network = twins(width=0.35)[1].eval()
    calls = []
    first = network.encoder.features[0][0]
    first.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        network(torch.randn(2, 3, 64, 64), [2])
    assert calls == [1]


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 8), ("vit_b_16", 12), ("timm/vit_tiny_patch16_224", 12), ("vgg11", 1)],
)
def test_blocks_are_the_members_of_an_encoder_s_sequences(name, count):
    with torch.device("meta"):
        encoder, _ = make_encoder(EncoderSettings(name))
    blocks = blocks_of(encoder)
    assert len(blocks) == count
    inside = [id(part) for block in blocks for part in block.modules()]
    assert len(inside) == len(set(inside)), "no block lies in another"


@pytest.mark.parametrize("name", ["vgg11", "none"])
def test_an_encoder_without_blocks_is_refused_before_any_work(name):
    with pytest.raises(ConfigError, match=rf"fit\.checkpoint_activations: network\.encoder={name} is not made of"):
        check_blocks(EncoderSettings(name), "fit.checkpoint_activations")


def test_kept_buffers_are_as_before():
    network = twins(width=0.35)[0]
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with kept_buffers(network):
        network(torch.randn(2, 3, 64, 64), [2])
        assert any(not torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
