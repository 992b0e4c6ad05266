"""What is kept of a tumour network beside its weights: all that it takes to load it, and what tuning said. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from pathoprog.regions.tumour_config import OutlineSettings, TumourNetworkSettings
from pathoprog.system.records import Record, Saved


@dataclass(frozen=True, kw_only=True)
class TumourCohort(Record):
    """Who was outlined: how many, and the hash over the slides' content and outlines."""

    n_slides: int
    n_patients: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class TumourRecord(Record):
    """A tumour network.

    Attributes:
        file: of its weights, beside the record.
        network: its settings; the path of initial weights is empty.
        outline: the view that it is shown, um per pixel, and how its map becomes polygons.
        tuning_dice: mean Dice against the outlines of the tuning slides, in [0, 1].
        step: of the training, at which it was kept.
        tuning_dice_lowest: of one tuning slide.
        cohorts: by role.
    """

    file: str
    network: Saved[TumourNetworkSettings]
    outline: Saved[OutlineSettings]
    tuning_dice: float
    step: int | None = None
    tuning_dice_lowest: float | None = None
    cohorts: Mapping[str, TumourCohort] | None = None
