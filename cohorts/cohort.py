"""`pathoprog cohort`: a clinical sheet becomes cohort.csv and outcomes.csv; every row is accounted for."""

import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.clinical import Mapped, apply_mapping, assign_development
from pathoprog.cohort_tables.cohort import endpoint_columns, read_cohort, read_outcomes, site_overlap
from pathoprog.cohort_tables.cohort_files import absent_files, absent_said
from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.cohort_tables.endpoints import endpoint_label
from pathoprog.cohort_tables.mapping import read_clinical, read_mapping
from pathoprog.cohort_tables.roles import EVALUATION_ROLES, ROLES
from pathoprog.cohort_tables.same_scan import read_development, refuse_development_slides, slide_sha256
from pathoprog.cohort_tables.sheet_outcomes import REJECTED
from pathoprog.cohorts.config import CohortConfig
from pathoprog.cohorts.survival_checks import FEW_YEARS, MANY_YEARS
from pathoprog.ensemble.bundle import verify
from pathoprog.errors import InputError
from pathoprog.report.flow_figure import Box, flow_figure
from pathoprog.report.style import save_figure
from pathoprog.system.console import progress, say, warn
from pathoprog.system.csv_files import write_frame
from pathoprog.system.files import write_json
from pathoprog.text.wording import count
from pathoprog.validation.flow import records


def run(settings: CohortConfig) -> int:
    """Make and check a cohort; returns 0, or with `strict` 1 where rows were rejected (the others are written)."""
    out = Path(settings.out)
    mapping = read_mapping(settings.mapping)
    sheet = read_clinical(settings.table, mapping)
    for note in sheet.notes:
        warn(note)
    mapped = apply_mapping(mapping, sheet.frame, sheet.lines, settings.day_zero == "keep")
    write_table(out / "rejected.csv", mapped.rejected)
    write_table(out / "exclusions.csv", mapped.excluded)
    for text in rejections(mapped.rejected):
        warn(text)
    warn_of_day_zero(mapped.counts["day_zero"])
    warn_of_unit("follow-up", mapped.rows.drop_duplicates("patient_id")["followup_days"])
    if mapped.rows.empty:
        raise InputError(f"{settings.table}: no row is left; {out / 'rejected.csv'} says why")
    rows = assign_development(mapped.rows, settings.labels, settings.nondistinct)
    rows = with_absolute_paths(rows, Path(settings.slides or Path(settings.table).parent))
    if settings.hash_slides:
        rows["slide_sha256"] = hashes_of(rows["slide_path"])

    draft = out / "draft"  # a breach stops the run, and the message's lines are those of the draft
    write_table(draft / "cohort.csv", rows.drop(columns=["line", "followup_days", "event"]))
    outcomes = with_endpoints(rows.drop_duplicates("patient_id")[["patient_id", "followup_days", "event"]], mapped)
    write_table(draft / "outcomes.csv", outcomes)
    cohort = read_cohort(draft / "cohort.csv", settings.overlap)
    if settings.ensemble:
        refuse_known_slides(settings.ensemble, cohort)
    read_outcomes(draft / "outcomes.csv", tuple(mapping.endpoints))
    for name in ("cohort.csv", "outcomes.csv"):
        (draft / name).replace(out / name)
    shutil.rmtree(draft)

    if mapping.endpoints:
        say_endpoints(mapped, out)
    look_for_files(cohort, out)
    shared = site_overlap(cohort)
    write_table(out / "shared_sites.csv", shared)
    for place in records(shared):
        if place["external"]:
            warn(f"{place['column']} {place['value']} is in external and in development: the sites are not independent")
    flow = flow_of_sheet(mapped, cohort, outcomes, mapping.time_zero)
    write_json(out / "flow.json", flow)
    save_figure(flow_figure([boxes_of_sheet(flow)], ["Clinical sheet"]), out / "flow")
    say(f"{out / 'cohort.csv'}: {count(len(cohort), 'slide')} of {count(flow['patients_accepted'], 'patient')}")
    for code, n in flow["excluded"].items():
        say(f"  excluded, {code}: {count(n, 'patient')}")
    for name, counts in flow["endpoints"].items():
        out_of_it = sum(counts["excluded"].values())
        without = f"missing in {counts['missing']}, wrong in {counts['rejected']}, excluded {out_of_it}"
        say(f"  {name}: {endpoint_said(name, counts)}; {without}")
    if len(mapped.rejected):
        say(f"  rejected: {count(len(mapped.rejected), 'row')}; {out / 'rejected.csv'} has each with its reason")
        return 1 if settings.strict else 0
    return 0


