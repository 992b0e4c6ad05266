"""results.csv, patients.csv and members.csv of a run, and what the command says at its end."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.classes import RISK_CLASSES
from pathoprog.console import warn
from pathoprog.files import write_text
from pathoprog.inference.batch import Batch
from pathoprog.patients import (
    MEMBER_COLUMNS,
    PATIENT_COLUMNS,
    Instances,
    PatientScore,
    member_rows,
    patient_row,
    score_patients,
)
from pathoprog.results import RESULT_COLUMNS, Context, load_instances, slide_row

SlideFiles = tuple[Context, dict[str, Any], dict[str, Any]]
"""Whose slide it is, its result.json and its run.json."""
TABLES = ("results.csv", "patients.csv", "members.csv")


def remove_tables(out: Path) -> None:
    """Take away the tables of an earlier run: a table is there only when it is complete."""
    for name in TABLES:
        (out / name).unlink(missing_ok=True)


def write_tables(batch: Batch) -> tuple[list[SlideFiles], list[PatientScore]]:
    """Write the three tables from the slides' results; returns these and the patients' outcomes."""
    found = batch.results()
    mark_duplicates(found)

    def instances(slide_id: str) -> Instances:
        return load_instances(batch.slides_folder, slide_id)

    patients = score_patients(
        [(context, result) for context, result, _ in found], batch.plan.aggregation, batch.scorer, instances
    )
    thresholds = batch.plan.thresholds
    _write(
        batch.out / "results.csv", RESULT_COLUMNS, [slide_row(result, run, context) for context, result, run in found]
    )
    _write(batch.out / "members.csv", MEMBER_COLUMNS, [row for patient in patients for row in member_rows(patient)])
    _write(batch.out / "patients.csv", PATIENT_COLUMNS, [patient_row(patient, thresholds) for patient in patients])
    return found, patients


def mark_duplicates(found: list[SlideFiles]) -> None:
    """Name, in each slide's context, an earlier slide of the same content; warn where it is another patient's."""
    first: dict[str, Context] = {}
    for context, result, _ in found:
        context.duplicate_of = result["duplicate_of"]
        original = first.setdefault(result["result_key"] or context.slide_id, context)
        if original is context:
            continue
        context.duplicate_of = context.duplicate_of or original.slide_id
        if context.patient_id != original.patient_id:
            warn(
                f"{context.slide_id} of {context.patient_id} is the same slide as {original.slide_id} of "
                f"{original.patient_id}"
            )


def _write(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def summary(out: Path, found: list[SlideFiles], patients: list[PatientScore]) -> str:
    """Counts, failures with their reasons, and where the results lie."""
    results = [result for _, result, _ in found]
    status = Counter(result["status"] for result in results)
    classes = Counter(patient.risk_class or patient.status.replace("_", " ") for patient in patients)
    named = [f"{classes[name]} {name}" for name in (*RISK_CLASSES, "not reportable", "failed") if classes[name]]
    lines = [
        f"slides: {status['scored']} scored, {status['not_reportable']} not reportable, {status['failed']} failed",
        f"patients: {len(patients)}: {', '.join(named)}",
    ]
    for name in ("not_reportable", "failed"):
        chosen = [result for result in results if result["status"] == name]
        lines += [f"    {name.replace('_', ' ')}: {result['slide_id']}: {result['reason']}" for result in chosen[:20]]
        lines += [f"    … and {len(chosen) - 20} more in results.csv"] if len(chosen) > 20 else []
    lines += [f"results: {out / 'results.csv'}, {out / 'patients.csv'}", RESEARCH_USE_ONLY]
    return "\n".join(lines)
