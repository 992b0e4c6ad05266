"""From slides to patients: several slides of one patient and role become one class by the bundle's rule."""

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pathoprog.ensemble.classes import one_number
from pathoprog.ensemble.clinical import ClinicalNumber
from pathoprog.ensemble.shape import METHOD_SHAPE, Shape
from pathoprog.scoring.results import Context
from pathoprog.scoring.slide_result import SlideResult
from pathoprog.slides.resolutions import in_order

if TYPE_CHECKING:  # needed only where several slides become one bag
    import torch

    from pathoprog.scoring.scorer import Scorer


def patient_columns(shape: Shape = METHOD_SHAPE, clinical: bool = False) -> tuple[str, ...]:
    """Columns of patients.csv: scores are those of the bundle's resolutions; `caution` if it is not METHOD's shape.

    `clinical`: the bundle has a model over clinical covariates: its number, what it was given, and notes are three
    columns more.
    """
    return (
        "patient_id",
        "role",
        "cohort",
        "status",
        "risk_class",
        "borderline",
        *(f"score_{name}" for name in shape.resolutions),
        "one_number",
        "n_slides",
        "n_slides_scored",
        "slides",
        "reason",
        "rule",
        "risk_group",
        *(("clinical_number", "clinical_covariates", "clinical_notes") if clinical else ()),
        *(("caution",) if shape.caution else ()),
    )


PATIENT_COLUMNS = patient_columns()
"""Those of METHOD's ensemble."""
MEMBER_COLUMNS = ("patient_id", "role", "cohort", "resolution", "member", "score")

PatientKey: TypeAlias = tuple[str, str]
"""Whose slides are joined: patient_id and role."""

Instances: TypeAlias = "dict[str, dict[str, torch.Tensor]]"
"""resolution -> member -> instance values [n, k]."""


@dataclass(frozen=True, kw_only=True)
class PatientSlide:
    """What joining needs of one slide.

    Attributes:
        slide_id: of the slide.
        patient_id: of the patient.
        cohort: from the table, or empty.
        role: from the table, or empty.
        status: ``scored``, ``not_reportable`` or ``failed``.
        reason: why it is not scored, else empty.
        duplicate_of: another slide with the same content, or empty.
        risk_class: of this slide alone, where one was given.
        borderline: as for slides.
        scores: by resolution, where scored.
        members: resolution -> member -> score, where scored.
    """

    slide_id: str
    patient_id: str
    cohort: str
    role: str
    status: str
    reason: str = ""
    duplicate_of: str = ""
    risk_class: str = ""
    borderline: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)
    members: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


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


def patient_slide(context: Context, result: SlideResult) -> PatientSlide:
    """What joining needs of a slide's result."""
    return PatientSlide(
        slide_id=context.slide_id,
        patient_id=context.patient_id,
        cohort=context.cohort,
        role=context.role,
        status=result.status,
        reason=result.reason,
        duplicate_of=context.duplicate_of,
        risk_class=result.risk_class,
        borderline=result.borderline,
        scores={name: found.score for name, found in result.scores.items()},
        members={name: found.members for name, found in result.scores.items()},
    )


def score_patients(
    slides: Iterable[PatientSlide],
    rule: str,
    scorer: "Callable[[], Scorer]",
    instances: Callable[[str], Instances],
    n_slides: Mapping[PatientKey, int] | None = None,
) -> Iterator[PatientScore]:
    """One outcome per patient and role, in the order in which they first come.

    Args:
        slides: all slides, taken one at a time.
        rule: `RULES`; the bundle's.
        scorer: gives the networks; called only where several slides become one.
        instances: gives a slide's instance values by its id; called where several become one bag.
        n_slides: see `patients_of`.
    """

    def bag(slide_ids: list[str]) -> dict[str, dict[str, float]]:
        return one_bag(slide_ids, scorer(), instances, scorer().bag_scores)

    for group in patients_of(slides, n_slides):
        patient = _join(group, rule, bag)
        if len(patient.scored) == 1 and patient.status == "scored":
            (alone,) = (slide for slide in group if slide.slide_id in patient.scored)
            patient.risk_class, patient.borderline = alone.risk_class, alone.borderline
        elif patient.status == "scored":
            patient.risk_class, patient.borderline = scorer().classify(patient.scores)
        yield patient


def join_slides(
    slides: list[PatientSlide], rule: str, bag: Callable[[list[str]], dict[str, dict[str, float]]]
) -> list[PatientScore]:
    """One outcome per patient and role, in the order in which they first come, without a class yet.

    Scoring and the lock both join slides alike: thresholds belong to the rule by which slides are joined.

    Args:
        slides: all slides; scores may be risks, which join alike.
        rule: `RULES`; the bundle's.
        bag: what the members (by resolution and name) say of one bag of several slides' tiles; see `one_bag`.
    """
    return [_join(group, rule, bag) for group in patients_of(slides)]


