"""Results of the primary population: curves, ratios, discrimination, chance."""

import math
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.report.curves import kaplan_meier_figure
from pathoprog.report.document import Figure, Section, Table, Text
from pathoprog.report.panels import permutation_figure
from pathoprog.report.style import FEWEST_AT_RISK
from pathoprog.report.validation.findings import Figures, Findings, c_text, chance_text, file_name, truth_text
from pathoprog.report.validation.on_request.over_time import proportional_text
from pathoprog.text.numbers import bare_ratio, format_p, format_percent, format_ratio
from pathoprog.text.wording import capital, count, listing, p_cell, share
from pathoprog.validation.analyses import curve_years
from pathoprog.validation.numbers import member_medians, primary_sentence
from pathoprog.validation.populations import Population

FEW = "\N{DAGGER}"
INCIDENCE_TITLE = "Cumulative incidence of the event and of other deaths (95% CI)."
BY_AALEN_JOHANSEN = (
    "Aalen-Johansen: other deaths compete, so that these, not net survival, are the primary absolute risks."
)
SPARSE = f"Faded where fewer than {FEWEST_AT_RISK} of a class are at risk."


def primary_section(findings: Findings, figures: Figures) -> Section:
    """The primary analysis, and the classes of its population."""
    population, primary = findings.primary, findings.statistics["primary"]
    section = Section("primary", f"Primary analysis: {population.name}")
    text = (
        f"{primary_sentence(findings.statistics)} Ratio and test are of the same {count(primary['n'], 'patient')} with "
        f"{count(primary['events'], 'event')}, those {primary['worse']} or {primary['better']}"
    )
    text += "; the third class is left aside." if len(findings.manifest.shape.classes) > 2 else "."
    if population.pooled:
        text += " Both are stratified by cohort."
    if primary["note"]:
        text += f" {capital(primary['note'])}."
    section.add(Text(text), Text(absolute_text(findings)), Text(proportional_text(primary)))
    section.add(curves(findings, figures, population, "kaplan_meier"))
    section.add(*class_tables(findings, population))
    return section


def absolute_text(findings: Findings) -> str:
    """What share of the compared classes had the event by the primary horizon: first by the primary estimator."""
    primary, counts = findings.statistics["primary"], findings.of(findings.primary)["classes"]
    when = f"by {primary['horizon_years']:g} years"
    net = listing(
        [
            f"{format_percent(value['survival'], value['lower'], value['upper'])} of {counts[name]} {name}"
            for name, value in primary["survival"].items()
        ]
    )
    if not findings.deaths_compete:
        return f"Without the event {when} were, by Kaplan-Meier, {net}."
    rows = {
        row["risk_class"]: row
        for row in findings.statistics["competing_deaths"]["incidence"]
        if row["cause"] == "event" and row["years"] == primary["horizon_years"]
    }
    found = listing(
        [
            f"{format_percent(rows[name]['incidence'], rows[name]['lower'], rows[name]['upper'])} of {counts[name]} "
            f"{name}"
            for name in primary["survival"]
            if name in rows
        ]
    )
    return (
        f"Other deaths compete, so that Aalen-Johansen is the primary estimate: {when} the event had come to {found}. "
        f"Net survival (Kaplan-Meier, other deaths censored) was {net}."
    )


def curves(findings: Findings, figures: Figures, population: Population, analysis: str) -> Figure:
    """Kaplan-Meier curves of the classes, with bands and numbers at risk."""
    numbers, data = findings.of(population), population.patients
    notes = []
    if not population.selected_on_outcome:
        two = numbers["contrast"]
        notes = [
            f"{two['worse']} vs {two['better']}: HR {format_ratio(two['hr'], two['lower'], two['upper'])}, "
            f"log-rank {format_p(two['logrank_p'])}"
        ]
        if len(population.classes) > 2:
            notes.append(f"all {len(population.classes)} classes: log-rank {format_p(numbers['logrank']['p'])}")
    ratios = ""
    if notes:
        ratios = f"The ratio and the log-rank test beside it are of {two['worse']} and {two['better']} compared alone. "
    status = findings.status(analysis, population)
    drawn = kaplan_meier_figure(
        data["followup_days"],
        data["event"],
        data["risk_class"],
        levels=population.classes,
        times=[year * YEAR_DAYS for year in curve_years(population)],
        divide_by=YEAR_DAYS,
        x_label=f"Years since {findings.plan.time_zero.removeprefix('day of ')}",
        y_label="Net survival (%)",
        notes=notes,
        stamps=findings.stamps(status),
    )
    return figures.add(
        drawn,
        f"survival_{file_name(population.key)}",
        f"{capital(population.phrase)}: {findings.plan.primary.endpoint.split(';')[0]} by class, with 95% bands.",
        f"Kaplan-Meier; competing deaths are censored, so that the curves are net survival. {ratios}{SPARSE}",
        status,
        width="86%",
    )


