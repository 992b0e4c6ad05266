"""`pathoprog survival`: every survival analysis of any table, as statistics.json, CSV tables and figures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.cohorts.config import SurvivalConfig
from pathoprog.cohorts.survival_comparisons import added_value, endpoints, sites, time_effects, treatment
from pathoprog.cohorts.survival_figures import draw_figures
from pathoprog.cohorts.survival_models import (
    adjusted,
    cox_models,
    fine_gray_models,
    predicted,
    predictions,
    sizes,
    subgroups,
)
from pathoprog.cohorts.survival_question import TableQuestion, ask
from pathoprog.cohorts.survival_tables import say_results, write_tables
from pathoprog.settings import as_dict
from pathoprog.survival import summary
from pathoprog.survival.analyses import ANALYSES, Analysis
from pathoprog.survival.arrays import EVENT
from pathoprog.survival.curves.by_group import GroupCurves, GroupTests, Incidences, MedianFollowUp, RestrictedMeans
from pathoprog.survival.prediction.scores import AtHorizon, Discrimination, primary_estimator
from pathoprog.survival.question import NotEstimated, Question
from pathoprog.survival.table import read_raw
from pathoprog.system.console import say
from pathoprog.system.files import sha256_file, write_json

FORMAT = "pathoprog-statistics-1"
Parts = dict[str, Any]


def run(settings: SurvivalConfig) -> int:
    """Read, check, analyse, write; exit code 0."""
    how = (settings.sheet, settings.encoding, settings.decimal, tuple(settings.missing), settings.value_labels)
    raw = read_raw(settings.table, *how)
    asked = ask(settings, raw)
    question = asked.question
    say(f"{settings.table}: {len(question.time)} of {asked.data.rows} rows used")
    for note in asked.notes:
        say(f"  note: {note}")
    results = analyse(settings, asked)
    out = Path(settings.out)
    write_json(out / "statistics.json", results)
    write_tables(out / "tables", question, results)
    if settings.figures:
        draw_figures(settings, question, results, out / "figures")
    say_results(question, results)
    say(f"written: {out}/statistics.json, tables/, {'figures/' if settings.figures else 'no figures'}")
    say(RESEARCH_USE_ONLY)
    return 0


def analyse(settings: SurvivalConfig, asked: TableQuestion) -> Parts:
    """All analyses as one nested dict; docs/statistics.md lists the keys."""
    q = asked.question
    results: Parts = {
        "format": FORMAT,
        "research_use_only": RESEARCH_USE_ONLY,
        "software_version": __version__,
        "settings": as_dict(settings),
        "table": {
            "file": Path(settings.table).name,
            "sha256": sha256_file(settings.table),
            "rows": asked.data.rows,
            "used": len(q.time),
            "left_out": asked.data.left_out,
            "group_missing": int((~q.known).sum()),
        },
        "notes": list(asked.notes),
    }
    refused = {}
    for analysis in ANALYSES.values():
        if analysis.in_survival:
            if reason := analysis.refusal(q):
                refused[analysis.name] = reason
                if analysis.name != "followup":  # which counts the rows in any case
                    continue
            for key, value in PARTS.get(analysis.name, plainly)(q, analysis).items():
                results[key] = {**results[key], **value} if key in results else value
    if refused:
        results["refused"] = refused
    results["notes"] += _early(q, results)
    if q.competing:
        results["notes"].append("competing deaths are censored in Kaplan-Meier curves, which are net; see `competing`")
    return results


def _early(q: Question, results: Parts) -> list[str]:
    """What is to be said of tiny early risk sets under delayed entry."""
    if not q.entry:
        return []
    curves_ = {"all": results["kaplan_meier"]["overall"], **results["kaplan_meier"].get("by_group", {})}
    return [
        f"{name}: {one['early_risk_sets']['note']}" for name, one in curves_.items() if one["early_risk_sets"]["note"]
    ]


def plainly(q: Question, analysis: Analysis) -> Parts:
    """The result as it is, under the analysis' name."""
    return {analysis.name: summary.plain(analysis.tried(q))}


def followup(q: Question, analysis: Analysis) -> Parts:
    """Who was followed, and how long."""
    found: MedianFollowUp | NotEstimated = analysis.tried(q)
    return {"followup": summary.followup(q, found)}


