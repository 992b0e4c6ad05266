"""results.csv, patients.csv and members.csv of a run, and its summary."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.ensemble.classes import one_number
from pathoprog.ensemble.clinical import ClinicalNumber, clinical_number
from pathoprog.errors import InputError
from pathoprog.inference.batch import ScoringBatch, SlideFiles
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.ledger import WriteError
from pathoprog.inference.engine.scoring_plan import ScoringPlan
from pathoprog.scoring.patients import (
    MEMBER_COLUMNS,
    Instances,
    PatientScore,
    PatientSlide,
    member_rows,
    patient_columns,
    patient_row,
    patient_slide,
    score_patients,
)
from pathoprog.scoring.results import load_instances, result_columns, slide_row
from pathoprog.scoring.slide_result import STATUSES, SlideResult
from pathoprog.system.console import warn
from pathoprog.system.csv_files import CsvLines, csv_text
from pathoprog.system.files import (
    NOT_REPLACED,
    FileInWriting,
    not_replaced,
    places_beside,
    takes_nothing,
    write_or_beside,
)
from pathoprog.text.plain_text import printable
from pathoprog.text.wording import count

NOT_TAKEN = "not_taken.csv"
AT_ONCE = 1000  # patients that are held at once
NAMED = 5  # development slides, in a terminal
TABLES = ("results.csv", "patients.csv", "members.csv", NOT_TAKEN, "summary.json")


class Tables:
    """Writes the files of a run that lie beside the slides' folders.

    A table that cannot be replaced (open in another program, protected, a folder of that name) is written beside it,
    and said: scoring does not wait for it.

    Attributes:
        written: where each table of this run is, by its name.
        said: what must be known of those that are elsewhere.
    """

    def __init__(self, out: Path):
        self.out = out
        self.written: dict[str, Path] = {}
        self.said: list[str] = []

    def remove(self) -> None:
        """Take away the tables of an earlier run: a table is there only when it is complete."""
        for path in (self.out / name for name in TABLES):
            for place in (path, *places_beside(path)):
                try:
                    place.unlink(missing_ok=True)
                except OSError as error:
                    warn(
                        f"{place}: cannot be replaced ({error.strerror or error}); close it where it is open, or take "
                        "it away, before the slides are done"
                    )

    def write(self, name: str, text: str, private: bool = False) -> None:
        """Write one file; `private` as in `files.atomic_write`.

        Raises:
            OSError: the disk is full or fails.
            WriteError: neither by its own name nor beside it.
        """
        try:
            place, why = write_or_beside(self.out / name, text, private)
        except InputError as error:
            raise _kept(error) from error
        self._note(name, place, why)

    @contextmanager
    def growing(self, name: str, columns: Sequence[str]) -> Iterator[CsvLines]:
        """A table whose lines are written as they come; it is put in its place at the end, or nothing is left of it.

        Raises:
            OSError, WriteError: as `write`.
        """
        try:
            file = FileInWriting(self.out / name)
        except OSError as error:
            if error.errno not in NOT_REPLACED:
                raise
            raise _kept(takes_nothing(self.out / name, error.strerror or str(error))) from error
        with file:
            yield CsvLines(lambda text: file.stream.write(text.encode("utf-8")), columns)
            try:
                place, why = file.put_or_beside()
            except InputError as error:
                raise _kept(error) from error
        self._note(name, place, why)

    def _note(self, name: str, place: Path, why: str) -> None:
        self.written[name] = place
        if why:
            self.said.append(not_replaced(self.out / name, place, why))


def _kept(error: InputError) -> WriteError:
    return WriteError(f"{error}; the slides are done and kept")


@dataclass
class Tally:
    """What a run came to, counted slide by slide and patient by patient.

    Attributes:
        slides: how many of each status.
        patients: how many of each class, or status where there is none.
        reasons: why slides are not scored: status -> slide -> reason.
        development: slides of the ensemble's own development, and in which role.
    """

    slides: Counter[str] = field(default_factory=Counter)
    patients: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in STATUSES[1:]})
    development: dict[str, str] = field(default_factory=dict)

    def add(self, result: SlideResult) -> None:
        """Count a slide."""
        self.slides[result.status] += 1
        if result.status in self.reasons:
            self.reasons[result.status][result.slide_id] = result.reason
        if result.development_slide:
            self.development[result.slide_id] = result.development_slide


def write_tables(batch: ScoringBatch, tables: Tables) -> Tally:
    """Write the three tables from the slides' results, one after the other as they are read."""
    tally = Tally()
    slides_of = [task.slide for task in batch.tasks.values() if task.slide.given_patient_id]
    given = {slide.patient_id: slide.given_patient_id for slide in slides_of}
    groups_of = stage_groups_of(batch.config, given)
    covariates = {task.slide.patient_id: task.slide.covariates for task in batch.tasks.values()}
    shape = batch.plan.shape
    # put in their places from the last to the first
    with (
        tables.growing("patients.csv", patient_columns(shape, batch.plan.covariates is not None)) as patient_lines,
        tables.growing("members.csv", MEMBER_COLUMNS) as member_lines,
        tables.growing("results.csv", result_columns(shape.resolutions)) as slide_lines,
    ):

        def slides() -> Iterator[PatientSlide]:
            for context, result, run in with_duplicates(batch.results()):
                slide_lines.add(slide_row(result, run, context))
                tally.add(result)
                yield patient_slide(context, result)

        def instances(slide_id: str) -> Instances:
            return load_instances(batch.slides_folder, slide_id)

        patients = score_patients(slides(), batch.plan.aggregation, batch.scorer, instances, batch.n_slides)
        while some := list(islice(patients, AT_ONCE)):
            for patient, group in zip(some, groups_of(some), strict=True):
                clinical = clinical_of(patient, batch.plan, covariates)
                patient_lines.add(patient_row(patient, batch.plan.thresholds, group, shape, clinical))
                for row in member_rows(patient):
                    member_lines.add(row)
                tally.patients[patient.risk_class or patient.status] += 1
    not_taken = [{"kind": kind, "path": name} for kind, names in batch.not_taken.by_kind.items() for name in names]
    if not_taken:  # names in folders may be names of people: for the owner of the results alone
        tables.write(NOT_TAKEN, csv_text(not_taken, ("kind", "path")), private=True)
    return tally


