"""Settings of the researchers' commands, gathered from the parts of the library that they configure (light)."""

from dataclasses import dataclass

from pathoprog.cohort_tables.config import LabelSettings
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES, ROLES
from pathoprog.ensemble.clinical import MISSING_RULES
from pathoprog.ensemble.shape import MEMBERS_PER_RESOLUTION
from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.config import LOSSES, FeatureEncoderSettings, NetworkSettings
from pathoprog.networks.engines.choice import RUNTIME_HELP, RUNTIMES
from pathoprog.quality.config import MadeForSettings
from pathoprog.settings import setting
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS, RESOLUTIONS
from pathoprog.stream.config import StreamSettings
from pathoprog.system.ray_config import RaySettings
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.data.data_config import AtResolution, DataSettings

BALANCES = ("none", "class", "cohort", "site", "class_cohort", "class_site")
"""By which patients are drawn evenly; the class is the distinct outcome, or event and no event where there is none."""


@dataclass
class FitSettings:
    """The loop: what a step is, how often it is judged."""

    loss: str = setting("cross_entropy", "loss that training minimises", choices=tuple(LOSSES))
    steps: int = setting(
        3000, "optimiser steps; if a finished run in out= had fewer, it goes on from its last checkpoint", low=1
    )
    patients_per_step: int = setting(16, "patients (bags) in each step", low=2)
    tiles_per_patient: int = setting(
        32, "tiles drawn for each patient's bag; 0: all of them, if network.encoder=none", low=0
    )
    accumulate: int = setting(
        1, "number of parts that each device takes its share of a step in; more save memory", low=1
    )
    balance: str = setting("class", "what patients are drawn evenly over", choices=BALANCES)
    class_weight_poor: float = setting(
        1.0, "weight of poor patients relative to good ones in cross-entropy", low=0.0, open_low=True
    )
    instance_loss: float = setting(
        0.3,
        "share of the pooling's own loss on tiles in the loss: clam_sb has one, if network.head=poor",
        low=0,
        high=1,
    )
    interval_years: list[float] = setting(
        [1.0, 2.5, 4.0], "boundaries between the discrete-time intervals, years", low=0.0
    )
    lr: float = setting(1e-3, "peak learning rate (AdamW)", low=0.0, high=1.0, open_low=True)
    head_lr: float = setting(
        1.0,
        "learning rate of the layers after the encoder (instance layer, pooling, classifier), as a multiple of lr",
        low=0.0,
        open_low=True,
    )
    weight_decay: float = setting(
        1e-2, "AdamW's weight decay; biases and normalisation layers have none", low=0.0, high=1.0
    )
    warmup_steps: int = setting(
        100, "steps in which the learning rate rises linearly, before it falls to zero as a cosine", low=0
    )
    clip_norm: float = setting(
        1.0, "gradients with a larger norm than this are scaled down to it", low=0.0, open_low=True
    )
    ema_decay: float = setting(
        0.99,
        "decay of the running average of the weights, which is what is judged and kept; 0: no averaging",
        low=0.0,
        high=0.9999,
    )
    recalibrate: int = setting(
        8, "training batches that reset the averaged network's normalisation statistics before it is judged", low=1
    )
    evaluate_every: int = setting(300, "steps between evaluations on tuning", low=1)
    evaluate_tiles: int = setting(0, "largest number of tiles per tuning patient in these evaluations; 0: all", low=0)
    evaluate_batch: int = setting(64, "tiles that go through the network at once in these evaluations", low=1)
    checkpoint_every: int = setting(100, "steps between checkpoints, from which a stopped run resumes", low=1)
    keep_best: int = setting(3, "number of best checkpoints to keep", low=1)
    patience: int = setting(
        0, "early stopping: evaluations without a better c on tuning after which training ends; 0: it never does", low=0
    )
    patience_gain: float = setting(
        0.0, "early stopping: by how much c must exceed the best one so far to count as better", low=0.0, high=0.5
    )
    training_sample: int = setting(
        32, "training patients, always the same, whose c is shown beside tuning's in these evaluations; 0: none", low=0
    )
    log_every: int = setting(10, "steps between two lines of metrics", low=1)
    prefetch: int = setting(2, "batches to read ahead", low=0)
    fetch_threads: int = setting(4, "threads that read a step's tiles; any number gives the same batches", low=1)
    threads: int = setting(1, "CPU threads of PyTorch; another number gives other rounding", low=1)
    gpus: int = setting(
        1, "GPUs of one machine that train a candidate together; 0: all of them; with device=cpu, processes", low=0
    )
    dtype: str = setting(
        "auto", "precision; auto: bf16 autocast on a GPU, fp32 otherwise", choices=("auto", "fp32", "bf16")
    )
    compile: bool = setting(False, "compile the encoder with torch.compile")
    checkpoint_activations: bool = setting(
        False,
        "save memory: compute the encoder's activations again in the backward pass; slower, with the same gradients",
    )


