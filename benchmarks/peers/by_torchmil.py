"""Our poolings beside torchmil's with the same weights: `PYTHONPATH=. python benchmarks/peers/by_torchmil.py`.

To be run in an environment of its own that has both (torchmil is Apache-2.0, and no dependency). It prints the largest
difference of bag outputs, as a share of the largest output, for each pooling that torchmil has, and ends with 1 if one
is over 1e-4.

CLAM's loss on tiles is not compared: torchmil 1.0.2 gives its support vector machine targets [t, 1] where it reckons
with [t], so that each tile is held against every tile's label. The tests hold ours against values worked by hand.
"""

import sys
from importlib.metadata import version

import torch
from torch import Tensor, nn
from torchmil.models import ABMIL, CLAM_SB, DSMIL, TransMIL
from torchmil.nn import MaxPool, MeanPool

from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.poolings.attention import ClamSb, GatedAttention

MOST = 1e-4
K, BAG = 21, 49
"""A square of 49 tiles and a class token are five tokens to each of K // 2 landmarks: torchmil fills up other numbers.
With an odd K there is one head: torchmil scales the inverse of all heads alike, and six steps would end elsewhere."""


def ours(pooling: str, head: str = "risk") -> MilNetwork:
    """A network on features that takes them as instance values."""
    settings = NetworkSettings(encoder="none", feature_dim=K, instance_dim=K, pooling=pooling, head=head)
    return MilNetwork(settings).eval()


def take(to: nn.Module, of: nn.Linear) -> None:
    """Give torchmil's linear layer our weights; where it has no bias, ours is removed."""
    to = getattr(to, "module", to)
    to.weight.copy_(of.weight)
    if to.bias is not None:
        to.bias.copy_(of.bias)
    elif of.bias is not None:
        of.bias.zero_()


def attention(to: nn.Module, of: GatedAttention) -> None:
    """Give torchmil's attention our weights."""
    take(to.fc1, of.value)
    take(to.fc_gated, of.gate)
    take(to.fc2, of.weight)


def mean_and_max(bags: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    flat, sizes = bags.flatten(0, 1), [BAG] * len(bags)
    pools = {"mean": MeanPool(), "max": MaxPool()}
    return {name: (ours(name).pooling.pool(flat, sizes), theirs(bags)) for name, theirs in pools.items()}


def gated(bags: Tensor) -> tuple[Tensor, Tensor]:
    mine, theirs = ours("gated_attention"), ABMIL(in_shape=(K,), att_dim=GatedAttention.HIDDEN, gated=True).eval()
    attention(theirs.pool, mine.pooling)
    take(theirs.classifier, mine.classifier)
    return mine.bag_logits(bags.flatten(0, 1), [BAG] * len(bags))[:, 0], theirs(bags)


def clam(bags: Tensor) -> tuple[Tensor, Tensor]:
    mine, theirs = ours("clam_sb", "poor"), CLAM_SB(in_shape=(K,), att_dim=ClamSb.HIDDEN, gated=True).eval()
    attention(theirs.pool, mine.pooling)
    return mine.pooling.pool(bags.flatten(0, 1), [BAG] * len(bags)), theirs.pool(bags)


def dsmil(bags: Tensor) -> tuple[Tensor, Tensor]:
    mine, theirs = ours("dsmil"), DSMIL(in_shape=(K,), att_dim=128).eval()
    take(theirs.q_nn, mine.pooling.query)
    take(theirs.inst_classifier, mine.pooling.tile)
    take(theirs.bag_classifier, mine.classifier)
    mine.pooling.value.weight.copy_(torch.eye(K))  # torchmil's plain form has no layer there
    mine.pooling.value.bias.zero_()
    return mine.bag_logits(bags.flatten(0, 1), [BAG] * len(bags))[:, 0], theirs.predict(bags)


def transmil(bags: Tensor) -> tuple[Tensor, Tensor]:
    mine = ours("transmil")
    pool = mine.pooling
    theirs = TransMIL(in_shape=(K,), att_dim=K, n_heads=pool.first.heads, n_landmarks=pool.first.landmarks).eval()
    theirs.cls_token.copy_(pool.token.view(1, 1, K))
    for layer, part in zip(theirs.layers, (pool.first, pool.last), strict=True):
        layer.norm1.load_state_dict(part.norm.state_dict())
        take(layer.att_module.qkv_nn, part.project)
        part.near.weight.zero_()  # torchmil has neither the convolution along the values nor the last layer
        part.out.weight.copy_(torch.eye(K))
        part.out.bias.zero_()
    for own, convolution in zip(("proj", "proj1", "proj2"), pool.places, strict=True):
        getattr(theirs.pos_layer, own).load_state_dict(convolution.state_dict())
    theirs.norm.load_state_dict(pool.norm.state_dict())
    take(theirs.classifier, mine.classifier)
    return mine.bag_logits(bags.flatten(0, 1), [BAG] * len(bags))[:, 0], torch.cat(
        [theirs(bag[None]) for bag in bags]
    )  # nor of all bags alike


@torch.no_grad()
def main() -> int:
    torch.manual_seed(0)
    bags = torch.rand(6, BAG, K)
    found = mean_and_max(bags)
    found |= {name.__name__: name(bags) for name in (gated, clam, dsmil, transmil)}
    print(f"torchmil {version('torchmil')}, torch {torch.__version__}; {len(bags)} bags of {BAG} tiles, k={K}")
    worst = 0.0
    for name, (one, other) in found.items():
        assert one.shape == other.shape, (name, one.shape, other.shape)
        difference = float((one - other).abs().max() / other.abs().max())
        worst = max(worst, difference)
        print(f"  {name:<10} {difference:.1e}")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
