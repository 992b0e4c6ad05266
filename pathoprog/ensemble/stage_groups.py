"""Class combined with stage: a table of 30 cells that gives each patient a low, intermediate or high risk group.

The inputs are those of Kleppe et al., Lancet Oncol 2022: pT (below 4, or 4), pN (0, 1, 2) with the nodes sampled (12
or fewer, or more; not used with pN2), and the class: 2 x 5 x 3 cells; of an ensemble of one resolution, which has two
classes, 2 x 5 x 2. The published assignment of the cells is not at
hand: a table is fitted on a development cohort that was not selected on outcome, and stored in the bundle.
"""

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.ensemble.bundle import ensemble_id, lock, read_manifest, verify
from pathoprog.ensemble.classes import RISK_CLASSES, classes_of
from pathoprog.ensemble.manifest import StageGroupsRecord, plain_manifest
from pathoprog.errors import BundleError, InputError
from pathoprog.slides.resolutions import METHOD_RESOLUTIONS
from pathoprog.survival import cox, kaplan_meier, logrank
from pathoprog.survival.regression.baseline import predict_survival
from pathoprog.system.files import canonical_json, finite_or_none, read_json, sha256_value

FILE = "stage_groups.json"
RISK_GROUPS = ("low", "intermediate", "high")
PT_LEVELS = ("pT1-3", "pT4")
NODAL_LEVELS = (
    "pN0, more than 12 nodes",
    "pN0, 12 nodes or fewer",
    "pN1, more than 12 nodes",
    "pN1, 12 nodes or fewer",
    "pN2",
)
FEW_NODES = 12
COLUMNS = ["pT", "pN", "nodes_sampled", "risk_class"]
"""What a patient's cell follows from."""
EVENTS_PER_TERM = 5
RULE = (
    "Cox model with main effects of pT, nodal level and class; its predicted survival at the horizon orders the cells; "
    "two cuts with the largest log-rank statistic over three groups, stratified by cohort (project default)"
)

Cell = tuple[str, str, str]


@dataclass(frozen=True)
class StageGroups:
    """A fitted table.

    Attributes:
        groups: risk group of each of the 30 cells (pT level, nodal level, class).
        record: everything that is stored: rule, cohorts, cells with numbers, cuts.
    """

    groups: dict[Cell, str]
    record: dict[str, Any]


def stage_cell(pt: Any, pn: Any, nodes_sampled: Any, risk_class: str) -> Cell | None:
    """The cell of a patient, or None where something needed is missing or cannot be read.

    Args:
        pt: for example ``4a``, ``pT3``, ``3``.
        pn: for example ``1b``, ``N0``, ``2``.
        nodes_sampled: number of lymph nodes examined; not needed with pN2.
        risk_class: good, uncertain or poor.
    """
    t, n = _digit(pt, "T", "01234"), _digit(pn, "N", "012")
    if t is None or n is None or risk_class not in RISK_CLASSES:
        return None
    if n == "2":
        return PT_LEVELS[t == "4"], NODAL_LEVELS[4], risk_class
    try:
        few = float(nodes_sampled) <= FEW_NODES
    except (TypeError, ValueError):
        return None
    if nodes_sampled != nodes_sampled:
        return None
    return PT_LEVELS[t == "4"], NODAL_LEVELS[2 * int(n) + few], risk_class


def _digit(value: Any, letter: str, allowed: str) -> str | None:
    found = re.fullmatch(rf"[cpy]*{letter}?([{allowed}])([a-d]|mi)?(\.0)?", str(value).strip(), flags=re.IGNORECASE)
    return found[1] if found else None


def cells_of(patients: pd.DataFrame) -> list[Cell | None]:
    """Cell of each patient from ``pT, pN, nodes_sampled, risk_class``; None where no group can be given.

    Raises:
        InputError: a column is absent.
    """
    absent = [name for name in COLUMNS if name not in patients]
    if absent:
        raise InputError(f"stage-combined groups need the columns {', '.join(absent)}")
    return [stage_cell(*row) for row in patients[COLUMNS].itertuples(index=False, name=None)]


