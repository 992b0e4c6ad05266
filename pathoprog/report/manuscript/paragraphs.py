"""A Methods and a Results paragraph, written from the figures, ready to be pasted into a manuscript."""

import math

from pathoprog.ensemble.clinical import RULES
from pathoprog.report.document import Section, Text
from pathoprog.report.manuscript.stated import networks_text, resolutions_text, scanners_text, software_text
from pathoprog.report.validation.before_opening import follow_up_text
from pathoprog.report.validation.findings import Findings, c_text
from pathoprog.report.validation.horizon_values import PRIMARY_ESTIMATORS
from pathoprog.report.validation.openings import date
from pathoprog.report.validation.results import absolute_text
from pathoprog.text.numbers import format_interval, format_p, format_percent, format_ratio
from pathoprog.text.wording import count, listing, share
from pathoprog.validation.flow import Flow
from pathoprog.validation.plan import TESTS
from pathoprog.validation.populations import Population
from pathoprog.validation.secondary_analyses import IMPUTATIONS


def manuscript_section(findings: Findings) -> Section:
    """Both paragraphs."""
    section = Section("manuscript", "Methods and Results, to be pasted")
    section.add(
        Text(
            "Written by the program from the figures of this report; the study's own facts (setting, treatments, "
            "ethics …) are the authors' to add. Both paragraphs and every table also lie in manuscript.docx.",
            "note",
        ),
        Text(methods_paragraph(findings), "paste"),
        Text(results_paragraph(findings), "paste"),
    )
    return section


def methods_paragraph(findings: Findings) -> str:
    """What was done, in the past tense."""
    plan, primary, manifest = findings.plan, findings.plan.primary, findings.manifest
    worse, better = primary.contrast
    stratified = ", stratified by cohort" if findings.primary.pooled else ""
    scanners = scanners_text(findings)
    on_record = f", on record since {date(findings.history.plans[0][0])}," if findings.history.plans else ""
    sentences = [
        f"A locked ensemble of {networks_text(findings)} (SHA-256 {findings.ensemble}) scored haematoxylin and eosin "
        f"slides. {resolutions_text(findings).replace('Read', 'Slides were read')}"
        f"{'. ' + scanners if scanners else ''}.",
        f"{_class_rule(findings)}; several slides of a patient were taken together by the {manifest.aggregation} rule.",
        f"The analysis plan{on_record} named {worse} against {better} in {findings.primary.phrase} as the primary "
        f"contrast, by {TESTS[primary.test]}{stratified}; the endpoint was {primary.endpoint}, and time ran from the "
        f"{plan.time_zero}.",
        "Plan, ensemble, scores, exclusions and code were locked "
        f"({date(findings.history.locked_utc)}, SHA-256 {findings.lock['sha256']}) before the outcomes were opened "
        f"({date(findings.history.openings[0].utc)}).",
    ]
    amended = len(findings.history.amendments) + sum(bool(one.outcomes_changed) for one in findings.history.openings)
    if amended or len(findings.history.openings) > 1:
        sentences.append(
            f"The outcomes were opened {count(findings.history.present.number, 'time')}, with {amended} "
            f"{'amendment' if amended == 1 else 'amendments'}."
        )
    if findings.deaths_compete:
        sentences.append(
            "Deaths of other causes competed: absolute risks were estimated by Aalen-Johansen; Kaplan-Meier curves, "
            "log-rank tests and Cox models censored such deaths (net survival)."
        )
    else:
        sentences.append("Survival was estimated by Kaplan-Meier with log-log limits.")
    sentences.append(
        f"Hazard ratios came from Cox models (Efron ties, Wald limits){stratified}, discrimination from Harrell's "
        "concordance index with standard errors by the infinitesimal jackknife, and follow-up from the reverse "
        "Kaplan-Meier method."
    )
    adjusted = findings.statistics["adjusted"]
    if _has_model(findings):
        text = f"Multivariable models were adjusted for {listing(adjusted['covariates'])}, in complete cases"
        if "imputed" in adjusted:
            text += (
                f" and with missing covariates imputed {IMPUTATIONS} times by chained equations that include the event "
                "and the cumulative hazard, pooled by Rubin's rules"
            )
        sentences.append(f"{text}.")
    if (model := findings.manifest.covariates) is not None:
        sentences.append(
            f"A second number, of a Cox model over {listing(['the one number', *model.names])}, fitted on {model.n} "
            f"tuning patients ({model.events} events) and locked with the ensemble, was compared with the one number "
            f"in the patients who had both (paired difference of the concordance index); {RULES[model.missing]}."
        )
    if findings.statistics["calibration"].get("model"):
        sentences.append(
            f"Absolute risks of a {findings.statistics['calibration']['model']} were judged in patients on whom it was "
            "not fitted."
        )
    sentences.append(
        "Tests were two-sided, and only the primary one tested a hypothesis stated beforehand; p-values were not "
        f"adjusted for multiplicity. Computed with {software_text()}."
    )
    return " ".join(sentences)


