"""Settings of `pathoprog segment` (light)."""

from dataclasses import dataclass

from pathoprog.cohort_tables.roles import ROLES
from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.engines.choice import RUNTIME_HELP, RUNTIMES
from pathoprog.regions.tumour_config import OutlineSettings, TumourNetworkSettings
from pathoprog.settings import setting
from pathoprog.slides.config import SlideSettings
from pathoprog.stream.config import StreamSettings
from pathoprog.system.tracking_config import TrackingSettings


@dataclass
class SegmentFitSettings:
    """The loop: what a step is, how often it is judged."""

    steps: int = setting(4000, "optimiser steps", low=1)
    windows_per_step: int = setting(16, "windows in each step, each from a slide drawn at random", low=2)
    tumour_share: float = setting(0.5, "share of the windows that lie over tumour; the others lie over tissue",
                                  low=0.0, high=1.0)  # fmt: skip
    lr: float = setting(1e-3, "peak learning rate (AdamW)", low=0.0, high=1.0, open_low=True)
    weight_decay: float = setting(
        1e-2, "AdamW's weight decay; biases and normalisation layers have none", low=0.0, high=1.0
    )
    warmup_steps: int = setting(
        50, "steps in which the learning rate rises linearly, before it falls to zero as a cosine", low=0
    )
    clip_norm: float = setting(
        1.0, "gradients with a larger norm than this are scaled down to it", low=0.0, open_low=True
    )
    evaluate_every: int = setting(500, "steps between evaluations on tuning, and between checkpoints", low=1)
    log_every: int = setting(10, "steps between two lines of metrics", low=1)
    threads: int = setting(1, "CPU threads of PyTorch; another number gives other rounding", low=1)


@dataclass
class SegmentConfig:
    """`pathoprog segment`: train the tumour network, or outline a cohort's slides with it."""

    mode: str = setting(
        "train", "train: from the outlines of training and tuning; apply: outline slides", choices=("train", "apply")
    )
    cohort: str = setting("", "cohort.csv, with outline_path", kind="path", required=True)
    overlap: str = setting(
        "", "overlap.json: the patients that are meant to be in test and in development", kind="path"
    )
    out: str = setting("", "folder to write to", kind="path", required=True)
    trained: str = setting("", "if mode=apply: folder of a trained network, or of a bundle that holds one", kind="path")
    roles: list[str] = setting(
        [],
        "if mode=apply: outline only these roles (if none is given: all)",
        choices=ROLES,
    )
    network: TumourNetworkSettings = setting(TumourNetworkSettings(), "the tumour network")
    outline: OutlineSettings = setting(OutlineSettings(), "how the network's map becomes an outline")
    augment: AugmentSettings = setting(AugmentSettings(), "augmentation of training windows")
    fit: SegmentFitSettings = setting(SegmentFitSettings(), "the training loop")
    max_missing: float = setting(
        0.5,
        "if mode=train: training stops if a larger share of the slides than this is missing or unreadable",
        low=0.0,
        high=1.0,
    )
    seed: int = setting(1, "seed of the initial weights, windows and augmentation", low=0)
    device: str = setting("auto", "device: auto (a GPU if there is one), cpu or cuda:N")
    runtime: str = setting("auto", f"if mode=apply: {RUNTIME_HELP}", choices=RUNTIMES)
    slides: SlideSettings = setting(SlideSettings(), "how slides are read")
    stream: StreamSettings = setting(StreamSettings(), "the reader processes")
    track: TrackingSettings = setting(TrackingSettings(), "where the run is logged")
