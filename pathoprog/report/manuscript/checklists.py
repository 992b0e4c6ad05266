"""TRIPOD+AI and REMARK: each item asks for facts, and says where the report has them or that they are *not reported*.

Items in short words of this project: TRIPOD+AI (Collins et al., BMJ 2024;385:e078378), REMARK (McShane et al., J Natl
Cancer Inst 2005;97:1180; Altman et al., PLoS Med 2012;9:e1001216). The published checklists are what counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pathoprog.report.document import Document, LinkedText, Section, Table, Text
from pathoprog.report.manuscript.facts import FACTS, reported
from pathoprog.report.manuscript.stated import NOT_REPORTED
from pathoprog.report.validation.findings import Findings

SHOWN_LETTERS = 110  # of a fact's words in the table; the place that it points to has them all


@dataclass(frozen=True)
class ChecklistItem:
    """One item of a checklist.

    Attributes:
        number: of the published list.
        asked: what it asks for, in short.
        facts: names of `FACTS`; the item is reported if all of them are.
    """

    number: str
    asked: str
    facts: tuple[str, ...]


def _items(*rows: tuple[str, str, str]) -> tuple[ChecklistItem, ...]:
    return tuple(ChecklistItem(number, asked, tuple(facts.split())) for number, asked, facts in rows)


TRIPOD_AI = _items(
    ("1", "Title: evaluation, population, outcome", "title kind"),
    ("2", "Abstract", "abstract_n abstract"),
    ("3a", "Clinical context and reasons", "context"),
    ("3b", "Target population, purpose, users", "target_population"),
    ("3c", "Known health inequalities", "inequalities"),
    ("4", "Objectives", "objective kind"),
    ("5a", "Sources of the data", "source cohorts"),
    ("5b", "Dates of the data", "inclusion_dates follow_up"),
    ("6a", "Setting and centres", "setting"),
    ("6b", "Eligibility", "eligibility inclusion"),
    ("6c", "Treatments", "treatments"),
    ("7", "Preparation and quality of the data", "lost resolutions"),
    ("8a", "Outcome, horizon, how and when assessed", "endpoint time_zero horizon outcome_assessment"),
    ("8b", "Who assessed it, where this takes judgement", "outcome_assessment"),
    ("8c", "Blinding of that assessment", "outcome_blinding"),
    ("9a", "Choice of the predictors", "networks model_card"),
    ("9b", "Predictors: what, how and when measured", "scanners resolutions several_slides"),
    ("9c", "Who assessed predictors that take judgement", "covariate_assessment"),
    ("10", "Sample size", "sample_size events_by_analysis"),
    ("11", "Missing data", "missing missing_method"),
    ("12a", "How the data were used", "development cohorts"),
    ("12b", "How predictors were handled", "classes thresholds"),
    ("12c", "Type of model, building, tuning", "networks model_card"),
    ("12d", "Differences between clusters", "clusters"),
    ("12e", "Measures of performance", "measures methods"),
    ("12f", "Updating of the model", "no_updating"),
    ("12g", "How predictions were calculated", "ensemble software"),
    ("13", "Class imbalance", "class_imbalance"),
    ("14", "Fairness", "fairness"),
    ("15", "Output: classes and thresholds", "classes thresholds"),
    ("16", "Development against evaluation data", "development table_one"),
    ("17", "Ethical approval", "ethics"),
    ("18a", "Funding", "funding"),
    ("18b", "Conflicts of interest", "conflicts"),
    ("18c", "Protocol", "protocol plan_on_record plan_written"),
    ("18d", "Registration", "registration lock locked opened written"),
    ("18e", "Sharing of data", "data_sharing"),
    ("18f", "Sharing of code", "code_sharing software"),
    ("19", "Patients' and the public's involvement", "public_involvement"),
    ("20a", "Flow of participants, with outcomes, follow-up", "flow follow_up"),
    ("20b", "Characteristics, missing values", "table_one missing"),
    ("20c", "Comparison with development", "development"),
    ("21", "Participants and events of each analysis", "events_by_analysis adjusted"),
    ("22", "The full model, so that it can be used", "ensemble code_sharing"),
    ("23a", "Performance with intervals", "hazard_ratio absolute discrimination calibration subgroups"),
    ("23b", "Differences between clusters", "clusters"),
    ("24", "Results of updating", "no_updating"),
    ("25", "Interpretation, fairness, earlier studies", "interpretation"),
    ("26", "Limitations", "limits further_limits"),
    ("27a", "Poor or missing input in use", "lost"),
    ("27b", "Users' interaction and expertise", "users"),
    ("27c", "Next steps", "next_steps"),
)
"""All 52 (sub)items."""

REMARK = _items(
    ("1", "Marker, objectives, hypotheses", "objective hypotheses"),
    ("2", "Patients: source, inclusion, exclusion", "source inclusion flow"),
    ("3", "Treatments", "treatments"),
    ("4", "Biological material", "eligibility specimens"),
    ("5", "Assay: how measured, blinded to the outcome", "scanners resolutions blind_scores"),
    ("6", "Design: selection, period, follow-up", "inclusion_dates follow_up"),
    ("7", "Endpoints", "endpoint time_zero"),
    ("8", "Candidate variables", "table_one planned"),
    ("9", "Rationale of the sample size", "sample_size"),
    ("10", "Statistical methods, missing data", "methods test missing_method"),
    ("11", "Cut-points", "thresholds"),
    ("12", "Flow, number of events", "flow events_by_analysis"),
    ("13", "Distribution of characteristics and marker", "table_one marker missing"),
    ("14", "Marker against standard variables", "by_class"),
    ("15", "Univariable analyses, curves", "hazard_ratio curves"),
    ("16", "Key multivariable analyses", "adjusted adjusted_ratios"),
    ("17", "Marker and standard variables in one model", "adjusted_ratios"),
    ("18", "Assumptions, sensitivity, validation", "proportional chance values"),
    ("19", "Interpretation and limits", "interpretation limits"),
    ("20", "Implications for research and care", "next_steps"),
)


def places_of(document: Document) -> dict[str, str]:
    """The plain text of each place of a report that a fact may stand in."""
    top = [document.title, document.subtitle, *(f"{name} {value}" for name, value in document.facts)]
    places = {section.name: section.plain_text for section in document.sections}
    places["top"] = " ".join(" ".join(top).split())
    places["summary"] = " ".join(text.text for text in document.summary)
    return places


def checklist(
    items: Sequence[ChecklistItem], findings: Findings, places: Mapping[str, str], names: Mapping[str, str]
) -> pd.DataFrame:
    """One checklist as a table, one row a fact.

    Args:
        items: `TRIPOD_AI` or `REMARK`.
        findings: of the report.
        places: of `places_of`.
        names: what each place is called.

    Returns:
        Columns *Item*, *Asked for* (both in an item's first row), *Fact*, *The report says*, *Where* (linked).
    """
    rows = []
    for item in items:
        for k, name in enumerate(item.facts):
            words, place = reported(FACTS[name], findings, places)
            short = words if len(words) <= SHOWN_LETTERS else f"{words[:SHOWN_LETTERS].rsplit(' ', 1)[0]} …"
            where = LinkedText(names[place], place) if place else ""
            head = (item.number, item.asked) if not k else ("", "")
            rows.append((*head, FACTS[name].what, short or NOT_REPORTED, where))
    return pd.DataFrame(rows, columns=["Item", "Asked for", "Fact", "The report says", "Where"])


def checklist_section(findings: Findings, document: Document) -> Section:
    """TRIPOD+AI and REMARK against the finished report, which does not hold this section yet."""
    places = places_of(document)
    names = {section.name: f"Section {k}" for k, section in enumerate(document.sections, start=1)}
    names |= {"top": "Head", "summary": "Summary"}
    section = Section("checklists", "Reporting checklists")
    section.add(
        Text(
            "Each item asks for facts. A fact counts as reported if its words stand at the place that the table points "
            f"to: this was looked up in the finished report. The others are {NOT_REPORTED}; most of these only the "
            "authors know, and can state in the study file."
        )
    )
    for name, title, items in (("tripod_ai", "TRIPOD+AI", TRIPOD_AI), ("remark", "REMARK", REMARK)):
        table = checklist(items, findings, places, names)
        lacking = {
            item.number for item in items if not all(reported(FACTS[one], findings, places)[1] for one in item.facts)
        }
        caption = f"{title}, in short: {len(items) - len(lacking)} of {len(items)} items have every fact."
        section.add(Table(name, caption, table, text_columns=5, wrap=True))
    return section
