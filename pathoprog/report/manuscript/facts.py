"""The facts that a report must hold, each with the place where it is printed and the words that must stand there.

A fact counts as reported only if its words are found in the finished report, at its place: what a section no longer
prints is *not reported*, whatever the findings hold.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pathoprog.report.manuscript.stated import networks_text, resolutions_text, scanners_text, software_text
from pathoprog.report.site_forest import pool_text
from pathoprog.report.validation.before_opening import (
    NOTHING_MISSING,
    NOTHING_STATED,
    covariates_of,
    eligibility_text,
    follow_up_text,
    scores_title,
)
from pathoprog.report.validation.findings import Findings, c_text
from pathoprog.report.validation.horizon_values import PRIMARY_ESTIMATORS
from pathoprog.report.validation.on_request.over_time import proportional_sentence
from pathoprog.report.validation.openings import date
from pathoprog.report.validation.results import absolute_text
from pathoprog.report.validation.secondary_analyses import interactions_text
from pathoprog.text.numbers import bare_ratio, format_interval, format_percent
from pathoprog.text.wording import capital, count, listing
from pathoprog.validation.numbers import primary_sentence
from pathoprog.validation.openings.lock import PARTS
from pathoprog.validation.plan import TESTS
from pathoprog.validation.study_facts import STUDY_FACTS


@dataclass(frozen=True)
class Fact:
    """Something that a report must hold.

    Attributes:
        what: it is, in the checklist.
        places: names of sections (or ``top``, the head of the report, and ``summary``) that may print it, the first
            one that does is pointed to.
        words: that must stand there, from the findings; empty where there is no such fact.
        after: what must stand just before these words, so that they are found where they are meant.
    """

    what: str
    places: tuple[str, ...]
    words: Callable[[Findings], str]
    after: str = ""


def _known(text: str) -> str:
    """A text of figures, or nothing where one of them is none."""
    return "" if "not estimable" in text else text


def _primary(findings: Findings) -> str:
    population = findings.primary
    return f"{count(len(population.patients), 'patient')} with {count(population.events, 'event')}"


def _contrast(findings: Findings) -> str:
    worse, better = findings.plan.primary.contrast
    return f"{worse} against {better} in {findings.primary.phrase}"


def _lost(findings: Findings) -> str:
    lost = sum(flow.slides["not_reportable"] + flow.slides["failed"] for flow in findings.flows)
    slides = sum(flow.slides["all"] for flow in findings.flows)
    return f"Of {count(slides, 'slide')}, {lost} could not be scored"


def _analysed(findings: Findings) -> str:
    n = sum(flow.analysed["all"] for flow in findings.flows)
    return f"{count(n, 'patient')} were analysed"


def _cuts(findings: Findings) -> str:
    return listing([f"{value:.4f} at {name}" for name, value in findings.thresholds.items()])


def _eligible(findings: Findings) -> str:
    text = eligibility_text(findings.cohort)
    return "" if NOTHING_STATED in text else text


def _blind(findings: Findings) -> str:
    """Holds only while neither scores nor exclusions changed after an opening."""
    later = [entry for entry in findings.history.amendments if entry.get("after_opening")]
    changed = {what for entry in later for what in entry.get("changed", ())}
    shaken = changed & {PARTS[part] for part in ("scores", "exclusions", "bundle")}
    return "" if shaken else "Scores and exclusions were frozen, then locked"


def _missing(findings: Findings) -> str:
    return "Missing values by cohort" if _some_missing(findings) else NOTHING_MISSING


def _some_missing(findings: Findings) -> bool:
    names = covariates_of(findings)
    return any(
        (p.patients[name].isna() | (p.patients[name].astype(str) == "")).any()
        for p in findings.populations
        for name in names
    )


def _imputed(findings: Findings) -> str:
    found = findings.statistics["adjusted"]
    if "imputed" not in found or not found["covariates"]:
        return ""
    return f"missing covariates imputed {found['imputed']['imputations']} times"


def _adjusted(findings: Findings) -> str:
    found = findings.statistics["adjusted"]
    if "complete_cases" not in found or not found["covariates"]:
        return ""
    complete = found["complete_cases"]
    return f"{complete['n']} patients with complete covariates ({complete['events']} events)"


def _model_ratios(findings: Findings) -> str:
    """The first ratio of the multivariable model that there is, as its table prints it."""
    if not _adjusted(findings):
        return ""
    terms = findings.statistics["adjusted"]["complete_cases"]["terms"]
    texts = [_known(bare_ratio(term["hr"], term["lower"], term["upper"])) for term in terms]
    return next(filter(None, texts), "")


def _calibrated(findings: Findings) -> str:
    for part in findings.statistics["calibration"].get("horizons", []):
        if not part["note"]:
            ratio = part["calibration"]["ratio"]
            text = _known(format_interval(ratio["value"], ratio["lower"], ratio["upper"], 2))
            return f"observed over expected was {text}" if text else ""
    return ""


def _interaction(findings: Findings) -> str:
    text = interactions_text(findings)
    return f"what the interaction test says: {text}" if _known(text) else ""


def _cohorts(findings: Findings) -> str:
    """The columns of the evaluated cohorts in the table of patients."""
    return " ".join(p.name for p in findings.populations if p.role == "external" and not p.pooled)


def _development(findings: Findings) -> str:
    """A development cohort's line in the table of follow-up."""
    own = [p for p in findings.populations if p.selected_on_outcome and not p.pooled]
    return f"{own[0].name} {len(own[0].patients):,}" if own else ""


