"""Sections beyond the curves: competing deaths, adjusted ratios, subgroups, calibration."""

import math
from typing import Any

import pandas as pd

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.report.calibration import calibration_figure
from pathoprog.report.curves import incidence_figure
from pathoprog.report.document import Section, Table, Text
from pathoprog.report.forest import ForestRow, forest_figure
from pathoprog.report.style import FEWEST_AT_RISK
from pathoprog.report.validation.findings import Figures, Findings
from pathoprog.report.validation.recalibration import recalibration_blocks
from pathoprog.report.validation.results import INCIDENCE_TITLE, SPARSE, incidence_shown
from pathoprog.text.numbers import bare_ratio, format_difference, format_interval, format_p, format_percent
from pathoprog.text.wording import capital, count, listing, p_cell
from pathoprog.validation.analyses import curve_years

ALL_CLASSES = " Ratios are of one model of all classes in each subgroup, and the test is of all of them."


def competing_section(findings: Findings, figures: Figures) -> Section:
    """Cumulative incidence where other deaths compete."""
    population, found = findings.primary, findings.statistics["competing_deaths"]
    section = Section("competing", "Competing deaths")
    deaths = int((population.patients["event"] == 2).sum())
    if not deaths:
        section.add(Text("No competing deaths are on record; net survival and cumulative incidence agree."))
        return section
    control = found["c_deaths_as_controls"]
    status = findings.status("competing_deaths", population)
    section.add(
        Text(
            f"{capital(count(deaths, 'patient'))} died of other causes. Gray's test of equal cumulative incidence "
            f"in the classes: {format_p(found['gray']['p_value'])}. With such patients as controls who never have "
            f"the event, Harrell's c is {format_interval(control['value'], control['lower'], control['upper'])}."
        )
    )
    data = population.patients
    drawn = incidence_figure(
        data["followup_days"],
        data["event"],
        data["risk_class"],
        levels=population.classes,
        times=[year * YEAR_DAYS for year in curve_years(population)],
        divide_by=YEAR_DAYS,
        x_label=f"Years since {findings.plan.time_zero.removeprefix('day of ')}",
        y_label="Cumulative incidence of the event (%)",
        stamps=findings.stamps(status),
    )
    table = pd.DataFrame(found["incidence"])
    counts = findings.of(population)["classes"]
    section.add(
        figures.add(
            drawn,
            "incidence",
            "Cumulative incidence of the event by class.",
            f"Aalen-Johansen. {SPARSE}",
            status,
            "86%",
        ),
        Table(
            "incidence",
            INCIDENCE_TITLE,
            incidence_shown(findings, found["incidence"], "risk_class", counts),
            table,
            status=status,
            text_columns=2,
        ),
    )
    return section


def adjusted_section(findings: Findings) -> Section:
    """Adjusted hazard ratios, every covariate printed; proportional hazards; restricted means."""
    found = findings.statistics["adjusted"]
    section = Section("adjusted", "Adjusted hazard ratios")
    status = findings.status("adjusted", findings.primary)
    absent = f" Not in the cohort table: {listing(found['absent'])}." if found["absent"] else ""
    if "complete_cases" not in found:
        section.add(Text(f"No adjusted model could be fitted: {found.get('note', 'no covariates')}.{absent}"))
    elif not found["covariates"]:
        section.add(Text(f"The plan names no covariates.{absent}"))
    else:
        section.add(*_adjusted_blocks(findings, found, absent, status))
    rows = [
        (
            row["risk_class"],
            format_interval(row["mean"], row["lower"], row["upper"], 2),
            _gap(row) if "difference" in row else "reference",
            p_cell(row["p"]) if "p" in row else "",
        )
        for row in found["rmst"]
    ]
    section.add(
        Table(
            "rmst",
            f"Restricted mean net survival to {found['tau_years']:g} years: needs no proportional hazards.",
            pd.DataFrame(rows, columns=["Class", "Mean, years (95% CI)", "Difference from good", "p"]),
            pd.DataFrame(found["rmst"]),
            status=status,
        )
    )
    return section


def _gap(row: dict[str, Any]) -> str:
    """A difference of restricted means with its limits."""
    return format_difference(row["difference"], row["difference_lower"], row["difference_upper"])


