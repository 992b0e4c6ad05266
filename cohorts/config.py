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
    overlap: str = setting(
        "", "overlap.json: the patients that are meant to be in test and in development", kind="path"
    )
    ensemble: str = setting("", "folder of the locked bundle that scored", kind="path", required=True)
    plan: str = setting("", "analysis plan (YAML), written before the outcomes are opened", kind="path", required=True)
    exclusions: str = setting(
        "", "CSV with patient_id and code: patients to exclude before the outcomes are opened", kind="path"
    )
    flow: str = setting(
        "", "flow.json that `pathoprog cohort` wrote; the flow diagram then starts at the clinical sheet", kind="path"
    )
    truth: str = setting(
        "", "truth.csv that `pathoprog simulate` wrote; the true hazard is then shown too", kind="path"
    )
    study: str = setting(
        "",
        "study file (YAML): what reporting guidelines ask for and only the authors know, such as setting, treatments "
        "and ethics",
        kind="path",
    )
    out: str = setting("", "folder for the lock, the log, the report, tables and figures", kind="path", required=True)
    log: str = setting(
        "",
        "log of openings in addition to those that are always kept; default: out/openings.jsonl",
        kind="path",
    )
    amend: str = setting(
        "",
        "the reason why something locked, or the outcomes, have changed; the report's first page will show it",
        kind="name",
    )
    permutations: int = setting(1000, "number of permutations of the outcomes", low=100, high=100_000)
    seed: int = setting(1, "seed of the permutations", low=0)
    track: TrackingSettings = setting(TrackingSettings(), "where the run is logged")


@dataclass
class SurvivalConfig:
    """`pathoprog survival`: every survival analysis of any table."""

    table: str = setting(
        "", "CSV, Excel, Parquet, Stata, SPSS or SAS file, one row a patient", kind="path", required=True
    )
    time: str = setting("", "column with the follow-up time", kind="name", required=True)
    event: str = setting("", "column with the event code", kind="name", required=True)
    out: str = setting("", "folder for statistics.json, tables and figures", kind="path", required=True)
    sheet: str = setting("", "sheet of an Excel file; default: the first that is not hidden", kind="name")
    encoding: str = setting(
        "",
        "encoding of a file's texts, such as cp1252; default: UTF-8, or what a Stata, SPSS or SAS file names",
        kind="name",
    )
    decimal: str = setting(
        "",
        "decimal sign of the numbers; default: found from the values of each column",
        kind="name",
        choices=("", ".", ","),
    )
    value_labels: bool = setting(
        True, "read the codes of a Stata or SPSS file as their value labels; false: keep the codes"
    )
    missing: list[str] = setting([], "words that mean a missing value, in addition to NA, n/a, NULL …", kind="names")
    patient: str = setting(
        "",
        "column with the patient's id; several rows of one patient are then taken together: robust standard errors by "
        "patient. Without it such rows in patient_id are refused",
        kind="name",
    )
    entry: str = setting(
        "",
        "column with the time at which a row came under observation (delayed entry, left truncation), in the unit of "
        "time; default: all from 0",
        kind="name",
    )
    weight: str = setting(
        "", "column with case weights; whole numbers are copies, others get robust standard errors", kind="name"
    )
    group: str = setting("", "column with the groups to compare", kind="name")
    reference: str = setting("", "group with which hazard ratios compare the others; default: the first", kind="name")
    levels: list[str] = setting(
        [],
        "groups from better to worse; default: a known order (numbers by size; stages; good, uncertain, poor …)",
        kind="names",
    )
    positive: list[str] = setting(
        [],
        "groups counted as positive, that is predicted to have the event; default: the worst, then the worst two, …",
        kind="names",
    )
    covariates: list[str] = setting([], "covariates of the Cox models, in addition to the group", kind="names")
    categorical: list[str] = setting([], "numeric columns to treat as categories", kind="names")
    references: list[str] = setting([], "reference levels of covariates, as COLUMN:LEVEL", kind="names")
    strata: list[str] = setting(
        [], "columns to stratify by: each combination of their values has its own baseline hazard", kind="names"
    )
    subgroups: list[str] = setting(
        [], "columns that define subgroups: the groups are compared within each of their values", kind="names"
    )
    sites: list[str] = setting(
        [],
        "columns that name sites: c, hazard ratio, calibration and shares at each, and their random-effects mean",
        kind="names",
    )
    added: list[str] = setting(
        [],
        "columns judged for what they add to the covariates: test, differences of c and AUC(t), net benefit",
        kind="names",
    )
    cuts: list[str] = setting(
        [], "times at which the groups' hazard ratio may change: a ratio in each piece of the follow-up", kind="names"
    )
    landmarks: list[str] = setting(
        [], "times from which those still followed are compared anew, in the table's unit", kind="names"
    )
    endpoints: list[str] = setting(
        [],
        "further endpoints of the same rows, as TIME_COLUMN:EVENT_COLUMN (codes 0, 1, 2): ratio and c under each",
        kind="names",
    )
    early_deaths: float = setting(
        0.0, "time before which deaths are left out once, to see what hangs on them; 0: none are", low=0
    )
    borderline: str = setting(
        "", "column that says (true) whose group is at a threshold: they are left out once", kind="name"
    )
    treatment: str = setting(
        "", "column of a treatment with two values: its hazard ratio in each group, and the ratio of these", kind="name"
    )
    control: str = setting("", "value of the treatment for those without it; default: 0, False, none, no", kind="name")
    randomised: str = setting(
        "",
        "was the treatment randomised? It must be said; if not, the words are of an association",
        choices=("", "yes", "no"),
    )
    score: str = setting("", "column with a score, higher = worse, for the c-index and AUC(t)", kind="name")
    risks: list[str] = setting(
        [],
        "columns with predicted risks, one per horizon, for calibration, Brier score and decision curve",
        kind="names",
    )
    pattern: list[str] = setting(
        [], "a patient whose survival the Cox model should predict, as COLUMN:VALUE", kind="names"
    )
    horizons: list[str] = setting(
        [],
        "horizons: times at which survival and accuracy are given, in the table's unit; default: half of the follow-up",
        kind="names",
    )
    tau: float = setting(0.0, "time up to which restricted mean survival is computed; 0: the last horizon", low=0)
    times: list[str] = setting([], "times in the table of numbers at risk; default: round numbers", kind="names")
    unit: str = setting(
        "", "unit of the follow-up; if given, the axis is in years", choices=("", "days", "months", "years")
    )
    event_is: list[str] = setting([], "values that mean the event; default: 1, True", kind="names")
    censored_is: list[str] = setting([], "values that mean censored; default: 0, False", kind="names")
    competing_is: list[str] = setting([], "values that mean a competing death; default: 2", kind="names")
    drop_negative: bool = setting(False, "leave out rows with a negative follow-up, and count them")
    ties: str = setting("efron", "how Cox models handle tied times", choices=("efron", "breslow"))
    imputations: int = setting(
        0, "number of imputed tables, if covariates are missing; 0: complete cases only", low=0, high=1000
    )
    bootstrap: int = setting(500, "bootstrap resamples; 0: none", low=0, high=100_000)
    cohort: str = setting("", "column with the cohort; the bootstrap resamples within each", kind="name")
    workers: int = setting(1, "processes that run the bootstrap", low=1, high=64)
    sample_size: bool = setting(True, "estimate how many cases another validation would need")
    seed: int = setting(1, "seed of the bootstrap, the imputations and the sample size simulation", low=0)
    title: str = setting("", "title above the figures", kind="name")
    y_label: str = setting("Survival", "label of the curves' y axis", kind="name")
    stamps: list[str] = setting(
        [], "warnings to print in a frame on the figures, such as: selected on outcome", kind="names"
    )
    figures: bool = setting(True, "draw the figures (PNG and SVG)")


