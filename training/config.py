"""Settings of the researchers' commands, gathered from the parts of the library that they configure (light)."""

from dataclasses import dataclass

from pathoprog.cohort_tables.config import LabelSettings
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES, ROLES
from pathoprog.errors import ConfigError
from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.config import LOSSES, FeatureEncoderSettings, NetworkSettings
from pathoprog.quality.config import MadeForSettings
from pathoprog.settings import setting
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.stream.config import StreamSettings
from pathoprog.system.ray_config import RaySettings
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.tiles.config import TileSpec

BALANCES = ("none", "class", "cohort", "site", "class_cohort", "class_site")
"""By which patients are drawn evenly; the class is the distinct outcome, or event and no event where there is none."""


@dataclass
class DataSettings:
    """Where patients, outcomes and tiles come from."""

    cohort: str = setting("", "cohort.csv", kind="path")
    outcomes: str = setting("", "outcomes.csv; opened for training and tuning only", kind="path")
    overlap: str = setting("", "overlap.json that declares patients shared by design", kind="path")
    source: str = setting(
        "store",
        "what training reads: the tile store, the slides themselves, or stored features",
        choices=("store", "slides", "features"),
    )
    store: str = setting(
        "", "folder of the tile store; of source=slides the tiles' places alone (empty: the run's folder)", kind="path"
    )
    features: str = setting("", "folder of stored features: <resolution>/<slide_id>.safetensors or .h5", kind="path")
    tumour_policy: str = setting("outline", "where tiles may lie", choices=("outline", "tissue"))
    tiles_10x: TileSpec = setting(TileSpec("10x", 1.0), "tiles at 10x")
    tiles_40x: TileSpec = setting(TileSpec("40x", 0.25), "tiles at 40x")
    max_missing: float = setting(
        0.1,
        "largest share of slides that training may go without: not there, not readable, or without features",
        low=0.0,
        high=1.0,
    )
    slides: SlideSettings = setting(SlideSettings(), "how slides are read")
    stream: StreamSettings = setting(StreamSettings(), "the reader processes")


def check_data(data: DataSettings, source: str = "") -> None:
    """Refuse data settings without a cohort or the folder that is read or written, before any work.

    Args:
        data: the settings.
        source: what is read or written in place of `data.source`.

    Raises:
        ConfigError: names the key.
    """
    folders = {"store": "folder of the tile store", "features": "folder of stored features"}
    wanted = source or data.source  # slides need no folder
    needed = {"cohort": "cohort.csv"} | {name: help for name, help in folders.items() if name == wanted}
    for name, help in needed.items():
        if not getattr(data, name):
            raise ConfigError(f"data.{name} is missing: give data.{name}=… ({help})")


@dataclass
class FitSettings:
    """The loop: what a step is, how often it is judged."""

    loss: str = setting("cross_entropy", "what a step minimises", choices=tuple(LOSSES))
    steps: int = setting(
        3000, "optimiser steps; more than a finished run in out= had: it goes on from its last checkpoint", low=1
    )
    patients_per_step: int = setting(16, "patients (bags) a step", low=2)
    tiles_per_patient: int = setting(32, "tiles drawn for each patient's bag", low=1)
    accumulate: int = setting(1, "parts a step is split into, to save memory; divides patients_per_step", low=1)
    balance: str = setting("class", "draw patients evenly over", choices=BALANCES)
    class_weight_poor: float = setting(1.0, "weight of poor against good in cross-entropy", low=0.0, open_low=True)
    interval_years: list[float] = setting(
        [1.0, 2.5, 4.0], "inner boundaries of the discrete-time intervals, years", low=0.0
    )
    lr: float = setting(1e-3, "peak learning rate (AdamW)", low=0.0, high=1.0, open_low=True)
    head_lr: float = setting(
        1.0, "factor on lr for what follows the encoder (instance layer, pooling, classifier)", low=0.0, open_low=True
    )
    weight_decay: float = setting(1e-2, "AdamW's weight decay; none on biases and normalisation", low=0.0, high=1.0)
    warmup_steps: int = setting(100, "steps of linear warm-up; a cosine to zero follows", low=0)
    clip_norm: float = setting(1.0, "largest gradient norm", low=0.0, open_low=True)
    ema_decay: float = setting(
        0.99, "decay of the averaged weights that are judged and kept; 0 = none", low=0.0, high=0.9999
    )
    recalibrate: int = setting(
        8, "training batches that set the averaged network's normalisation statistics before it is judged", low=1
    )
    evaluate_every: int = setting(300, "steps between evaluations on tuning", low=1)
    evaluate_tiles: int = setting(0, "most tiles per tuning patient in these evaluations; 0 = all", low=0)
    evaluate_batch: int = setting(64, "tiles at once in these evaluations", low=1)
    checkpoint_every: int = setting(100, "steps between checkpoints to resume from", low=1)
    keep_best: int = setting(3, "best checkpoints kept", low=1)
    log_every: int = setting(10, "steps between lines of metrics", low=1)
    prefetch: int = setting(2, "batches read ahead", low=0)
    threads: int = setting(1, "CPU threads of PyTorch; part of what makes equal bits", low=1)
    dtype: str = setting("auto", "bf16 autocast on CUDA, else fp32", choices=("auto", "fp32", "bf16"))
    compile: bool = setting(False, "torch.compile the encoder")