def _adjusted_blocks(findings: Findings, found: dict[str, Any], absent: str, status: str) -> list[Text | Table]:
    complete, imputed = found["complete_cases"], found.get("imputed", {"terms": [], "imputations": 0, "n": 0})
    pooled = {(row["term"], row["level"]): row for row in imputed["terms"]}
    zph = {row["term"]: row["p"] for row in found["proportional_hazards"]}
    rows, seen = [], ""
    for row in complete["terms"]:
        other = pooled.get((row["term"], row["level"]))
        name = "class" if row["term"] == "risk_class" else row["term"]
        rows.append(
            (
                f"{name}: {row['level']} vs {row['reference']}" if row["level"] else f"{name}, per unit",
                bare_ratio(row["hr"], row["lower"], row["upper"]),
                p_cell(row["p"]),
                bare_ratio(other["hr"], other["lower"], other["upper"]) if other else "–",
                p_cell(other["p"]) if other else "–",
                p_cell(zph[row["term"]]) if row["term"] != seen and row["term"] in zph else "",
            )
        )
        seen = row["term"]
    crossed = zph.get("GLOBAL", math.nan) < 0.05
    text = (
        f"Adjusted for {listing([findings.dated('covariates', one) for one in found['covariates']])}: "
        f"{complete['n']} patients with complete covariates "
        f"({complete['events']} events), and all {imputed['n']} with missing covariates imputed "
        f"{imputed['imputations']} times (the event and the cumulative hazard are in the imputation model; Rubin's "
        f"rules). Global test of proportional hazards {format_p(zph.get('GLOBAL', math.nan))}"
    )
    text += ": the ratios are averages over time; the restricted means are the planned fallback." if crossed else "."
    return [
        Text(text + absent),
        Table(
            "adjusted",
            f"{capital(findings.primary.phrase)}: adjusted hazard ratios (95% CI).",
            pd.DataFrame(rows, columns=["Term", "Complete cases", "p", "Imputed", "p ", "p (prop. hazards)"]),
            pd.DataFrame(complete["terms"]),
            status=status,
        ),
    ]


def subgroups_section(findings: Findings, figures: Figures) -> Section:
    """Hazard ratios within subgroups, compared by interaction tests only."""
    section = Section("subgroups", "Subgroups")
    found = findings.statistics["subgroups"]
    if not found:
        return section
    status = findings.status("subgroups", findings.primary)
    rows: list[ForestRow] = []
    table: list[dict[str, Any]] = []
    for part in found:
        if part["note"]:
            section.add(Text(f"{part['by']}: {part['note']}.", "note"))
        if not part["rows"]:
            continue
        p = part["interaction"]["p_value"]
        heading = f"{findings.dated('subgroups', part['by'])}: interaction {format_p(p)}"
        rows.append(ForestRow(heading, "", math.nan, math.nan, math.nan, "", heading=True))
        for row in part["rows"]:
            name = f"  {row['subgroup']}" + (f": {row['level']} vs {row['reference']}" if row["level"] else "")
            few = bool(row["level"]) and min(row["n_level"], row["n_reference"]) < FEWEST_AT_RISK
            rows.append(ForestRow(name, _compared(row), row["hr"], row["lower"], row["upper"], "", faint=few))
            table.append({**row, "interaction_p": p})
    if not rows:
        return section
    tested = interactions_text(findings)
    section.add(
        Text(
            "Ratios within subgroups are not tested one by one; whether they differ is what the interaction test "
            f"says{': ' if tested else ''}{tested}. With few events in a subgroup, no difference found is no proof of "
            f"none.{ALL_CLASSES if findings.primary.more_than_two_classes else ''}"
        ),
        figures.add(
            forest_figure(rows, stamps=findings.stamps(status)),
            "subgroups",
            f"{capital(findings.primary.phrase)}: hazard ratios against good in subgroups.",
            f"Faded where one of the compared classes has fewer than {FEWEST_AT_RISK} patients.",
            status,
        ),
        Table(
            "subgroups",
            "The same as numbers.",
            _subgroup_table(findings, table),
            pd.DataFrame(table),
            status=status,
            text_columns=3,
        ),
    )
    return section


def interactions_text(findings: Findings) -> str:
    """The interaction test of each subgrouping; empty where there is none."""
    found = [part for part in findings.statistics["subgroups"] if part["rows"]]
    tested = [part for part in found if math.isfinite(part["interaction"]["p_value"])]
    return listing([f"{part['by']} {format_p(part['interaction']['p_value'])}" for part in tested])


def _subgroup_table(findings: Findings, rows: list[dict[str, Any]]) -> pd.DataFrame:
    shown = [
        (
            findings.dated("subgroups", row["by"]),
            row["subgroup"],
            f"{row['level']} vs {row['reference']}" if row["level"] else "",
            f"{row['n']} ({row['events']})",
            _compared(row),
            row["note"] or bare_ratio(row["hr"], row["lower"], row["upper"]),
        )
        for row in rows
    ]
    columns = ["By", "Subgroup", "Classes", "All (events)", "Compared (events)", "Hazard ratio (95% CI)"]
    return pd.DataFrame(shown, columns=columns)


