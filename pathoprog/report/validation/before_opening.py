"""What was known before the outcomes: plan and lock, flow, patients."""

from typing import Any

import pandas as pd

from pathoprog.cohort_tables.cohort import SLIDE_COLUMNS, site_overlap
from pathoprog.cohort_tables.same_scan import FILE as DEVELOPMENT_SLIDES
from pathoprog.report.document import Section, Table, Text
from pathoprog.report.flow_figure import boxes_of, flow_figure, total
from pathoprog.report.panels import scores_figure
from pathoprog.report.table_one import missing_values, table_one
from pathoprog.report.validation.endpoint_flow import endpoint_flow_table
from pathoprog.report.validation.findings import Figures, Findings, headed
from pathoprog.text.numbers import format_interval
from pathoprog.text.wording import capital, count, listing
from pathoprog.validation.plan import TESTS, TITLES

ELIGIBILITY = ("organ", "specimen", "stain", "neoadjuvant")
DENOMINATORS = (
    "Percentages of a covariate's levels are of the patients in whom it is known (the number behind 'of'); those of "
    "missing values are of all patients of the column."
)
NOTHING_STATED = "nothing is stated"
NOTHING_MISSING = "No covariate has a missing value."
NOT_COVARIATES = {*SLIDE_COLUMNS, *ELIGIBILITY, "patient_id"}
"""Columns that describe a slide or a patient's eligibility; all others are covariates."""


def plan_section(findings: Findings) -> Section:
    """What was fixed before the outcomes were opened."""
    plan, primary = findings.plan, findings.plan.primary
    opened = findings.history.openings[0].plan != plan or findings.history.amendments
    title = "The plan in force, and the lock" if opened else "What was fixed before the outcomes were opened"
    section = Section("plan", title)
    worse, better = primary.contrast
    section.add(
        Text(
            f"The analysis plan names one primary analysis: {worse} against {better} in {findings.primary.phrase}, by "
            f"{TESTS[primary.test]}, with survival at {primary.horizon_years:g} years. The endpoint is "
            f"{primary.endpoint}; time runs from the {plan.time_zero}. Also planned: "
            f"{'; '.join(TITLES[name] for name in plan.planned) or 'nothing else'}. Whatever else this report "
            "shows is labelled exploratory; what came into the plan after an opening is labelled so."
        ),
        Text(
            "Scores and exclusions were frozen, then locked together with the plan, the bundle, the cohort table "
            f"and the code (SHA-256 {findings.lock['sha256']}). Only then were the outcomes opened; this is opening "
            f"{findings.history.present.number}. Section 1 has every opening and every change since."
        ),
    )
    cuts = listing([f"{value:.4f} at {name}" for name, value in findings.thresholds.items()])
    section.add(
        Text(
            f"{class_rule(len(findings.thresholds), cuts)} Slides of one patient and role are taken together by the "
            f"bundle's rule ({findings.manifest.aggregation})."
        )
    )
    if caution := findings.manifest.shape.caution:
        section.add(Text(f"The ensemble is {caution}.", "warning"))
    return section


def class_rule(n_resolutions: int, cuts: str) -> str:
    """How a class and the one number follow from the scores.

    Args:
        n_resolutions: of the ensemble.
        cuts: its thresholds, in words.
    """
    if n_resolutions == 1:
        return (
            f"A patient is good where the score lies below its threshold ({cuts}; fixed on tuning), else poor: an "
            "ensemble of one resolution has two classes. The one number for concordance is score minus threshold."
        )
    return (
        f"A patient is good where both scores lie below their thresholds ({cuts}; fixed on tuning), poor where "
        "both lie at or above, else uncertain: the two resolutions disagree. Uncertain is an intermediate "
        "class and is never dropped. The one number for concordance is the mean over both resolutions of score "
        "minus threshold."
    )


def flow_section(findings: Findings, figures: Figures) -> Section:
    """Where every patient and slide went."""
    section = Section("flow", "Flow of patients and slides")
    roles = list(dict.fromkeys(flow.role for flow in findings.flows))
    totals = [total([flow for flow in findings.flows if flow.role == role]) for role in roles]
    titles = [f"{role.capitalize()}\n{flow.cohort}"[:60] for role, flow in zip(roles, totals, strict=True)]
    drawn = flow_figure([boxes_of(flow) for flow in totals], titles)
    lost = sum(flow.slides["not_reportable"] + flow.slides["failed"] for flow in findings.flows)
    slides = sum(flow.slides["all"] for flow in findings.flows)
    section.add(
        Text(
            f"Of {count(slides, 'slide')}, {lost} could not be scored; "
            f"{count(sum(f.analysed['all'] for f in totals), 'patient')} were analysed, counted once in each role. "
            "All numbers add up, or there would be no report."
        )
    )
    if DEVELOPMENT_SLIDES in findings.manifest.files:
        section.add(
            Text(
                "By the hashes of their content that the bundle keeps, no test or external slide is one that the "
                "ensemble was developed on."
            )
        )
    else:
        section.add(
            Text(
                "The bundle, locked by an older version, keeps no hashes of the slides that it was developed on: "
                "whether one of them is scored here under another id is known only for slides of this table.",
                "note",
            )
        )
    if findings.sheet_flow is not None:
        section.add(*sheet_blocks(findings.sheet_flow))
    if findings.left_out:
        names = listing([f"{name} ({role})" for role, name in findings.left_out])
        section.add(Text(f"Not scored at all, and so no part of this report: {names}.", "warning"))
    section.add(
        figures.add(drawn, "flow", "Flow of patients and slides, by role.", width=f"{min(100, 26 * len(totals))}%")
    )
    if further := endpoint_flow_table(findings):
        section.add(further)
    reasons = pd.concat([flow.reasons.assign(role=flow.role, cohort=flow.cohort) for flow in findings.flows])
    if len(reasons):
        counts = reasons.pivot_table(
            index=["role", "cohort", "status", "reason"],
            columns="unit",
            values="n",
            aggfunc="sum",
            fill_value=0,
            sort=False,
        )
        counts = counts.reindex(columns=["slides", "patients"], fill_value=0).astype(int).reset_index()
        counts["status"] = counts["status"].str.replace("_", " ")
        section.add(
            Table("not_scored", "Why slides and patients have no score.", headed(counts), text_columns=4, wrap=True)
        )
    return section