def class_tables(findings: Findings, population: Population) -> list[Table]:
    """Hazard ratios, groupings, and survival at the horizons of one population."""
    numbers = findings.of(population)
    tables = []
    counts = numbers["classes"]
    events = {
        name: int((population.patients.query("risk_class == @name")["event"] == 1).sum())
        for name in population.possible_classes
    }
    ratios = {row["level"]: row for row in numbers["hazard_ratios"] if row["level"]}
    rows = []
    for name in population.classes:
        row = ratios.get(name)
        reference = "1 (reference)" if name == "good" else "not estimable"
        rows.append(
            (
                name,
                share(counts[name], numbers["n"]),
                str(events[name]),
                bare_ratio(row["hr"], row["lower"], row["upper"]) if row else reference,
                p_cell(row["p"]) if row else "",
            )
        )
    test = numbers["logrank"]
    note = "One model of all classes, so that its ratios are not those of two classes compared alone. "
    note = note if population.more_than_two_classes else ""
    tested = f"chi-squared {test['statistic']:.2f}, {test['df']} df, {format_p(test['p'])}"
    note += f"Log-rank over the classes: {tested if test['df'] else 'not estimable'}."
    note += " Stratified by cohort." if population.pooled else ""
    note += "".join(f" {capital(row['note'])}." for row in numbers["hazard_ratios"] if row["note"])
    tables.append(
        Table(
            f"hazard_ratios_{file_name(population.key)}",
            "Hazard ratios against good (Cox, Efron ties).",
            pd.DataFrame(
                rows, columns=["Class", f"Patients (% of {numbers['n']:,})", "Events", "Hazard ratio (95% CI)", "p"]
            ),
            pd.DataFrame(numbers["hazard_ratios"]),
            note,
            findings.status("hazard_ratios", population),
        )
    )
    shown = [
        (
            row["grouping"],
            f"{row['n_worse']} / {row['n_better']}",
            bare_ratio(row["hr"], row["lower"], row["upper"]),
            p_cell(row["logrank_p"]),
        )
        for row in numbers["groupings"]
    ]
    tables.append(
        Table(
            f"groupings_{file_name(population.key)}",
            "Both ways to make two groups of three." if len(population.possible_classes) > 2 else "The two classes.",
            pd.DataFrame(shown, columns=["Grouping", "Patients", "Hazard ratio (95% CI)", "p (log-rank)"]),
            pd.DataFrame(numbers["groupings"]),
            status=findings.status("groupings", population),
        )
    )
    if numbers["incidence_at_horizons"] and population.key != findings.primary.key:  # the primary one has its section
        tables.append(
            Table(
                f"incidence_{file_name(population.key)}",
                INCIDENCE_TITLE,
                incidence_shown(findings, numbers["incidence_at_horizons"], "risk_class", counts),
                pd.DataFrame(numbers["incidence_at_horizons"]),
                BY_AALEN_JOHANSEN,
                findings.status("kaplan_meier", population),
                text_columns=2,
            )
        )
    table = _survival_shown(numbers["survival"], population.classes)
    sparse = table.iloc[:, 1:].apply(lambda column: column.str.contains(FEW)).to_numpy().any()
    tables.append(
        Table(
            f"survival_{file_name(population.key)}",
            "Net survival by class; number at risk and, in brackets, events until the next column.",
            table,
            pd.DataFrame(numbers["survival"]),
            f"{FEW} Fewer than {FEWEST_AT_RISK} at risk." if sparse else "",
            findings.status("kaplan_meier", population),
        )
    )
    return tables