@dataclass
class CohortConfig:
    """`pathoprog cohort`: a clinical sheet to a checked cohort."""

    table: str = setting("", "clinical sheet: CSV, Excel, Parquet, Stata, SPSS or SAS", kind="path", required=True)
    mapping: str = setting("", "mapping file (YAML): columns, codes, units, exclusions", kind="path", required=True)
    out: str = setting("", "folder for cohort.csv, outcomes.csv and what was left out", kind="path", required=True)
    overlap: str = setting(
        "", "overlap.json: the patients that are meant to be in test and in development", kind="path"
    )
    slides: str = setting(
        "", "folder to which the sheet's slide paths are relative; default: the sheet's folder", kind="path"
    )
    day_zero: str = setting(
        "drop",
        "what to do if the follow-up is 0 days, as after a death on the day of surgery: drop rejects the patient "
        "(which depends on the outcome), keep counts it as half a day; both are reported",
        choices=("drop", "keep"),
    )
    strict: bool = setting(
        False, "exit with code 1 if rows were rejected; otherwise they are written to rejected.csv and said"
    )
    hash_slides: bool = setting(False, "hash every slide, to find the same content under two ids")
    ensemble: str = setting(
        "",
        "locked bundle; test and external slides that it was developed on are refused (each slide is read once)",
        kind="path",
    )
    labels: LabelSettings = setting(LabelSettings(), "which development patients have a distinct outcome")
    nondistinct: str = setting(
        "tuning", "role of development patients without a distinct outcome", choices=("tuning", "training")
    )


@dataclass
class StageGroupsConfig:
    """`pathoprog stage_groups`: class combined with stage, fitted and locked into a new bundle."""

    scores: str = setting("", "patients.csv that `pathoprog score` wrote", kind="path", required=True)
    results: str = setting("", "results.csv beside it", kind="path", required=True)
    cohort: str = setting("", "cohort.csv with pT, pN and nodes_sampled", kind="path", required=True)
    outcomes: str = setting("", "outcomes.csv", kind="path", required=True)
    overlap: str = setting(
        "", "overlap.json: the patients that are meant to be in test and in development", kind="path"
    )
    ensemble: str = setting("", "folder of the locked bundle that scored", kind="path", required=True)
    development: list[str] = setting(
        [],
        "cohorts to fit the table on, each as a whole: training and tuning together, or external",
        kind="names",
        required=True,
    )
    out: str = setting("", "folder of the new bundle", kind="path", required=True)
    horizon_years: float = setting(3.0, "time at which the table gives survival, years", low=0, open_low=True, high=20)
    min_share: float = setting(0.15, "smallest share of patients in each group", low=0.01, high=0.33)
