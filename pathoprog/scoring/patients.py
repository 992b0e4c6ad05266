"""From slides to patients: several slides of one patient and role become one class by the bundle's rule."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pathoprog.ensemble.classes import one_number
from pathoprog.scoring.results import Context
from pathoprog.slides.resolutions import RESOLUTIONS

if TYPE_CHECKING:  # needed only where several slides become one bag
    import torch

    from pathoprog.scoring.scorer import Scorer

PATIENT_COLUMNS = (
    "patient_id",
    "role",
    "cohort",
    "status",
    "risk_class",
    "borderline",
    "score_10x",
    "score_40x",
    "one_number",
    "n_slides",
    "n_slides_scored",
    "slides",
    "reason",
    "rule",
    "risk_group",
)
MEMBER_COLUMNS = ("patient_id", "role", "cohort", "resolution", "member", "score")

SlideResult = tuple[Context, dict[str, Any]]
"""A slide's context, and what its result.json holds."""
Instances: TypeAlias = "dict[str, dict[str, torch.Tensor]]"
"""resolution -> member -> instance values [n, k]."""


@dataclass
class PatientScore:
    """The outcome of one patient in one role.

    Attributes:
        patient_id: of the patient.
        role: within which the slides were joined.
        cohort: the slides' cohorts.
        status: ``scored``, ``not_reportable`` (no slide can be judged) or ``failed`` (a slide failed, so that the
            evidence is incomplete).
        rule: ``bag``, ``mean`` or ``max``; with a single slide all three agree.
        slides: ids of all slides.
        scored: ids of those that the score rests on.
        risk_class: where scored, else empty.
        borderline: as for slides.
        scores: by resolution, where scored.
        members: resolution -> member -> score, where scored.
        reason: slides left out, or why there is no class.
    """

    patient_id: str
    role: str
    cohort: str
    status: str
    rule: str
    slides: list[str]
    scored: list[str]
    risk_class: str = ""
    borderline: bool = False
    scores: dict[str, float] = field(default_factory=dict)
    members: dict[str, dict[str, float]] = field(default_factory=dict)
    reason: str = ""


def score_patients(
    slides: list[SlideResult], rule: str, scorer: "Callable[[], Scorer]", instances: Callable[[str], Instances]
) -> list[PatientScore]:
    """One outcome per patient and role, in the order in which they first come.

    Args:
        slides: all slides.
        rule: `RULES`; the bundle's.
        scorer: gives the networks; called only where several slides become one.
        instances: gives a slide's instance values by its id; called where several become one bag.
    """

    def bag(slide_ids: list[str]) -> dict[str, dict[str, float]]:
        return one_bag(slide_ids, scorer(), instances, scorer().bag_scores)

    patients = join_slides(slides, rule, bag)
    classes = {context.slide_id: (result["risk_class"], result["borderline"]) for context, result in slides}
    for patient in patients:
        if patient.status == "scored":
            alone = len(patient.scored) == 1
            found = classes[patient.scored[0]] if alone else scorer().classify(patient.scores)
            patient.risk_class, patient.borderline = found
    return patients


def join_slides(
    slides: list[SlideResult], rule: str, bag: Callable[[list[str]], dict[str, dict[str, float]]]
) -> list[PatientScore]:
    """One outcome per patient and role, in the order in which they first come, without a class yet.

    Scoring and the lock both join slides here: thresholds belong to the rule by which slides are joined.

    Args:
        slides: all slides; of a result ``status``, ``reason`` and ``scores`` are read.
        rule: `RULES`; the bundle's.
        bag: what the members (by resolution and name) say of one bag of several slides' tiles; see `one_bag`.
    """
    groups: dict[tuple[str, str], list[SlideResult]] = {}
    for context, result in slides:
        groups.setdefault((context.patient_id, context.role), []).append((context, result))
    return [_join(group, rule, bag) for group in groups.values()]