def curves(q: Question, analysis: Analysis) -> Parts:
    """Kaplan-Meier of all usable rows, and of each group."""
    found: GroupCurves = analysis.run(q)
    at = np.array(q.horizons)
    result: Parts = {"overall": summary.survival_curve(found.overall, at)}
    if q.group:
        result["by_group"] = {level: summary.survival_curve(own, at) for level, own in found.by_group.items()}
    return {"kaplan_meier": result}


def parametric(q: Question, analysis: Analysis) -> Parts:
    """Weibull and log-normal curves beside Kaplan-Meier."""
    return {"parametric": summary.plain(analysis.run(q))} if (q.event == EVENT).any() else {}


def restricted_means(q: Question, analysis: Analysis) -> Parts:
    """Restricted means and their differences from the first level."""
    found: RestrictedMeans = analysis.run(q)
    return {"rmst": summary.restricted_means(q, found)}


def group_tests(q: Question, analysis: Analysis) -> Parts:
    """Log-rank tests, plain and stratified."""
    if len(q.levels) < 2:
        return {}
    found: GroupTests = analysis.run(q)
    result = summary.rank_tests(found.plain)
    if found.stratified is not None:
        n = found.stratified.n
        result["stratified"] = {"by": list(q.strata), "n": n, **summary.rank_tests(found.stratified)}
    return {"tests": result}


def values(q: Question, analysis: Analysis) -> Parts:
    """Sensitivity, specificity, PPV and NPV for each grouping of the levels and each horizon."""
    if len(q.levels) < 2:
        return {}
    found: list[AtHorizon] = analysis.run(q) if (q.event == EVENT).any() else []
    return {
        "horizon_values": [
            {
                "positive": list(one.grouping.levels),
                "horizon": one.horizon,
                "primary": primary_estimator(q.competing),
                **summary.plain(one.values),
            }
            for one in found
            if not isinstance(one.values, NotEstimated)
        ]
    }


def competing(q: Question, analysis: Analysis) -> Parts:
    """Cumulative incidence of all and by group, and Gray's test."""
    if not q.competing:
        return {}
    found: Incidences = analysis.run(q)
    at = np.array(q.horizons)
    result: Parts = {"overall": summary.incidence_curves(found.overall, at)}
    if q.group:
        result["by_group"] = {level: summary.incidence_curves(own, at) for level, own in found.by_group.items()}
    if len(q.levels) > 1:
        result["gray"] = summary.plain(found.gray)
    return {"competing": result}


def concordance(q: Question, analysis: Analysis) -> Parts:
    """c-index of the score."""
    if not (q.event == EVENT).any():
        return {}
    found: dict[str, Discrimination | NotEstimated] = analysis.run(q)
    return {"concordance": {name: _discrimination(one) for name, one in found.items()}}


def classes(q: Question, analysis: Analysis) -> Parts:
    """c-index of the group's levels in their order."""
    order = {"order": list(q.levels), "direction": "later levels = worse"}
    found = concordance(q, analysis)
    return {key: {name: {**one, **order} for name, one in part.items()} for key, part in found.items()}


def _discrimination(found: Discrimination | NotEstimated) -> Parts:
    return {"note": found.note} if isinstance(found, NotEstimated) else summary.discrimination(found)


def resampled(q: Question, analysis: Analysis) -> Parts:
    """Bootstrap intervals of c, hazard ratios and values at horizons."""
    return {"bootstrap": analysis.run(q)} if q.bootstrap else {}


PARTS: dict[str, Callable[[Question, Analysis], Parts]] = {
    "followup": followup,
    "kaplan_meier": curves,
    "logrank": group_tests,
    "hazard_ratios": cox_models,
    "c_index": concordance,
    "c_classes": classes,
    "horizon_values": values,
    "competing_deaths": competing,
    "adjusted": adjusted,
    "subgroups": subgroups,
    "parametric": parametric,
    "rmst": restricted_means,
    "fine_gray": fine_gray_models,
    "predicted_survival": predicted,
    "prediction": predictions,
    "sample_size": sizes,
    "bootstrap": resampled,
    "sites": sites,
    "added_value": added_value,
    "treatment": treatment,
    "time_effects": time_effects,
    "endpoints": endpoints,
}
"""How an analysis stands in statistics.json; one that is not asked for, or not of these data, gives no part."""