def _follow_up(findings: Findings) -> str:
    shown = next(p for p in findings.populations if p.role == findings.primary.role and not p.pooled)
    return _known(follow_up_text(findings.of(shown)["follow_up_years"]))


def _c(findings: Findings) -> str:
    return _known(c_text(findings.of(findings.primary)["concordance"][0]))


def _result(findings: Findings) -> str:
    return _known(primary_sentence(findings.statistics))


def _proportional(findings: Findings) -> str:
    test = findings.statistics["primary"]["proportional_hazards"]
    return "" if test["note"] else proportional_sentence(findings.statistics["primary"])


def _chance(findings: Findings) -> str:
    if not findings.primary.events:
        return ""
    found = findings.statistics["permutation"]
    return f"permuted {found['permutations']:,} times" if math.isfinite(found["observed"]) else ""


def _values(findings: Findings) -> str:
    """The positive predictive value of the first grouping by the primary estimator, as its table prints it."""
    primary = PRIMARY_ESTIMATORS[findings.deaths_compete]
    for row in findings.statistics["horizon_values"]:
        if row["estimator"] == primary and math.isfinite(row.get("ppv", math.nan)):
            return format_percent(row["ppv"], row["ppv_lower"], row["ppv_upper"])
    return ""


def _between(findings: Findings) -> str:
    """A figure of the sites; without sites, the c of a further external cohort."""
    for part in findings.statistics.get("sites", {"columns": {}})["columns"].values():
        for one in part.get("measures", {}).values():
            if one["pools"]:
                return pool_text(one)
    external = [p for p in findings.populations if p.role == "external" and not p.pooled]
    return _known(c_text(findings.of(external[-1])["concordance"][0])) if len(external) > 1 else ""


def _stated(key: str) -> Callable[[Findings], str]:
    return lambda findings: findings.stated.get(key, "")