@dataclass
class SplitSettings:
    """Who is held out, where there is no tuning cohort (`pathoprog cross_validate`)."""

    folds: int = setting(
        0, "number of cross-validation folds over training and tuning; 0: no folds, split by role", low=0
    )
    fold: int = setting(0, "the fold to hold out and judge on, counted from 0; -1: none", low=-1)
    together: str = setting(
        "",
        "column of cohort.csv, such as prep_site, whose values are not split over folds; a patient never is",
        kind="name",
    )
    seed: int = setting(1, "seed of the folds, which all candidates share", low=0)


@dataclass
class StartSettings:
    """Fine-tuning: the locked ensemble that candidates start from; its networks are taken with their weights."""

    bundle: str = setting(
        "", "locked bundle to start from; default: start from scratch, or from network.weights", kind="path"
    )
    member: str = setting(
        "",
        "name of the member to start from; default: the members of the same resolution in turn, one per seed",
        kind="name",
    )


@dataclass
class TilesConfig:
    """`pathoprog tiles`."""

    data: DataSettings = setting(DataSettings(), "slides and tables")
    roles: list[str] = setting(
        list(DEVELOPMENT_ROLES),
        "roles whose slides are cut into tiles",
        choices=ROLES,
        required=True,
    )
    force: bool = setting(False, "go on though the disk will not suffice, as far as can be estimated")


@dataclass
class FeaturesConfig(FeatureEncoderSettings):
    """`pathoprog features`."""

    paths: list[str] = setting([], "slides without a cohort, in place of data.cohort: files or folders", kind="paths")
    outlines: str = setting(
        "",
        "folder with a tumour outline for each slide of slides=…, named <slide_id>.geojson, if"
        " data.tumour_policy=outline",
        kind="path",
    )
    weights: str = setting("", "safetensors file with the encoder's weights", kind="path", required=True)
    data: DataSettings = setting(DataSettings(), "slides and tables; features are written to data.features")
    roles: list[str] = setting(
        list(ROLES),
        "roles of the cohort whose slides are read",
        choices=ROLES,
        required=True,
    )
    resolutions: list[str] = setting(
        list(METHOD_RESOLUTIONS), "resolutions to read", choices=RESOLUTIONS, required=True
    )
    device: str = setting("auto", "device: auto (a GPU if there is one), cpu or cuda:N")
    dtype: str = setting(
        "auto", "precision; auto: bf16 autocast on a GPU, fp32 otherwise", choices=("auto", "fp32", "bf16")
    )
    runtime: str = setting("auto", RUNTIME_HELP, choices=RUNTIMES)


