"""What is known before tiles are cut: roles, outcomes, labels, events to judge by, and whether the files are there."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.cohort_tables.cohort_files import absent_files, absent_said
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.errors import CohortError, InputError
from pathoprog.system.console import warn
from pathoprog.training.config import CandidateSettings
from pathoprog.training.data.by_resolution import data_of_each_source
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.tile_store import is_stored


def check_tables(settings: CandidateSettings) -> pd.DataFrame:
    """Read the tables that training rests on, and refuse what would fail after hours of work.

    Returns:
        The rows of the cohort table that training reads.

    Raises:
        CohortError: no patient in a role, or one without an outcome.
        InputError: outcomes that nothing can be learned from or judged by, or too many files that are not there.
    """
    data = settings.data
    cohort = read_cohort(data.cohort, data.overlap)
    roles = sorted(set(cohort["role"]))
    rows = cohort[cohort["role"].isin(DEVELOPMENT_ROLES)]
    for role in DEVELOPMENT_ROLES if not settings.split.folds else ():
        if role not in roles:
            raise CohortError(
                f"{data.cohort}: no row has the role {role} (there are {', '.join(roles)}); training needs patients to"
                " learn from and others, in tuning, to judge by; `pathoprog cross_validate` does without tuning"
            )
    if rows.empty:
        raise CohortError(f"{data.cohort}: no row has the role training or tuning (there are {', '.join(roles)})")
    if not data.outcomes:
        raise InputError("data.outcomes is missing: give data.outcomes=… (outcomes.csv)")
    check_outcomes(settings, rows, read_outcomes(data.outcomes))
    for one in data_of_each_source(settings):
        check_files(rows, one)
    return rows


def check_outcomes(settings: CandidateSettings, rows: pd.DataFrame, outcomes: pd.DataFrame) -> None:
    """Refuse outcomes that nothing can be learned from, or judged by.

    Raises:
        CohortError: patients without an outcome.
        InputError: a class or every event is missing in training, or no two patients of tuning can be compared.
    """
    where = settings.data.outcomes
    missing = sorted(set(rows["patient_id"]) - set(outcomes["patient_id"]))
    if missing:
        raise CohortError(f"{where}: no outcome for {len(missing)} patients of training or tuning, first {missing[:3]}")
    outcomes = outcomes.assign(label=list(distinct_outcome(outcomes, settings.labels)))
    parts = {
        role: outcomes[outcomes["patient_id"].isin(rows.loc[rows["role"] == role, "patient_id"])]
        for role in DEVELOPMENT_ROLES
    }
    if settings.split.folds:
        learning = pd.concat(list(parts.values()))
    else:
        learning, judging = parts["training"], parts["tuning"]
        events = np.array(judging["event"] == 1, np.int64)
        check_comparable(np.array(judging["followup_days"], float), events)
    if settings.fit.loss == "cross_entropy":
        counts = {label: int((learning["label"] == label).sum()) for label in ("good", "poor")}
        if not all(counts.values()):
            raise InputError(
                f"{where}: training has {counts['good']} patients with good and {counts['poor']} with poor distinct"
                " outcome, and needs both; see labels.*, or give fit.loss=cox network.head=risk"
            )
    elif not (learning["event"] == 1).any():
        raise InputError(f"{where}: no training patient has the event")


def check_comparable(times: NDArray[np.float64], events: NDArray[np.int64]) -> None:
    """Refuse patients that no network can be judged by.

    Args:
        times: follow-up in days [n].
        events: 1 the event, else 0 [n].

    Raises:
        InputError: none has the event while another is still followed, so that Harrell's c has no pair to compare.
    """
    first = times[events == 1].min() if events.any() else np.inf
    if not ((times > first) | ((times == first) & (events == 0))).any():
        raise InputError(
            f"candidates are judged on the {len(times)} patients of tuning, {int(events.sum())} of them with the event,"
            " and no two can be compared (an event of one while another is still followed): give tuning more patients"
        )


def check_files(rows: pd.DataFrame, data: DataSettings) -> None:
    """Look whether slides and outlines are there that the tile store will be cut from; name those that are not.

    Tiles that are stored already need no slide. Where tiles stay in the slides, or features are read, this is not
    asked: the first refuses any slide that is missing, and the second reads none.

    Raises:
        InputError: more than `data.max_missing` of the slides have files that are not there, or lack an outline.
    """
    if data.source != "store":
        return
    outlined = data.tumour_policy == "outline"
    bare = [str(row["slide_id"]) for row in rows.to_dict("records") if outlined and not row["outline_path"]]
    if bare:
        raise InputError(
            f"{data.cohort}: {len(bare)} of {len(rows)} slides have no outline_path, first {bare[0]}, but"
            " data.tumour_policy=outline; give outlines, or data.tumour_policy=tissue"
        )
    columns = ("slide_path", "outline_path") if outlined else ("slide_path",)
    absent = [item for item in absent_files(rows, columns) if not is_stored(data, item.slide_id)]
    if absent:
        said = f"{data.cohort}: {absent_said(absent, len(rows))}"
        check_share(len({item.slide_id for item in absent}), len(rows), data.max_missing, said)
        warn(said)


def check_share(n_missing: int, n_slides: int, most: float, said: str, key: str = "data.max_missing") -> None:
    """Refuse to go without too many slides.

    Raises:
        InputError: more than the share `most` of them is missing.
    """
    if n_missing > most * n_slides:
        raise InputError(
            f"{said}; that is {n_missing / n_slides:.0%}, and training goes without at most {most:.0%} of the slides:"
            f" mend the paths or the files, or raise {key}"
        )