def risk_groups(patients: pd.DataFrame, table: StageGroups) -> list[str]:
    """Risk group of each patient; empty where stage or class is missing."""
    return [table.groups[cell] if cell is not None else "" for cell in cells_of(patients)]


def fit_stage_groups(
    patients: pd.DataFrame,
    horizon_years: float = 3.0,
    min_share: float = 0.15,
    in_sample: bool = False,
    classes: tuple[str, ...] = RISK_CLASSES,
) -> StageGroups:
    """Fit the table on a development cohort that was not selected on outcome.

    A Cox model with the main effects of pT, nodal level and class, stratified by cohort, orders the 30 cells, the empty
    ones too: cell by cell most would hold too few patients. Its predicted survival at the horizon stands beside the
    cell's own Kaplan-Meier estimate. Two cuts part the ordered cells, where the log-rank statistic over the three
    groups is largest with at least `min_share` of the patients in each. Such a maximum has no honest p-value; none is
    given.

    Args:
        patients: ``pT, pN, nodes_sampled, risk_class, cohort, followup_days, event``.
        horizon_years: of the survival that is reported.
        min_share: smallest share of patients in each group.
        in_sample: True if patients trained members; stored and shown.
        classes: that the ensemble can give; of two there are 20 cells.

    Raises:
        InputError: too few patients or events, a level without patients, or no cuts that leave `min_share`.
    """
    cells = cells_of(patients)
    known = pd.Series([cell is not None for cell in cells], index=patients.index)
    data = patients[known].copy()
    places = [cell for cell in cells if cell is not None]
    for index, name in enumerate(("t_level", "n_level")):
        data[name] = [cell[index] for cell in places]
    events = int((data["event"] == 1).sum())
    levels = {"t_level": PT_LEVELS, "n_level": NODAL_LEVELS, "risk_class": classes}
    for name, wanted in levels.items():
        absent = [level for level in wanted if level not in set(data[name])]
        if absent:
            raise InputError(f"stage groups: no patient of the development cohort is {', '.join(absent)}")
    reference = {name: wanted[0] for name, wanted in levels.items()}
    fit = cox(
        data, "followup_days", "event", list(levels), reference, "cohort" if data["cohort"].nunique() > 1 else None
    )
    if fit.maximum.infinite.any() or events < EVENTS_PER_TERM * len(fit.coef):
        raise InputError(f"stage groups: {events} events in {len(data)} patients are too few for {len(fit.coef)} terms")
    risk = _cell_risk(fit.terms, levels)
    own = np.array([risk[cell] for cell in places])
    cuts = _best_cuts(data, own, min_share)
    groups = {cell: RISK_GROUPS[int(np.searchsorted(cuts, value, side="right"))] for cell, value in risk.items()}
    record = {
        "format": 1,
        "rule": RULE,
        "published": False,
        "in_sample": in_sample,
        "cohorts": sorted(set(data["cohort"])),
        "n": len(data),
        "events": events,
        "without_stage_or_class": int((~known).sum()),
        "horizon_years": horizon_years,
        "min_share": min_share,
        "cuts_log_hazard": cuts,
        "terms": fit.terms[["term", "level", "reference", "n", "events", "coef", "se"]].to_dict("records"),
        "cells": [_cell_record(cell, risk[cell], groups[cell], data, places, horizon_years, fit) for cell in risk],
    }
    return StageGroups(groups, record)


def _cell_risk(terms: pd.DataFrame, levels: dict[str, tuple[str, ...]]) -> dict[Cell, float]:
    coef = {
        (t, level): float(value) for t, level, value in zip(terms["term"], terms["level"], terms["coef"], strict=True)
    }
    return {
        (t, n, c): coef.get(("t_level", t), 0.0) + coef.get(("n_level", n), 0.0) + coef.get(("risk_class", c), 0.0)
        for t, n, c in itertools.product(*levels.values())
    }


