"""The section on stage-combined risk groups: curves, ratios and the table that assigns them."""

import pandas as pd

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.ensemble.stage_groups import RISK_GROUPS, StageGroups, risk_groups
from pathoprog.report.curves import kaplan_meier_figure
from pathoprog.report.document import Section, Table, Text
from pathoprog.report.validation.findings import Figures, Findings
from pathoprog.report.validation.results import BY_AALEN_JOHANSEN, INCIDENCE_TITLE, SPARSE, incidence_shown
from pathoprog.text.numbers import bare_ratio, format_interval, format_p, format_percent, format_ratio
from pathoprog.text.wording import capital, count, listing, p_cell, share
from pathoprog.validation.analyses import curve_years
from pathoprog.validation.secondary_analyses import not_fitted_on


def stage_section(findings: Findings, figures: Figures) -> Section:
    """Low, intermediate and high: a second output beside the class, never in its place."""
    section = Section("stage_groups", "Stage-combined risk groups")
    found, table = findings.statistics["stage_groups"], findings.stage
    if found["note"] or table is None:
        section.add(Text(found["note"]))
        return section
    population = findings.primary
    status = findings.status("stage_groups", population)
    total = sum(found["n"].values())
    names = [name for name in RISK_GROUPS if found["n"][name]]
    ratios = {row["level"]: row for row in found["hazard_ratios"] if row["level"]}
    c = found["concordance"]
    shares = listing([f"{name} {share(found['n'][name], total)}" for name in names])
    sample = " Their patients also trained or tuned the members: an in-sample fit." if found["in_sample"] else ""
    left_out = ""
    if found["n_left_out"]:
        left_out = f" {capital(count(found['n_left_out'], 'patient'))} on whom the table was fitted are left out."
    section.add(
        Text(
            f"pT, pN, the number of nodes sampled and the class give {count(total, 'patient')} a risk group: "
            f"{shares}.{left_out} {capital(count(found['without_group'], 'patient'))} had a missing stage, and no "
            "group. The "
            f"table of {len(table.groups)} cells was fitted on {listing(found['fitted_on'])} and is part of the "
            f"bundle; it is not the published assignment.{sample} Harrell's c of the groups was "
            f"{format_interval(c['value'], c['lower'], c['upper'])}; log-rank {format_p(found['logrank']['p'])}."
        )
    )
    judged = not_fitted_on(population, table)
    data = judged.assign(risk_group=risk_groups(judged, table))
    data = data[data["risk_group"] != ""]
    drawn = kaplan_meier_figure(
        data["followup_days"],
        data["event"],
        data["risk_group"],
        levels=names,
        times=[year * YEAR_DAYS for year in curve_years(population)],
        divide_by=YEAR_DAYS,
        x_label=f"Years since {findings.plan.time_zero.removeprefix('day of ')}",
        y_label="Net survival (%)",
        notes=[
            f"{name} vs low: HR {format_ratio(row['hr'], row['lower'], row['upper'])}" for name, row in ratios.items()
        ],
        stamps=findings.stamps(status),
    )
    survival = {(row["risk_group"], row["years"]): row for row in found["survival"]}
    horizons = sorted({row["years"] for row in found["survival"]})
    rows = []
    for name in names:
        cells = [survival[name, years] for years in horizons]
        row = ratios.get(name)
        rows.append(
            (
                name,
                share(found["n"][name], total),
                str(found["events"][name]),
                *(format_percent(cell["survival"], cell["lower"], cell["upper"]) for cell in cells),
                bare_ratio(row["hr"], row["lower"], row["upper"]) if row else "1 (reference)",
                p_cell(row["p"]) if row else "",
            )
        )
    horizon_names = [f"Net survival at {years:g} years" for years in horizons]
    section.add(
        figures.add(
            drawn,
            "stage_groups",
            f"{capital(population.phrase)}: net survival by stage-combined risk group.",
            f"Kaplan-Meier with 95% bands; competing deaths are censored. {SPARSE}",
            status,
            "86%",
        ),
        Table(
            "stage_groups",
            "Stage-combined risk groups.",
            pd.DataFrame(
                rows,
                columns=["Group", f"Patients (% of {total:,})", "Events", *horizon_names, "Hazard ratio (95% CI)", "p"],
            ),
            status=status,
        ),
        cells_table(table),
    )
    if found["incidence"]:
        section.blocks.insert(
            1,
            Table(
                "stage_groups_incidence",
                INCIDENCE_TITLE,
                incidence_shown(findings, found["incidence"], "risk_group", found["n"]),
                pd.DataFrame(found["incidence"]),
                BY_AALEN_JOHANSEN,
                status,
                text_columns=2,
            ),
        )
    return section


def cells_table(table: StageGroups) -> Table:
    """The cells as fitted."""
    record = table.record
    cells = pd.DataFrame(record["cells"])
    shown = [
        (
            row["pT"],
            row["nodal"],
            row["risk_class"],
            f"{row['n']} ({row['events']})",
            "–" if row["kaplan_meier"] is None else format_percent(row["kaplan_meier"]),
            format_percent(row["predicted"]),
            row["risk_group"],
        )
        for row in record["cells"]
    ]
    year = f"{record['horizon_years']:g}"
    columns = ["pT", "Nodes", "Class", "Patients (events)", f"Observed, {year} years", f"Model, {year} years", "Group"]
    return Table(
        "stage_cells",
        f"The {len(table.groups)} cells, as fitted on {listing(record['cohorts'])} ({count(record['n'], 'patient')}, "
        f"{count(record['events'], 'event')}).",
        pd.DataFrame(shown, columns=columns),
        cells,
        record["rule"] + ".",
        text_columns=3,
    )
