"""Settings of a sweep or a search, beside those of the command that it runs (light)."""

from dataclasses import dataclass

from pathoprog.settings import setting
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.training.config import CrossValidateConfig, TrainEnsembleConfig

ALL = "all"
"""The objective that is the mean over the resolutions."""


@dataclass
class SearchSettings:
    """How trials are chosen and compared."""

    objective: str = setting(
        ALL,
        "what trials are ranked by: c at one resolution, or over all of them",
        choices=(ALL, *RESOLUTIONS),
    )
    trials: int = setting(20, "number of trials of --search, those of earlier calls included", low=1)
    at_once: int = setting(1, "trials of --search that are asked for together, before any of them is judged", low=1)
    startup: int = setting(
        10, "trials of --search that are drawn at random before its sampler (TPE) learns from them", low=1
    )
    seed: int = setting(1, "seed of --search", low=0)
    only: int = setting(
        -1,
        "train only this trial of --multirun, counted from 0, and leave the table to a later call: for job arrays;"
        " -1: all",
        low=-1,
    )


@dataclass
class TrainEnsembleSweepConfig(TrainEnsembleConfig):
    """`pathoprog train_ensemble --multirun` or `--search`."""

    search: SearchSettings = setting(SearchSettings(), "the sweep or search")


@dataclass
class CrossValidateSweepConfig(CrossValidateConfig):
    """`pathoprog cross_validate --multirun` or `--search`."""

    search: SearchSettings = setting(SearchSettings(), "the sweep or search")
