"""Settings of tile encoders and member networks (light: imports nothing heavy)."""

from dataclasses import dataclass

from pathoprog.settings import setting

POOLINGS = {
    "noisy_and": "of_values:NoisyAnd",
    "mean": "of_values:Mean",
    "max": "of_values:Highest",
    "mean_of_top_k": "of_values:MeanOfTopK",
    "gated_attention": "attention:GatedAttention",
    "clam_sb": "attention:ClamSb",
    "dsmil": "dsmil:Dsmil",
    "transmil": "transmil:TransMil",
}
"""Name -> module and class of `networks.poolings`: the one place that lists them."""
EQUAL, HIGHEST, ATTENTION, MIXED = "equal", "highest", "attention", "mixed"
"""What a tile's part in a bag's score is: all weigh equally; the highest values alone count; each has a weight; or a
weight, after the tiles have looked at one another. Maps of tiles say it (`slide_report.heatmap.CAPTIONS`)."""
WEIGHINGS = {
    "noisy_and": EQUAL,
    "mean": EQUAL,
    "max": HIGHEST,
    "mean_of_top_k": HIGHEST,
    "gated_attention": ATTENTION,
    "clam_sb": ATTENTION,
    "dsmil": ATTENTION,
    "transmil": MIXED,
}
"""Name of a pooling -> what a tile's part in the score is."""
HEADS = ("poor", "risk", "hazards")


def n_outputs(head: str, intervals: int) -> int:
    """Number of a network's outputs c: those of good and poor, one log hazard, or one of each interval."""
    return {"poor": 2, "risk": 1, "hazards": intervals}[head]


@dataclass(frozen=True)
class Loss:
    """What training may minimise.

    Attributes:
        function: of `pathoprog.networks.losses`: from logits [b, c] and `Targets` to a scalar.
        head: of the network, whose outputs it takes.
        distinct_only: True: it learns from patients with a distinct outcome alone, and needs both classes.
        compares_patients: True: it compares a step's patients with one another, so that it takes all parts at once.
        weighs_classes: True: it is a mean weighted by patients' classes (`fit.class_weight_poor`), else a plain one.
    """

    function: str
    head: str
    distinct_only: bool = False
    compares_patients: bool = False
    weighs_classes: bool = False


LOSSES = {
    "cross_entropy": Loss("cross_entropy_of", "poor", distinct_only=True, weighs_classes=True),
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
        "tile encoder: a recipe such as virchow2 (docs/encoders.md), a torchvision classification model, timm/NAME, or"
        " none if the input is features",
    )
    width: float = setting(1.0, "width multiplier of mobilenet_v2", low=0.0, high=2.0, open_low=True)
    encoder_options: str = setting(
        "", "arguments that timm needs for this encoder, as YAML, such as {init_values: 1.0e-5}", kind="name"
    )
    weights: str = setting(
        "", "safetensors file with the encoder's initial weights; default: random weights", kind="path"
    )


@dataclass
class FeatureEncoderSettings(EncoderSettings):
    """A frozen encoder, how it is shown tiles, and the precision in which its features are kept."""

    input_px: int = setting(
        0, "scale tiles to this side before the encoder, px; 0: to its recipe's, else do not scale", low=0
    )
    mean: list[float] = setting(
        [],
        "mean of the encoder's normalisation: R, G, B, of intensities in [0, 1]; default: its recipe's, else"
        " torchvision's",
    )
    std: list[float] = setting(
        [],
        "SD of the encoder's normalisation: R, G, B, of intensities in [0, 1]; default: its recipe's, else"
        " torchvision's",
        low=0.0,
        open_low=True,
    )
    precision: str = setting("fp16", "precision in which features are stored", choices=("fp16", "fp32"))


@dataclass
class NetworkSettings(EncoderSettings):
    """One multiple-instance network: tile encoder, pooling over the bag, classifier."""

    feature_dim: int = setting(0, "number of features per tile, if network.encoder=none", low=0)
    instance_dim: int = setting(
        64, "numbers per tile that go into pooling: probabilities for noisy-AND, features for the others", low=1
    )
    pooling: str = setting("noisy_and", "pooling: how the tiles of a bag become one vector", choices=tuple(POOLINGS))
    slope: float = setting(10.0, "slope a of noisy-AND (Kraus, Ba, Frey 2016)", low=0.0, open_low=True)
    top_k: int = setting(
        10, "how many of a bag's highest values count, in each feature, if pooling is mean_of_top_k", low=1
    )
    clam_tiles: int = setting(
        8, "how many tiles of the highest attention, and of the lowest, clam_sb's loss on tiles looks at", low=1
    )
    dropout: float = setting(0.0, "share of the encoder's features dropped at random in training", low=0.0, high=0.9)
    head: str = setting(
        "poor",
        "output: poor (softmax of good and poor), risk (one log hazard) or hazards (discrete time)",
        choices=HEADS,
    )
    intervals: int = setting(4, "number of time intervals of the hazards head", low=2)
