"""The other populations: further external cohorts, test, development, and all side by side."""

import math

import pandas as pd

from pathoprog.report.document import Section, Table, Text
from pathoprog.report.forest import ForestRow, forest_figure
from pathoprog.report.style import FEWEST_AT_RISK
from pathoprog.report.validation.findings import Figures, Findings, c_text, file_name
from pathoprog.report.validation.results import class_tables, curves
from pathoprog.text.numbers import bare_ratio
from pathoprog.text.wording import count, p_cell
from pathoprog.validation.populations import HEADINGS, STAMPS, Population

ONE_MODEL = "Ratios are of one model of all classes in each cohort"


def further_external_sections(findings: Findings, figures: Figures) -> list[Section]:
    """Each external cohort beside the primary one."""
    others = [p for p in findings.populations if p.role == "external" and p.key != findings.primary.key]
    return [_curves_section(findings, figures, p, f"External cohort: {p.cohort}") for p in others]


def test_sections(findings: Findings, figures: Figures) -> list[Section]:
    """The test role, headed as what it is."""
    own = [p for p in findings.populations if p.role == "test"]
    titles = [HEADINGS["test"] + (f" ({p.cohort})" if len(own) > 1 else "") for p in own]
    return [_curves_section(findings, figures, p, title) for p, title in zip(own, titles, strict=True)]


def _curves_section(findings: Findings, figures: Figures, population: Population, title: str) -> Section:
    numbers = findings.of(population)
    section = Section(file_name(population.key), title)
    c = numbers["concordance"]
    section.add(
        Text(
            f"{count(numbers['n'], 'patient')}, {count(numbers['events'], 'event')}; Harrell's c {c_text(c[0])}, of "
            f"the {population.classes_called} {c_text(c[1])}."
        ),
        curves(findings, figures, population, "kaplan_meier"),
        *class_tables(findings, population),
    )
    return section


def development_section(findings: Findings, figures: Figures) -> Section:
    """Training and tuning: drawn, never interpreted."""
    section = Section("development", "Training and tuning: selected on outcome")
    own = [p for p in findings.populations if p.selected_on_outcome and (p.pooled or not _has_pool(findings, p))]
    if own:
        section.add(
            Text(
                "Patients came into these roles by their outcome. Their curves describe no population; they are "
                "drawn so that errors of the tables would show, and are not interpreted. Numbers at risk, ratios "
                "and c stand in statistics.json with this stamp.",
                "warning",
            )
        )
    section.add(*(curves(findings, figures, population, "kaplan_meier") for population in own))
    return section


def _has_pool(findings: Findings, population: Population) -> bool:
    return any(other.pooled and other.role == population.role for other in findings.populations)


def _place(population: Population) -> int:
    """External cohorts first, then test, tuning and training."""
    return ("external", "test", "tuning", "training").index(population.role)


def _events(population: Population, name: str) -> int:
    data = population.patients
    return int(((data["risk_class"] == name) & (data["event"] == 1)).sum())


def side_by_side_section(findings: Findings, figures: Figures) -> Section:
    """All cohorts in one table and one figure."""
    section = Section("side_by_side", "All cohorts side by side")
    shown, full, forest = [], [], []
    classes = findings.primary.possible_classes
    several = any(population.more_than_two_classes for population in findings.populations)
    for population in sorted(findings.populations, key=lambda one: (one.key != findings.primary.key, _place(one))):
        numbers = findings.of(population)
        stamp = STAMPS[population.role] or "external"
        ratios = {row["level"]: row for row in numbers["hazard_ratios"] if row["level"]}
        c = numbers["concordance"]
        full.append(
            {"cohort": population.name, "stamp": stamp, "n": numbers["n"], "events": numbers["events"]}
            | {f"n_{name}": numbers["classes"][name] for name in classes}
            | {
                f"hr_{level}{suffix}": ratios.get(level, {}).get(key)
                for level in classes[1:]
                for suffix, key in (("", "hr"), ("_lower", "lower"), ("_upper", "upper"))
            }
            | {"c": c[0]["c"], "c_lower": c[0]["lower"], "c_upper": c[0]["upper"], "c_classes": c[1]["c"]}
        )
        stamped = f"{population.name} ({STAMPS[population.role]})" if STAMPS[population.role] else population.name
        cells = [stamped, f"{numbers['n']:,} / {numbers['events']}"]
        cells.append(" / ".join(str(numbers["classes"][name]) for name in classes))
        if population.selected_on_outcome:
            shown.append([*cells, *["–"] * len(classes)])
            continue
        texts = {level: bare_ratio(row["hr"], row["lower"], row["upper"]) for level, row in ratios.items()}
        shown.append([*cells, *(texts.get(level, "–") for level in classes[1:]), c_text(c[0])])
        good = f"{numbers['classes']['good']} ({_events(population, 'good')})"
        forest.append(ForestRow(population.name, "", math.nan, math.nan, math.nan, "", heading=True))
        forest += [
            ForestRow(
                f"  {level} vs good",
                f"{row['n']} ({row['events']}) vs {good}",
                row["hr"],
                row["lower"],
                row["upper"],
                p_cell(row["p"]),
                faint=min(row["n"], numbers["classes"]["good"]) < FEWEST_AT_RISK,
            )
            for level, row in sorted(ratios.items(), key=lambda item: classes.index(item[0]))
        ]
    columns = [
        "Cohort",
        "Patients / events",
        " / ".join(classes).capitalize(),
        *(f"HR {level} vs good" for level in classes[1:]),
        "c (95% CI)",
    ]
    section.add(
        Table(
            "cohorts",
            "All cohorts. Training and tuning are selected on outcome: their ratios and c are not interpreted.",
            pd.DataFrame(shown, columns=columns),
            pd.DataFrame(full),
            f"{f'{ONE_MODEL}. ' if several else ''}c on a cohort selected on outcome is not comparable with that of "
            "other roles. Test shares its patients with development and is never pooled with external.",
        ),
        figures.add(
            forest_figure(forest),
            "hazard_ratios",
            "Hazard ratios against good.",
            f"{f'{ONE_MODEL}; ' if several else ''}patients (events) are those of the two classes; faded where one has "
            f"fewer than {FEWEST_AT_RISK}.",
            width="92%",
        )
        if forest
        else None,
    )
    return section
