"""The CSV tables of `pathoprog survival`, and what it says on the terminal."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.curves.by_group import GroupCurves, Incidences
from pathoprog.survival.question import Question
from pathoprog.system.console import say
from pathoprog.system.csv_files import write_frame
from pathoprog.text.numbers import format_interval, format_p, format_percent, format_ratio
from pathoprog.text.wording import count


def write_tables(folder: Path, q: Question, results: dict[str, Any]) -> None:
    """The tables as CSV: curves, numbers at risk, hazard ratios, values at horizons."""
    curves: GroupCurves = ANALYSES["kaplan_meier"].run(q)
    steps, at_risk, incidence = [], [], []
    for name, own in {"all": curves.overall, **curves.by_group}.items():
        columns = ("time", "n_risk", "n_event", "n_censor", "survival", "std_err", "lower", "upper")
        steps.append(pd.DataFrame({"group": name, **{key: getattr(own.curve, key) for key in columns}}))
        at_risk.append(pd.DataFrame({"group": name, **vars(own.at_risk)}))
    if q.competing:
        found: Incidences = ANALYSES["competing_deaths"].run(q)
        for name, causes in {"all": found.overall, **found.by_group}.items():
            incidence.append(pd.DataFrame({"group": name, **vars(causes["event"])}))
    _csv(folder / "kaplan_meier.csv", pd.concat(steps))
    _csv(folder / "at_risk.csv", pd.concat(at_risk))
    if incidence:
        _csv(folder / "cumulative_incidence.csv", pd.concat(incidence))
    cox = [{"model": name, **term} for name, model in results.get("cox", {}).items() for term in model.get("terms", [])]
    if cox:
        _csv(folder / "hazard_ratios.csv", pd.DataFrame(cox))
    flat = [
        {"positive": "+".join(row["positive"]), "horizon": row["horizon"], "estimator": key, **_flat(row[key])}
        for row in results.get("horizon_values", [])
        for key in row
        if key not in ("positive", "horizon")
    ]
    if flat:
        _csv(folder / "horizon_values.csv", pd.DataFrame(flat))
    subgroups = [row for part in results.get("subgroups", []) for row in part["rows"]]
    for name, rows in (("subgroups", subgroups), ("sample_size", results.get("sample_size", {}).get("rows", []))):
        if rows:
            _csv(folder / f"{name}.csv", pd.DataFrame(rows))


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """One level of nesting as columns: ``ppv``, ``ppv_lower``."""
    row: dict[str, Any] = {}
    for key, item in value.items():
        if key == "horizon":
            continue
        if isinstance(item, dict):
            row[key] = item["value"]
            row.update({f"{key}_{part}": number for part, number in item.items() if part != "value"})
        else:
            row[key] = item
    return row


def _csv(path: Path, table: pd.DataFrame) -> None:
    write_frame(path, table)


def say_results(q: Question, results: dict[str, Any]) -> None:
    """The main figures, on the terminal."""
    f = results["followup"]
    deaths = count(f["competing"], "competing death")
    say(f"  {count(f['n'], 'patient')}, {count(f['events'], 'event')}, {deaths}, {f['censored']:,} censored")
    if "tests" in results:
        test = results["tests"]["logrank"]
        p = format_p(test["p_value"])
        figure = f"chi-squared {test['statistic']:.2f}, {test['df']} df, {p}" if test["df"] else "not estimable"
        say(f"  log-rank by {q.group}: {figure}")
    models = results.get("cox", {})
    shown = [name for name in (f"univariable {q.group}", "multivariable", "stratified") if name in models]
    for name in shown or list(models):
        if "terms" not in models[name]:
            say(f"  Cox {name}: not estimated: {models[name].get('note', '')}")
        if models[name].get("n_missing"):
            say(f"  Cox {name}: {models[name]['notes'][0]}")
        for term in models[name].get("terms", []):
            label = f"{term['term']} {term['level']} vs {term['reference']}" if term["level"] else term["term"]
            ratio = format_ratio(term["hr"], term["lower"], term["upper"])
            say(f"  Cox {name}: {label}: {term['note'] or f'HR {ratio}'}")
    for key, c in results.get("concordance", {}).items():
        h = c["harrell"]
        say(f"  c-index of {key}: {format_interval(h['value'], h['lower'], h['upper'])}")
    for row in results.get("horizon_values", []):
        k = row["kaplan_meier"]
        values = [k[name]["value"] for name in ("sensitivity", "specificity", "ppv", "npv")]
        head = f"  {'+'.join(row['positive'])} at {row['horizon']:g}"
        if not any(map(math.isfinite, values)):
            say(f"{head}: not estimable: after the last follow-up")
            continue
        names = ("sensitivity", "specificity", "PPV", "NPV")
        parts = [f"{name} {format_percent(value)}" for name, value in zip(names, values, strict=True)]
        late = "; a group was not followed so long" if k["beyond"] else ""
        say(f"{head}: {', '.join(parts)} (Kaplan-Meier{late})")
    size = results.get("sample_size", {})
    if "rows" in size:
        say(
            f"  sample size ({size['contrast']}): on what was observed here, not on planned values; see statistics.json"
        )
    elif "note" in size:
        say(f"  no sample size: {size['note']}")