def _best_cuts(data: pd.DataFrame, risk: Any, min_share: float) -> list[float]:
    """The two cuts between neighbouring cells with the largest log-rank statistic."""
    values = np.unique(risk)
    middle = (values[:-1] + values[1:]) / 2
    best, cuts = -1.0, None
    for low, high in itertools.combinations(middle, 2):
        group = np.searchsorted([low, high], risk, side="right")
        if np.bincount(group, minlength=3).min() < min_share * len(risk):
            continue
        statistic = logrank(data["followup_days"], data["event"], group.astype(str), data["cohort"]).statistic
        if statistic > best:
            best, cuts = statistic, [float(low), float(high)]
    if cuts is None:
        raise InputError(f"stage groups: no two cuts leave {min_share:.0%} of the patients in each group")
    return cuts


def _cell_record(
    cell: Cell, risk: float, group: str, data: pd.DataFrame, places: list[Cell], horizon_years: float, fit: Any
) -> dict[str, Any]:
    own = data[[place == cell for place in places]]
    at = horizon_years * YEAR_DAYS
    observed = None
    if len(own):
        value = kaplan_meier(own["followup_days"], own["event"]).at([at])
        observed = None if value.beyond[0] else float(value.survival[0])
    pattern: dict[str, object] = {"t_level": cell[0], "n_level": cell[1], "risk_class": cell[2]}
    strata = max(len(fit.strata_levels), 1)  # of several cohorts: the mean over their baselines
    predicted = [float(predict_survival(fit, pattern, [at], stratum).survival[0]) for stratum in range(strata)]
    return {
        "pT": cell[0],
        "nodal": cell[1],
        "risk_class": cell[2],
        "n": len(own),
        "events": int((own["event"] == 1).sum()),
        "kaplan_meier": observed,
        "predicted": float(np.mean(predicted)),
        "log_hazard": risk,
        "risk_group": group,
    }


def with_stage_groups(bundle: str | Path, out: str | Path, table: StageGroups) -> str:
    """Lock a new bundle: the old one, unchanged, and the table. The old one stays where it is.

    Returns:
        The new ensemble's id; scores made by the old one remain its scores (`scoring_ids`).
    """
    bundle = Path(bundle)
    manifest = verify(bundle)
    files: dict[str, Path | str] = {name: bundle / name for name in manifest.files}
    files[FILE] = canonical_json(finite_or_none(table.record))
    stage = StageGroupsRecord(supersedes=ensemble_id(bundle), in_sample=table.record["in_sample"])
    return lock(out, replace(manifest, stage_groups=stage), files)


def scoring_ids(bundle: str | Path) -> list[str]:
    """Ids under which a bundle's scores may have been made: its own, and that of the bundle before the table came.

    The second is computed from the manifest without the table, so that nothing but the table can differ.

    Raises:
        BundleError: the manifest without the table is not that of the bundle it claims to supersede.
    """
    ids = [ensemble_id(bundle)]
    manifest = read_manifest(bundle)
    if manifest.stage_groups is not None:
        files = {name: digest for name, digest in manifest.files.items() if name != FILE}
        ids.append(sha256_value(plain_manifest(replace(manifest, files=files, stage_groups=None))))
        if ids[1] != manifest.stage_groups.supersedes:
            raise BundleError(f"{bundle}: more than {FILE} differs from the bundle that it supersedes")
    return ids


def read_stage_groups(bundle: str | Path) -> StageGroups | None:
    """The table in a bundle, or None where it has none.

    Raises:
        BundleError: the table does not give all cells (30; of an ensemble of two classes 20) one of the three groups.
    """
    path = Path(bundle) / FILE
    if not path.is_file():
        return None
    record = read_json(path)
    try:
        groups = {(row["pT"], row["nodal"], row["risk_class"]): str(row["risk_group"]) for row in record["cells"]}
    except (KeyError, TypeError) as error:
        raise BundleError(f"{path}: no table of stage-combined groups ({error!r})") from error
    two = classes_of(METHOD_RESOLUTIONS[:1])
    classes = two if {cell[2] for cell in groups} == set(two) else RISK_CLASSES
    wanted = set(itertools.product(PT_LEVELS, NODAL_LEVELS, classes))
    if groups.keys() != wanted or not set(groups.values()) <= set(RISK_GROUPS):
        raise BundleError(f"{path}: must give each of the {len(wanted)} cells one of {', '.join(RISK_GROUPS)}")
    return StageGroups(groups, record)
