"""`pathoprog validate`: score, freeze, lock, open, analyse, report; in this order, and refused where it was broken."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.cohort_tables.same_scan import refuse_development_slides
from pathoprog.cohorts.config import ValidateConfig
from pathoprog.cohorts.tracking import log_validation
from pathoprog.ensemble.bundle import ensemble_id, verify
from pathoprog.ensemble.manifest import Manifest
from pathoprog.ensemble.stage_groups import read_stage_groups, scoring_ids
from pathoprog.errors import InputError, LockError
from pathoprog.report.document import Document, render
from pathoprog.report.manuscript.word import FILE as WORD
from pathoprog.report.manuscript.word import write_word
from pathoprog.report.validation.findings import Findings
from pathoprog.report.validation.report import document_of
from pathoprog.system.console import say, warn
from pathoprog.system.csv_files import write_frame
from pathoprog.system.files import read_json, sha256_file, sha256_value, write_json, write_text
from pathoprog.system.tracking_config import NOT_LOGGED, check_tracking
from pathoprog.validation.clinical_model import LockedClinical, check_numbers, locked_clinical
from pathoprog.validation.covariates import check_covariates
from pathoprog.validation.flow import check_complete, flow_of, not_scored, records
from pathoprog.validation.given_tables import read_exclusions, read_sheet_flow, read_truth
from pathoprog.validation.numbers import (
    all_statistics,
    check_classes,
    check_clinical,
    check_cohorts,
    headline,
    primary_result,
)
from pathoprog.validation.on_request.asked_columns import check_asked, used_covariates
from pathoprog.validation.openings.chain import read_log
from pathoprog.validation.openings.frozen import PLAN, check_frozen, freeze, frozen_differences, frozen_texts
from pathoprog.validation.openings.history import history_of
from pathoprog.validation.openings.lock import chain_of, code_version, lock, read_lock
from pathoprog.validation.openings.register import Openings, Study, look_up, now, record_opening, record_result, turn
from pathoprog.validation.plan import AnalysisPlan, parse_plan, plan_text
from pathoprog.validation.populations import Population, analysed_patients, populations_of
from pathoprog.validation.score_tables import read_members, read_patients, read_results
from pathoprog.validation.study_facts import read_study_facts


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
    clinical: LockedClinical | None = None


def run(settings: ValidateConfig) -> int:
    """Validate a locked ensemble; returns 0, or raises before anything is reported."""
    logged = check_tracking(settings.track)
    out = Path(settings.out)
    say("1. read the plan, the bundle, the cohort and the scores")
    plan_source = plan_text(settings.plan)
    plan = parse_plan(plan_source, settings.plan)
    manifest = verify(settings.ensemble)
    ensemble = ensemble_id(settings.ensemble)
    scored = read_scored(settings, manifest)
    external = scored.cohort.loc[scored.cohort["role"] == "external", "cohort"]
    check_cohorts(plan, sorted(set(external)))
    check_classes(plan, manifest.shape)
    check_covariates(scored.cohort, used_covariates(plan), plan.subgroups, plan.types)
    check_clinical(plan, manifest.covariates)
    check_asked(scored.cohort, plan, () if manifest.covariates is None else manifest.covariates.names)
    truth = read_truth(settings.truth) if settings.truth else None
    sheet_flow = read_sheet_flow(settings.flow, scored.cohort_patients) if settings.flow else None
    stated = read_study_facts(settings.study) if settings.study else {}

    say("2. freeze the scores and the exclusions, lock")
    frozen = frozen_texts(scored.patients, scored.members, scored.results, exclusion_table(scored))
    hashes = {
        "plan": sha256_file(settings.plan),
        "bundle": ensemble,
        "code": code_version()["sha256"],
        "cohort": sha256_value([sha256_file(path) for path in (settings.cohort, settings.overlap) if path]),
        "settings": sha256_value({"permutations": settings.permutations, "seed": settings.seed}),
        **{part: sha256_value(texts) for part, texts in frozen.items()},
    }
    study = study_of(settings, hashes)
    with turn(study):
        before = look_up(study)
        check_outcomes(settings, before)
        check_own_log(study)
        check_frozen(out / "frozen", read_lock(out / "lock.json"))
        differences = frozen_differences(out / "frozen", frozen)
        locked = lock(out / "lock.json", hashes, settings.amend, plan_source, before.count, differences)
        study = replace(study, locks=tuple(chain_of(locked)))
        texts = {name: text for part in frozen.values() for name, text in part.items()}
        freeze(out / "frozen", {**texts, PLAN: plan_source}, len(locked["amendments"]))
        say(f"   lock {locked['sha256']} (deposit it publicly before the first opening)")
        entry, unwritten = record_opening(study, before, plan_source, settings.amend.strip())

    history = history_of(locked, before, entry, unwritten)
    say(f"3. open the outcomes: opening {history.present.number}, on record in {study.log}")
    for note in history.notes:
        warn(note)
    outcomes = read_outcomes(settings.outcomes, plan.endpoints)
    analysed = analysed_patients(scored.cohort, scored.patients, outcomes, set(scored.excluded), plan.types)
    shape = manifest.shape
    populations = populations_of(analysed, shape.resolutions)
    primary = primary_population(plan, populations)
    flows = [
        flow_of(role, name, scored.cohort, scored.results, scored.patients, analysed, scored.excluded, shape.classes)
        for role, name in [(p.role, p.cohort) for p in populations if not p.pooled]
    ]

    say(f"4. analyse {len(analysed)} patients of {len(flows)} cohorts")
    stage = read_stage_groups(settings.ensemble)
    statistics = all_statistics(
        plan, populations, primary, scored.members, truth, stage, settings.permutations, settings.seed, scored.clinical
    )
    result = primary_result(primary, statistics)
    record_result(study, entry, result)

    say("5. write the report")
    findings = Findings(
        plan=plan,
        lock=locked,
        history=history,
        ensemble=ensemble,
        manifest=manifest,
        thresholds=scored.thresholds,
        cohort=scored.cohort,
        populations=populations,
        primary=primary,
        flows=flows,
        left_out=scored.left_out,
        statistics=statistics,
        result=result,
        stage=stage,
        sheet_flow=sheet_flow,
        stated=stated,
        written_utc=now(),
    )
    document = document_of(findings, out / "figures")
    files = write_report(out, document, findings)
    write_json(out / "history.json", history.record())
    if logged:
        ids = {*scored.cohort["patient_id"], *scored.cohort["slide_id"]}
        params = {"software_version": __version__, "lock": locked["sha256"], "ensemble_id": ensemble, **hashes}
        params |= {"openings": str(history.present.number), "amendments": str(len(history.amendments))}
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
    elif settings.track.tracking == "auto":
        say(f"   {NOT_LOGGED}")
    text = headline(primary, statistics)
    write_text(out / "headline.txt", text + "\n")
    say(f"   {text}")
    say(f"   {out / 'report.html'}")
    say(RESEARCH_USE_ONLY)
    return 0


def study_of(settings: ValidateConfig, hashes: dict[str, str]) -> Study:
    """What is opened and where, as the register of openings asks for it; the locks are those that are there now."""
    out = Path(settings.out)
    there = read_lock(out / "lock.json")
    shown = {"flow": settings.flow, "truth": settings.truth, "study": settings.study}
    for path in shown.values():
        if path and not Path(path).is_file():
            raise InputError(f"{path}: no such file")
    return Study(
        bundle=scoring_ids(settings.ensemble)[-1],
        outcomes=Path(settings.outcomes),
        parts=hashes | {part: sha256_file(path) if path else "" for part, path in shown.items()},
        locks=tuple(chain_of(there)) if there else (),
        out=out,
        log=Path(settings.log or out / "openings.jsonl"),
        own_log=not settings.log,
    )


def check_outcomes(settings: ValidateConfig, before: Openings) -> None:
    """The outcomes are those of the last opening, or a reason is given.

    Raises:
        LockError: says in what they changed.
    """
    if before.changed is None or settings.amend.strip():
        return
    last = before.entries[-1]
    raise LockError(
        f"{settings.outcomes}: the outcomes have changed since opening {last['opening']} ({last['utc']}): "
        f"{before.changed.text}. Restore them; or say why with amend='…', and the report shows both results"
    )


def check_own_log(study: Study) -> None:
    """The folder's log, lock and report belong together: none was taken away or put in another's place.

    Raises:
        LockError: says which.
    """
    if not study.own_log:
        return
    lines = read_log(study.log)
    remedy = "Restore it; or validate in another folder, and the report says that this one was opened before"
    if lines and not study.locks:
        raise LockError(f"{study.out / 'lock.json'}: missing, though {study.log} has openings under it. {remedy}")
    if not lines and (study.out / "statistics.json").is_file():
        raise LockError(f"{study.log}: missing, though the folder holds the report of an opening. {remedy}")
    report = study.out / "statistics.json"
    if report.is_file() and read_json(report).get("opening", 0) > max(line["opening"] for line in lines):
        raise LockError(f"{study.log}: has lost the opening whose report lies beside it. {remedy}")
    for line in lines:
        if line["lock"] not in study.locks:
            raise LockError(
                f"{study.out / 'lock.json'}: another lock than that of opening {line['opening']}, and no amendment of "
                f"it. {remedy}"
            )


def read_scored(settings: ValidateConfig, manifest: Manifest) -> Scored:
    """Read and check what there is before the outcomes; cohorts that were not scored at all are left out, and said so.

    Raises:
        InputError: cohort, results and patients do not add up, or nothing of the cohort was scored.
    """
    thresholds = manifest.cuts
    cohort = read_cohort(settings.cohort, settings.overlap)
    results = read_results(settings.results, scoring_ids(settings.ensemble), manifest.shape.resolutions)
    clinical = locked_clinical(manifest.covariates, cohort)
    patients = check_numbers(settings.scores, read_patients(settings.scores, thresholds), clinical)
    known = set(cohort["patient_id"])
    left_out = not_scored(cohort, results)
    pairs = pd.Series(list(zip(cohort["role"], cohort["cohort"], strict=True)), index=cohort.index)
    cohort = cohort[~pairs.isin(left_out)].reset_index(drop=True)
    if cohort.empty:
        raise InputError(f"{settings.results}: holds no slide of {settings.cohort}")
    check_complete(cohort, results, patients)
    refuse_development_slides(settings.ensemble, cohort, contents_of(results))
    members = read_members(Path(settings.scores).with_name("members.csv"))
    excluded = read_exclusions(settings.exclusions, known) if settings.exclusions else {}
    return Scored(cohort, results, patients, members, excluded, left_out, thresholds, len(known), clinical)


def contents_of(results: pd.DataFrame) -> dict[str, str]:
    """Hash of each slide's content as scoring saw it; empty where it is not known."""
    if "slide_sha256" not in results:
        return dict.fromkeys(results["slide_id"], "")
    return dict(zip(results["slide_id"], results["slide_sha256"], strict=True))


