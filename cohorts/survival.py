"""`pathoprog survival`: every survival analysis of any table, as statistics.json, CSV tables and figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.cohorts.config import SurvivalConfig
from pathoprog.cohorts.survival_figures import PER_YEAR, draw_figures
from pathoprog.cohorts.survival_models import model_parts
from pathoprog.cohorts.survival_tables import say_results, write_tables
from pathoprog.console import say
from pathoprog.errors import ConfigError, InputError
from pathoprog.files import sha256_file, write_json
from pathoprog.report.curves import round_times
from pathoprog.settings import as_dict
from pathoprog.survival import summary
from pathoprog.survival.arrays import FloatArray, IntArray, groups_of, level_names
from pathoprog.survival.competing import gray_test
from pathoprog.survival.resampled import Resampled, bootstrap_intervals
from pathoprog.survival.table import (
    CODE,
    TIME,
    SurvivalTable,
    find_columns,
    find_pairs,
    order_levels,
    read_table,
    survival_table,
)

FORMAT = "pathoprog-statistics-1"


@dataclass(frozen=True)
class Question:
    """The checked table and what is asked of it.

    Attributes:
        data: usable rows.
        time: follow-up (n,).
        event: 0, 1, 2 (n,).
        group: column of the group, or empty.
        levels: its levels in order; hazard ratios compare with the first unless `reference` says otherwise.
        known: True where the group is known (n,).
        place: index of the level of those (k,).
        reference: reference levels of all categorical covariates.
        categorical: numeric columns taken as categories.
        covariates: columns of the Cox models beside the group.
        strata: stratifying columns.
        subgroups: columns that make subgroups.
        horizons: times of the values at a horizon.
        tau: end of the restricted mean's window.
        columns: times of the table of numbers at risk.
        positives: groupings of the levels for the values at a horizon.
        risks: columns of predicted risks, one for each horizon, or none.
        score: column of a score, or empty.
        pattern: one patient's covariates, for a prediction.
    """

    data: SurvivalTable
    time: FloatArray
    event: IntArray
    group: str
    levels: list[str]
    known: npt.NDArray[np.bool_]
    place: IntArray
    reference: dict[str, str]
    categorical: list[str]
    covariates: list[str]
    strata: list[str]
    subgroups: list[str]
    horizons: list[float]
    tau: float
    columns: FloatArray
    positives: list[tuple[str, ...]]
    risks: list[str]
    score: str
    pattern: dict[str, str]

    @property
    def frame(self) -> pd.DataFrame:
        """The usable rows with all columns of the file."""
        return self.data.frame


def run(settings: SurvivalConfig) -> int:
    """Read, check, analyse, write; exit code 0."""
    raw = read_table(settings.table)
    question = ask(settings, raw)
    say(f"{settings.table}: {len(question.time)} of {question.data.rows} rows used")
    for note in question.data.notes:
        say(f"  note: {note}")
    results = analyse(settings, question)
    out = Path(settings.out)
    write_json(out / "statistics.json", results)
    write_tables(out / "tables", question, results)
    if settings.figures:
        draw_figures(settings, question, results, out / "figures")
    say_results(question, results)
    say(f"written: {out}/statistics.json, tables/, {'figures/' if settings.figures else 'no figures'}")
    say(RESEARCH_USE_ONLY)
    return 0


def ask(settings: SurvivalConfig, raw: pd.DataFrame) -> Question:
    """Check every setting against the table.

    Raises:
        InputError: a column, level or value that the table does not have; ConfigError: a setting that makes no sense.
    """
    data = survival_table(
        raw,
        settings.time,
        settings.event,
        settings.event_is,
        settings.competing_is,
        settings.censored_is,
        settings.drop_negative,
    )
    frame = data.frame
    lists = {
        key: find_columns(getattr(settings, key), frame, key)
        for key in ("covariates", "categorical", "strata", "subgroups", "risks")
    }
    for key in ("group", "score", "cohort"):
        if getattr(settings, key):
            find_columns([getattr(settings, key)], frame, key)
    time, event = frame[TIME].to_numpy(dtype=float), frame[CODE].to_numpy(dtype=np.int64)
    levels: list[str] = []
    known, place = np.zeros(len(frame), dtype=bool), np.zeros(0, dtype=np.int64)
    group = settings.group
    if group:
        labels = level_names(frame[group])
        known = labels != ""
        if not known.any():
            raise InputError(f"group={group!r}: no value in any usable row")
        natural, _ = groups_of(labels[known], int(known.sum()))
        levels = order_levels(natural, settings.reference, settings.levels)
        _, place = groups_of(labels[known], int(known.sum()), levels)
        frame[group] = pd.Categorical(pd.Series(labels).where(known), levels)  # its order is that of every table
    elif settings.reference or settings.levels or settings.positive:
        raise ConfigError("reference, levels and positive belong to a group: give group=COLUMN")
    reference = find_pairs(settings.references, [*lists["covariates"], *lists["strata"]], "references")
    if group:
        reference[group] = settings.reference or levels[0]
    horizons = _numbers(settings.horizons, "horizons") or [_default_horizon(time)]
    columns = np.array(_numbers(settings.times, "times")) if settings.times else _columns(settings, time)
    if lists["risks"] and len(lists["risks"]) != len(horizons):
        raise ConfigError(f"risks: {len(lists['risks'])} columns for {len(horizons)} horizons; give one for each")
    pattern = find_pairs(settings.pattern, [*lists["covariates"], *([group] if group else [])], "pattern")
    return Question(
        data,
        time,
        event,
        group,
        levels,
        known,
        place,
        reference,
        lists["categorical"],
        [name for name in lists["covariates"] if name != group],
        lists["strata"],
        lists["subgroups"],
        horizons,
        settings.tau or max(horizons) or float(time.max()) or 1.0,
        columns,
        _positives(settings.positive, levels, reference.get(group, "")),
        lists["risks"],
        settings.score,
        pattern,
    )


def _numbers(texts: list[str], key: str) -> list[float]:
    try:
        numbers = [float(text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"{key}={','.join(texts)}: not all are numbers") from error
    if any(not np.isfinite(number) or number < 0 for number in numbers):
        raise ConfigError(f"{key}={','.join(texts)}: must be finite and not negative")
    return sorted(set(numbers))


def _default_horizon(time: FloatArray) -> float:
    """The round time nearest to half of the follow-up."""
    ticks = round_times(float(time.max()))
    return float(ticks[np.argmin(np.abs(ticks - time.max() / 2))]) or float(time.max()) / 2 or 1.0


def _columns(settings: SurvivalConfig, time: FloatArray) -> FloatArray:
    per_year = PER_YEAR[settings.unit]
    longest = float(time.max()) / per_year
    if settings.unit and 3 <= longest <= 10:
        return np.asarray(np.arange(0, int(longest) + 1) * per_year, dtype=np.float64)
    return np.asarray(round_times(longest) * per_year)


def _positives(given: list[str], levels: list[str], reference: str) -> list[tuple[str, ...]]:
    """Groupings of the levels into positive and the rest, worst levels first."""
    if given:
        unknown = [level for level in given if level not in levels]
        if unknown:
            raise InputError(f"positive: no level {unknown[0]!r}; there are {', '.join(levels)}")
        return [tuple(given)]
    order = [reference, *(level for level in levels if level != reference)] if reference in levels else levels
    return [tuple(order[k:]) for k in reversed(range(1, len(order)))]


def analyse(settings: SurvivalConfig, q: Question) -> dict[str, Any]:
    """All analyses as one nested dict; docs/statistics.md lists the keys."""
    results: dict[str, Any] = {
        "format": FORMAT,
        "research_use_only": RESEARCH_USE_ONLY,
        "software_version": __version__,
        "settings": as_dict(settings),
        "table": {
            "file": Path(settings.table).name,
            "sha256": sha256_file(settings.table),
            "rows": q.data.rows,
            "used": len(q.time),
            "left_out": q.data.left_out,
            "group_missing": int((~q.known).sum()) if q.group else 0,
        },
        "notes": list(q.data.notes),
        "followup": summary.followup(q.time, q.event),
        "kaplan_meier": curves(q),
        "rmst": summary.restricted_means(q.time[q.known] if q.group else q.time, *_of_group(q)),
    }
    if q.group and len(q.levels) > 1:
        results["tests"] = group_tests(q)
        results["horizon_values"] = values(q)
    results.update(model_parts(settings, q))
    if q.data.competing:
        results["competing"] = competing(q)
        results["notes"].append("competing deaths are censored in Kaplan-Meier curves, which are net; see `competing`")
    if settings.bootstrap:
        results["bootstrap"] = resample(settings, q)
    return results


def _of_group(q: Question) -> tuple[IntArray, IntArray | None, list[str], float]:
    event = q.event[q.known] if q.group else q.event
    return event, q.place if q.group else None, q.levels, q.tau


def curves(q: Question) -> dict[str, Any]:
    """Kaplan-Meier of all usable rows, and of each group."""
    at = np.array(q.horizons)
    result: dict[str, Any] = {"overall": summary.survival_curve(q.time, q.event, at, q.columns)}
    if q.group:
        time, event = q.time[q.known], q.event[q.known]
        result["by_group"] = {
            level: summary.survival_curve(time[q.place == k], event[q.place == k], at, q.columns)
            for k, level in enumerate(q.levels)
        }
    return result


def group_tests(q: Question) -> dict[str, Any]:
    """Log-rank tests, plain and stratified."""
    label = np.array(q.levels)[q.place]
    result: dict[str, Any] = summary.group_tests(q.time[q.known], q.event[q.known], label, q.levels)
    if q.strata:
        frame = q.frame.loc[q.known]
        block = level_names(frame[q.strata[0]])
        whole = block != ""
        for name in q.strata[1:]:
            more = level_names(frame[name])
            whole &= more != ""
            block = np.char.add(np.char.add(block, "\0"), more)
        inside = summary.group_tests(
            q.time[q.known][whole], q.event[q.known][whole], label[whole], q.levels, block[whole]
        )
        result["stratified"] = {"by": q.strata, "n": int(whole.sum()), **inside}
    return result


def values(q: Question) -> list[dict[str, Any]]:
    """Sensitivity, specificity, PPV and NPV for each grouping of the levels and each horizon."""
    rows = []
    for positive in q.positives:
        mark = np.isin(q.place, [q.levels.index(level) for level in positive])
        if mark.all() or not mark.any():
            continue
        for horizon in q.horizons:
            found = summary.horizon_values(q.time[q.known], q.event[q.known], mark, horizon)
            rows.append({"positive": list(positive), "horizon": horizon, **found})
    return rows


def competing(q: Question) -> dict[str, Any]:
    """Cumulative incidence of all and by group, and Gray's test."""
    at = np.array(q.horizons)
    result: dict[str, Any] = {"overall": summary.incidence_curve(q.time, q.event, at)}
    if q.group:
        time, event = q.time[q.known], q.event[q.known]
        result["by_group"] = {
            level: summary.incidence_curve(time[q.place == k], event[q.place == k], at)
            for k, level in enumerate(q.levels)
        }
        if len(q.levels) > 1:
            label = np.array(q.levels)[q.place]
            result["gray"] = {
                "event": summary.plain(gray_test(time, event, label, q.levels)),
                "competing": summary.plain(gray_test(time, np.array([0, 2, 1])[event], label, q.levels)),
            }
    return result


def resample(settings: SurvivalConfig, q: Question) -> dict[str, Any]:
    """Bootstrap intervals of c, hazard ratios and values at horizons."""
    keep = q.known if q.group else np.ones(len(q.time), dtype=bool)
    score = None
    if q.score:
        keep = keep & q.frame[q.score].notna().to_numpy()
        score = q.frame[q.score].to_numpy(dtype=float)[keep]
    place = None
    if q.group:
        place = np.full(len(q.time), -1)
        place[q.known] = q.place
        place = place[keep]
        score = place.astype(float) if score is None else score
    strata = level_names(q.frame[settings.cohort])[keep] if settings.cohort else None
    statistic = Resampled(
        q.time[keep], q.event[keep], score, place, tuple(q.levels), tuple(q.horizons), tuple(q.positives)
    )
    return bootstrap_intervals(statistic, settings.bootstrap, strata, settings.seed, settings.workers)
