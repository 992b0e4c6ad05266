"""`pathoprog survival`: every survival analysis of any table, as statistics.json, CSV tables and figures."""

from pathlib import Path
from typing import Any

import numpy as np

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.cohorts.config import SurvivalConfig
from pathoprog.cohorts.survival_figures import draw_figures
from pathoprog.cohorts.survival_models import model_parts
from pathoprog.cohorts.survival_question import Question, ask
from pathoprog.cohorts.survival_tables import say_results, write_tables
from pathoprog.settings import as_dict
from pathoprog.survival import summary
from pathoprog.survival.arrays import EVENT, IntArray, level_names
from pathoprog.survival.curves.competing import gray_test
from pathoprog.survival.resampling.statistics import Resampled, bootstrap_intervals
from pathoprog.survival.table import read_raw
from pathoprog.system.console import say
from pathoprog.system.files import sha256_file, write_json

FORMAT = "pathoprog-statistics-1"


def run(settings: SurvivalConfig) -> int:
    """Read, check, analyse, write; exit code 0."""
    raw = read_raw(settings.table, settings.sheet, settings.encoding, settings.decimal, tuple(settings.missing))
    question = ask(settings, raw)
    say(f"{settings.table}: {len(question.time)} of {question.data.rows} rows used")
    for note in question.notes:
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
        "notes": list(q.notes),
        "followup": summary.followup(q.time, q.event),
        "kaplan_meier": curves(q),
        "rmst": summary.restricted_means(q.time[q.known] if q.group else q.time, *_of_group(q)),
    }
    if q.group and len(q.levels) > 1:
        results["tests"] = group_tests(q)
        results["horizon_values"] = values(q) if (q.event == EVENT).any() else []
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
    if not q.ordered:
        result.pop("trend", None)
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
        if not q.ordered:
            inside.pop("trend", None)
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
        score = place.astype(float) if score is None and q.ordered else score
    strata = level_names(q.frame[settings.cohort])[keep] if settings.cohort else None
    statistic = Resampled(
        q.time[keep], q.event[keep], score, place, tuple(q.levels), tuple(q.horizons), tuple(q.positives)
    )
    return bootstrap_intervals(statistic, settings.bootstrap, strata, settings.seed, settings.workers)
