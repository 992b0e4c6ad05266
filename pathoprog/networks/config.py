"""Settings of tile encoders and member networks (light: imports nothing heavy)."""

from dataclasses import dataclass

from pathoprog.settings import setting

POOLINGS = ("noisy_and", "gated_attention", "mean")
HEADS = ("poor", "risk", "hazards")


@dataclass(frozen=True)
class Loss:
    """What training may minimise.

    Attributes:
        function: of `pathoprog.networks.losses`: from logits [b, c] and `Targets` to a scalar.
        head: of the network, whose outputs it takes.
        distinct_only: True: it learns from patients with a distinct outcome alone, and needs both classes.
        compares_patients: True: it compares the patients of one part with one another, so that a step has one part.
    """

    function: str
    head: str
    distinct_only: bool = False
    compares_patients: bool = False


LOSSES = {
    "cross_entropy": Loss("cross_entropy_of", "poor", distinct_only=True),
    "cox": Loss("cox_of", "risk", compares_patients=True),
    "discrete_time": Loss("discrete_time_of", "hazards"),
}
"""Every loss by the name that `fit.loss` takes: a new one is a function of `losses.py` and a line here."""

NO_ENCODER = "none"
"""Name of the encoder of networks that are given features in place of tiles."""

NORMALISATION_MEAN = (0.485, 0.456, 0.406)
"""Per channel, of intensities in [0, 1]: those that torchvision's published weights were trained with."""

NORMALISATION_STD = (0.229, 0.224, 0.225)


@dataclass
class EncoderSettings:
    """A tile encoder by its code's name, and the file with its weights."""

    encoder: str = setting(
        "mobilenet_v2",
        "tile encoder: a torchvision classification model, timm/NAME, or none (features in place of tiles)",
    )
    width: float = setting(1.0, "width multiplier of mobilenet_v2", low=0.0, high=2.0, open_low=True)
    encoder_options: str = setting(
        "", "timm's arguments of this encoder as YAML, such as {init_values: 1.0e-5}", kind="name"
    )
    weights: str = setting("", "safetensors file with the encoder's initial weights; empty = random", kind="path")


@dataclass
class FeatureEncoderSettings(EncoderSettings):
    """A frozen encoder, how it is shown tiles, and the precision in which its features are kept."""

    input_px: int = setting(0, "side to which tiles are scaled for the encoder, px; 0 = as they are", low=0)
    mean: list[float] = setting(list(NORMALISATION_MEAN), "of the encoder's normalisation, R, G, B in [0, 1]")
    std: list[float] = setting(
        list(NORMALISATION_STD), "of the encoder's normalisation, R, G, B", low=0.0, open_low=True
    )
    precision: str = setting("fp16", "of the stored features", choices=("fp16", "fp32"))


@dataclass
class NetworkSettings(EncoderSettings):
    """One multiple-instance network: tile encoder, pooling over the bag, classifier."""

    feature_dim: int = setting(0, "d of the stored features, where network.encoder=none", low=0)
    instance_dim: int = setting(64, "k: instance probabilities (noisy-AND) or features (others) per tile", low=1)
    pooling: str = setting("noisy_and", "how a bag's tiles become one vector", choices=POOLINGS)
    slope: float = setting(10.0, "a: slope of noisy-AND (Kraus, Ba, Frey 2016)", low=0.0, open_low=True)
    dropout: float = setting(0.0, "dropout on the encoder's features in training", low=0.0, high=0.9)
    head: str = setting(
        "poor", "poor: softmax of good and poor; risk: one log hazard; hazards: discrete time", choices=HEADS
    )
    intervals: int = setting(4, "number of time intervals of the hazards head", low=2)
