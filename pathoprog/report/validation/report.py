"""The whole report of a validation, from findings."""

from pathlib import Path

from pathoprog.report.document import Document, Section, Text
from pathoprog.report.manuscript.abbreviations import abbreviations_section
from pathoprog.report.manuscript.checklists import checklist_section, places_of
from pathoprog.report.manuscript.paragraphs import manuscript_section
from pathoprog.report.manuscript.stated import material_section, stated_section
from pathoprog.report.validation.before_opening import flow_section, patients_section, plan_section
from pathoprog.report.validation.clinical_model import clinical_section, used_text
from pathoprog.report.validation.endpoint_sensitivity import endpoints_section
from pathoprog.report.validation.findings import Figures, Findings, c_text, chance_text, truth_text
from pathoprog.report.validation.horizon_values import horizon_section
from pathoprog.report.validation.on_request.added_value import added_section
from pathoprog.report.validation.on_request.over_time import over_time_section
from pathoprog.report.validation.on_request.sites import sites_section
from pathoprog.report.validation.on_request.treatment import treatment_section
from pathoprog.report.validation.openings import history_facts, history_section, history_texts
from pathoprog.report.validation.other_populations import (
    development_section,
    further_external_sections,
    side_by_side_section,
    test_sections,
)
from pathoprog.report.validation.results import chance_section, concordance_section, primary_section
from pathoprog.report.validation.risk_groups import stage_section
from pathoprog.report.validation.secondary_analyses import (
    adjusted_section,
    calibration_section,
    competing_section,
    subgroups_section,
)
from pathoprog.text.wording import capital, count, listing, share
from pathoprog.validation.numbers import primary_sentence

IN_FIGURES = ("CI", "HR")
"""Abbreviations of the figures, whose words no text of the report repeats."""


def document_of(findings: Findings, figure_folder: Path) -> Document:
    """Write the figures and put the whole report together."""
    figures = Figures(figure_folder)
    sections = [
        history_section(findings),
        plan_section(findings),
        material_section(findings),
        flow_section(findings, figures),
        patients_section(findings, figures),
        primary_section(findings, figures),
        concordance_section(findings),
        chance_section(findings, figures),
        horizon_section(findings),
        competing_section(findings, figures),
        adjusted_section(findings),
        subgroups_section(findings, figures),
        endpoints_section(findings),
        over_time_section(findings, figures),
        sites_section(findings, figures),
        added_section(findings, figures),
        clinical_section(findings, figures),
        treatment_section(findings, figures),
        stage_section(findings, figures),
        calibration_section(findings, figures),
        *further_external_sections(findings, figures),
        *test_sections(findings, figures),
        development_section(findings, figures),
        side_by_side_section(findings, figures),
        methods_section(findings),
        limits_section(findings),
        manuscript_section(findings),
        stated_section(findings),
    ]
    sections = [section for section in sections if section.blocks]
    lock = findings.lock["sha256"]
    facts = [
        ("Endpoint", findings.plan.primary.endpoint),
        ("Time zero", findings.plan.time_zero),
        ("Primary cohort", findings.primary.name),
        *history_facts(findings),
        ("Lock (SHA-256)", lock),
        ("Ensemble", findings.ensemble),
    ]
    if caution := findings.manifest.shape.caution:
        facts.append(("Shape", caution))
    if (model := findings.manifest.covariates) is not None:
        facts.append(("Clinical covariates", used_text(model)))
    subtitle = "Survival validation of a locked ensemble of networks that read H&E whole-slide images"
    document = Document(findings.plan.title, subtitle, facts, summary(findings), sections)
    document.sections.append(checklist_section(findings, document))
    document.sections.append(abbreviations_section(" ".join(places_of(document).values()), *IN_FIGURES))
    return document


def summary(findings: Findings) -> list[Text]:
    """The abstract: the primary result, discrimination, and what may not be concluded."""
    population, numbers = findings.primary, findings.of(findings.primary)
    classes = numbers["classes"]
    shares = listing([f"{name} {share(classes[name], numbers['n'])}" for name in population.possible_classes])
    text = (
        f"{capital(population.phrase)}: {count(numbers['n'], 'patient')} with {count(numbers['events'], 'event')}; "
        f"{shares}. {primary_sentence(findings.statistics)}"
    )
    c = {row["score"]: row for row in numbers["concordance"]}
    chance = findings.statistics["permutation"]
    discrimination = (
        f"Harrell's c was {c_text(c['ensemble'])} for the ensemble's one number and "
        f"{c_text(c[population.classes_called])} for the {population.classes_called}."
    )
    if population.events:
        discrimination += f" With outcomes permuted {chance['permutations']:,} times {chance_text(chance)}."
    texts = [Text(text), Text(discrimination)]
    if findings.statistics["true_hazard"]:
        texts.append(Text(truth_text(findings)))
        texts.append(Text("These are made-up slides: the figures show that the pipeline works, not prognosis.", "note"))
    texts += history_texts(findings)
    return texts


def methods_section(findings: Findings) -> Section:
    """How the numbers were made."""
    section = Section("methods", "Statistical methods")
    section.add(
        Text(
            "Survival by Kaplan-Meier with log-log 95% limits; numbers at risk count T ≥ t, events those in [t, "
            "next). Where deaths compete, absolute risks and predictive values are by Aalen-Johansen first; curves, "
            "log-rank tests and Cox models censor such deaths (net survival). Log-rank tests and "
            "Cox models (Efron ties, Wald limits) are stratified by cohort where cohorts are taken together. "
            "Harrell's c with standard errors by the infinitesimal jackknife. Follow-up by reverse Kaplan-Meier. A "
            "year is 365.25 days. Two-sided p; only the primary analysis is a test of a hypothesis stated "
            "beforehand, and no p-value is adjusted for multiplicity."
        ),
        Text(
            "The ensemble, its thresholds and its preprocessing are the bundle's and unchanged (its manifest's "
            "hash is the ensemble's id above). Training of its members, choice and thresholds are described in the "
            "bundle's model card."
        ),
    )
    return section


def limits_section(findings: Findings) -> Section:
    """What the figures do not show."""
    section = Section("limits", "Limits")
    texts = [
        "A class is a group's prognosis, not a patient's fate; no score here is a probability of death.",
        "Patients whose slides could not be scored are left out; the flow shows how many, and they may differ from "
        "the rest.",
    ]
    if caution := findings.manifest.shape.caution:
        texts.append(f"The ensemble is {caution}: nothing known of METHOD's holds for it.")
    if findings.primary.events < 60:
        texts.append(
            f"With {findings.primary.events} events the intervals are wide; concordance needs about a hundred events "
            "to be known to within ±0.05."
        )
    if findings.statistics["true_hazard"]:
        texts.append("Slides and outcomes are simulated: nothing here speaks of patients or of real scanners.")
    section.add(*(Text(text) for text in texts))
    return section
