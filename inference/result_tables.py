"""results.csv, patients.csv and members.csv of a run, and its summary."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.ensemble.classes import RISK_CLASSES
from pathoprog.errors import InputError
from pathoprog.inference.batch import ScoringBatch, SlideFiles
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.ledger import WriteError
from pathoprog.scoring.patients import (
    MEMBER_COLUMNS,
    PATIENT_COLUMNS,
    Instances,
    PatientScore,
    member_rows,
    patient_row,
    patient_slide,
    score_patients,
)
from pathoprog.scoring.results import RESULT_COLUMNS, Context, load_instances, slide_row
from pathoprog.scoring.slide_result import STATUSES
from pathoprog.system.console import warn
from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import not_replaced, places_beside, write_or_beside
from pathoprog.text.plain_text import printable
from pathoprog.text.wording import count

NOT_TAKEN = "not_taken.csv"
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
            raise WriteError(f"{error}; the slides are done and kept") from error
        self.written[name] = place
        if why:
            self.said.append(not_replaced(self.out / name, place, why))


def write_tables(batch: ScoringBatch, tables: Tables) -> tuple[list[SlideFiles], list[PatientScore]]:
    """Write the three tables from the slides' results; returns these and the patients' outcomes."""
    found = batch.results()
    mark_duplicates(found)

    def instances(slide_id: str) -> Instances:
        return load_instances(batch.slides_folder, slide_id)

    own = [patient_slide(context, result) for context, result, _ in found]
    patients = score_patients(own, batch.plan.aggregation, batch.scorer, instances)
    thresholds = batch.plan.thresholds
    slides = [slide_row(result, run, context) for context, result, run in found]
    members = [row for patient in patients for row in member_rows(patient)]
    tables.write("results.csv", csv_text(slides, RESULT_COLUMNS))
    tables.write("members.csv", csv_text(members, MEMBER_COLUMNS))
    given = {task.slide.patient_id: task.slide.given_patient_id for task in batch.tasks.values()}
    groups = stage_combined(batch.config, patients, given)
    rows = [patient_row(patient, thresholds, group) for patient, group in zip(patients, groups, strict=True)]
    tables.write("patients.csv", csv_text(rows, PATIENT_COLUMNS))
    not_taken = [{"kind": kind, "path": name} for kind, names in batch.not_taken.by_kind.items() for name in names]
    if not_taken:  # names in folders may be names of people: for the owner of the results alone
        tables.write(NOT_TAKEN, csv_text(not_taken, ("kind", "path")), private=True)
    return found, patients


def stage_combined(
    config: ScoreConfig, patients: list[PatientScore], given: Mapping[str, str] | None = None
) -> list[str]:
    """The class combined with stage (METHOD section 4) of each patient: low, intermediate, high.

    `given` says by which ids the cohort's table knows patients that have another id here (pseudonyms).

    Empty without a class or stage, and for all where the bundle has no table, or the slides come without a cohort.
    """
    nothing = [""] * len(patients)
    known_by = {own: other for own, other in (given or {}).items() if other}
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
    rows = cohort.loc[[known_by.get(patient.patient_id, patient.patient_id) for patient in patients], stage]
    return risk_groups(rows.assign(risk_class=[patient.risk_class for patient in patients]), table)


def mark_duplicates(found: list[SlideFiles]) -> None:
    """Name, in each slide's context, an earlier slide of the same content; warn where it is another patient's."""
    first: dict[str, Context] = {}
    for context, result, _ in found:
        context.duplicate_of = result.duplicate_of
        original = first.setdefault(result.result_key or context.slide_id, context)
        if original is context:
            continue
        context.duplicate_of = context.duplicate_of or original.slide_id
        if context.patient_id != original.patient_id:
            warn(f"{_whose(context)} is the same slide as {_whose(original)}")


def _whose(context: Context) -> str:
    """A slide and its patient, where it is not a patient of its own."""
    own = context.patient_id == context.slide_id
    return context.slide_id if own else f"{context.slide_id} of {context.patient_id}"


def summary(batch: ScoringBatch, found: list[SlideFiles], patients: list[PatientScore]) -> dict[str, Any]:
    """What a run came to: counts, slides without a class with their reasons, throughput."""
    results = [result for _, result, _ in found]
    classes = Counter(patient.risk_class or patient.status for patient in patients)
    hours = batch.seconds / 3600
    return {
        "research_use_only": RESEARCH_USE_ONLY,
        "ensemble_id": batch.plan.ensemble_id,
        "slides": {name: sum(result.status == name for result in results) for name in STATUSES},
        "patients": {name: classes[name] for name in (*RISK_CLASSES, *STATUSES[1:])},
        "reasons": {
            name: {result.slide_id: result.reason for result in results if result.status == name}
            for name in STATUSES[1:]
        },
        "development_slides": {
            result.slide_id: result.development_slide for result in results if result.development_slide
        },
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
    lines += [f"results: {', '.join(written)}", *tables.said, RESEARCH_USE_ONLY]
    return "\n".join(lines)
