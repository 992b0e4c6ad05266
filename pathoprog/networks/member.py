"""Member networks: a tile encoder, a pooling over the bag of tiles, and a classifier (multiple-instance learning).

Shapes: n tiles (of all bags of a batch, one behind the other), s tile size in pixels, d encoder features, k instance
values per tile, b bags, c outputs of the classifier.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pathoprog.errors import ConfigError, InputError
from pathoprog.networks.config import NO_ENCODER, NORMALISATION_MEAN, NORMALISATION_STD, NetworkSettings, n_outputs
from pathoprog.networks.encoders import make_encoder
from pathoprog.networks.heads import risk_of_logits
from pathoprog.networks.poolings.pooling import Pooling, make_pooling
from pathoprog.networks.published.encoder_recipes import RECIPES


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
        self.classifier = nn.Linear(k, n_outputs(settings.head, settings.intervals))

    @property
    def pooling(self) -> Pooling:
        """How a bag's tiles become one vector."""
        return next(module for module in self.children() if isinstance(module, Pooling))

    @property
    def output_layers(self) -> list[nn.Linear]:
        """All layers that give logits: the classifier, and the pooling's own."""
        return [self.classifier, *self.pooling.output_layers]

    def forward(self, tiles: Tensor, sizes: list[int]) -> Tensor:
        """Logits [b, c] of bags whose tiles [n, 3, s, s] (or features [n, d]) lie one behind the other.

        In training, where the pooling has a loss of its own on tiles, [b, 2 c]: behind the logits each bag's loss if
        its label were each of the classes (`Pooling.instance_losses`).
        """
        instances = self.instances(tiles)
        logits = self.bag_logits(instances, sizes)
        losses = self.pooling.instance_losses(instances, sizes) if self.training else None
        return logits if losses is None else torch.cat([logits.float(), losses.float()], 1)

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
        logits = self.classifier(self.pooling.pool(instances, sizes))
        return self.pooling.joined(logits, instances, sizes)

    def risk(self, logits: Tensor) -> Tensor:
        """One unbounded number per bag [b], higher = worse, of logits [b, c]."""
        return risk_of_logits(logits, self.settings.head)

    def attention_weights(self, instances: Tensor) -> Tensor | None:
        """Attention weights [n] of one bag (they add up to 1), or None if its tiles have none."""
        return self.pooling.weights(instances)

    def bag_scores(self, instances: Tensor, sizes: list[int], score_map: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """Scores [b] in [0, 1], higher = worse: sigmoid((risk - center) / scale).

        With the head *poor* and the identity map (0, 1) this is the softmax output for poor. Other heads take center
        and scale from tuning, stored in the bundle.
        """
        return scores_of_risks(self.risk(self.bag_logits(instances, sizes)), score_map)

    def tile_scores(self, instances: Tensor, score_map: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """Scores [n] of bags of one tile each: what the map of tiles shows."""
        logits = self.pooling.joined_alone(self.classifier(self.pooling.alone(instances)), instances)
        return scores_of_risks(self.risk(logits), score_map)


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
    check_normalisation(settings.encoder)
    return make_encoder(settings)


def check_normalisation(encoder: str) -> None:
    """Refuse an encoder to train end to end that is shown tiles in another way than `prepare` shows them.

    Raises:
        ConfigError: its recipe has a normalisation of its own.
    """
    recipe = RECIPES.get(encoder)
    if recipe is not None and (recipe.mean, recipe.std) != (NORMALISATION_MEAN, NORMALISATION_STD):
        raise ConfigError(
            f"network.encoder={encoder}: has a normalisation of its own, which networks trained end to end do not:"
            " make features with it (`pathoprog features`), and train on those"
        )


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