@dataclass
class CandidateSettings:
    """What one candidate and all of them are trained by, whatever the resolution."""

    out: str = setting("", "folder of the run's files", kind="path", required=True)
    seed: int = setting(1, "seed of the initial weights, batches and augmentation", low=0)
    device: str = setting("auto", "device: auto (a GPU if there is one), cpu or cuda:N")
    estimate: str = setting(
        "auto",
        "measure a few steps first, and say how long training will take and what memory: auto (if it may be long)",
        choices=("auto", "always", "never"),
    )
    force: bool = setting(False, "go on though disk or memory will not suffice, as far as can be estimated")
    restart: bool = setting(
        False, "if out= holds a run with other settings or data, or one that diverged, delete it and train anew"
    )
    looked_at: int = setting(
        0,
        "trials of other settings that were judged on these tuning patients before; the model card tells it",
        low=0,
    )
    data: DataSettings = setting(DataSettings(), "slides and tables")
    labels: LabelSettings = setting(LabelSettings(), "which patients have a distinct outcome")
    network: NetworkSettings = setting(NetworkSettings(), "the network")
    at_10x: AtResolution = setting(AtResolution(), "what is other at 10x")
    at_20x: AtResolution = setting(AtResolution(), "what is other at 20x")
    at_40x: AtResolution = setting(AtResolution(), "what is other at 40x")
    augment: AugmentSettings = setting(AugmentSettings(), "augmentation of training tiles")
    fit: FitSettings = setting(FitSettings(), "the training loop")
    start: StartSettings = setting(StartSettings(), "the ensemble to fine-tune")
    split: SplitSettings = setting(SplitSettings(), "cross-validation")
    track: TrackingSettings = setting(TrackingSettings(), "where the run is logged")


@dataclass
class TrainConfig(CandidateSettings):
    """`pathoprog train`: one candidate."""

    resolution: str = setting("10x", "resolution of the tiles", choices=RESOLUTIONS)


@dataclass
class TrainEnsembleConfig(CandidateSettings):
    """`pathoprog train_ensemble`: every candidate, of all resolutions."""

    candidates: int = setting(6, "candidates per resolution, with the seeds seed, seed + 1, …", low=1)
    members: int = setting(
        MEMBERS_PER_RESOLUTION,
        "members per resolution to be locked later: training stops once fewer candidates than that can finish",
        low=1,
    )
    engine: str = setting(
        "local",
        "where candidates are trained: local (processes on this machine) or ray (a Ray cluster)",
        choices=("local", "ray"),
    )
    ray: RaySettings = setting(RaySettings(), "the Ray cluster")
    workers: int = setting(
        0, "candidates trained at the same time; 0: one per GPU, or one per core if there is no GPU", low=0
    )
    restarts: int = setting(2, "how often a candidate that crashed is started again from its checkpoint", low=0)


@dataclass
class CrossValidateConfig(TrainEnsembleConfig):
    """`pathoprog cross_validate`: every candidate once for each fold; `split.fold` is set for each."""

    split: SplitSettings = setting(SplitSettings(folds=5), "cross-validation")
    candidates: int = setting(1, "seeds per resolution, each trained once for each fold", low=1)
    refit: bool = setting(
        False,
        "afterwards train every seed on all patients, so that `pathoprog ensemble` can lock by out-of-fold scores",
    )


@dataclass
class EnsembleConfig:
    """`pathoprog ensemble`: choose, fix thresholds, lock."""

    candidates: str = setting("", "output folder of `pathoprog train_ensemble`", kind="path", required=True)
    out: str = setting("", "folder to write the bundle to", kind="path", required=True)
    name: str = setting("ensemble", "the ensemble's name", kind="name")
    members: int = setting(
        MEMBERS_PER_RESOLUTION,
        "members to choose per resolution; another number than 5 is locked as not METHOD's ensemble",
        low=1,
    )
    encoder_weights: list[str] = setting(
        [],
        "weights of the encoder whose features the candidates learned from; give them if their licence lets the bundle "
        "hold a copy. If not given, the bundle names them by SHA-256, and `pathoprog score` needs the file",
        kind="paths",
    )
    aggregation: str = setting(
        "bag",
        "how several slides of a patient are joined: one bag of all tiles, or the mean or maximum of scores",
        choices=("bag", "mean", "max"),
    )
    covariates: list[str] = setting(
        [],
        "columns of the cohort for a Cox model over the ensemble's one number and them, fitted on tuning and locked;"
        " it changes no class",
        kind="names",
    )
    covariates_missing: str = setting(
        "withhold",
        "if a patient lacks a covariate: withhold the model's number, or take the typical value of tuning and say so",
        choices=MISSING_RULES,
    )
    tumour: str = setting(
        "", "output folder of `pathoprog segment`, whose tumour network is locked into the bundle", kind="path"
    )
    tumour_policy: str = setting(
        "trained",
        "where tiles lie in scoring by default: trained (as in training) or network (in the tumour network's outline)",
        choices=("trained", "network"),
    )
    device: str = setting("auto", "device that scores tuning: auto (a GPU if there is one), cpu or cuda:N")
    dtype: str = setting(
        "fp32",
        "precision in which tuning is scored; the bundle then scores slides in this precision only",
        choices=("fp32", "bf16"),
    )
    runtime: str = setting("auto", RUNTIME_HELP, choices=RUNTIMES)
    threads: int = setting(
        0,
        "networks that compute at the same time on a CPU (0: one per core, up to as many as one resolution has)",
        low=0,
        high=64,
    )
    stream: StreamSettings = setting(StreamSettings(), "the reader processes when tuning is scored")
    min_share: float = setting(0.15, "smallest share of patients on each side of a threshold", low=0.01, high=0.5)
    bootstrap: int = setting(200, "bootstrap resamples for the thresholds' intervals; 0: none", low=0)
    seed: int = setting(1, "seed of the bootstrap", low=0)
    intended_use: str = setting(
        "Research on prognosis after resection of colorectal cancer.",
        "intended use, the first line of the model card",
        kind="name",
    )
    made_for: MadeForSettings = setting(MadeForSettings(), "which slides the ensemble is for")
    track: TrackingSettings = setting(TrackingSettings(), "where the run is logged")


