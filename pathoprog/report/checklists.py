"""TRIPOD+AI and REMARK as tables that point to the report's sections, and say plainly what the authors must add.

Items in short words of this project: TRIPOD+AI (Collins et al., BMJ 2024;385:e078378), REMARK (McShane et al., J Natl
Cancer Inst 2005;97:1180; Altman et al., PLoS Med 2012;9:e1001216). The published checklists are what counts.
"""

import pandas as pd

AUTHORS = "to be written by the authors"
CARD = "bundle: model_card.md, manifest.json"

# item, what is asked, section of the report that answers it ("" = not in this report), remark
TRIPOD_AI = (
    ("1", "Title: model evaluation, target population, outcome", "summary", "title of the plan"),
    ("2", "Abstract (TRIPOD+AI for abstracts)", "summary", AUTHORS),
    ("3a–c", "Background: context, target population, known health inequalities", "", AUTHORS),
    ("4", "Objectives: development, evaluation, or both", "plan", ""),
    ("5a–b", "Sources and dates of the data", "patients", f"dates: {AUTHORS}"),
    ("6a–c", "Setting, eligibility, treatments", "patients", f"treatments: {AUTHORS}"),
    ("7", "Data preparation and quality checks", "flow", "slides that cannot be judged, with the reason"),
    ("8a–c", "Outcome: definition, time zero, who assessed it, blinding", "plan", f"assessors: {AUTHORS}"),
    ("9a–c", "Predictors: choice, definition, assessors", "methods", "the slides; scores are locked before outcomes"),
    ("10", "Sample size", "", AUTHORS),
    ("11", "Missing data", "patients", ""),
    ("12a–b", "Use of the data, handling of predictors", "methods", ""),
    ("12c", "Type of model, building, hyper-parameters, internal validation", "methods", CARD),
    ("12d", "Differences between clusters (hospitals, countries, scanners)", "side_by_side", ""),
    ("12e", "Measures of performance", "methods", ""),
    ("12f", "Updating of the model", "methods", "none: the bundle is locked"),
    ("12g", "How predictions were calculated in the evaluation", "methods", CARD),
    ("13", "Class imbalance", "methods", CARD),
    ("14", "Fairness", "patients", f"groups to be judged: {AUTHORS}"),
    ("15", "Output of the model, classes and thresholds", "plan", "thresholds in the manifest, fixed on tuning"),
    ("16", "Differences between development and evaluation data", "patients", ""),
    ("17", "Ethical approval", "", AUTHORS),
    ("18a–f", "Funding, conflicts, protocol, registration, data and code", "plan", f"beyond plan and lock: {AUTHORS}"),
    ("19", "Patient and public involvement", "", AUTHORS),
    ("20a–c", "Flow of participants, characteristics, comparison with development", "flow", "and Table 1"),
    ("21", "Participants and events in each analysis", "flow", ""),
    ("22", "Full specification of the model", "plan", CARD),
    ("23a", "Performance with confidence intervals, also in key subgroups", "primary", "and the sections after it"),
    ("23b", "Differences of performance between clusters", "side_by_side", ""),
    ("24", "Results of updating", "", "none: the bundle is locked"),
    ("25", "Interpretation, fairness in the context of earlier studies", "", AUTHORS),
    ("26", "Limitations", "limits", f"further ones: {AUTHORS}"),
    ("27a–c", "Use of the model: poor input, users' expertise, next steps", "flow", f"beyond poor input: {AUTHORS}"),
)

REMARK = (
    ("1", "Marker examined, objectives, hypotheses", "plan", ""),
    ("2", "Patients: source, inclusion, exclusion", "flow", f"source: {AUTHORS}"),
    ("3", "Treatments received", "", AUTHORS),
    ("4", "Biological material", "patients", "H&E slides; blocks and sites in the cohort table"),
    ("5", "Assay: how the marker was measured, blinded to the outcome", "plan", "scores frozen before outcomes"),
    ("6", "Design: selection of cases, period, follow-up", "patients", f"period: {AUTHORS}"),
    ("7", "Clinical endpoints", "plan", ""),
    ("8", "Candidate variables", "patients", ""),
    ("9", "Rationale of the sample size", "", AUTHORS),
    ("10", "Statistical methods, missing data", "methods", ""),
    ("11", "Cut-points of the marker", "plan", "thresholds locked on tuning"),
    ("12", "Flow of patients, number of events", "flow", ""),
    ("13", "Distribution of characteristics and marker, missing values", "patients", ""),
    ("14", "Marker against standard prognostic variables", "patients", "table by class"),
    ("15", "Univariable analysis, Kaplan-Meier curves", "primary", ""),
    ("16", "Key multivariable analyses", "adjusted", ""),
    ("17", "Marker and standard variables in one model, with intervals", "adjusted", ""),
    ("18", "Further investigations: assumptions, sensitivity, validation", "chance", "and the sections after it"),
    ("19", "Interpretation in the context of the hypotheses, limitations", "limits", f"interpretation: {AUTHORS}"),
    ("20", "Implications for research and clinical use", "", AUTHORS),
)


def checklist(items: tuple[tuple[str, str, str, str], ...], sections: dict[str, str]) -> pd.DataFrame:
    """One checklist as a table.

    Args:
        items: `TRIPOD_AI` or `REMARK`.
        sections: name -> number and title of the sections that this report has.
    """
    rows = []
    for item, asked, section, remark in items:
        where = sections.get(section, "not in this report")
        rows.append((item, asked, where, remark or ("" if section in sections else AUTHORS)))
    return pd.DataFrame(rows, columns=["Item", "Asked for", "Where", "Remark"])