def _compared(row: dict[str, Any]) -> str:
    """Patients and events of the two classes that a ratio compares."""
    if not row["level"]:
        return ""
    return f"{row['n_level']} ({row['events_level']}) vs {row['n_reference']} ({row['events_reference']})"


ESTIMANDS = {
    "absolute": ("absolute (Fine-Gray)", "Aalen-Johansen"),
    "net": ("net (Cox)", "Kaplan-Meier"),
    "net_taken_for_absolute": ("net (Cox)", "Aalen-Johansen"),
}


def _calibration_table(findings: Findings, found: dict[str, Any], status: str) -> Table | None:
    """Every comparison of predicted and observed risk at each horizon, and what each is of."""
    shown, full = [], []
    for part in found["horizons"]:
        if part["note"]:
            continue
        for name, numbers in {"absolute": part["calibration"], **part.get("net", {})}.items():
            risks, observed = ESTIMANDS[name] if found["competing"] else ("Cox", "Kaplan-Meier")
            ratio, slope, seen = numbers["ratio"], numbers["slope"], numbers["observed"]
            shown.append(
                (
                    findings.dated("horizons_years", part["years"]),
                    risks,
                    observed,
                    format_percent(numbers["expected"]),
                    format_percent(seen["value"], seen["lower"], seen["upper"]),
                    format_interval(ratio["value"], ratio["lower"], ratio["upper"], 2),
                    format_interval(slope["value"], slope["lower"], slope["upper"], 2),
                )
            )
            full.append(
                {"years": part["years"], "risks": risks, "observed_by": observed, "n": numbers["n"]}
                | {
                    f"{key}{suffix}": value[name]
                    for key, value in (("observed", seen), ("ratio", ratio), ("slope", slope))
                    for suffix, name in (("", "value"), ("_lower", "lower"), ("_upper", "upper"))
                }
                | {key: numbers[key] for key in ("expected", "ici", "e50", "e90")}
            )
    columns = ["Years", "Predicted", "Observed by", "Expected", "Observed (95% CI)", "O/E (95% CI)", "Slope (95% CI)"]
    if not shown:
        return None
    return Table(
        "calibration",
        "Predicted against observed risk.",
        pd.DataFrame(shown, columns=columns),
        pd.DataFrame(full),
        status=status,
        text_columns=3,
    )


def calibration_section(findings: Findings, figures: Figures) -> Section:
    """Calibration of a stated absolute-risk model."""
    section = Section("calibration", "Calibration")
    found = findings.statistics["calibration"]
    if found["note"]:
        section.add(Text(found["note"]))
        return section
    status = findings.status("calibration", findings.primary)
    judged = f"they are judged in {findings.primary.phrase}"
    if found["n_left_out"]:
        judged += (
            f", {count(found['n_judged'], 'patient')} without the {found['n_left_out']} of {found['source']}, on whom "
            "the model was fitted"
        )
    text = f"The absolute risks are those of a {found['model']}; {judged}."
    if found["competing"]:
        text += (
            " Who dies of something else never has the event: what happened is told by Aalen-Johansen. The net figures "
            "in the table censor such deaths (Cox, Kaplan-Meier), and speak of a world without them; its last rows "
            "show how far net risks are off if they are taken for absolute ones."
        )
    else:
        text += " No competing deaths are on record, so that net and absolute risks are the same."
    section.add(Text(text), _calibration_table(findings, found, status))
    for part in found["horizons"]:
        when = f"{part['years']:g} years"
        if part["note"]:
            section.add(Text(f"At {when}: {part['note']}.", "note"))
            continue
        numbers = part["calibration"]
        ratio, slope = numbers["ratio"], numbers["slope"]
        of_what = " (absolute risks)" if found["competing"] else ""
        section.add(
            Text(
                f"At {when}, observed over expected was "
                f"{format_interval(ratio['value'], ratio['lower'], ratio['upper'], 2)}, the calibration slope "
                f"{format_interval(slope['value'], slope['lower'], slope['upper'], 2)}, ICI {numbers['ici']:.3f}, "
                f"E50 {numbers['e50']:.3f}, E90 {numbers['e90']:.3f}{of_what}."
            ),
            figures.add(
                calibration_figure(part, when, stamps=findings.stamps(status)),
                f"calibration_{part['years']:g}".replace(".", "_"),
                f"Calibration at {when}.",
                status=status,
                width="58%",
            ),
        )
    section.add(*recalibration_blocks(found, status))
    return section