def _join(group: list[SlideResult], rule: str, bag: Callable[[list[str]], dict[str, dict[str, float]]]) -> PatientScore:
    group = sorted(group, key=lambda item: item[0].slide_id)
    first = group[0][0]
    here = {context.slide_id for context, _ in group}
    copies = {context.slide_id for context, _ in group if context.duplicate_of in here}
    scored = [item for item in group if item[1]["status"] == "scored" and item[0].slide_id not in copies]
    left_out = []
    for context, result in group:
        if context.slide_id in copies:
            left_out.append(f"{context.slide_id}: the same slide as {context.duplicate_of}")
        elif result["status"] != "scored":
            left_out.append(f"{context.slide_id}: {result['reason']}")
    failed = any(result["status"] == "failed" for _, result in group)
    patient = PatientScore(
        patient_id=first.patient_id,
        role=first.role,
        cohort=" + ".join(sorted({context.cohort for context, _ in group if context.cohort})),
        status="failed" if failed else "scored" if scored else "not_reportable",
        rule=rule,
        slides=[context.slide_id for context, _ in group],
        scored=[context.slide_id for context, _ in scored],
        reason="; ".join(left_out),
    )
    if patient.status != "scored":
        return patient
    if len(scored) == 1:
        _take_slide(patient, scored[0][1])
    else:
        if rule == "bag":
            patient.members = bag(patient.scored)
            patient.scores = {r: statistics.fmean(values.values()) for r, values in patient.members.items()}
        else:
            _join_scores(patient, [result for _, result in scored], statistics.fmean if rule == "mean" else max)
    return patient


def _take_slide(patient: PatientScore, result: dict[str, Any]) -> None:
    for resolution in RESOLUTIONS:
        patient.scores[resolution] = result["scores"][resolution]["score"]
        patient.members[resolution] = dict(result["scores"][resolution]["members"])


def one_bag(
    slides: list[str],
    scorer: "Scorer",
    instances: Callable[[str], Instances],
    say: "Callable[[str, list[torch.Tensor]], list[float]]",
) -> dict[str, dict[str, float]]:
    """What the members say of one bag of all tiles of several slides, by resolution and name.

    Args:
        slides: ids, in the order in which their tiles lie in the bag.
        scorer: the networks.
        instances: gives a slide's instance values by its id.
        say: `scorer.bag_scores`, or `scorer.bag_risks`.
    """
    import torch

    kept = [instances(slide_id) for slide_id in slides]
    members = {}
    for resolution in RESOLUTIONS:
        names = [member.name for member in scorer.bundle.members[resolution]]
        bag = [torch.cat([slide[resolution][name] for slide in kept]) for name in names]
        members[resolution] = dict(zip(names, say(resolution, bag), strict=True))
    return members


def _join_scores(patient: PatientScore, results: list[dict[str, Any]], join: Callable[[list[float]], float]) -> None:
    for resolution in RESOLUTIONS:
        found = [result["scores"][resolution] for result in results]
        patient.scores[resolution] = join([entry["score"] for entry in found])
        patient.members[resolution] = {
            name: join([entry["members"][name] for entry in found]) for name in found[0]["members"]
        }


def patient_row(patient: PatientScore, thresholds: dict[str, float], risk_group: str = "") -> dict[str, Any]:
    """A patient's row of patients.csv; `risk_group` is the class combined with stage, a second output beside it."""
    row: dict[str, Any] = {
        "borderline": "true" if patient.borderline else "false" if patient.scores else "",
        "n_slides": len(patient.slides),
        "n_slides_scored": len(patient.scored),
        "slides": ";".join(patient.slides),
        "one_number": "",
        "risk_group": risk_group,
    }
    for name in ("patient_id", "role", "cohort", "status", "risk_class", "reason", "rule"):
        row[name] = getattr(patient, name)
    for resolution in RESOLUTIONS:
        row[f"score_{resolution}"] = repr(patient.scores[resolution]) if patient.scores else ""
    if patient.scores:
        row["one_number"] = repr(one_number(patient.scores["10x"], patient.scores["40x"], thresholds))
    return {name: row[name] for name in PATIENT_COLUMNS}


def member_rows(patient: PatientScore) -> list[dict[str, Any]]:
    """A patient's rows of members.csv: one per member, for the comparison of the ensemble with single networks."""
    return [
        {
            "patient_id": patient.patient_id,
            "role": patient.role,
            "cohort": patient.cohort,
            "resolution": resolution,
            "member": name,
            "score": repr(score),
        }
        for resolution, members in patient.members.items()
        for name, score in members.items()
    ]
