"""`pathoprog validate`: score, freeze, lock, open, analyse, report; in this order, and refused where it was broken."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.bundle import ensemble_id, verify
from pathoprog.cohort import read_cohort, read_outcomes
from pathoprog.cohorts.config import ValidateConfig
from pathoprog.cohorts.tracking import log_validation
from pathoprog.console import say
from pathoprog.errors import InputError
from pathoprog.files import read_json, sha256_file, sha256_value, write_json, write_text
from pathoprog.report.document import Document, render
from pathoprog.report.validation.findings import Findings
from pathoprog.report.validation.whole import document_of
from pathoprog.stage_groups import read_stage_groups, scoring_ids
from pathoprog.validation.covariates import check_covariates
from pathoprog.validation.flow import check_complete, flow_of, not_scored, records
from pathoprog.validation.lock import code_version, frozen_texts, lock, open_outcomes
from pathoprog.validation.numbers import all_statistics, headline
from pathoprog.validation.plan import Plan, read_plan
from pathoprog.validation.populations import Population, analysed_patients, populations_of
from pathoprog.validation.score_tables import read_members, read_patients, read_results


@dataclass
class Scored:
    """Everything that is known before the outcomes are opened."""

    cohort: pd.DataFrame
    results: pd.DataFrame
    patients: pd.DataFrame
    members: pd.DataFrame | None
    excluded: dict[str, str]
    left_out: list[tuple[str, str]]
    thresholds: dict[str, float]
    cohort_patients: int


def run(settings: ValidateConfig) -> int:
    """Validate a locked ensemble; returns 0, or raises before anything is reported."""
    out = Path(settings.out)
    say("1. read the plan, the bundle, the cohort and the scores")
    plan = read_plan(settings.plan)
    manifest = verify(settings.ensemble)
    ensemble = ensemble_id(settings.ensemble)
    scored = read_scored(settings, manifest)
    check_covariates(scored.cohort, plan.covariates, plan.subgroups, plan.types)

    say("2. freeze the scores and the exclusions, lock")
    frozen = frozen_texts(scored.patients, scored.members, exclusion_table(scored))
    hashes = {
        "plan": sha256_file(settings.plan),
        "bundle": ensemble,
        "code": code_version()["sha256"],
        "cohort": sha256_value([sha256_file(path) for path in (settings.cohort, settings.overlap) if path]),
        **{part: sha256_value(texts) for part, texts in frozen.items()},
    }
    locked = lock(out / "lock.json", hashes, settings.amend)
    for name, text in (item for texts in frozen.values() for item in texts.items()):
        write_text(out / "frozen" / name, text)
    say(f"   lock {locked['sha256']} (deposit it publicly before the first opening)")

    log = Path(settings.log or out / "openings.jsonl")
    opening = open_outcomes(log, settings.outcomes, locked["sha256"])
    say(f"3. open the outcomes: opening {opening}, on record in {log}")
    outcomes = read_outcomes(settings.outcomes)
    analysed = analysed_patients(scored.cohort, scored.patients, outcomes, set(scored.excluded), plan.types)
    populations = populations_of(analysed)
    primary = primary_population(plan, populations)
    flows = [
        flow_of(role, name, scored.cohort, scored.results, scored.patients, analysed, scored.excluded)
        for role, name in [(p.role, p.cohort) for p in populations if not p.pooled]
    ]

    say(f"4. analyse {len(analysed)} patients of {len(flows)} cohorts")
    truth = read_truth(settings.truth) if settings.truth else None
    stage = read_stage_groups(settings.ensemble)
    statistics = all_statistics(
        plan, populations, primary, scored.members, truth, stage, settings.permutations, settings.seed
    )

    say("5. write the report")
    findings = Findings(
        plan=plan,
        lock=locked,
        opening=opening,
        ensemble=ensemble,
        manifest=manifest,
        thresholds=scored.thresholds,
        cohort=scored.cohort,
        populations=populations,
        primary=primary,
        flows=flows,
        left_out=scored.left_out,
        statistics=statistics,
        stage=stage,
        sheet_flow=read_sheet_flow(settings.flow, scored) if settings.flow else None,
    )
    document = document_of(findings, out / "figures")
    files = write_report(out, document, findings)
    if settings.track.tracking == "mlflow":
        ids = {*scored.cohort["patient_id"], *scored.cohort["slide_id"]}
        params = {"software_version": __version__, "lock": locked["sha256"], "ensemble_id": ensemble, **hashes}
        run_id = log_validation(
            settings.track.tracking_uri,
            settings.track.experiment,
            plan.title[:200],
            params,
            metrics_of(statistics),
            files,
            ids,
        )
        say(f"   MLflow run {run_id} in {settings.track.tracking_uri}")
    text = headline(primary, statistics)
    write_text(out / "headline.txt", text + "\n")
    say(f"   {text}")
    say(f"   {out / 'report.html'}")
    say(RESEARCH_USE_ONLY)
    return 0


def read_scored(settings: ValidateConfig, manifest: dict[str, Any]) -> Scored:
    """Read and check what there is before the outcomes; cohorts that were not scored at all are left out, and said so.

    Raises:
        InputError: cohort, results and patients do not add up, or nothing of the cohort was scored.
    """
    thresholds = {resolution: float(entry["value"]) for resolution, entry in manifest["thresholds"].items()}
    cohort = read_cohort(settings.cohort, settings.overlap)
    results = read_results(settings.results, scoring_ids(settings.ensemble))
    patients = read_patients(settings.scores, thresholds)
    cohort_patients = int(cohort["patient_id"].nunique())
    left_out = not_scored(cohort, results)
    pairs = pd.Series(list(zip(cohort["role"], cohort["cohort"], strict=True)), index=cohort.index)
    cohort = cohort[~pairs.isin(left_out)].reset_index(drop=True)
    if cohort.empty:
        raise InputError(f"{settings.results}: holds no slide of {settings.cohort}")
    check_complete(cohort, results, patients)
    members = read_members(Path(settings.scores).with_name("members.csv"))
    excluded = read_exclusions(settings.exclusions) if settings.exclusions else {}
    return Scored(cohort, results, patients, members, excluded, left_out, thresholds, cohort_patients)


def read_exclusions(path: str) -> dict[str, str]:
    """Code by patient, from a CSV ``patient_id, code``."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"patient_id", "code"} <= set(table.columns) or table["patient_id"].duplicated().any():
        raise InputError(f"{path}: must have the columns patient_id and code, and one row per patient")
    return dict(zip(table["patient_id"], table["code"], strict=True))


