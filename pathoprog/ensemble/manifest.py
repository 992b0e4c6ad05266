"""What a bundle's ``manifest.json`` holds, typed. No torch.

The ensemble's id is the SHA-256 of the manifest's bytes: `plain_manifest` of `manifest_of` gives the same values, and
so the same bytes, for every manifest of every format. What a format does not have is None, and is not written.
A manifest has the lowest format that says all that it holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pathoprog.ensemble.clinical import ClinicalModel
from pathoprog.ensemble.shape import METHOD_SHAPE, Shape
from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.encoder_records import EncoderRecord
from pathoprog.networks.foreign.maker import FeatureMaker
from pathoprog.networks.tumour_record import TumourRecord
from pathoprog.system.files import canonical_json
from pathoprog.system.records import Record, RecordError, Saved, plain, record_of
from pathoprog.tiles.config import TileSpec

FORMAT = 4
"""Names the parts that it holds beyond what format 3 has (`PARTS`): a version that knows less refuses it, and one that
does not know a part of it too."""
PARTS = ("covariates", "other_features", "other_shape", "same_scores")
"""What a bundle of format 4 may hold: fields of `Manifest`, by name, that change what a result is."""
EARLIER, EARLIER_ON_FEATURES, EARLIER_WITH_BASIS = 1, 2, 3
"""Whole networks alone; with members that take features; with what the thresholds rest on and in which precision slides
are scored (`TuningBasis`)."""


@dataclass(frozen=True, kw_only=True)
class MemberRecord(Record):
    """One network of the ensemble.

    Attributes:
        name: of the member, once in a bundle.
        resolution: a name of `pathoprog.slides.resolutions`.
        file: of its weights, relative to the bundle.
        sha256: of that file; empty in a manifest that is not locked yet.
        network: its settings; the path of initial weights is empty.
        score_map: (center, scale) of its map from risk to score, fixed on tuning.
        seed: of its training.
        step: of its training, at which it was kept.
        tuning_c: Harrell's c by which it was chosen.
        scored_c: Harrell's c of tuning as slides are scored.
        parent_member: name of the member that it was fine-tuned from.
    """

    name: str
    resolution: str
    file: str
    sha256: str
    network: Saved[NetworkSettings]
    score_map: tuple[float, float]
    seed: int | None = None
    step: int | None = None
    tuning_c: float | None = None
    scored_c: float | None = None
    parent_member: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThresholdRecord(Record):
    """The cut of one resolution's mean score, in [0, 1], its 95% bootstrap interval, and the rule that found it."""

    value: float
    lower: float | None = None
    upper: float | None = None
    share_above: float | None = None
    rule: str | None = None


@dataclass(frozen=True, kw_only=True)
class TuningBasis(Record):
    """What the thresholds rest on: the tuning patients' scores as `pathoprog score` gives them.

    Attributes:
        n_patients: with scores.
        n_slides: theirs.
        n_tiles: theirs, by resolution.
        left_out: patients that scoring gives no score, by status.
        ranked_on_tiles: most tiles of a patient when candidates were ranked; 0: all.
        batch_tiles: tiles that the networks were shown at once, by resolution.
        sha256: over the scores.
        runtime: what computed them, by resolution; None in bundles of earlier versions.
    """

    n_patients: int
    n_slides: int
    n_tiles: Mapping[str, int]
    left_out: Mapping[str, int]
    ranked_on_tiles: int
    batch_tiles: Mapping[str, int]
    sha256: str
    runtime: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class CohortFacts(Record):
    """Size of a cohort, and the hash over its patients, slides' content, tiles' places and outcomes; no id.

    Attributes:
        n_patients: with tiles.
        n_slides: theirs.
        n_tiles: theirs.
        n_events: patients with the event.
        sha256: the hash.
        out_of_folds: number of folds, where everybody learned and out-of-fold scores judged.
        together: column whose values were kept in one fold; empty for none.
        verdict_sha256: over the out-of-fold scores.
    """

    n_patients: int
    n_slides: int
    n_tiles: int
    n_events: int
    sha256: str
    out_of_folds: int | None = None
    together: str | None = None
    verdict_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class ParentRecord(Record):
    """The ensemble that this one was fine-tuned from."""

    ensemble_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class StageGroupsRecord(Record):
    """Of a bundle with a table of class and stage: id of the one without, and whether its patients trained members."""

    supersedes: str
    in_sample: bool