def clinical_of(
    patient: PatientScore, plan: ScoringPlan, covariates: Mapping[str, dict[str, str] | None]
) -> ClinicalNumber | None:
    """What the bundle's model over clinical covariates says of a patient; None where it has none.

    Args:
        patient: as scored.
        plan: of the run.
        covariates: of the cohort, by patient.
    """
    if plan.covariates is None:
        return None
    number = one_number(patient.scores, plan.thresholds) if patient.status == "scored" else None
    return clinical_number(plan.covariates, number, covariates.get(patient.patient_id))


GroupsOf: TypeAlias = Callable[[Sequence[PatientScore]], list[str]]
"""Gives the class combined with stage of some patients."""


def stage_groups_of(config: ScoreConfig, given: Mapping[str, str] | None = None) -> GroupsOf:
    """What gives patients their class combined with stage (METHOD section 4): low, intermediate, high.

    Empty without a class or stage, and for all where the bundle has no table, or the slides come without a cohort.

    Args:
        config: of the run.
        given: by which ids the cohort's table knows patients that have another id here (pseudonyms).
    """
    known_by = given or {}

    def nothing(patients: Sequence[PatientScore]) -> list[str]:
        return [""] * len(patients)

    if not config.cohort:
        return nothing
    from pathoprog.cohort_tables.cohort import read_cohort
    from pathoprog.ensemble.stage_groups import COLUMNS, read_stage_groups, risk_groups

    table = read_stage_groups(config.ensemble)
    if table is None:
        return nothing
    cohort = (
        read_cohort(config.cohort, config.overlap, look=False).drop_duplicates("patient_id").set_index("patient_id")
    )
    stage = [name for name in COLUMNS if name != "risk_class"]
    absent = [name for name in stage if name not in cohort]
    if absent:
        warn(f"the bundle joins class and stage, and {config.cohort} has no {', '.join(absent)}: no risk groups")
        return nothing
    stages = cohort[stage]

    def groups(patients: Sequence[PatientScore]) -> list[str]:
        rows = stages.loc[[known_by.get(patient.patient_id, patient.patient_id) for patient in patients]]
        return risk_groups(rows.assign(risk_class=[patient.risk_class for patient in patients]), table)

    return groups