def patients_of(
    slides: Iterable[PatientSlide], n_slides: Mapping[PatientKey, int] | None = None
) -> Iterator[list[PatientSlide]]:
    """The slides of each patient and role, in the order in which these first come.

    Args:
        slides: all slides, taken one at a time.
        n_slides: of each patient and role. With it a patient's slides are given out, and let go, as soon as they and
            those of all patients before are there; without it at the end.
    """
    order: deque[PatientKey] = deque()
    groups: dict[PatientKey, list[PatientSlide]] = {}
    for slide in slides:
        key = slide.patient_id, slide.role
        if key not in groups:
            order.append(key)
            groups[key] = []
        groups[key].append(slide)
        while n_slides is not None and order and len(groups[order[0]]) == n_slides[order[0]]:
            yield groups.pop(order.popleft())
    yield from (groups[key] for key in order)


def _join(
    group: list[PatientSlide], rule: str, bag: Callable[[list[str]], dict[str, dict[str, float]]]
) -> PatientScore:
    group = sorted(group, key=lambda slide: slide.slide_id)
    first = group[0]
    here = {slide.slide_id for slide in group}
    copies = {slide.slide_id for slide in group if slide.duplicate_of in here}
    scored = [slide for slide in group if slide.status == "scored" and slide.slide_id not in copies]
    left_out = []
    for slide in group:
        if slide.slide_id in copies:
            left_out.append(f"{slide.slide_id}: the same slide as {slide.duplicate_of}")
        elif slide.status != "scored":
            left_out.append(f"{slide.slide_id}: {slide.reason}")
    failed = any(slide.status == "failed" for slide in group)
    patient = PatientScore(
        patient_id=first.patient_id,
        role=first.role,
        cohort=" + ".join(sorted({slide.cohort for slide in group if slide.cohort})),
        status="failed" if failed else "scored" if scored else "not_reportable",
        rule=rule,
        slides=[slide.slide_id for slide in group],
        scored=[slide.slide_id for slide in scored],
        reason="; ".join(left_out),
    )
    if patient.status != "scored":
        return patient
    if len(scored) == 1:
        _take_slide(patient, scored[0])
    else:
        if rule == "bag":
            patient.members = bag(patient.scored)
            patient.scores = {r: statistics.fmean(values.values()) for r, values in patient.members.items()}
        else:
            _join_scores(patient, scored, statistics.fmean if rule == "mean" else max)
    return patient


def _take_slide(patient: PatientScore, slide: PatientSlide) -> None:
    for resolution in in_order(slide.scores):
        patient.scores[resolution] = slide.scores[resolution]
        patient.members[resolution] = dict(slide.members[resolution])


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
    for resolution in scorer.bundle.resolutions:
        names = [member.name for member in scorer.bundle.members[resolution]]
        bag = [torch.cat([slide[resolution][name] for slide in kept]) for name in names]
        members[resolution] = dict(zip(names, say(resolution, bag), strict=True))
    return members


def _join_scores(patient: PatientScore, slides: list[PatientSlide], join: Callable[[list[float]], float]) -> None:
    for resolution in in_order(slides[0].scores):
        patient.scores[resolution] = join([slide.scores[resolution] for slide in slides])
        patient.members[resolution] = {
            name: join([slide.members[resolution][name] for slide in slides]) for name in slides[0].members[resolution]
        }


def patient_row(
    patient: PatientScore,
    thresholds: Mapping[str, float],
    risk_group: str = "",
    shape: Shape = METHOD_SHAPE,
    clinical: ClinicalNumber | None = None,
) -> dict[str, Any]:
    """A patient's row of patients.csv; `risk_group` is the class combined with stage, a second output beside it.

    `clinical` is what the bundle's model over clinical covariates says, where it has one.
    """
    row: dict[str, Any] = {
        "borderline": "true" if patient.borderline else "false" if patient.scores else "",
        "n_slides": len(patient.slides),
        "n_slides_scored": len(patient.scored),
        "slides": ";".join(patient.slides),
        "one_number": "",
        "risk_group": risk_group,
        "caution": shape.caution,
    }
    for name in ("patient_id", "role", "cohort", "status", "risk_class", "reason", "rule"):
        row[name] = getattr(patient, name)
    for resolution in shape.resolutions:
        row[f"score_{resolution}"] = repr(patient.scores[resolution]) if patient.scores else ""
    if patient.scores:
        row["one_number"] = repr(one_number(patient.scores, thresholds))
    if clinical is not None:
        row["clinical_number"] = "" if clinical.value is None else repr(clinical.value)
        row["clinical_covariates"] = "; ".join(f"{k}={v or 'missing'}" for k, v in clinical.covariates.items())
        row["clinical_notes"] = "; ".join(clinical.notes)
    return {name: row[name] for name in patient_columns(shape, clinical is not None)}


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