@dataclass
class SplitSettings:
    """Who is held out, where there is no tuning cohort (`pathoprog cross_validate`)."""

    folds: int = setting(0, "k of k-fold cross-validation over training and tuning; 0 = by role", low=0)
    fold: int = setting(0, "the fold that is held out and judged on, from 0; -1 = none", low=-1)
    together: str = setting(
        "", "column of cohort.csv that is kept in one fold, such as prep_site; patients always are", kind="name"
    )
    seed: int = setting(1, "of the folds; candidates share them", low=0)


@dataclass
class StartSettings:
    """Fine-tuning: the locked ensemble that candidates start from; its networks are taken with their weights."""

    bundle: str = setting("", "a locked bundle; empty = from scratch, or from network.weights", kind="path")
    member: str = setting(
        "", "the member's name; empty = its members of the same resolution in turn, one for each seed", kind="name"
    )


@dataclass
class TilesConfig:
    """`pathoprog tiles`."""

    data: DataSettings = setting(DataSettings(), "")
    roles: list[str] = setting(list(DEVELOPMENT_ROLES), "roles to cut", choices=ROLES, required=True)


@dataclass
class FeaturesConfig(FeatureEncoderSettings):
    """`pathoprog features`."""

    weights: str = setting("", "safetensors file with the encoder's weights", kind="path", required=True)
    data: DataSettings = setting(DataSettings(), "features go to data.features")
    roles: list[str] = setting(
        list(ROLES),
        "roles to read",
        choices=ROLES,
        required=True,
    )
    resolutions: list[str] = setting(list(RESOLUTIONS), "resolutions to read", choices=RESOLUTIONS, required=True)
    device: str = setting("auto", "auto, cpu or cuda:N")
    dtype: str = setting("auto", "bf16 autocast on CUDA, else fp32", choices=("auto", "fp32", "bf16"))


@dataclass
class TrainConfig:
    """`pathoprog train`: one candidate."""

    out: str = setting("", "folder of the run", kind="path", required=True)
    resolution: str = setting("10x", "of the tiles", choices=RESOLUTIONS)
    seed: int = setting(1, "of initial weights, batches and augmentation", low=0)
    device: str = setting("auto", "auto, cpu or cuda:N")
    restart: bool = setting(
        False, "delete a run of other settings or data that lies in out=, or one that diverged, and train anew"
    )
    data: DataSettings = setting(DataSettings(), "")
    labels: LabelSettings = setting(LabelSettings(), "")
    network: NetworkSettings = setting(NetworkSettings(), "")
    augment: AugmentSettings = setting(AugmentSettings(), "")
    fit: FitSettings = setting(FitSettings(), "")
    start: StartSettings = setting(StartSettings(), "")
    split: SplitSettings = setting(SplitSettings(), "")
    track: TrackingSettings = setting(TrackingSettings(), "")


@dataclass
class TrainEnsembleConfig(TrainConfig):
    """`pathoprog train_ensemble`: every candidate; `resolution` is ignored, both are trained."""

    candidates: int = setting(6, "candidates per resolution (seeds seed, seed + 1, …)", low=1)
    engine: str = setting(
        "local", "what runs them: processes of this machine, or Ray over nodes", choices=("local", "ray")
    )
    ray: RaySettings = setting(RaySettings(), "")
    workers: int = setting(0, "candidates trained at once; 0 = one per GPU, or one per core on the CPU", low=0)
    restarts: int = setting(2, "times a candidate that died is started again from its checkpoint", low=0)