def exclusion_table(scored: Scored) -> pd.DataFrame:
    """Every slide and patient that the analyses do not use, with the reason, as known before the opening."""
    slides = scored.results[scored.results["status"] != "scored"]
    people = scored.patients[scored.patients["status"] != "scored"]
    rows = [("slide", r["slide_id"], r["patient_id"], "", r["status"], r["reason"]) for r in records(slides)]
    rows += [("patient", "", r["patient_id"], r["role"], r["status"], r["reason"]) for r in records(people)]
    rows += [("patient", "", patient, "", "excluded", code) for patient, code in sorted(scored.excluded.items())]
    return pd.DataFrame(rows, columns=["unit", "slide_id", "patient_id", "role", "status", "reason"])


def primary_population(plan: AnalysisPlan, populations: list[Population]) -> Population:
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
    raise InputError(
        f"the plan's primary cohort {plan.primary.cohort!r} is not a scored external cohort (there: {names})"
    )


def write_report(out: Path, document: Document, findings: Findings) -> dict[str, list[Path]]:
    """Write report.html, the Word file, the tables and statistics.json; the figures are there already.

    Returns:
        The files by folder of the artifact store.
    """
    write_text(out / "report.html", render(document))
    write_word(out / WORD, document)
    tables = []
    for table in document.tables():
        path = out / "tables" / f"{table.name}.csv"
        write_frame(path, table.data)
        tables.append(path)
    write_json(
        out / "statistics.json",
        {
            "research_use_only": RESEARCH_USE_ONLY,
            "software_version": __version__,
            "lock": findings.lock,
            "opening": findings.history.present.number,
            "ensemble_id": findings.ensemble,
            **findings.statistics,
        },
    )
    names = [figure.name for figure in document.figures()]
    figures = [out / "figures" / f"{name}{suffix}" for name in names for suffix in (".png", ".svg")]
    return {"": [out / "report.html", out / WORD, out / "statistics.json"], "tables": tables, "figures": figures}


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
