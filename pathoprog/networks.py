"""Member networks: a tile encoder, a pooling over the bag of tiles, and a classifier (multiple-instance learning).

Shapes: n tiles (of all bags of a batch, one behind the other), s tile size in pixels, d encoder features, k instance
values per tile, b bags, c outputs of the classifier.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pathoprog.errors import ConfigError, InputError
from pathoprog.networks_config import NORMALISATION_MEAN, NORMALISATION_STD, NetworkSettings


class NoisyAnd(nn.Module):
    """Noisy-AND pooling (Kraus, Ba, Frey 2016, Bioinformatics 32:i52, eq. 3).

    P_i = (sigma(a (m_i - b_i)) - sigma(-a b_i)) / (sigma(a (1 - b_i)) - sigma(-a b_i)), where m_i is the bag's mean of
    instance probability i, a the fixed slope and b_i in (0, 1) learned (held there by a sigmoid).
    """

    def __init__(self, k: int, slope: float = 10.0):
        super().__init__()
        self.slope = slope
        self.raw_b = nn.Parameter(torch.zeros(k))  # b = sigmoid(0) = 0.5

    def forward(self, means: Tensor) -> Tensor:
        """Pool bag means [b, k] in [0, 1] to bag probabilities [b, k] in [0, 1]."""
        b = torch.sigmoid(self.raw_b)
        low = torch.sigmoid(-self.slope * b)
        high = torch.sigmoid(self.slope * (1 - b))
        result: Tensor = (torch.sigmoid(self.slope * (means - b)) - low) / (high - low)
        return result


class GatedAttention(nn.Module):
    """Gated attention weights (Ilse, Tomczak, Welling 2018, ICML, eq. 9)."""

    def __init__(self, k: int, hidden: int = 64):
        super().__init__()
        self.value = nn.Linear(k, hidden)
        self.gate = nn.Linear(k, hidden)
        self.weight = nn.Linear(hidden, 1)

    def forward(self, instances: Tensor) -> Tensor:
        """Unnormalised log weights [n] of instances [n, k]."""
        gated = torch.tanh(self.value(instances)) * torch.sigmoid(self.gate(instances))
        weights: Tensor = self.weight(gated).squeeze(1)
        return weights


class MilNetwork(nn.Module):
    """One member: tiles of a bag in, one risk out.

    The bag's risk depends on its tiles through `instances` alone, so that scoring may keep [n, k] values and decide on
    the bags afterwards. `head` poor has c = 2 outputs (good, poor), risk c = 1 (log hazard), hazards c = intervals
    (logit of the hazard in each).
    """

    def __init__(self, settings: NetworkSettings):
        super().__init__()
        self.settings = settings
        self.encoder, d = make_encoder(settings)
        k = settings.instance_dim
        self.dropout = nn.Dropout(settings.dropout)
        self.instance = nn.Linear(d, k)
        self.noisy_and = NoisyAnd(k, settings.slope) if settings.pooling == "noisy_and" else None
        self.attention = GatedAttention(k) if settings.pooling == "gated_attention" else None
        self.classifier = nn.Linear(k, {"poor": 2, "risk": 1, "hazards": settings.intervals}[settings.head])

    def forward(self, tiles: Tensor, sizes: list[int]) -> Tensor:
        """Logits [b, c] of bags whose tiles [n, 3, s, s] lie one behind the other, `sizes` tiles each."""
        return self.bag_logits(self.instances(tiles), sizes)

    def instances(self, tiles: Tensor) -> Tensor:
        """Per-tile values [n, k] of normalised tiles [n, 3, s, s]: probabilities (noisy-AND) or features >= 0."""
        return self.instances_of_features(self.encoder(tiles))  # encoder: [n, d]

    def instances_of_features(self, features: Tensor) -> Tensor:
        """Per-tile values [n, k] of encoder features [n, d]."""
        raw = self.instance(self.dropout(features.float()))
        return torch.sigmoid(raw) if self.noisy_and is not None else torch.relu(raw)

    def bag_logits(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """Logits [b, c] of bags whose instance values [n, k] lie one behind the other.

        Raises:
            InputError: a bag without tiles, or sizes that do not add up to n.
        """
        if not sizes or min(sizes) < 1 or sum(sizes) != len(instances):
            raise InputError(f"bags of {sizes} tiles do not fit {len(instances)} tiles; each bag needs at least one")
        if self.attention is not None:
            weights = self.attention(instances)  # [n]
            pooled = torch.stack(
                [
                    (torch.softmax(weight, 0)[:, None] * values).sum(0)
                    for weight, values in zip(torch.split(weights, sizes), torch.split(instances, sizes), strict=True)
                ]
            )
        else:
            # float64: the mean over 100,000 tiles must not depend on how they were batched
            means = [values.double().mean(0).float() for values in torch.split(instances, sizes)]
            pooled = torch.stack(means)  # [b, k]
            if self.noisy_and is not None:
                pooled = self.noisy_and(pooled)
        logits: Tensor = self.classifier(pooled)
        return logits

    def risk(self, logits: Tensor) -> Tensor:
        """One unbounded number per bag [b], higher = worse, of logits [b, c]."""
        if self.settings.head == "poor":
            return logits[:, 1] - logits[:, 0]
        if self.settings.head == "risk":
            return logits[:, 0]
        survival = torch.cumprod(torch.sigmoid(-logits), dim=1)  # S after each interval
        return -survival.sum(1)

    def attention_weights(self, instances: Tensor) -> Tensor | None:
        """Attention weights [n] of one bag (they add up to 1), or None for poolings that weigh tiles equally."""
        return torch.softmax(self.attention(instances), 0) if self.attention is not None else None

    def bag_scores(self, instances: Tensor, sizes: list[int], score_map: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """Scores [b] in [0, 1], higher = worse: sigmoid((risk - center) / scale).

        With the head *poor* and the identity map (0, 1) this is the softmax output for poor. Other heads take center
        and scale from tuning, stored in the bundle.
        """
        center, scale = score_map
        return torch.sigmoid((self.risk(self.bag_logits(instances, sizes)) - center) / scale)

    def tile_scores(self, instances: Tensor, score_map: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """Scores [n] of bags of one tile each: what the map of tiles shows."""
        return self.bag_scores(instances, [1] * len(instances), score_map)


def make_encoder(settings: NetworkSettings) -> tuple[nn.Module, int]:
    """Build the tile encoder, with its classifier removed.

    Returns:
        The module, tiles [n, 3, s, s] to features [n, d], and d.

    Raises:
        ConfigError: no such encoder, or weights that do not fit it.
    """
    import torchvision

    if settings.encoder == "mobilenet_v2":
        encoder: Any = torchvision.models.mobilenet_v2(weights=None, width_mult=settings.width)
    else:
        try:
            encoder = torchvision.models.get_model(settings.encoder, weights=None)
        except ValueError as error:
            raise ConfigError(f"network.encoder={settings.encoder!r}: not a torchvision model ({error})") from error
    for name in ("classifier", "fc", "heads", "head"):
        last = getattr(encoder, name, None)
        if last is not None:
            linears = [module for module in last.modules() if isinstance(module, nn.Linear)]
            if not linears:
                continue
            d = linears[0].in_features
            setattr(encoder, name, nn.Identity())
            break
    else:
        raise ConfigError(
            f"network.encoder={settings.encoder!r}: has no classifier to remove, so it is no encoder here"
        )
    if settings.weights:
        load_encoder_weights(encoder, settings.weights)
    return encoder, d


def load_encoder_weights(encoder: nn.Module, path: str) -> None:
    """Load encoder weights from a safetensors file; the classifier's own tensors are left out.

    Raises:
        ConfigError: absent, not safetensors, or made for another encoder.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise ConfigError(f"network.weights={path}: no such file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"network.weights={path}: not a safetensors file ({error})") from error
    wanted = encoder.state_dict()
    kept = {name: tensor for name, tensor in tensors.items() if name in wanted}
    missing = [name for name in wanted if name not in kept and not name.endswith("num_batches_tracked")]
    wrong = [name for name, tensor in kept.items() if tensor.shape != wanted[name].shape]
    if missing or wrong:
        raise ConfigError(
            f"network.weights={path}: made for another encoder or width"
            f" ({len(missing)} tensors missing, {len(wrong)} of another shape; first: {(missing + wrong)[0]})"
        )
    encoder.load_state_dict(kept, strict=False)


def prepare(tiles: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normalise tiles for the encoder, on the device where they lie.

    Args:
        tiles: uint8 [n, s, s, 3], or float in [0, 255] of the same shape.
        dtype: of the result.

    Returns:
        [n, 3, s, s] in channels-last memory (which NHWC tiles already have: nothing is copied for it).
    """
    mean = torch.tensor(NORMALISATION_MEAN, device=tiles.device) * 255
    std = torch.tensor(NORMALISATION_STD, device=tiles.device) * 255
    return ((tiles.float() - mean) / std).to(dtype).permute(0, 3, 1, 2)