def incidence_shown(
    findings: Findings, rows: list[dict[str, Any]], column: str, counts: dict[str, int]
) -> pd.DataFrame:
    """Cumulative incidence of each cause by group at the horizons, as a report prints it.

    Args:
        findings: of the report.
        rows: of `incidence_rows`.
        column: of them that names the group.
        counts: patients of each group.
    """
    cells = {
        (row["cause"], row[column], row["years"]): (
            "–" if math.isnan(row["incidence"]) else format_percent(row["incidence"], row["lower"], row["upper"])
        )
        for row in rows
    }
    causes, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("cause", column))
    horizons = sorted({row["years"] for row in rows})
    shown = [
        (cause, f"{name} (n={counts[name]:,})", *(cells[cause, name, years] for years in horizons))
        for cause in causes
        for name in names
    ]
    heads = [f"{findings.dated('horizons_years', years)} years" for years in horizons]
    return pd.DataFrame(shown, columns=["Cause", "Class" if column == "risk_class" else "Group", *heads])


def _survival_shown(rows: list[dict[str, Any]], classes: list[str]) -> pd.DataFrame:
    years = sorted({row["year"] for row in rows})
    cells = {(row["risk_class"], row["year"]): row for row in rows}
    table = []
    for name in classes:
        own = [cells[name, year] for year in years]
        table.append([name, *(_survival_cell(row) for row in own)])
        table.append(["  at risk", *(f"{row['n_risk']} ({row['events_until_next']})" for row in own)])
    return pd.DataFrame(table, columns=["Year", *(f"{year:g}" for year in years)])


def _survival_cell(row: dict[str, Any]) -> str:
    if not row["n_risk"]:
        return "–"
    return f"{100 * row['survival']:.1f}%" + (f" {FEW}" if row["n_risk"] < FEWEST_AT_RISK else "")


def concordance_section(findings: Findings) -> Section:
    """Discrimination of the primary population: ensemble, classes, resolutions, members."""
    section = Section("discrimination", "Discrimination")
    numbers = findings.of(findings.primary)
    rows = [row for row in numbers["concordance"] if row["analysis"] != "c_members"]
    members = [row for row in numbers["concordance"] if row["analysis"] == "c_members"]
    shown = [(row["score"], c_text(row), findings.status(row["analysis"], findings.primary)) for row in rows]
    text = "Patients who die of other causes count as censored at death: they are controls for earlier events only. "
    if members:
        medians = [f"{value:.3f} at {name}" for name, value in member_medians(numbers["concordance"]).items()]
        text += f"The median of the single members was {listing(medians)}."
        shown += [
            (f"  member {row['score']}", c_text(row), findings.status("c_members", findings.primary)) for row in members
        ]
    section.add(
        Text(text),
        Table(
            "concordance",
            f"{capital(findings.primary.phrase)}: Harrell's c, higher score = worse.",
            pd.DataFrame(shown, columns=["Score", "c (95% CI)", "In the plan"]),
            pd.DataFrame(numbers["concordance"]),
            "Standard errors by the infinitesimal jackknife.",
        ),
    )
    if findings.statistics["true_hazard"]:
        section.add(Text(truth_text(findings)))
    return section


def chance_section(findings: Findings, figures: Figures) -> Section:
    """The locked scores against permuted outcomes."""
    chance = findings.statistics["permutation"]
    section = Section("chance", "Could it be chance?")
    if findings.primary.events == 0:
        section.add(Text("Without a single event there is no concordance, and nothing to permute."))
        return section
    status = findings.status("permutation", findings.primary)
    within = " within cohorts" if findings.primary.pooled else ""
    section.add(
        Text(
            f"The outcomes of {findings.primary.phrase} were permuted {chance['permutations']:,} times{within} "
            f"against the locked scores. Permuted, c was {chance['mean']:.3f} on average and "
            f"{chance['highest']:.3f} at most; {chance_text(chance)} (one-sided {format_p(chance['p'])})."
        ),
        figures.add(
            permutation_figure(chance["observed"], chance["permuted"], findings.stamps(status)),
            "permutation",
            "Harrell's c under permuted outcomes, and the observed one.",
            status=status,
            width="66%",
        ),
    )
    return section
