"""Settings of a member network (light: imports nothing heavy)."""

from dataclasses import dataclass

from pathoprog.settings import setting

POOLINGS = ("noisy_and", "gated_attention", "mean")
HEADS = ("poor", "risk", "hazards")


@dataclass
class NetworkSettings:
    """One multiple-instance network: tile encoder, pooling over the bag, classifier."""

    encoder: str = setting("mobilenet_v2", "tile encoder: a torchvision classification model's name")
    width: float = setting(1.0, "width multiplier of mobilenet_v2", low=0.0, high=2.0, open_low=True)
    weights: str = setting("", "safetensors file with the encoder's initial weights; empty = random", kind="path")
    instance_dim: int = setting(64, "k: instance probabilities (noisy-AND) or features (others) per tile", low=1)
    pooling: str = setting("noisy_and", "how a bag's tiles become one vector", choices=POOLINGS)
    slope: float = setting(10.0, "a: slope of noisy-AND (Kraus, Ba, Frey 2016)", low=0.0, open_low=True)
    dropout: float = setting(0.0, "dropout on the encoder's features in training", low=0.0, high=0.9)
    head: str = setting(
        "poor", "poor: softmax of good and poor; risk: one log hazard; hazards: discrete time", choices=HEADS
    )
    intervals: int = setting(4, "number of time intervals of the hazards head", low=2)


NORMALISATION_MEAN = (0.485, 0.456, 0.406)
"""Per channel, of intensities in [0, 1]: those that torchvision's published weights were trained with."""

NORMALISATION_STD = (0.229, 0.224, 0.225)