def sheet_blocks(flow: dict[str, Any]) -> list[Text | Table]:
    """From the clinical sheet to the cohort table."""
    excluded = sum(flow["excluded"].values())
    rows = [("excluded", code, n) for code, n in flow["excluded"].items()]
    rows += [("rejected rows", reason, n) for reason, n in flow["rejected_for"].items()]
    text = (
        f"The clinical sheet held {count(flow['patients'], 'patient')}. {capital(count(excluded, 'patient'))} were "
        f"excluded by code and {flow['patients_rejected']} rejected for unsound data; {flow['patients_accepted']} "
        "make the cohort."
    )
    table = Table(
        "sheet", "Left out of the clinical sheet.", pd.DataFrame(rows, columns=["What", "Why", "n"]), text_columns=2
    )
    return [Text(text), table] if rows else [Text(text)]


def eligibility_text(cohort: pd.DataFrame) -> str:
    """Which of the eligibility columns confirm what, and how often they are silent."""
    parts, unknown = [], 0
    for name in ELIGIBILITY:
        given = cohort[name] if name in cohort else pd.Series("", index=cohort.index)
        counts = given[given != ""].value_counts()
        unknown = max(unknown, int((given == "").sum()))
        if len(counts):
            parts.append(f"{name} {listing([f'{value} ({n})' for value, n in counts.items()])}")
    text = f"Eligibility, slides: {'; '.join(parts) or NOTHING_STATED}."
    if unknown:
        text += f" Of {count(unknown, 'slide')} not all of these are stated: eligibility not confirmed."
    return text


def patients_section(findings: Findings, figures: Figures) -> Section:
    """Table 1, missing values, follow-up, shared sites, scores."""
    section = Section("patients", "Patients")
    section.add(Text(eligibility_text(findings.cohort)))
    shown = [p for p in findings.populations if not p.pooled]
    shown.sort(key=lambda p: p.role != "external")  # what the report is about comes first, and is never cut off
    groups = [(p.name, p.patients) for p in shown]
    covariates = covariates_of(findings)
    rows = [
        (
            name,
            f"{numbers['n']:,}",
            f"{numbers['events']} / {numbers['competing_deaths']}",
            follow_up_text(numbers["follow_up_years"]),
        )
        for name, numbers in ((p.name, findings.of(p)) for p in shown)
    ]
    columns = ["Cohort", "Patients", "Events / competing deaths", "Median follow-up, years (95% CI)"]
    section.add(
        Table("table_one", "Analysed patients by cohort.", table_one(groups, covariates), note=DENOMINATORS),
        Table("follow_up", "Follow-up by reverse Kaplan-Meier.", pd.DataFrame(rows, columns=columns)),
    )
    classes = [
        (name, findings.primary.patients[findings.primary.patients["risk_class"] == name])
        for name in findings.primary.classes
    ]
    title = f"Patients of {findings.primary.phrase} by class."
    section.add(Table("by_class", title, table_one(classes, covariates), note=DENOMINATORS))
    missing = missing_values(groups, covariates)
    if len(missing):
        heads = ["Missing", *(f"{name} (n={len(table):,})" for name, table in groups)]
        title = "Missing values by cohort; those by class stand in the table before."
        section.add(Table("missing", title, missing.set_axis(heads, axis=1), note="Percentages are of n."))
    else:
        section.add(Text(NOTHING_MISSING))
    shared = site_overlap(findings.cohort)
    if len(shared):
        note = "A site or scanner in development and in external weakens the claim of independence."
        section.add(
            Table(
                "shared_sites",
                "Sites and scanners that several roles share (patients).",
                headed(shared),
                note=note,
                text_columns=2,
            )
        )
    section.add(
        figures.add(
            scores_figure(groups, findings.thresholds),
            "scores",
            f"{scores_title(findings)}.",
            "Dashed: the locked thresholds.",
            width=f"{min(100, 26 * min(len(groups), 4) + 4)}%",
        )
    )
    return section


def scores_title(findings: Findings) -> str:
    """What the figure of the scores shows."""
    return f"{'Both scores' if len(findings.thresholds) > 1 else 'The score'} of every analysed patient"


def follow_up_text(follow_up: dict[str, float]) -> str:
    """Median follow-up with its interval."""
    return format_interval(follow_up["median"], follow_up["lower"], follow_up["upper"], digits=1)


def covariates_of(findings: Findings) -> list[str]:
    """The patients' own columns of the cohort table."""
    return [name for name in findings.cohort.columns if name not in NOT_COVARIATES]
