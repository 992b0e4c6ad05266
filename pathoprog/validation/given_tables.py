"""What a statistician gives to a validation beside the scores: exclusions, a simulation's truth, the sheet's flow."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.mapping import EVENTS
from pathoprog.cohort_tables.sheets import plain, read_sheet_file
from pathoprog.errors import InputError
from pathoprog.system.csv_files import read_columns
from pathoprog.system.files import read_json
from pathoprog.text.wording import count
from pathoprog.validation.flow import records


def read_exclusions(path: str, patients: Collection[str]) -> dict[str, str]:
    """Code by patient, from a table ``patient_id, code`` in any form that the cohort table may have.

    Args:
        path: CSV (commas, semicolons or tabs), Excel or Parquet.
        patients: ids of the cohort table.

    Raises:
        InputError: another form; a patient without id or code, with several rows, or not in the cohort table: such a
            row would exclude nobody.
    """
    found = read_sheet_file(path)
    table = found.frame.map(plain)
    if not {"patient_id", "code"} <= set(table.columns):
        there = ", ".join(map(str, table.columns))
        raise InputError(f"{path}: must have the columns patient_id and code; there are {there}")
    ids = set(patients)
    faults = {
        "without patient_id or code": (table["patient_id"] == "") | (table["code"] == ""),
        "of a patient with several rows": table["patient_id"].duplicated(keep=False),
        "of a patient who is not in the cohort table": ~table["patient_id"].isin(ids),
    }
    for what, wrong in faults.items():
        if wrong.any():
            line = next(line for line, hit in zip(found.lines, wrong, strict=True) if hit)
            rows = count(int(wrong.sum()), "row")
            raise InputError(
                f"{path}: {rows} {what}, first in line {line}; give one row for each patient to be excluded, with the "
                "id as the cohort table has it"
            )
    return dict(zip(table["patient_id"], table["code"], strict=True))


def read_sheet_flow(path: str, cohort_patients: int) -> dict[str, Any]:
    """Counts of `pathoprog cohort`; the patients that it accepted must be those of the cohort table.

    Args:
        path: of ``flow.json``.
        cohort_patients: how many there are.

    Raises:
        InputError: no such file, another form, or the numbers do not add up.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; `pathoprog cohort` writes it")
    try:
        flow = read_json(path)
        accepted = int(flow["patients_accepted"])
        parts = sum(map(int, flow["excluded"].values())) + int(flow["patients_rejected"]) + accepted
        all_patients, _ = int(flow["patients"]), sum(map(int, flow["rejected_for"].values()))
        further = {str(name): _of_endpoint(counts) for name, counts in flow.get("endpoints", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: no flow.json of `pathoprog cohort`") from error
    if accepted != cohort_patients:
        raise InputError(f"{path}: {accepted} patients accepted, {cohort_patients} in the cohort; no report")
    if parts != all_patients:
        raise InputError(
            f"{path}: the numbers do not add up: {all_patients} patients, but {parts} excluded, rejected and accepted"
        )
    for name, n in further.items():
        if n != accepted:
            raise InputError(f"{path}: the endpoint {name} has {n} patients with and without it, not {accepted}")
    return dict(flow)


def _of_endpoint(counts: dict[str, Any]) -> int:
    """Patients with a further endpoint, by event, and without it, by reason."""
    with_it = sum(int(counts["events"][name]) for name in EVENTS)
    return with_it + int(counts["missing"]) + int(counts["rejected"]) + sum(map(int, counts["excluded"].values()))


def read_truth(path: str) -> pd.DataFrame:
    """The true log hazard of each simulated patient.

    Returns:
        ``patient_id, log_hazard`` and what else the table holds, the hazard as float.

    Raises:
        InputError: another form, or a hazard that is no number.
    """
    table = read_columns(path, ("patient_id", "log_hazard"), "pathoprog simulate")
    table["log_hazard"] = pd.to_numeric(table["log_hazard"], errors="coerce").astype(float)
    for row, record in enumerate(records(table)):
        if not abs(record["log_hazard"]) < float("inf"):
            raise InputError(f"{path}: log_hazard is no number in line {row + 2}")
    return table
