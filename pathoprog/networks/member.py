"""Member networks: a tile encoder, a pooling over the bag of tiles, and a classifier (multiple-instance learning).

Shapes: n tiles (of all bags of a batch, one behind the other), s tile size in pixels, d encoder features, k instance
values per tile, b bags, c outputs of the classifier.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pathoprog.errors import ConfigError, InputError
from pathoprog.networks.config import NO_ENCODER, NORMALISATION_MEAN, NORMALISATION_STD, NetworkSettings
from pathoprog.networks.encoders import make_encoder
from pathoprog.networks.pooling import Pooling, make_pooling


class MilNetwork(nn.Module):
    """One member: tiles of a bag in, one risk out.

    The bag's risk depends on its tiles through `instances` alone, so that scoring may keep [n, k] values and decide on
    the bags afterwards. `head` poor has c = 2 outputs (good, poor), risk c = 1 (log hazard), hazards c = intervals
    (logit of the hazard in each).
    """

    def __init__(self, settings: NetworkSettings):
        super().__init__()
        self.settings = settings
        self.encoder, d = _encoder_of(settings)
        k = settings.instance_dim
        self.dropout = nn.Dropout(settings.dropout)
        self.instance = nn.Linear(d, k)
        pooling = make_pooling(settings)
        self.add_module(pooling.stored_as or "pool", pooling)  # the name that members' files have always had
        self.classifier = nn.Linear(k, {"poor": 2, "risk": 1, "hazards": settings.intervals}[settings.head])

    @property
    def pooling(self) -> Pooling:
        """How a bag's tiles become one vector."""
        return next(module for module in self.children() if isinstance(module, Pooling))

    def forward(self, tiles: Tensor, sizes: list[int]) -> Tensor:
        """Logits [b, c] of bags whose tiles [n, 3, s, s] (or features [n, d]) lie one behind the other."""
        return self.bag_logits(self.instances(tiles), sizes)

    def instances(self, tiles: Tensor) -> Tensor:
        """Per-tile values [n, k] of normalised tiles [n, 3, s, s] (of features [n, d] where there is no encoder).

        They are probabilities under noisy-AND, else features >= 0.
        """
        return self.instances_of_features(self.encoder(tiles))  # encoder: [n, d]

    def instances_of_features(self, features: Tensor) -> Tensor:
        """Per-tile values [n, k] of encoder features [n, d]."""
        raw = self.instance(self.dropout(features.float()))
        return self.pooling.activate(raw)

    def bag_logits(self, instances: Tensor, sizes: list[int]) -> Tensor:
        """Logits [b, c] of bags whose instance values [n, k] lie one behind the other.

        Raises:
            InputError: a bag without tiles, or sizes that do not add up to n.
        """
        if not sizes or min(sizes) < 1 or sum(sizes) != len(instances):
            raise InputError(f"bags of {sizes} tiles do not fit {len(instances)} tiles; each bag needs at least one")
        logits: Tensor = self.classifier(self.pooling.pool(instances, sizes))
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
        """Attention weights [n] of one bag (they add up to 1), or None if the pooling weighs all tiles alike."""
        return self.pooling.weights(instances)

    def bag_scores(self, instances: Tensor, sizes: list[int], score_map: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """Scores [b] in [0, 1], higher = worse: sigmoid((risk - center) / scale).

        With the head *poor* and the identity map (0, 1) this is the softmax output for poor. Other heads take center
        and scale from tuning, stored in the bundle.
        """
        return scores_of_risks(self.risk(self.bag_logits(instances, sizes)), score_map)

    def tile_scores(self, instances: Tensor, score_map: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """Scores [n] of bags of one tile each: what the map of tiles shows."""
        return scores_of_risks(self.risk(self.classifier(self.pooling.alone(instances))), score_map)


def scores_of_risks(risks: Tensor, score_map: tuple[float, float]) -> Tensor:
    """Scores [b] in [0, 1] of risks [b] by a member's map; see `MilNetwork.bag_scores`."""
    center, scale = score_map
    return torch.sigmoid((risks - center) / scale)


def _encoder_of(settings: NetworkSettings) -> tuple[nn.Module, int]:
    """A network's encoder and d; where features are given in place of tiles, nothing, and their d.

    Raises:
        ConfigError: see `make_encoder`; also `feature_dim` without features, or features without it.
    """
    if settings.encoder == NO_ENCODER:
        if settings.feature_dim < 1 or settings.weights or settings.encoder_options or settings.width != 1.0:
            raise ConfigError(
                f"network.encoder={NO_ENCODER} needs network.feature_dim (the d of the stored features), and takes no"
                " network.weights, network.width or network.encoder_options"
            )
        return nn.Identity(), settings.feature_dim
    if settings.feature_dim:
        raise ConfigError(f"network.feature_dim={settings.feature_dim}: only for network.encoder={NO_ENCODER}")
    return make_encoder(settings)


def prepare(
    tiles: Tensor,
    dtype: torch.dtype = torch.float32,
    mean: Sequence[float] = NORMALISATION_MEAN,
    std: Sequence[float] = NORMALISATION_STD,
) -> Tensor:
    """Normalise tiles for the encoder, on the device where they lie.

    Args:
        tiles: uint8 [n, s, s, 3], or float in [0, 255] of the same shape; features [n, d] are left as they are.
        dtype: of the result.
        mean: per channel, of intensities in [0, 1].
        std: per channel, of intensities in [0, 1].

    Returns:
        [n, 3, s, s] in channels-last memory (as NHWC tiles lie: only others are copied for it); or [n, d].
    """
    if tiles.ndim == 2:
        return tiles.to(dtype)
    return normalised(tiles, dtype, *normalising(tiles.device, mean, std))


def normalising(
    device: torch.device, mean: Sequence[float] = NORMALISATION_MEAN, std: Sequence[float] = NORMALISATION_STD
) -> tuple[Tensor, Tensor]:
    """What `normalised` subtracts and divides by, [3] each, on a device, which need not wait for it."""
    centre, spread = torch.tensor(mean) * 255, torch.tensor(std) * 255
    return centre.to(device, non_blocking=True), spread.to(device, non_blocking=True)


def normalised(tiles: Tensor, dtype: torch.dtype, centre: Tensor, spread: Tensor) -> Tensor:
    """See `prepare`, with the constants of `normalising`."""
    return ((tiles.float() - centre) / spread).to(dtype).contiguous().permute(0, 3, 1, 2)