def look_for_files(cohort: pd.DataFrame, out: Path) -> None:
    """Say which slides and outlines are not there, and write them to ``missing_files.csv``; no reason to stop here."""
    absent = absent_files(cohort)
    write_table(out / "missing_files.csv", pd.DataFrame(map(asdict, absent), columns=["slide_id", "column", "path"]))
    if absent:
        warn(
            f"{absent_said(absent, len(cohort))}; {out / 'missing_files.csv'} has them all. If the paths are relative"
            " to another folder than the sheet's, give slides=FOLDER; training refuses a cohort that lacks too many"
        )


def with_endpoints(outcomes: pd.DataFrame, mapped: Mapped) -> pd.DataFrame:
    """The outcomes with two columns for each further endpoint, empty where a patient lacks it."""
    result = outcomes
    for endpoint in mapped.endpoints:
        days, event = endpoint_columns(endpoint.name)
        own = endpoint.table.set_index("patient_id")
        result = result.assign(
            **{
                days: result["patient_id"].map(own["days"]),
                event: result["patient_id"].map(own["event"]).astype("Int64"),
            }
        )
    return result


def say_endpoints(mapped: Mapped, out: Path) -> None:
    """Write who lacks a further endpoint, and say what is wrong with which; those patients stay in the cohort."""
    lacking = pd.concat([endpoint.absent for endpoint in mapped.endpoints], ignore_index=True)
    write_table(out / "without_endpoint.csv", lacking)
    for endpoint in mapped.endpoints:
        wrong = endpoint.absent[endpoint.absent["why"] == REJECTED]
        for text in rejections(wrong):
            warn(f"endpoint {endpoint.name}: {text}; in the cohort without this endpoint")
        if endpoint.table.empty:
            warn(f"endpoint {endpoint.name}: no patient has it; {out / 'without_endpoint.csv'} says why")
        else:
            warn_of_unit(f"endpoint {endpoint.name}: follow-up", endpoint.table["days"])


def warn_of_unit(what: str, days: pd.Series) -> None:
    """Say where a median follow-up suits another unit."""
    median = float(days.median())
    years = median / YEAR_DAYS
    if years < FEW_YEARS or years > MANY_YEARS:
        warn(f"{what}: the median is {median:g} days ({years:.2g} years): is the unit in the mapping right?")


def rejections(rejected: pd.DataFrame) -> list[str]:
    """One sentence for each kind of fault, with the lines it was found in and the first value."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for line, reason in zip(rejected["line"].tolist(), rejected["reason"].tolist(), strict=True):
        kinds.setdefault(kind_of(reason), []).append((line, reason))
    texts = []
    for found in kinds.values():
        line, reason = found[0]
        if len(found) == 1:
            texts.append(f"line {line}: {reason}")
            continue
        lines = ", ".join(str(line) for line, _ in found[:5]) + (" …" if len(found) > 5 else "")
        texts.append(f"{len(found)} rows (lines {lines}): {reason}")
    return texts


def kind_of(reason: str) -> str:
    """A reason without the values in it: alike for alike faults."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|-?\d+([.,]\d+)?|patient \S+", "#", reason)


def warn_of_day_zero(counts: dict[str, Any]) -> None:
    """Say what became of patients whose follow-up ended on the day of time zero."""
    deaths = counts["event"] + counts["competing"]
    if not deaths + counts["none"]:
        return
    fate = "kept, with half a day" if counts["kept"] else "rejected; day_zero=keep keeps them, with half a day"
    text = f"{count(deaths + counts['none'], 'patient')} with a follow-up of 0 days, {deaths} by death or event: {fate}"
    warn(text + (". Dropping deaths depends on the outcome" if deaths and not counts["kept"] else ""))


