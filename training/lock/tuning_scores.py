"""Tuning scored at the lock as slides are scored: what thresholds, score maps and class shares rest on.

Risks of all tiles (`tuning_risks`) become scores and patients by the code that scores: `pathoprog.scoring.scorer`'s
maps, the bundle's checks of quality and eligibility, and `pathoprog.scoring.patients`' rule for several slides.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.ensemble.manifest import Manifest, TuningBasis
from pathoprog.errors import InputError
from pathoprog.quality.checks import QualityRules
from pathoprog.scoring import eligibility
from pathoprog.scoring.patients import PatientScore, PatientSlide, join_slides, one_bag
from pathoprog.scoring.scorer import Scorer
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_scores import judge_eligibility, judge_quality
from pathoprog.system.files import sha256_file, sha256_value
from pathoprog.system.machine.device import one_thread
from pathoprog.text.wording import listing
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.lock.tuning_risks import Group, batch_tiles, groups_of, score_groups
from pathoprog.training.member.candidate import Candidate

LEAST_SPREAD = 1e-6
"""Of a member's risks, where a map divides by it."""


@dataclass
class TuningScores:
    """Tuning as scored.

    Attributes:
        patients: everybody's outcome, those without a score too; without a class before `classify`.
        score_maps: by member.
        basis: what the manifest says of them.
        scorer: gives classes.
    """

    patients: list[PatientScore]
    score_maps: dict[str, tuple[float, float]]
    basis: TuningBasis
    scorer: Scorer

    @property
    def scored(self) -> list[PatientScore]:
        """Those with scores, ordered by id."""
        return _scored(self.patients)

    def classify(self, thresholds: dict[str, float]) -> None:
        """Give each patient with scores his class, as scoring does."""
        self.scorer.bundle.thresholds = thresholds
        for patient in self.scored:
            patient.risk_class, patient.borderline = self.scorer.classify(patient.scores)


def score_tuning(
    settings: EnsembleConfig,
    trained: TrainConfig,
    members: Mapping[str, Sequence[Candidate]],
    manifest: Manifest,
    rules: QualityRules,
) -> TuningScores:
    """Score tuning with the chosen members; what was scored before and still holds is not scored again.

    Args:
        settings: of the choice: rule, precision, device.
        trained: settings of the candidates' training.
        members: those chosen, by resolution.
        manifest: of the bundle to be: tumour policy and network, encoders, what it is made for.
        rules: by which the bundle will judge a slide's quality.

    Raises:
        InputError: slides that training read, and that cannot be scored now; nobody has a score.
    """
    data = trained.data
    cohort = read_cohort(data.cohort, data.overlap)
    cohort = cohort[cohort["role"].isin(DEVELOPMENT_ROLES if trained.split.folds else ("tuning",))]
    with one_thread():  # members compute side by side instead, as in scoring
        groups = [*groups_of(settings, trained, members, manifest, cohort)]
        score_groups(groups, settings, trained)
        maps = _score_maps(settings, members, groups, manifest, rules)
        patients = []
        for group in groups:
            for member in group.scorer.all_members():
                member.score_map = maps[member.name]
            slides = _results(group, manifest, rules, as_scores=True)
            patients += join_slides(slides, settings.aggregation, _bag(group, as_scores=True))
    scored = _scored(patients)
    if not scored:
        raise InputError(f"{data.cohort}: no tuning patient has a score, first reason: {patients[0].reason}")
    return TuningScores(patients, maps, _basis(patients, settings, trained, groups), groups[0].scorer)


def _scored(patients: list[PatientScore]) -> list[PatientScore]:
    return sorted((one for one in patients if one.status == "scored"), key=lambda one: one.patient_id)


def _results(group: Group, manifest: Manifest, rules: QualityRules, as_scores: bool) -> list[PatientSlide]:
    """What `join_slides` needs of each slide: its status, and the members' scores, or risks."""
    rows = group.rows.to_dict("records")
    contents = [_content(row, group) for row in rows]
    first: dict[Any, str] = {}
    results = []
    for row, content in zip(rows, contents, strict=True):
        slide_id = str(row["slide_id"])
        original = first.setdefault(content, slide_id)
        outcome = group.failed.get(slide_id) or _judged(slide_id, group, row, manifest, rules)
        members: dict[str, dict[str, float]] = {}
        for resolution in group.scorer.bundle.resolutions if outcome.status == "scored" else ():
            risks = group.kept[slide_id].risks[resolution]
            names = [member.name for member in group.scorer.bundle.members[resolution]]
            values = [risks[name] for name in names]
            values = group.scorer.scores_of(resolution, values) if as_scores else values
            members[resolution] = dict(zip(names, values, strict=True))
        results.append(
            PatientSlide(
                slide_id=slide_id,
                patient_id=str(row["patient_id"]),
                cohort=str(row["cohort"]),
                role=str(row["role"]),
                status=outcome.status,
                reason=outcome.reason,
                duplicate_of=original if original != slide_id else "",
                scores={resolution: statistics.fmean(found.values()) for resolution, found in members.items()},
                members=members,
            )
        )
    return results