@dataclass(frozen=True, kw_only=True)
class ShapeRecord(Record):
    """Of an ensemble of another shape than METHOD's.

    Attributes:
        members: how many at each resolution.
        caution: that in words, as each result says it.
    """

    members: Mapping[str, int]
    caution: str


@dataclass(frozen=True, kw_only=True)
class SameScoresRecord(Record):
    """That features of our own give the scores of the other tool's, on slides that had both.

    Attributes:
        supersedes: id of the bundle without the check.
        n_slides: compared, all of one class by both.
        tolerance: of a resolution's score.
        largest_difference: found, by resolution.
    """

    supersedes: str
    n_slides: int
    tolerance: float
    largest_difference: Mapping[str, float]

    def says(self) -> str:
        """In one sentence."""
        found = " and ".join(f"{value:.2g} at {name}" for name, value in sorted(self.largest_difference.items()))
        return (
            f"Slides are scored through features of our own after a check on {self.n_slides} slides that had both: the"
            f" scores differed by at most {found} ({self.tolerance:g} was allowed), and no class did; whether a slide"
            " is of the development is not known by its content"
        )


@dataclass(frozen=True, kw_only=True)
class Normalisation(Record):
    """Of tiles before the networks, per channel R, G, B, of intensities in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest(Record):
    """What a bundle holds, and all that decides on a slide's result.

    Attributes:
        members: the networks; of METHOD's shape ten.
        thresholds: by resolution.
        tile_specs: by resolution.
        aggregation: rule for several slides of a patient: bag, mean or max.
        tumour_policy: where tiles lie: network, outline or tissue.
        files: name in the bundle -> SHA-256; empty in a manifest that is not locked yet.
        encoders: by resolution, where members take features in place of tiles.
        other_features: by resolution, who made them, where members take those of another tool.
        same_scores: that slides may be scored through `encoders` too, where members learned from `other_features`.
        other_shape: where it is not METHOD's; `shape` has it for every bundle.
        covariates: the Cox model over the one number and clinical covariates, where there is one.
        tuning_scores: what the thresholds rest on; None in bundles of earlier versions.
        precision: in which slides may be scored, fp32 or bf16; None in bundles of earlier versions.
        tumour: the network that outlines, where there is one.
        parent: the ensemble that this one was fine-tuned from.
        stage_groups: of the table of class and stage, where there is one.
        cohorts: who trained and tuned, by role.
        made_for: trait (organ, specimen, stain, neoadjuvant) -> values.
        normalisation: of tiles.
        preprocessing: version of level rule, averaging, mask and grid.
        training: settings of labels, augmentation and fit, as they were; told, and not read back.
        name: of the ensemble.
        intended_use: in words.
        research_use_only: the caution.
        code_version: of the program that locked it.
    """

    members: tuple[MemberRecord, ...]
    thresholds: Mapping[str, ThresholdRecord]
    tile_specs: Mapping[str, TileSpec]
    aggregation: str
    tumour_policy: str
    files: Mapping[str, str]
    encoders: Mapping[str, EncoderRecord] | None = None
    other_features: Mapping[str, FeatureMaker] | None = None
    same_scores: SameScoresRecord | None = None
    other_shape: ShapeRecord | None = None
    covariates: ClinicalModel | None = None
    tuning_scores: TuningBasis | None = None
    precision: str | None = None
    tumour: TumourRecord | None = None
    parent: ParentRecord | None = None
    stage_groups: StageGroupsRecord | None = None
    cohorts: Mapping[str, CohortFacts] | None = None
    made_for: Mapping[str, tuple[str, ...]] | None = None
    normalisation: Normalisation | None = None
    preprocessing: str | None = None
    training: Mapping[str, Any] | None = None
    name: str | None = None
    intended_use: str | None = None
    research_use_only: str | None = None
    code_version: str | None = None

    @property
    def format(self) -> int:
        """The lowest that says all this."""
        if self.holds:
            return FORMAT
        if self.tuning_scores is not None:
            return EARLIER_WITH_BASIS
        return EARLIER_ON_FEATURES if self.encoders else EARLIER

    @property
    def holds(self) -> tuple[str, ...]:
        """Those of `PARTS` that are there."""
        return tuple(name for name in PARTS if getattr(self, name) is not None)

    @property
    def shape(self) -> Shape:
        """How many members at which resolution, and what follows from it."""
        return METHOD_SHAPE if self.other_shape is None else Shape(self.other_shape.members)

    @property
    def cuts(self) -> dict[str, float]:
        """The thresholds' values by resolution."""
        return {resolution: float(found.value) for resolution, found in self.thresholds.items()}

    def members_at(self, resolution: str) -> list[MemberRecord]:
        """Members of one resolution."""
        return [member for member in self.members if member.resolution == resolution]


