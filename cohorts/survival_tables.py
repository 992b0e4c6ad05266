"""The CSV tables of `pathoprog survival`, and what it says on the terminal."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog.report.over_time import over_time_lines, over_time_rows
from pathoprog.report.site_forest import FIRST_POOL, POOL_NAMES, interval_text, pool_text, range_text, site_rows
from pathoprog.report.treatment import treatment_lines, treatment_rows
from pathoprog.report.two_models import added_sentence
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.curves.by_group import GroupCurves, Incidences
from pathoprog.survival.question import Question
from pathoprog.survival.summary import endpoint_rows
from pathoprog.system.console import say
from pathoprog.system.csv_files import write_frame
from pathoprog.text.numbers import format_interval, format_p, format_percent, format_ratio
from pathoprog.text.wording import count

ESTIMATOR_NAMES = {"kaplan_meier": "Kaplan-Meier", "aalen_johansen": "Aalen-Johansen"}


def write_tables(folder: Path, q: Question, results: dict[str, Any]) -> None:
    """The tables as CSV: curves, numbers at risk, hazard ratios, values at horizons."""
    curves: GroupCurves = ANALYSES["kaplan_meier"].run(q)
    steps, at_risk, incidence = [], [], []
    for name, own in {"all": curves.overall, **curves.by_group}.items():
        columns = ("time", "n_risk", "n_event", "n_censor", "survival", "std_err", "lower", "upper")
        steps.append(pd.DataFrame({"group": name, **{key: getattr(own.curve, key) for key in columns}}))
        at_risk.append(pd.DataFrame({"group": name, **vars(own.at_risk)}))
    if "competing" in results:
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
        {"positive": "+".join(row["positive"]), "horizon": row["horizon"], "estimator": key}
        | {"primary": key == row["primary"], **_flat(row[key])}
        for row in results.get("horizon_values", [])
        for key in row
        if key not in ("positive", "horizon", "primary")
    ]
    if flat:
        _csv(folder / "horizon_values.csv", pd.DataFrame(flat))
    by_site = [row for part in results.get("sites", {}).values() if "measures" in part for row in site_rows(part)]
    if by_site:
        _csv(folder / "sites.csv", pd.DataFrame(by_site))
    over_time = over_time_rows(results.get("time_effects", {}))
    if over_time:
        _csv(folder / "time_effects.csv", pd.DataFrame(over_time))
    treated = treatment_rows(results.get("treatment", {}))
    if treated:
        _csv(folder / "treatment.csv", pd.DataFrame(treated))
    endpoints = endpoint_rows(results.get("endpoints", {}))
    if endpoints:
        _csv(folder / "endpoints.csv", pd.DataFrame(endpoints))
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
    who = f"{count(f['n'], 'row')} of {count(f['patients'], 'patient')}" if q.patient else count(f["n"], "patient")
    say(f"  {who}, {count(f['events'], 'event')}, {deaths}, {f['censored']:,} censored")
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
    for reason in results.get("refused", {}).values():
        say(f"  refused: {reason}")
    for row in results.get("horizon_values", []):
        k = row[row["primary"]]
        values = [k[name]["value"] for name in ("sensitivity", "specificity", "ppv", "npv")]
        head = f"  {'+'.join(row['positive'])} at {row['horizon']:g}"
        if not any(map(math.isfinite, values)):
            say(f"{head}: not estimable: after the last follow-up")
            continue
        names = ("sensitivity", "specificity", "PPV", "NPV")
        parts = [f"{name} {format_percent(value)}" for name, value in zip(names, values, strict=True)]
        late = "; a group was not followed so long" if k["beyond"] else ""
        say(f"{head}: {', '.join(parts)} ({ESTIMATOR_NAMES[row['primary']]}{late})")
    for column, part in results.get("sites", {}).items():
        _say_sites(column, part)
    added = results.get("added_value", {})
    if "harrell" in added:
        say(f"  {added_sentence(added)}")
    elif added:
        say(f"  added value not estimated: {added['note']}")
    for line in over_time_lines(results.get("time_effects", {})):
        say(f"  {line}")
    for line in treatment_lines(results.get("treatment", {})):
        say(f"  {line}")
    size = results.get("sample_size", {})
    if "rows" in size:
        say(
            f"  sample size ({size['contrast']}): on what was observed here, not on planned values; see statistics.json"
        )
    elif "note" in size:
        say(f"  no sample size: {size['note']}")


def _say_sites(column: str, part: dict[str, Any]) -> None:
    if part["note"]:
        say(f"  sites: {part['note']}")
    for reason in part.get("refused", ()):
        say(f"  refused: {reason}")
    for found in part.get("measures", {}).values():
        pool = found["pools"].get(FIRST_POOL)
        if pool is None:
            say(f"  by {column}: {found['what']}: {found['note']}")
            continue
        value = interval_text(found, pool["value"], pool["lower"], pool["upper"])
        further = range_text(found, pool["further_lower"], pool["further_upper"])
        say(f"  by {column}: {found['what']}: {value}, a further site {further} ({POOL_NAMES[FIRST_POOL]})")
        say(f"    {pool_text(found)}{'; ' + found['note'] if found['note'] else ''}")