def read_sheet_flow(path: str, scored: Scored) -> dict[str, Any]:
    """Counts of `pathoprog cohort`; the patients that it accepted must be those of the cohort table.

    Raises:
        InputError: no such file, or the numbers do not add up.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; `pathoprog cohort` writes it")
    flow = read_json(path)
    patients = scored.cohort_patients
    if flow["patients_accepted"] != patients:
        raise InputError(f"{path}: {flow['patients_accepted']} patients accepted, {patients} in the cohort; no report")
    assert isinstance(flow, dict)
    return flow


def read_truth(path: str) -> pd.DataFrame:
    """The true log hazard of each simulated patient."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    table = pd.read_csv(path, dtype={"patient_id": str})
    if not {"patient_id", "log_hazard"} <= set(table.columns):
        raise InputError(f"{path}: must have the columns patient_id and log_hazard")
    return table


def exclusion_table(scored: Scored) -> pd.DataFrame:
    """Every slide and patient that the analyses do not use, with the reason, as known before the opening."""
    slides = scored.results[scored.results["status"] != "scored"]
    people = scored.patients[scored.patients["status"] != "scored"]
    rows = [("slide", r["slide_id"], r["patient_id"], "", r["status"], r["reason"]) for r in records(slides)]
    rows += [("patient", "", r["patient_id"], r["role"], r["status"], r["reason"]) for r in records(people)]
    rows += [("patient", "", patient, "", "excluded", code) for patient, code in sorted(scored.excluded.items())]
    return pd.DataFrame(rows, columns=["unit", "slide_id", "patient_id", "role", "status", "reason"])


def primary_population(plan: Plan, populations: list[Population]) -> Population:
    """The plan's primary cohort: all external cohorts, or the one named.

    Raises:
        InputError: no such external cohort among the analysed.
    """
    external = [population for population in populations if population.role == "external"]
    if external and plan.primary.cohort == "external":
        return external[0]  # all together where there are several
    for population in external:
        if population.cohort == plan.primary.cohort and not population.pooled:
            return population
    names = ", ".join(population.cohort for population in external) or "none"
    raise InputError(f"the plan's primary cohort {plan.primary.cohort!r} is no scored external cohort (there: {names})")


def write_report(out: Path, document: Document, findings: Findings) -> dict[str, list[Path]]:
    """Write report.html, the tables and statistics.json; the figures are there already.

    Returns:
        The files by folder of the artifact store.
    """
    write_text(out / "report.html", render(document))
    tables = []
    for table in document.tables():
        path = out / "tables" / f"{table.name}.csv"
        write_text(path, table.data.to_csv(index=False, lineterminator="\n"))
        tables.append(path)
    write_json(
        out / "statistics.json",
        {
            "research_use_only": RESEARCH_USE_ONLY,
            "software_version": __version__,
            "lock": findings.lock,
            "opening": findings.opening,
            "ensemble_id": findings.ensemble,
            **findings.statistics,
        },
    )
    names = [figure.name for figure in document.figures()]
    figures = [out / "figures" / f"{name}{suffix}" for name in names for suffix in (".png", ".svg")]
    return {"": [out / "report.html", out / "statistics.json"], "tables": tables, "figures": figures}


def metrics_of(statistics: dict[str, Any]) -> dict[str, float]:
    """The numbers that a list of runs should show."""
    metrics = {f"primary_{key}": statistics["primary"][key] for key in ("hr", "lower", "upper", "p")}
    metrics["permutation_share_below"] = statistics["permutation"]["share_below"]
    for key, population in statistics["populations"].items():
        name = "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in key)
        metrics[f"{name}_c"] = population["concordance"][0]["c"]
        metrics[f"{name}_n"] = float(population["n"])
        metrics[f"{name}_events"] = float(population["events"])
    return {key: value for key, value in metrics.items() if math.isfinite(value)}