@dataclass
class CrossValidateConfig(TrainEnsembleConfig):
    """`pathoprog cross_validate`: every candidate once for each fold; `split.fold` is set for each."""

    split: SplitSettings = setting(SplitSettings(folds=5), "")
    candidates: int = setting(1, "seeds per resolution, each trained once for each fold", low=1)
    refit: bool = setting(
        False, "then train every seed on all patients, for `pathoprog ensemble` to lock by the out-of-fold scores"
    )


@dataclass
class EnsembleConfig:
    """`pathoprog ensemble`: choose, fix thresholds, lock."""

    candidates: str = setting("", "folder of train_ensemble's run", kind="path", required=True)
    out: str = setting("", "folder of the bundle", kind="path", required=True)
    name: str = setting("ensemble", "the ensemble's name", kind="name")
    encoder_weights: list[str] = setting(
        [],
        "weights of the encoder whose features candidates learned from, copied into the bundle where their licence "
        "allows it; none: the bundle names them by SHA-256, and scoring is given the file",
        kind="paths",
    )
    aggregation: str = setting("bag", "several slides of a patient", choices=("bag", "mean", "max"))
    tumour: str = setting("", "folder of `pathoprog segment`: the tumour network to lock into the bundle", kind="path")
    tumour_policy: str = setting(
        "trained",
        "where tiles lie in scoring, unless it is told otherwise: as in training, or in the tumour network's outline",
        choices=("trained", "network"),
    )
    device: str = setting("auto", "where tuning is scored: auto, cpu or cuda:N")
    dtype: str = setting(
        "fp32",
        "precision in which tuning is scored, and in which alone the bundle then scores slides",
        choices=("fp32", "bf16"),
    )
    threads: int = setting(0, "networks that compute at once on a CPU (0: one per core, up to 5)", low=0, high=5)
    stream: StreamSettings = setting(StreamSettings(), "tiles at once, and the reader processes, when tuning is scored")
    min_share: float = setting(0.15, "smallest share of patients on each side of a threshold", low=0.01, high=0.5)
    bootstrap: int = setting(200, "resamples for the thresholds' intervals; 0 = none", low=0)
    seed: int = setting(1, "of the bootstrap", low=0)
    intended_use: str = setting(
        "Research on prognosis after resection of colorectal cancer.", "first line of the model card", kind="name"
    )
    made_for: MadeForSettings = setting(MadeForSettings(), "slides that the ensemble is for")
    track: TrackingSettings = setting(TrackingSettings(), "")


@dataclass
class PromoteConfig:
    """`pathoprog promote`: an alias for a registered bundle."""

    bundle: str = setting("", "the locked bundle", kind="path", required=True)
    alias: str = setting("champion", "of the registered model's version", choices=("champion", "candidate"))
    track: TrackingSettings = setting(TrackingSettings(), "")


@dataclass
class ControlConfig:
    """`pathoprog control`: the whole way where there is nothing to find."""

    out: str = setting("runs/control", "folder to write to", kind="path", required=True)
    seeds: int = setting(10, "independent cohorts, each with its own slides and training", low=2)
    seed: int = setting(101, "the first seed", low=0)
    hazard: str = setting(
        "none", "what drives cancer deaths; none is the control", choices=("none", "both", "architecture", "nuclei")
    )
    development_patients: int = setting(80, "of each cohort", low=20)
    external_patients: int = setting(100, "of each cohort", low=20)
    field_um: float = setting(640.0, "width and height of each slide, um", low=240, high=4000)
    keep: bool = setting(False, "keep slides and tiles of every seed (about 0.5 GB each)")
    data: DataSettings = setting(DataSettings(), "cohort and store are set for each seed")
    labels: LabelSettings = setting(LabelSettings(), "")
    network: NetworkSettings = setting(NetworkSettings(), "")
    augment: AugmentSettings = setting(AugmentSettings(), "")
    fit: FitSettings = setting(FitSettings(), "")
    workers: int = setting(2, "candidates trained at once", low=1)
    device: str = setting("auto", "auto, cpu or cuda:N")
