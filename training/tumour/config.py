"""Settings of `pathoprog segment` (light)."""

from dataclasses import dataclass

from pathoprog.cohort_tables.roles import ROLES
from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.regions.tumour_config import OutlineSettings, TumourNetworkSettings
from pathoprog.settings import setting
from pathoprog.slides.config import SlideSettings
from pathoprog.stream.config import StreamSettings
from pathoprog.system.tracking_config import TrackingSettings


@dataclass
class SegmentFitSettings:
    """The loop: what a step is, how often it is judged."""

    steps: int = setting(4000, "optimiser steps", low=1)
    windows_per_step: int = setting(16, "windows a step, each from a slide drawn at random", low=2)
    tumour_share: float = setting(0.5, "share of the windows that are laid over tumour, the rest over tissue",
                                  low=0.0, high=1.0)  # fmt: skip
    lr: float = setting(1e-3, "peak learning rate (AdamW)", low=0.0, high=1.0, open_low=True)
    weight_decay: float = setting(1e-2, "AdamW's weight decay; none on biases and normalisation", low=0.0, high=1.0)
    warmup_steps: int = setting(50, "steps of linear warm-up; a cosine to zero follows", low=0)
    clip_norm: float = setting(1.0, "largest gradient norm", low=0.0, open_low=True)
    evaluate_every: int = setting(500, "steps between evaluations on tuning, and between checkpoints", low=1)
    log_every: int = setting(10, "steps between lines of metrics", low=1)
    threads: int = setting(1, "CPU threads of PyTorch; part of what makes equal bits", low=1)


@dataclass
class SegmentConfig:
    """`pathoprog segment`: train the tumour network, or outline a cohort's slides with it."""

    mode: str = setting(
        "train", "train: from the outlines of training and tuning; apply: outline slides", choices=("train", "apply")
    )
    cohort: str = setting("", "cohort.csv, with outline_path", kind="path", required=True)
    overlap: str = setting("", "overlap.json that declares patients shared by design", kind="path")
    out: str = setting("", "folder to write to", kind="path", required=True)
    trained: str = setting("", "mode=apply: folder of a trained network, or a bundle that holds one", kind="path")
    roles: list[str] = setting([], "mode=apply: only these roles (none given: all)", choices=ROLES)
    network: TumourNetworkSettings = setting(TumourNetworkSettings(), "")
    outline: OutlineSettings = setting(OutlineSettings(), "")
    augment: AugmentSettings = setting(AugmentSettings(), "")
    fit: SegmentFitSettings = setting(SegmentFitSettings(), "")
    max_missing: float = setting(
        0.5, "mode=train: largest share of slides that may be missing or unreadable", low=0.0, high=1.0
    )
    seed: int = setting(1, "of initial weights, windows and augmentation", low=0)
    device: str = setting("auto", "auto, cpu or cuda:N")
    slides: SlideSettings = setting(SlideSettings(), "how slides are read")
    stream: StreamSettings = setting(StreamSettings(), "the reader processes")
    track: TrackingSettings = setting(TrackingSettings(), "")
