"""The section of a report that shows the sites one by one, and what they have in common."""

import math
from typing import Any

import pandas as pd

from pathoprog.report.document import Section, Table, Text
from pathoprog.report.site_forest import (
    FIRST_POOL,
    POOL_NAMES,
    interval_text,
    pool_text,
    range_text,
    site_forest_figure,
    site_rows,
    value_text,
)
from pathoprog.report.validation.findings import Figures, Findings, file_name
from pathoprog.survival.sites.known_coverage import nearest
from pathoprog.text.numbers import format_p, format_percent, format_variance
from pathoprog.text.wording import capital, count, share
from pathoprog.validation.populations import Population

DRAWN = ("hazard_ratio", "c", "observed_expected", "calibration_slope")


def sites_section(findings: Findings, figures: Figures) -> Section:
    """By cohort and by site: forest plots, random effects, prediction interval, each site left out in turn."""
    section = Section("sites", "By cohort and by site")
    found = findings.statistics.get("sites")
    if found is None:
        return section
    population = findings.primary
    section.add(
        Text(
            "The primary analysis is of all sites at once, stratified by cohort. Here each site stands alone, its "
            f"hazard ratio that of the primary contrast ({' and '.join(findings.plan.primary.contrast)} compared alone"
            f"{', the third class left aside' if len(population.possible_classes) > 2 else ''}), and "
            "a random-effects mean (REML, limits of Knapp and Hartung; c on the logit scale) says what sites have in "
            "common. The prediction interval is where the true figure of a further site would lie in 95% of such "
            "sites: for a hospital that thinks of using the system it says more than the mean's interval. A site "
            "without a finite estimate is listed and not pooled. With few sites the variance between them is hardly "
            "known: the interval that is drawn and told takes all its possible values (generalised distribution of "
            "the variance), the one of Higgins, in the table, a single estimate. Knapp and Hartung's limits can be "
            "narrower than normal ones; both are in the table."
        )
    )
    if found["calibration_note"]:
        section.add(Text(f"{capital(found['calibration_note'])}.", "note"))
    for column, part in found["columns"].items():
        section.add(*_column(findings, figures, population, column, part))
    return section


def _column(
    findings: Findings, figures: Figures, population: Population, column: str, part: dict[str, Any]
) -> list[Any]:
    status = findings.status("sites", population)
    name = findings.dated("sites", column)
    if "measures" not in part:
        return [Text(f"{name}: {part['note']}.", "note")]
    if part["note"]:
        return [Text(f"{capital(part['note'])}.", "warning"), _shares_table(findings, population, name, part, status)]
    blocks: list[Any] = [Text(f"By {name}: {_said(part)}")]
    for measure in DRAWN:
        one = part["measures"].get(measure)
        if one is None:
            continue
        if one["note"] and one["pools"]:  # without a pool the words above say it
            blocks.append(Text(f"{capital(one['what'])}: {one['note']}.", "note"))
        drawn = site_forest_figure(one, stamps=findings.stamps(status))
        title = f"{capital(population.phrase)}: {one['what']} by {name}."
        blocks.append(figures.add(drawn, f"sites_{file_name(column)}_{measure}", title, _left_out(one), status, "88%"))
    blocks += [_shares_table(findings, population, name, part, status), _pool_table(name, column, part, status)]
    return blocks


def _said(part: dict[str, Any]) -> str:
    """The pools in words."""
    sentences = [f"{count(len(part['names']), 'site')}"]
    sentences[0] += f", {count(part['n_missing'], 'patient')} without one." if part["n_missing"] else "."
    for one in part["measures"].values():
        pool = one["pools"].get(FIRST_POOL)
        if pool is None:
            sentences.append(f"{capital(one['what'])}: {one['note']}.")
            continue
        value = interval_text(one, pool["value"], pool["lower"], pool["upper"])
        further = range_text(one, pool["further_lower"], pool["further_upper"])
        sentences.append(f"{capital(one['what'])}: {value}, at a further site {further}; {pool_text(one)}.")
    return " ".join(sentences)


def _left_out(one: dict[str, Any]) -> str:
    """How far the mean moves where one site is left out."""
    values = {site: found["value"] for site, found in one["without"].items()}
    if not values:
        return ""
    low, high = min(values, key=lambda site: values[site]), max(values, key=lambda site: values[site])
    return (
        f"Each site left out in turn, the mean lies between {value_text(one, values[low])} (without {low}) and "
        f"{value_text(one, values[high])} (without {high})."
    )


def _shares_table(findings: Findings, population: Population, name: str, part: dict[str, Any], status: str) -> Table:
    rows = part["shares"]
    own = [name for name in population.possible_classes if f"share {name}" in rows[0]]
    levels = [f"share {name}" for name in own]
    shown = [
        (row["site"], f"{row['n']} ({row['events']})", *(_share(row[level], row["n"]) for level in levels))
        for row in rows
    ]
    test = part["shares_test"]
    note = (
        f"Equal shares at all sites: {format_p(test['p_value'])} (chi-squared, {test['df']} df)." if test["df"] else ""
    )
    note = f"Percentages are of a site's patients. {note}".strip()
    columns = ["Site", "Patients (events)", *(capital(level.removeprefix("share ")) for level in levels)]
    return Table(
        f"shares_{file_name(part['column'])}",
        f"{capital(population.phrase)}: classes by {name}.",
        pd.DataFrame(shown, columns=columns),
        pd.DataFrame(rows),
        note,
        status,
    )


def _share(value: float, n: int) -> str:
    return "–" if math.isnan(value) else share(round(value * n), n)


def _pool_table(name: str, column: str, part: dict[str, Any], status: str) -> Table:
    shown = []
    for one in part["measures"].values():
        for label, pool in one["pools"].items():
            further = range_text(one, pool["prediction_lower"], pool["prediction_upper"])
            model = pool["model"]
            shown.append(
                (
                    capital(one["what"]),
                    POOL_NAMES[label],
                    str(model["k"]),
                    interval_text(one, pool["value"], pool["lower"], pool["upper"]),
                    further,
                    format_variance(model["tau2"]),
                    f"{model['i2']:.0f}%",
                )
            )
    columns = [
        "Figure",
        "Between sites, limits",
        "Sites",
        "Mean (95% CI)",
        "Higgins' prediction",
        "\N{GREEK SMALL LETTER TAU}²",
        "I²",
    ]
    return Table(
        f"sites_{file_name(column)}",
        f"Random effects over {name}; the file beside the report has each site and each left out.",
        pd.DataFrame(shown, columns=columns),
        pd.DataFrame(site_rows(part)),
        _coverage(part),
        status,
        text_columns=2,
    )


def _coverage(part: dict[str, Any]) -> str:
    """How often these intervals cover in simulated tables like this one."""
    pooled = [site for site in part["measures"].get("hazard_ratio", {"sites": []})["sites"] if not site["note"]]
    if len(pooled) < 2:
        return ""
    one = nearest(len(pooled), sum(site["events"] for site in pooled) / len(pooled))
    return (
        f"In 2,000 simulated tables of {one.sites} sites with {one.patients} patients and {one.events} events at each "
        f"(hazard ratios that vary), 95% intervals of the mean covered the truth in "
        f"{format_percent(one.mean_knapp_hartung)} (Knapp-Hartung) and {format_percent(one.mean_normal)} (normal "
        f"limits), those of a further site in {format_percent(one.further)} (as told and drawn) and "
        f"{format_percent(one.higgins)} (Higgins)."
    )
