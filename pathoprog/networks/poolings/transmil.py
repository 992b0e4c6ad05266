"""TransMIL: the tiles of a bag look at one another before they are pooled; all of them, in their order.

Shapes: n tiles of all bags of a batch, one behind the other; k instance values per tile; b bags; t tiles or tokens of a
bag; h heads of k / h numbers each; m landmarks.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.poolings.pooling import ORDER, Pooling


class TransMil(Pooling):
    """A class token that attends to the tiles, twice, with convolutions over a square of tiles in between.

    Tiles lie row by row, of one slide after the other. The square is filled with them in this order, and to its end
    with the first ones again: neighbours in a row stay neighbours, others need not. Attention goes by landmarks
    (`nystrom`).

    Source: Shao, Bian, Chen et al. 2021, NeurIPS (arXiv:2106.00908). Its first layer is the
    network's instance layer; k / 2 landmarks and eight heads are its own, or fewer where 8 does not divide k.
    """

    stored_as = "transmil"
    needs = ORDER
    HEADS: ClassVar[int] = 8

    def __init__(self, settings: NetworkSettings):
        super().__init__(settings)
        k = settings.instance_dim
        self.token = nn.Parameter(torch.randn(k) / k**0.5)
        self.first, self.last = (TileAttention(k, math.gcd(self.HEADS, k)) for _ in range(2))
        self.places = nn.ModuleList(nn.Conv2d(k, k, side, padding=side // 2, groups=k) for side in (7, 5, 3))
        self.norm = nn.LayerNorm(k)

    def pool(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """See `Pooling.pool`."""
        if len(set(sizes)) == 1:
            return self._vectors(instances.reshape(len(sizes), sizes[0], -1))
        return torch.cat([self._vectors(bag[None]) for bag in torch.split(instances, sizes)])

    def alone(self, instances: Tensor) -> Tensor:
        """See `Pooling.alone`."""
        return self._vectors(instances[:, None])

    def weights(self, instances: Tensor) -> Tensor | None:
        """See `Pooling.weights`: the class token's attention in the last layer, mean over the heads.

        It is the softmax that `nystrom` stands for; by then a tile's token holds something of the others too.
        """
        n = len(instances)
        query, key, _ = self.last.projected(self._before_last(instances[None]))
        similar = query[0, :, :1] @ key[0].transpose(1, 2) * query.shape[-1] ** -0.5  # [h, 1, tokens]
        shares = torch.softmax(similar, -1)[:, 0, 1:].mean(0)
        whole = shares[:n].clone()
        whole[: len(shares) - n] += shares[n:]  # the square's end repeats the first tiles
        return whole / whole.sum()

    def _vectors(self, bags: Tensor) -> Tensor:
        """Vectors [b, k] of bags of equally many tiles [b, t, k]."""
        tokens = self._before_last(bags)
        vectors: Tensor = self.norm(tokens[:, 0] + self.last(tokens)[:, 0])
        return vectors

    def _before_last(self, bags: Tensor) -> Tensor:
        """Tokens of bags [b, t, k] as the last layer takes them: the class token, then the square's."""
        b, t, k = bags.shape
        side = math.isqrt(t - 1) + 1
        tokens = torch.cat([self.token.expand(b, 1, k), bags, bags[:, : side * side - t]], 1)
        tokens = tokens + self.first(tokens)
        square = tokens[:, 1:].transpose(1, 2).reshape(b, k, side, side)
        placed = square + sum(convolution(square) for convolution in self.places)
        return torch.cat([tokens[:, :1], placed.flatten(2).transpose(1, 2)], 1)


class TileAttention(nn.Module):
    """Self-attention of several heads over normalised tokens [b, t, k], with k / 2 landmarks.

    A convolution along the values is added, which Nyström's approximation would blur.

    Source: Xiong, Zeng, Chakraborty et al. 2021, AAAI 35:14138 (arXiv:2102.03902), section 3.
    """

    SPAN: ClassVar[int] = 33

    def __init__(self, k: int, heads: int):
        super().__init__()
        self.heads, self.landmarks = heads, max(1, k // 2)
        self.norm = nn.LayerNorm(k)
        self.project = nn.Linear(k, 3 * k, bias=False)
        self.near = nn.Conv2d(heads, heads, (self.SPAN, 1), padding=(self.SPAN // 2, 0), groups=heads, bias=False)
        self.out = nn.Linear(k, k)

    def projected(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [b, h, t, k / h] of tokens [b, t, k]."""
        b, t, k = tokens.shape
        query, key, value = self.project(self.norm(tokens)).view(b, t, 3, self.heads, k // self.heads).unbind(2)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """What is added to the tokens, [b, t, k]."""
        query, key, value = self.projected(tokens)
        seen = nystrom(query, key, value, self.landmarks) + self.near(value)
        added: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return added


def nystrom(query: Tensor, key: Tensor, value: Tensor, landmarks: int) -> Tensor:
    """Attention [b, h, t, d] of queries, keys and values [b, h, t, d] by way of landmarks: t m in place of t t numbers.

    softmax(Q K') V is taken as softmax(Q L') softmax(M L')^+ softmax(M K') V, where M and L are the means of the
    queries and keys of m stretches of equal length. With no more than m tokens it is the softmax itself. In float32
    throughout: the inverse needs it.

    Source: Xiong et al. 2021, section 3.
    """
    attend = functional.scaled_dot_product_attention
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = query.float(), key.float(), value.float()
        if query.shape[2] <= landmarks:
            return attend(query, key, value)
        means, marks = _means(query, landmarks), _means(key, landmarks)
        between = torch.softmax(means @ marks.transpose(2, 3) * query.shape[3] ** -0.5, -1)
        return attend(query, marks, inverse(between) @ attend(means, key, value))


def _means(tokens: Tensor, landmarks: int) -> Tensor:
    """Means [b, h, m, d] over m stretches of tokens [b, h, t, d]."""
    b, h, t, d = tokens.shape
    pooled = functional.adaptive_avg_pool1d(tokens.reshape(b * h, t, d).transpose(1, 2), landmarks)
    return pooled.transpose(1, 2).reshape(b, h, landmarks, d)


def inverse(matrices: Tensor, steps: int = 6) -> Tensor:
    """The pseudo-inverse of square matrices [..., m, m], by an iteration of third order.

    Source: Razavi, Kerayechian, Gachpazan et al. 2014, Abstr Appl Anal 563787, as in Xiong et al. 2021.
    """
    one = torch.eye(matrices.shape[-1], device=matrices.device, dtype=matrices.dtype)
    size = matrices.abs()
    scale = size.sum(-2).amax(-1) * size.sum(-1).amax(-1)  # the norms by columns and by rows, of each matrix
    found = matrices.transpose(-2, -1) / scale[..., None, None]
    for _ in range(steps):
        product = matrices @ found
        found = 0.25 * found @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return found