def with_duplicates(found: Iterable[SlideFiles]) -> Iterator[SlideFiles]:
    """The same, each context naming an earlier slide of the same content; warns where that is another patient's."""
    first: dict[str, tuple[str, str]] = {}
    for context, result, run in found:
        context.duplicate_of = result.duplicate_of
        this = context.slide_id, context.patient_id
        original = first.setdefault(result.result_key or context.slide_id, this)
        if original != this:
            context.duplicate_of = context.duplicate_of or original[0]
            if context.patient_id != original[1]:
                warn(f"{_whose(*this)} is the same slide as {_whose(*original)}")
        yield context, result, run


def _whose(slide_id: str, patient_id: str) -> str:
    """A slide and its patient, where it is not a patient of its own."""
    return slide_id if patient_id == slide_id else f"{slide_id} of {patient_id}"


def summary(batch: ScoringBatch, tally: Tally) -> dict[str, Any]:
    """What a run came to: counts, slides without a class with their reasons, throughput."""
    hours = batch.seconds / 3600
    return {
        "research_use_only": RESEARCH_USE_ONLY,
        "ensemble_id": batch.plan.ensemble_id,
        "slides": {name: tally.slides[name] for name in STATUSES},
        "patients": {name: tally.patients[name] for name in (*batch.plan.shape.classes, *STATUSES[1:])},
        "reasons": tally.reasons,
        "development_slides": tally.development,
        "not_taken": {kind: len(names) for kind, names in batch.not_taken.by_kind.items()},
        "this_run": {
            "slides": batch.scored_now,
            "tiles": batch.tiles,
            "seconds": round(batch.seconds, 1),
            "slides_per_hour": round(batch.scored_now / hours) if hours else None,
        },
    }


def not_taken_lines(batch: ScoringBatch) -> list[str]:
    """What the folders hold beside slides, for a terminal; under pseudonyms without names, which may tell of a case."""
    lines = batch.not_taken.lines(named=batch.config.ids != "pseudonym")
    return (
        [f"not taken in the folders given (all in {NOT_TAKEN}):", *(f"    {line}" for line in lines)] if lines else []
    )


def summary_text(values: dict[str, Any], batch: ScoringBatch, tables: Tables) -> str:
    """The summary as lines for a terminal."""
    slides, run = values["slides"], values["this_run"]
    patients = [f"{n} {name.replace('_', ' ')}" for name, n in values["patients"].items() if n]
    lines = [
        "slides: " + ", ".join(f"{slides[name]} {name.replace('_', ' ')}" for name in STATUSES),
        f"patients: {sum(values['patients'].values())}: {', '.join(patients)}",
    ]
    if run["slides"]:
        speed = f", {run['slides_per_hour']} slides an hour"
        done = f"{count(run['slides'], 'slide')}, {count(run['tiles'], 'tile')}"
        lines.append(f"this run: {done} in {run['seconds']:.0f} s{speed}")
    for name, reasons in values["reasons"].items():
        same: dict[str, list[str]] = {}
        for slide_id, reason in reasons.items():
            same.setdefault(reason, []).append(printable(slide_id))
        lines += [
            f"    {name.replace('_', ' ')}: {', '.join(ids)}: {printable(reason)}" for reason, ids in same.items()
        ]
    if known := values["development_slides"]:
        named = ", ".join(printable(slide_id) for slide_id in list(known)[:NAMED])
        more = f" and {len(known) - NAMED} more, named in summary.json" if len(known) > NAMED else ""
        lines.append(
            f"{count(len(known), 'slide')} of the ensemble's own development, whose results are no external ones: "
            f"{named}{more}"
        )
    if slides["failed"]:
        lines.append(
            "failed slides are tried again by the same command if their files have changed or may be read since; "
            "requeue=true tries all of them"
        )
    lines += not_taken_lines(batch)
    written = [str(tables.written[name]) for name in ("results.csv", "patients.csv")]
    caution = [batch.plan.shape.caution] if batch.plan.shape.caution else []
    lines += [f"results: {', '.join(written)}", *tables.said, *caution, RESEARCH_USE_ONLY]
    return "\n".join(lines)