def manifest_of(value: Any) -> Manifest:
    """A manifest from what ``manifest.json`` holds.

    Raises:
        RecordError: an unknown format or part, a key that is missing, or a value of another type; says where.
    """
    found = value.get("format") if isinstance(value, Mapping) else type(value).__name__
    if not isinstance(value, Mapping) or type(found) is not int or not EARLIER <= found <= FORMAT:
        newer = type(found) is int and found > FORMAT
        remedy = "; it was locked by a newer version of pathoprog, which is needed to score with it" if newer else ""
        raise RecordError(f"format {found!r}, this version reads {EARLIER} to {FORMAT}{remedy}")
    beside = ("format", "holds") if found == FORMAT else ("format",)
    if found == FORMAT:
        _check_parts(value)
    manifest = record_of(Manifest, {name: item for name, item in value.items() if name not in beside})
    if manifest.format != found:
        raise RecordError(f"format {found!r}, but it holds what format {manifest.format} does")
    if found == FORMAT and sorted(value["holds"]) != sorted(manifest.holds):
        raise RecordError(f"holds: {', '.join(value['holds'])}, but there is {', '.join(manifest.holds)}")
    _check_resolutions(manifest)
    return manifest


def _check_parts(value: Mapping[str, Any]) -> None:
    parts = value.get("holds")
    if not isinstance(parts, list) or not all(isinstance(name, str) for name in parts):
        raise RecordError(f"holds: must be a list of what format {FORMAT} adds: {', '.join(PARTS)}")
    if unknown := sorted(set(parts) - set(PARTS)):
        raise RecordError(
            f"holds: {', '.join(unknown)}, which this version does not know; it was locked by a newer version of"
            " pathoprog, which is needed to score with it"
        )


def _check_resolutions(manifest: Manifest) -> None:
    """Members, thresholds and tile specs are of the shape's resolutions, all of them and no others."""
    if problems := manifest.shape.problems():
        raise RecordError(f"other_shape.members: {problems[0]}")
    wanted = manifest.shape.resolutions
    for number, member in enumerate(manifest.members):
        if member.resolution not in wanted:
            raise RecordError(
                f"members[{number}].resolution: {member.resolution!r}, must be one of {', '.join(wanted)}"
            )
    for name, given in (("thresholds", manifest.thresholds), ("tile_specs", manifest.tile_specs)):
        if missing := [resolution for resolution in wanted if resolution not in given]:
            raise RecordError(f"{name}: lacks {', '.join(missing)}")
        if wrong := sorted(set(given) - set(wanted)):
            raise RecordError(f"{name}: {wrong[0]!r}, must be one of {', '.join(wanted)}")


def plain_manifest(manifest: Manifest) -> dict[str, Any]:
    """What ``manifest.json`` holds of a manifest."""
    holds = {"holds": list(manifest.holds)} if manifest.holds else {}
    return {**plain(manifest), **holds, "format": manifest.format}


def manifest_text(manifest: Manifest) -> str:
    """The text of ``manifest.json``: equal manifests give equal bytes."""
    return canonical_json(plain_manifest(manifest))
