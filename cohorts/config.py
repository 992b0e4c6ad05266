"""Settings of the statisticians' commands."""

from dataclasses import dataclass

from pathoprog.cohort_tables.config import LabelSettings
from pathoprog.settings import setting
from pathoprog.system.tracking_config import TrackingSettings


@dataclass
class ValidateConfig:
    """`pathoprog validate`: a locked ensemble against outcomes."""

    scores: str = setting("", "patients.csv that `pathoprog score` wrote", kind="path", required=True)
    results: str = setting("", "results.csv beside it", kind="path", required=True)
    cohort: str = setting("", "cohort.csv", kind="path", required=True)
    outcomes: str = setting("", "outcomes.csv; opened only after the lock", kind="path", required=True)
    overlap: str = setting("", "overlap.json that declares patients shared by design", kind="path")
    ensemble: str = setting("", "folder of the locked bundle that scored", kind="path", required=True)
    plan: str = setting("", "analysis plan (YAML), written before the outcomes are opened", kind="path", required=True)
    exclusions: str = setting("", "CSV patient_id, code: excluded before the outcomes are opened", kind="path")
    flow: str = setting("", "flow.json of `pathoprog cohort`, for the way from the sheet to the cohort", kind="path")
    truth: str = setting("", "truth.csv of a simulation", kind="path")
    out: str = setting("", "folder for the lock, the log, the report, tables and figures", kind="path", required=True)
    log: str = setting(
        "",
        "log of openings, beside the user's register and that beside outcomes; default: openings.jsonl in out",
        kind="path",
    )
    amend: str = setting(
        "",
        "why something locked, or the outcomes, have changed: goes on, and the report's first page shows it",
        kind="name",
    )
    permutations: int = setting(1000, "permutations of the outcomes", low=100, high=100_000)
    seed: int = setting(1, "of the permutations", low=0)
    track: TrackingSettings = setting(TrackingSettings(), "")


@dataclass
class SurvivalConfig:
    """`pathoprog survival`: every survival analysis of any table."""

    table: str = setting("", "CSV, Excel or Parquet file, one row a patient", kind="path", required=True)
    time: str = setting("", "column of the follow-up", kind="name", required=True)
    event: str = setting("", "column of the event code", kind="name", required=True)
    out: str = setting("", "folder for statistics.json, tables and figures", kind="path", required=True)
    sheet: str = setting("", "sheet of an Excel file; default: the first that is not hidden", kind="name")
    encoding: str = setting("", "encoding of a text file, such as cp1252; default: UTF-8", kind="name")
    decimal: str = setting(
        "", "decimal sign of the numbers; default: from the values of each column", kind="name", choices=("", ".", ",")
    )
    missing: list[str] = setting([], "words that mean an empty cell, beside NA, n/a, NULL …", kind="names")
    patient: str = setting(
        "", "column of the patient's id: several rows of one patient are refused; default: patient_id", kind="name"
    )
    group: str = setting("", "column of the groups to compare", kind="name")
    reference: str = setting("", "level of the group that hazard ratios compare with; default: the first", kind="name")
    levels: list[str] = setting(
        [],
        "groups from better to worse; default: a known order (numbers by size; stages; good, uncertain, poor …)",
        kind="names",
    )
    positive: list[str] = setting(
        [], "levels of the group said to have the event; default: the worst level, the worst two, …", kind="names"
    )
    covariates: list[str] = setting([], "columns of the Cox models, beside the group", kind="names")
    categorical: list[str] = setting([], "numeric columns to take as categories", kind="names")
    references: list[str] = setting([], "COLUMN:LEVEL, reference levels of covariates", kind="names")
    strata: list[str] = setting([], "columns whose combinations have baselines of their own", kind="names")
    subgroups: list[str] = setting([], "columns within whose levels the group is compared", kind="names")
    score: str = setting("", "column of a number, higher = worse: c-index, AUC(t)", kind="name")
    risks: list[str] = setting(
        [], "columns of predicted risks by the horizons, one for each: calibration, Brier, decision curve", kind="names"
    )
    pattern: list[str] = setting([], "COLUMN:VALUE of one patient, whose survival the Cox model predicts", kind="names")
    horizons: list[str] = setting(
        [], "times of the values at a horizon, in the table's unit; default: half of the follow-up", kind="names"
    )
    tau: float = setting(0.0, "end of the restricted mean's window; 0: the last horizon", low=0)
    times: list[str] = setting([], "columns of the table of numbers at risk; default: round ones", kind="names")
    unit: str = setting("", "unit of the follow-up; the axis is in years", choices=("", "days", "months", "years"))
    event_is: list[str] = setting([], "codes of the event; default: 1, True", kind="names")
    censored_is: list[str] = setting([], "codes of censoring; default: 0, False", kind="names")
    competing_is: list[str] = setting([], "codes of competing deaths; default: 2", kind="names")
    drop_negative: bool = setting(False, "leave rows with a negative follow-up out, and count them")
    ties: str = setting("efron", "ties in Cox models", choices=("efron", "breslow"))
    imputations: int = setting(0, "imputed tables for missing covariates; 0: complete cases only", low=0, high=1000)
    bootstrap: int = setting(500, "resamples; 0: none", low=0, high=100_000)
    cohort: str = setting("", "column within whose levels the bootstrap resamples", kind="name")
    workers: int = setting(1, "processes of the bootstrap", low=1, high=64)
    sample_size: bool = setting(True, "how many cases a further validation would take")
    seed: int = setting(1, "of the bootstrap, the imputations and the simulation", low=0)
    title: str = setting("", "above the figures", kind="name")
    y_label: str = setting("Survival", "what the curves show", kind="name")
    stamps: list[str] = setting([], "framed on the figures, such as: selected on outcome", kind="names")
    figures: bool = setting(True, "draw the figures (PNG and SVG)")


