"""A first analysis plan and a first experiment, from what a clinical sheet became: texts to be read and edited."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pathoprog.cohort_tables.config import YEAR_DAYS, LabelSettings
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.cohort_tables.guessing.first_mapping import MARK, WIDTH, entry, flow
from pathoprog.errors import InputError
from pathoprog.validation.covariates import check_covariates

EXPERIMENTS = Path(__file__).parents[1] / "configs" / "experiment"
HORIZONS_YEARS = (5.0, 3.0, 2.0, 1.0)
STILL_FOLLOWED = 0.1  # share of the patients that must be followed at the horizon
MOST_MISSING = 0.2  # of a covariate; more, and complete cases are too few
ENOUGH_DISTINCT = 50  # patients of either distinct outcome, from which the published loss is proposed
SITES = ("cohort", "prep_site", "scan_site", "scanner")


@dataclass(frozen=True)
class FirstPlan:
    """What the plan and the experiment take from the sheet.

    Attributes:
        rows: the cohort's rows as the mapping gives them; None where it cannot be applied yet.
        endpoint: in words.
        time_zero: in words.
        name: the cohort's, or the sheet's.
        candidates: columns of the cohort that a model may take.
        competing: whether deaths of other causes are told apart.
        asked: whether the endpoint was asked.
        endpoints: further endpoints that the mapping has.
    """

    rows: pd.DataFrame | None
    endpoint: str
    time_zero: str
    name: str
    candidates: Sequence[str] = field(default_factory=tuple)
    competing: bool = False
    asked: bool = False
    endpoints: Sequence[str] = ()


def plan_text(first: FirstPlan) -> str:
    """An analysis plan that `pathoprog validate` takes."""
    horizon, followed = horizon_of(first.rows)
    covariates, left_out = usable_covariates(first)
    planned = ["kaplan_meier", "logrank", "hazard_ratios", "c_index", "c_classes", "horizon_values", "permutation"]
    planned += ["competing_deaths"] if first.competing else []
    planned += ["adjusted"] if covariates else []
    rows = patients_of(first.rows)
    groups = (
        []
        if rows is None
        else [
            name
            for name in ("stage", "prep_site", "scanner")
            if name in rows and 2 <= rows[name][rows[name] != ""].nunique() <= 6
        ]
    )
    planned += ["subgroups"] if groups else []
    planned += ["endpoints"] if first.endpoints else []
    lines = [
        "# The analysis plan: decide, then leave it; `pathoprog validate` locks it before it opens the outcomes.",
        "# `pathoprog init` wrote it from the sheet. What `planned` does not name is labelled exploratory.",
        *entry("title", f"Prognostic value of the ensemble in {first.name}"),
        *entry("time_zero", first.time_zero),
        "primary:",
        *([f"  # {MARK}: which endpoint is it?"] if first.asked else []),
        *entry("endpoint", first.endpoint, "  "),
        "  contrast: poor vs good",
        "  cohort: external  # all external cohorts, stratified; or one cohort's name",
        *_comment(followed, "  "),
        *entry("horizon_years", _number(horizon), "  "),
        "  test: logrank  # or cox",
        f"planned: {flow(planned)}",
    ]
    if covariates:
        said = f"{MARK}: what the classes are adjusted for: the known prognostic factors, decided before looking."
        lines += [*_comment(said), f"covariates: {flow(covariates)}"]
    lines += [line for text in left_out for line in _comment(f"left out: {text}")]
    if groups:
        lines.append(f"subgroups: {flow(groups)}")
    if first.endpoints:
        lines += _comment("further endpoints of the mapping, in one table beside the primary one")
        lines.append(f"endpoints: {flow(list(first.endpoints))}")
    horizons = sorted(
        {_number(horizon), *(_number(years) for years in HORIZONS_YEARS if years <= horizon and years != 2)}
    )
    lines.append(f"horizons_years: {flow(horizons)}")
    return "\n".join(lines) + "\n"


def patients_of(rows: pd.DataFrame | None) -> pd.DataFrame | None:
    """One row a patient."""
    return None if rows is None else rows.drop_duplicates("patient_id")


def horizon_of(rows: pd.DataFrame | None) -> tuple[float, str]:
    """The longest of `HORIZONS_YEARS` to which enough patients are followed, and why in words."""
    patients = patients_of(rows)
    if patients is None or patients.empty:
        return 3.0, f"{MARK}: up to when are enough patients followed?"
    days = patients["followup_days"]
    for years in HORIZONS_YEARS:
        n = int((days >= years * YEAR_DAYS).sum())
        if n >= STILL_FOLLOWED * len(days):
            return years, f"{n} of {len(days)} patients are followed that long; {STILL_FOLLOWED:.0%} or more are asked"
    return 1.0, f"{MARK}: fewer than {STILL_FOLLOWED:.0%} of the patients are followed for a year"


def usable_covariates(first: FirstPlan) -> tuple[list[str], list[str]]:
    """Covariates that `validate` would take, and why the others are left out."""
    rows = patients_of(first.rows)
    if rows is None or rows.empty:
        return [], []
    kept, left_out = [], []
    for name in first.candidates:
        missing = float((rows[name] == "").mean())
        if missing > MOST_MISSING:
            left_out.append(f"{name}, missing in {missing:.0%}")
            continue
        if rows[name][rows[name] != ""].nunique() < 2:
            left_out.append(f"{name}, the same in all")
            continue
        try:
            check_covariates(rows, (name,), (), {})
        except InputError as error:
            left_out.append(str(error))
            continue
        kept.append(name)
    if "stage" in kept and {"pT", "pN"} <= set(kept):
        kept.remove("stage")
        left_out.append("stage, since pT and pN say it")
    return kept, left_out


def experiment_text(first: FirstPlan, folder: Path, outlines: bool) -> str:
    """An experiment that `pathoprog train_ensemble` takes: a named one's values with this cohort's files.

    Args:
        first: what is known.
        folder: of the study; the cohort is expected in its folder ``cohort``, tiles in ``tiles``.
        outlines: whether the sheet names outlines.
    """
    base, why = recipe_of(first.rows)
    values: dict[str, Any] = yaml.safe_load((EXPERIMENTS / f"{base}.yaml").read_text(encoding="utf-8"))
    here = folder.resolve()
    data = values.pop("data")
    network = values.pop("network")
    lines = [
        "# @package _global_",
        f"# How members are trained on this cohort: experiment={base} with its files, written by `pathoprog init`.",
        f"#   pathoprog train_ensemble experiment={folder / 'experiment.yaml'} out={folder / 'candidates'}",
        f"#   pathoprog ensemble candidates={folder / 'candidates'} out={folder / 'bundle'}",
        *_comment(why),
        "data:",
        *entry("cohort", str(here / "cohort" / "cohort.csv"), "  "),
        *entry("outcomes", str(here / "cohort" / "outcomes.csv"), "  "),
        *_comment(f"{MARK}: tiles of all slides are cut once and kept here: a fast disk with room", "  "),
        *entry("store", str(here / "tiles"), "  "),
        *_comment(
            "outline: tiles in the tumour outlines that the sheet names, as METHOD has it"
            if outlines
            else f"{MARK}: the sheet names no tumour outlines, so tiles lie in all tissue; with outlines: outline",
            "  ",
        ),
        *entry("tumour_policy", "outline" if outlines else "tissue", "  "),
        *(line for key in ("tiles_10x", "tiles_40x") if key in data for line in entry(key, data[key], "  ")),
        "network:",
        *_comment(f"{MARK}: a safetensors file with ImageNet's weights of the encoder; empty: from scratch", "  "),
        '  weights: ""',
        *(line for key, value in network.items() for line in entry(key, value, "  ")),
    ]
    for section, content in values.items():
        lines.append(f"{section}:")
        lines += [line for key, value in content.items() for line in entry(key, value, "  ")]
    return "\n".join(lines) + "\n"


def recipe_of(rows: pd.DataFrame | None) -> tuple[str, str]:
    """The named experiment to begin with, by how many patients have a distinct outcome, and why in words."""
    patients = patients_of(rows)
    if patients is None or patients.empty:
        return "cox_mil", f"{MARK}: how many patients have a distinct outcome is not known yet; Cox takes all of them"
    outcome = distinct_outcome(patients, LabelSettings())
    good, poor = int((outcome == "good").sum()), int((outcome == "poor").sum())
    said = f"distinct outcomes: {good} good, {poor} poor of {len(patients)} patients"
    if min(good, poor) >= ENOUGH_DISTINCT:
        return "domore_v1", f"{said}: enough of both for the published loss on distinct outcomes"
    return "cox_mil", f"{said}: fewer than {ENOUGH_DISTINCT} of one, so a loss that takes censored patients too (Cox)"


def _number(years: float) -> int | float:
    return int(years) if float(years).is_integer() else years


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ", break_on_hyphens=False
    )