def with_absolute_paths(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Slide and outline paths made absolute, since cohort.csv lies elsewhere than the sheet."""
    result = rows.copy()
    for name in ("slide_path", "outline_path"):
        if name in result:
            result[name] = [str((folder / path).resolve()) if path else "" for path in result[name]]
    return result


def refuse_known_slides(bundle: str, cohort: pd.DataFrame) -> None:
    """No test or external slide of the cohort is one that a locked bundle was developed on.

    Raises:
        InputError: names the slides that are, or that are not there to be looked at; or the bundle keeps no hashes.
    """
    verify(bundle)
    if read_development(bundle) is None:
        raise InputError(
            f"{bundle}: keeps no hashes of its development slides, as bundles locked by older versions do not; check "
            "the table together with the development cohort"
        )
    rows = cohort[cohort["role"].isin(EVALUATION_ROLES)]
    hashes = dict(zip(rows["slide_id"], hashes_of(rows["slide_path"]), strict=True))
    refuse_development_slides(bundle, cohort, hashes)


def hashes_of(paths: pd.Series) -> list[str]:
    """SHA-256 of each slide's content.

    Raises:
        InputError: names the slides that are not there.
    """
    absent = [path for path in paths if not Path(path).exists()]
    if absent:
        raise InputError("\n  ".join(["slides are to be hashed, but these slides are not there:", *absent]))
    hashes = []
    with progress("hash", len(paths), "slides") as bar:
        for path in paths:
            hashes.append(slide_sha256(path))
            bar.advance()
    return hashes


def flow_of_sheet(mapped: Mapped, cohort: pd.DataFrame, outcomes: pd.DataFrame, time_zero: str) -> dict[str, Any]:
    """Counts from the sheet to the cohort; no ids in it."""
    patients = cohort.groupby("role")["patient_id"].nunique()
    slides = cohort.groupby("role").size()
    return {
        "time_zero": time_zero,
        **mapped.counts,
        "rejected_for": reasons_of(mapped.rejected),
        "roles": {
            role: {"patients": int(patients[role]), "slides": int(slides[role])} for role in ROLES if role in patients
        },
        "events": {
            name: int((outcomes["event"] == code).sum()) for code, name in enumerate(("none", "event", "competing"))
        },
        "endpoints": {
            one.name: one.counts | {"rejected_for": reasons_of(one.absent[one.absent["why"] == REJECTED])}
            for one in mapped.endpoints
        },
    }


def reasons_of(rejected: pd.DataFrame) -> dict[str, int]:
    """How often each kind of reason occurs, without the values in it."""
    reasons = rejected["reason"].str.replace(r"[=:(].*", "", regex=True).str.strip().value_counts()
    return {str(reason): int(n) for reason, n in reasons.items()}


def boxes_of_sheet(flow: dict[str, Any]) -> list[Box]:
    """The flow diagram's boxes."""
    excluded = [f"{code}: {n}" for code, n in flow["excluded"].items()]
    roles = [f"{role}: {count(n['patients'], 'patient')}" for role, n in flow["roles"].items()]
    further = [endpoint_said(name, counts) for name, counts in flow["endpoints"].items()]
    passed = [f"({count(n, 'row')} of another kind)"] if (n := flow.get("rows_passed_over")) else []
    return [
        Box((count(flow["patients"], "patient"), count(flow["rows"], "row"), *passed)),
        Box((f"Excluded: {count(sum(flow['excluded'].values()), 'patient')}", *excluded), leaves=True),
        Box(
            (f"Rejected: {count(flow['patients_rejected'], 'patient')}", f"({count(flow['rows_rejected'], 'row')})"),
            True,
        ),
        Box((f"{count(flow['patients_accepted'], 'patient')} in the cohort", *roles)),
        *([Box(("Further endpoints", *further), leaves=True)] if further else []),
    ]


def endpoint_said(name: str, counts: dict[str, Any]) -> str:
    """A further endpoint in one line."""
    return (
        f"{endpoint_label(name)}: {count(counts['patients'], 'patient')}, {count(counts['events']['event'], 'event')}"
    )


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV, whole or not at all."""
    write_frame(path, table)