@dataclass
class MatchFeaturesConfig:
    """`pathoprog match_features`: may a bundle on another tool's features score through our own?"""

    bundle: str = setting("", "locked bundle on features of another tool", kind="path", required=True)
    own: str = setting("", "folder of our own features of slides, of `pathoprog features`", kind="path", required=True)
    other: str = setting(
        "",
        "folder of the other tool's features of the same slides, or one with such a folder for each resolution, called"
        " after it",
        kind="path",
        required=True,
    )
    out: str = setting("", "folder to write the new bundle to", kind="path", required=True)
    least_slides: int = setting(20, "fewest slides that must have both", low=2)
    tolerance: float = setting(1e-3, "largest difference of a score that is allowed", low=0, high=0.05)
    encoder_weights: list[str] = setting(
        [], "weights of our encoder, to be copied into the bundle where their licence lets it", kind="paths"
    )
    device: str = setting("auto", "device that scores: auto (a GPU if there is one), cpu or cuda:N")


@dataclass
class PromoteConfig:
    """`pathoprog promote`: an alias for a registered bundle."""

    bundle: str = setting("", "folder of the locked bundle", kind="path", required=True)
    alias: str = setting(
        "champion", "alias to give to the bundle's version in the model registry", choices=("champion", "candidate")
    )
    track: TrackingSettings = setting(TrackingSettings(), "where the run is logged")


@dataclass
class ControlConfig:
    """`pathoprog control`: the whole way where there is nothing to find."""

    out: str = setting("runs/control", "folder to write to", kind="path", required=True)
    seeds: int = setting(10, "independent cohorts, each with its own slides and training", low=2)
    seed: int = setting(101, "the first seed", low=0)
    hazard: str = setting(
        "none",
        "which hidden factors drive cancer deaths; none is the control",
        choices=("none", "both", "architecture", "nuclei"),
    )
    development_patients: int = setting(80, "patients of training and tuning in each cohort", low=20)
    external_patients: int = setting(100, "external patients in each cohort", low=20)
    field_um: float = setting(640.0, "width and height of each slide, um", low=240, high=4000)
    keep: bool = setting(False, "keep the slides and tiles of every seed (about 0.5 GB each)")
    data: DataSettings = setting(DataSettings(), "slides and tables; cohort and store are set for each seed")
    labels: LabelSettings = setting(LabelSettings(), "which patients have a distinct outcome")
    network: NetworkSettings = setting(NetworkSettings(), "the network")
    augment: AugmentSettings = setting(AugmentSettings(), "augmentation of training tiles")
    fit: FitSettings = setting(FitSettings(), "the training loop")
    workers: int = setting(2, "candidates trained at the same time", low=1)
    device: str = setting("auto", "device: auto (a GPU if there is one), cpu or cuda:N")