@dataclass
class CohortConfig:
    """`pathoprog cohort`: a clinical sheet to a checked cohort."""

    table: str = setting("", "clinical sheet: CSV or Excel", kind="path", required=True)
    mapping: str = setting("", "mapping file (YAML): columns, codes, units, exclusions", kind="path", required=True)
    out: str = setting("", "folder for cohort.csv, outcomes.csv and what was left out", kind="path", required=True)
    overlap: str = setting("", "overlap.json that declares patients shared by design", kind="path")
    slides: str = setting("", "folder that slide paths in the sheet are relative to; default: the sheet's", kind="path")
    day_zero: str = setting(
        "drop",
        "a follow-up of 0 days, such as a death on the day of surgery: drop rejects the patient (which depends on the "
        "outcome), keep takes it as half a day; both are counted",
        choices=("drop", "keep"),
    )
    hash_slides: bool = setting(False, "hash every slide, so that the same content under two ids is found")
    ensemble: str = setting(
        "",
        "locked bundle: refuse test and external slides that it was developed on (reads each of them once)",
        kind="path",
    )
    labels: LabelSettings = setting(LabelSettings(), "which development patients have a distinct outcome")
    nondistinct: str = setting("tuning", "role of the other development patients", choices=("tuning", "training"))


@dataclass
class StageGroupsConfig:
    """`pathoprog stage_groups`: class combined with stage, fitted and locked into a new bundle."""

    scores: str = setting("", "patients.csv that `pathoprog score` wrote", kind="path", required=True)
    results: str = setting("", "results.csv beside it", kind="path", required=True)
    cohort: str = setting("", "cohort.csv with pT, pN and nodes_sampled", kind="path", required=True)
    outcomes: str = setting("", "outcomes.csv", kind="path", required=True)
    overlap: str = setting("", "overlap.json that declares patients shared by design", kind="path")
    ensemble: str = setting("", "folder of the locked bundle that scored", kind="path", required=True)
    development: list[str] = setting(
        [], "cohorts to fit on, whole: training and tuning together, or external", kind="names", required=True
    )
    out: str = setting("", "folder of the new bundle", kind="path", required=True)
    horizon_years: float = setting(
        3.0, "of the survival that stands in the table, years", low=0, open_low=True, high=20
    )
    min_share: float = setting(0.15, "smallest share of patients in each group", low=0.01, high=0.33)