FACTS: dict[str, Fact] = {
    "title": Fact("title: what was evaluated, in whom", ("top",), lambda f: f.plan.title),
    "kind": Fact("evaluation, not development", ("top",), lambda f: "validation of a locked ensemble"),
    "endpoint": Fact("endpoint", ("plan",), lambda f: f"The endpoint is {f.plan.primary.endpoint}"),
    "time_zero": Fact("time zero", ("plan",), lambda f: f"time runs from the {f.plan.time_zero}"),
    "horizon": Fact("horizon", ("plan",), lambda f: f"with survival at {f.plan.primary.horizon_years:g} years"),
    "objective": Fact("primary contrast and cohort", ("plan",), _contrast),
    "test": Fact("primary test", ("plan",), lambda f: f"by {TESTS[f.plan.primary.test]}"),
    "abstract": Fact("patients, events and primary result", ("summary",), _result),
    "abstract_n": Fact("patients and events", ("summary",), _primary),
    "plan_on_record": Fact(
        "date at which the plan was on record",
        ("top",),
        lambda f: date(f.history.plans[0][0]) if f.history.plans else "",
    ),
    "locked": Fact("date of the lock", ("top",), lambda f: date(f.history.locked_utc)),
    "opened": Fact("date of the opening", ("top",), lambda f: date(f.history.present.utc)),
    "written": Fact("date of the report", ("top",), lambda f: date(f.written_utc)),
    "lock": Fact("hash of plan, ensemble, scores and code", ("plan",), lambda f: str(f.lock["sha256"])),
    "ensemble": Fact("identity of the model", ("top",), lambda f: f.ensemble),
    "planned": Fact("what was planned, what is exploratory", ("plan",), lambda f: "is labelled exploratory"),
    "blind_scores": Fact("scores fixed before the outcomes", ("plan",), _blind),
    "thresholds": Fact("thresholds", ("plan",), _cuts),
    "classes": Fact("the classes, and the one number", ("plan",), lambda f: "The one number for concordance is"),
    "several_slides": Fact(
        "several slides of a patient",
        ("plan",),
        lambda f: f"taken together by the bundle's rule ({f.manifest.aggregation})",
    ),
    "scanners": Fact("scanners", ("material",), scanners_text),
    "resolutions": Fact("resolutions and tiles", ("material",), resolutions_text),
    "networks": Fact("kind and number of networks", ("material",), networks_text),
    "software": Fact("software with versions", ("material",), lambda f: software_text()),
    "lost": Fact("slides that could not be judged", ("flow",), _lost),
    "flow": Fact("flow of patients", ("flow",), _analysed),
    "events_by_analysis": Fact(
        "patients and events of the primary analysis",
        ("primary",),
        lambda f: (
            f"{count(f.statistics['primary']['n'], 'patient')} with {count(f.statistics['primary']['events'], 'event')}"
        ),
    ),
    "eligibility": Fact("eligibility of the slides", ("patients",), _eligible),
    "cohorts": Fact("the evaluated cohorts", ("patients",), _cohorts),
    "table_one": Fact("characteristics by cohort", ("patients",), lambda f: "Analysed patients by cohort"),
    "development": Fact("comparison with the development data", ("patients",), _development),
    "by_class": Fact("characteristics by class", ("patients",), lambda f: f"Patients of {f.primary.phrase} by class"),
    "marker": Fact("distribution of the scores", ("patients",), scores_title),
    "follow_up": Fact("median follow-up", ("patients",), _follow_up),
    "missing": Fact("missing values", ("patients",), _missing),
    "missing_method": Fact("how missing covariates were handled", ("adjusted",), _imputed),
    "hazard_ratio": Fact("primary effect with its interval", ("primary",), _result),
    "absolute": Fact("absolute risks with intervals", ("primary",), lambda f: _known(absolute_text(f))),
    "curves": Fact("survival curves by class", ("primary",), lambda f: "by class, with 95% bands"),
    "proportional": Fact("test of proportional hazards", ("primary",), _proportional),
    "discrimination": Fact("discrimination with its interval", ("discrimination",), _c),
    "values": Fact("predictive values at the horizon", ("values",), _values),
    "calibration": Fact("calibration with its interval", ("calibration",), _calibrated),
    "chance": Fact("scores against permuted outcomes", ("chance",), _chance),
    "adjusted": Fact("multivariable model: patients, events", ("adjusted",), _adjusted),
    "adjusted_ratios": Fact("multivariable ratios with intervals", ("adjusted",), _model_ratios),
    "subgroups": Fact("subgroups with an interaction test", ("subgroups",), _interaction),
    "clusters": Fact(
        "differences between sites or cohorts",
        ("sites", "side_by_side"),
        _between,
    ),
    "methods": Fact("statistical methods", ("methods",), lambda f: "Log-rank tests and Cox models (Efron ties"),
    "measures": Fact("measures of performance", ("methods",), lambda f: "Harrell's c with standard errors"),
    "no_updating": Fact("updating: none", ("methods",), lambda f: "are the bundle's and unchanged"),
    "model_card": Fact("training and hyper-parameters: the model card", ("methods",), lambda f: "bundle's model card"),
    "limits": Fact("limits", ("limits",), lambda f: "A class is a group's prognosis, not a patient's fate"),
    **{key: Fact(capital(text), ("stated",), _stated(key), after=text) for key, text in STUDY_FACTS.items()},
}
"""Every fact that an item of a checklist asks for, by name."""


def reported(fact: Fact, findings: Findings, places: Mapping[str, str]) -> tuple[str, str]:
    """The words of a fact and the place where the finished report has them; both empty where it has not.

    Args:
        fact: which.
        findings: of the report.
        places: name of each place -> its plain text.
    """
    words = " ".join(fact.words(findings).split())
    for place in fact.places:
        if words and f"{fact.after} {words}".strip() in places.get(place, ""):
            return words, place
    return "", ""