def _class_rule(findings: Findings) -> str:
    """How a class followed from the scores, in the past tense."""
    cuts = listing([f"{value:.4f} at {name}" for name, value in findings.thresholds.items()])
    if len(findings.thresholds) == 1:
        return (
            "The one resolution gave a score between 0 and 1, and a patient was good where it lay below the threshold "
            f"({cuts}, fixed on tuning patients), else poor"
        )
    return (
        "Each resolution gave a score between 0 and 1, and a patient was good where both scores lay below their "
        f"thresholds ({cuts}, fixed on tuning patients), poor where both lay at or above, else uncertain"
    )


def results_paragraph(findings: Findings) -> str:
    """What was found in the primary cohort, in the past tense."""
    population, numbers = findings.primary, findings.of(findings.primary)
    statistics, primary = findings.statistics, findings.statistics["primary"]
    flows = [flow for flow in findings.flows if belongs(flow, population)]
    everyone, lost = sum(f.patients["all"] for f in flows), sum(f.patients["all"] - f.patients["scored"] for f in flows)
    left_out = sum(sum(f.excluded.values()) + f.no_outcome for f in flows)
    shares = listing(
        [f"{share(numbers['classes'][name], numbers['n'])} {name}" for name in population.possible_classes]
    )
    others = f" and {count(numbers['competing_deaths'], 'death')} of other causes" if findings.deaths_compete else ""
    row = {one["score"]: one for one in numbers["concordance"]}
    sentences = [
        f"Of {count(everyone, 'patient')} of {population.phrase}, {lost} had no score and {left_out} were excluded or "
        f"had no outcome; {numbers['n']:,} were analysed, with {count(numbers['events'], 'event')}{others} over a "
        f"median follow-up of {follow_up_text(numbers['follow_up_years'])} years.",
        f"The ensemble called {shares}.",
    ]
    if math.isfinite(primary["hr"]):
        sentences.append(
            f"The hazard ratio of {primary['worse']} against {primary['better']} was "
            f"{format_ratio(primary['hr'], primary['lower'], primary['upper'])} ({primary['n']} patients, "
            f"{count(primary['events'], 'event')}; {TESTS[primary['test']]} {format_p(primary['p'])})."
        )
    else:
        sentences.append(f"The primary hazard ratio could not be estimated: {primary['note']}.")
    sentences.append(absolute_text(findings))
    sentences.append(
        f"Harrell's concordance index was {c_text(row['ensemble'])} for the ensemble's one number and "
        f"{c_text(row[population.classes_called])} for the {population.classes_called}."
    )
    sentences += [text for text in (_adjusted(findings), _values(findings), _calibrated(findings)) if text]
    if statistics["true_hazard"]:
        sentences.append("Slides and outcomes were simulated.")
    return " ".join(sentences)


def belongs(flow: Flow, population: Population) -> bool:
    """Whether a flow's patients are of a population."""
    return flow.role == population.role and (population.pooled or flow.cohort == population.cohort)


def _has_model(findings: Findings) -> bool:
    found = findings.statistics["adjusted"]
    return "complete_cases" in found and bool(found["covariates"])


def _adjusted(findings: Findings) -> str:
    """The adjusted ratio of the primary contrast's worse class, where the model's reference is the better one."""
    if not _has_model(findings):
        return ""
    found, (worse, better) = findings.statistics["adjusted"], findings.plan.primary.contrast

    def ratio(terms: list[dict[str, object]]) -> str:
        own = [t for t in terms if (t["term"], t["level"], t["reference"]) == ("risk_class", worse, better)]
        return "".join(format_ratio(t["hr"], t["lower"], t["upper"]) for t in own)  # type: ignore[arg-type]

    complete = ratio(found["complete_cases"]["terms"])
    if not complete:
        return ""
    model = " in a model of all classes" if findings.primary.more_than_two_classes else ""
    text = (
        f"Adjusted for {listing(found['covariates'])}, the hazard ratio of {worse} against {better}{model} was "
        f"{complete} in {found['complete_cases']['n']} complete cases"
    )
    imputed = ratio(found["imputed"]["terms"]) if "imputed" in found else ""
    return f"{text}, and {imputed} with missing covariates imputed." if imputed else f"{text}."


def _values(findings: Findings) -> str:
    """Predictive values of the worse class at the primary horizon, by the primary estimator."""
    estimator = PRIMARY_ESTIMATORS[findings.deaths_compete]
    horizon = findings.plan.primary.horizon_years
    for row in findings.statistics["horizon_values"]:
        if (row["years"], row["estimator"]) == (horizon, estimator) and math.isfinite(row["ppv"]):
            ppv, npv = (
                format_percent(row[name], row[f"{name}_lower"], row[f"{name}_upper"]) for name in ("ppv", "npv")
            )
            return (
                f"For {row['grouping']}, the positive predictive value at {horizon:g} years was {ppv} and the negative "
                f"one {npv}."
            )
    return ""


def _calibrated(findings: Findings) -> str:
    for part in findings.statistics["calibration"].get("horizons", []):
        if part["years"] == findings.plan.primary.horizon_years and not part["note"]:
            ratio, slope = part["calibration"]["ratio"], part["calibration"]["slope"]
            return (
                f"Observed over expected risk at {part['years']:g} years was "
                f"{format_interval(ratio['value'], ratio['lower'], ratio['upper'], 2)}, the calibration slope "
                f"{format_interval(slope['value'], slope['lower'], slope['upper'], 2)}."
            )
    return ""