def _content(row: dict[Any, Any], group: Group) -> Any:
    """What makes two slides the same to scoring: content, outline and traits; the id where the content is not known."""
    slide_id = str(row["slide_id"])
    sha256 = group.kept[slide_id].seen.sha256 if slide_id in group.kept else ""
    if not sha256:
        return slide_id
    outline = str(row.get("outline_path") or "") if group.scorer.bundle.tumour_policy == "outline" else ""
    drawn = sha256_file(outline) if outline and Path(outline).is_file() else outline
    return sha256, drawn, tuple(_traits(row).items())


def _traits(row: dict[Any, Any]) -> dict[str, str]:
    return {name: str(row[name]) for name in eligibility.TRAITS if name in row}


def _judged(slide_id: str, group: Group, row: dict[Any, Any], manifest: Manifest, rules: QualityRules) -> SlideScore:
    """A slide's outcome with the bundle's checks of quality and eligibility, which may take it away."""
    kept = group.kept[slide_id]
    opened = kept.seen.opened(slide_id, list(group.scorer.bundle.specs.values()))
    outcome = SlideScore(slide_id, kept.status, reason=kept.reason, code=kept.code, opened=opened)
    judge_quality(outcome, rules)
    judge_eligibility(outcome, eligibility.judge(_traits(row), manifest.made_for or {}), "enforce")
    return outcome


def _bag(group: Group, as_scores: bool) -> Callable[[list[str]], dict[str, dict[str, float]]]:
    say_of = group.scorer.bag_scores if as_scores else group.scorer.bag_risks
    return lambda slide_ids: one_bag(slide_ids, group.scorer, group.instances, say_of)


def _score_maps(
    settings: EnsembleConfig,
    members: Mapping[str, Sequence[Candidate]],
    groups: list[Group],
    manifest: Manifest,
    rules: QualityRules,
) -> dict[str, tuple[float, float]]:
    """Each member's map to [0, 1].

    The head *poor* has such an output by itself. Other heads are standardised by the mean and SD of the patients' risks
    on tuning (of several slides by the locked rule), then take the logistic function: monotone, and fixed from here on.
    """
    maps = {one.name: (0.0, 1.0) for found in members.values() for one in found}
    others = {one.name for found in members.values() for one in found if one.network.settings.head != "poor"}
    if not others:
        return maps
    risks: dict[str, list[float]] = {name: [] for name in others}
    for group in groups:
        slides = _results(group, manifest, rules, as_scores=False)
        for patient in join_slides(slides, settings.aggregation, _bag(group, as_scores=False)):
            for found in patient.members.values():
                for name in found.keys() & others:
                    risks[name].append(found[name])
    for name, values in risks.items():
        maps[name] = (float(np.mean(values)), max(float(np.std(values)), LEAST_SPREAD)) if values else (0.0, 1.0)
    return maps


def _basis(
    patients: list[PatientScore], settings: EnsembleConfig, trained: TrainConfig, groups: list[Group]
) -> TuningBasis:
    """What the manifest says of the scores; no id leaves with it."""
    resolutions = groups[0].scorer.bundle.resolutions
    scored = _scored(patients)
    used = {slide_id for patient in scored for slide_id in patient.scored}
    kept = [one for group in groups for name, one in group.kept.items() if name in used]
    left_out = Counter(patient.status for patient in patients if patient.status != "scored")
    return TuningBasis(
        n_patients=len(scored),
        n_slides=len(used),
        n_tiles={name: sum(one.seen.n_tiles[name] for one in kept) for name in resolutions},
        left_out=dict(left_out),
        ranked_on_tiles=trained.fit.evaluate_tiles,
        batch_tiles=batch_tiles(settings, trained),
        runtime={name: listing(sorted({one.runtime[name] for one in kept})) for name in resolutions},
        sha256=sha256_value([[patient.patient_id, patient.scores] for patient in scored]),
    )
