"""The section of a report on the bundle's Cox model over its number and clinical covariates."""

from typing import Any

import pandas as pd

from pathoprog.ensemble.clinical import (
    MISSING,
    NO_LEVEL,
    NO_NUMBER,
    NO_RISK,
    OUTSIDE,
    RULES,
    SCORE,
    WITHHOLD,
    ClinicalModel,
)
from pathoprog.report.document import Section, Table, Text
from pathoprog.report.forest import ForestRow, forest_figure
from pathoprog.report.validation.findings import Figures, Findings
from pathoprog.text.numbers import Z_95, bare_ratio, format_difference, format_interval, format_percent
from pathoprog.text.wording import capital, count, listing, p_cell

STEP = 0.1
"""Of the one number: a whole unit is more than its range."""
NAMES = {"one_number": "one number (image alone)", "clinical_number": "clinical number (image and covariates)"}
STATES = {MISSING: "missing", NO_LEVEL: "no level of tuning", NO_NUMBER: "no number", OUTSIDE: "outside tuning's range"}


def used_text(model: ClinicalModel) -> str:
    """That covariates are a part of the bundle, in one line."""
    return f"{listing(list(model.names))}, in a Cox model beside the classes, which they do not change"


def clinical_section(findings: Findings, figures: Figures) -> Section:
    """What the model is, who has its number, and what it tells on external patients beside the image alone."""
    section = Section("clinical_model", "The bundle's model over clinical covariates")
    found, model = findings.statistics["clinical_model"], findings.manifest.covariates
    if not found or model is None:
        return section
    status = findings.status("clinical_model", findings.primary)
    section.add(
        Text(
            f"The bundle holds a {model.says()}. Its number, the clinical number, is a log hazard ratio against the "
            "mean of the tuning patients in the fit. Classes, thresholds, the one number and every other section of "
            "this report are of the image alone."
        ),
        Text(NO_RISK, "warning"),
        _terms(found["model"], model),
    )
    section.add(Text(_missing_text(found, model)), _known(found))
    parts = [part for part in found["external"] if not part["note"]]
    section.add(*(Text(f"{part['population']}: {part['note']}.", "note") for part in found["external"] if part["note"]))
    own = next((part for part in parts if part["population"] == findings.primary.key), None)
    if own is not None:
        section.add(Text(_judged_text(findings, own)))
    if parts:
        section.add(_judged(parts, status))
    section.add(
        figures.add(
            forest_figure(_rows(found, own), stamps=findings.stamps(status)),
            "clinical_model",
            "The model's hazard ratios on tuning, and those of both numbers in the primary cohort.",
            "Tuning is selected on outcome: its ratios say what was locked, and describe no population.",
            status,
        )
    )
    return section


def _label(term: dict[str, Any]) -> str:
    if term["term"] == SCORE:
        return f"one number, per {STEP:g}"
    return f"{term['term']}: {term['level']} vs {term['reference']}" if term["level"] else f"{term['term']}, per unit"


def _scaled(term: dict[str, Any]) -> tuple[float, float, float]:
    power = STEP if term["term"] == SCORE else 1.0
    return term["hr"] ** power, term["lower"] ** power, term["upper"] ** power


def _terms(found: dict[str, Any], model: ClinicalModel) -> Table:
    kinds = {one.name: one for one in model.covariates}
    rows = []
    for term in found["terms"]:
        one = kinds.get(term["term"])
        if one is None:
            typical = ""
        elif term["level"]:
            typical = one.typical
        else:
            typical = f"{one.typical} ({one.levels[0]} to {one.levels[-1]})"
        rows.append((_label(term), f"{term['coef']:.3f}", bare_ratio(*_scaled(term)), typical))
    return Table(
        "clinical_terms",
        f"The locked Cox model: {model.n} tuning patients, {model.events} events.",
        pd.DataFrame(rows, columns=["Term", "Coefficient", "Hazard ratio (95% CI)", "Typical of tuning (range)"]),
        pd.DataFrame(found["terms"]),
        "Fitted on tuning at the lock, and not changed since; tuning is selected on outcome. Coefficients are of one "
        "unit, or of the level.",
        "selected on outcome",
    )


def _missing_text(found: dict[str, Any], model: ClinicalModel) -> str:
    without = sum(one["n"] - one["with_number"] for one in found["known"] if one["role"] == "external")
    n = sum(one["n"] for one in found["known"] if one["role"] == "external")
    rule = capital(RULES[model.missing])
    text = f"Missing values were handled as locked ({model.missing}). {rule}. "
    text += "A level that tuning did not have counts as missing; a number beyond tuning's range is taken as it is. "
    left = f"{without} of {count(n, 'external patient')} ({format_percent(without / n) if n else '–'}) have no number"
    return text + (f"{left}, and are left out below." if model.missing == WITHHOLD else f"{left}.")


def _known(found: dict[str, Any]) -> Table:
    rows, full = [], []
    for one in found["known"]:
        name = f"{one['role']}: {one['cohort']}" if one["cohort"] != one["role"] else one["role"]
        head = (name, f"{one['with_number']} of {one['n']}")
        for part in one["covariates"]:
            rows.append((*head, part["covariate"], *(str(part.get(state, 0)) for state in STATES)))
            head = ("", "")
            numbers = {key: one[key] for key in ("population", "n", "with_number")}
            full.append({**numbers, "covariate": part["covariate"], **{s: part.get(s, 0) for s in STATES}})
    heads = ["Cohort", "With the number", "Covariate", *(capital(words) for words in STATES.values())]
    return Table(
        "clinical_values",
        "Who has the clinical number, and whose covariates are not as tuning had them (patients).",
        pd.DataFrame(rows, columns=heads),
        pd.DataFrame(full),
        text_columns=3,
    )


def _judged_text(findings: Findings, own: dict[str, Any]) -> str:
    image, clinical = own["scores"]
    gap, slope = own["harrell"], clinical["per_unit"]
    left = f", without {own['n_without']} who lack one of the numbers" if own["n_without"] else ""
    text = (
        f"In {findings.primary.phrase}{left}, {count(own['n'], 'patient')} with {count(own['events'], 'event')}: "
        f"Harrell's c was {_c(clinical['harrell'])} for the clinical number and {_c(image['harrell'])} for the one "
        "number of the same patients; the difference is "
        f"{format_difference(gap['value'], gap['lower'], gap['upper'], 3)} (paired). It says what "
        "covariates and image have over the image, not what the image has over the covariates."
    )
    if "coef" in slope:
        limits = (slope["coef"] - Z_95 * slope["se"], slope["coef"] + Z_95 * slope["se"])
        text += (
            f" The slope of the clinical number is {format_interval(slope['coef'], *limits, 2)}: 1 where the ratios "
            "are as large here as on tuning, less where tuning's were too large."
        )
    return text


def _c(found: dict[str, Any]) -> str:
    return format_interval(found["value"], found["lower"], found["upper"], 3)


def _judged(parts: list[dict[str, Any]], status: str) -> Table:
    rows, full = [], []
    for part in parts:
        name = "all external cohorts" if part["pooled"] else part["cohort"]
        gap = part["harrell"]
        difference = format_difference(gap["value"], gap["lower"], gap["upper"], 3)
        rows.append((f"{name}, {part['n']} ({part['events']})", *("" for _ in range(4))))
        for one in part["scores"]:
            per = one["per_sd"]
            second = one["score"] == "clinical_number"
            rows.append(
                (
                    f"  {NAMES[one['score']]}",
                    _c(one["harrell"]),
                    difference if second else "",
                    p_cell(gap["p"]) if second else "",
                    bare_ratio(per["hr"], per["lower"], per["upper"]) if "hr" in per else "not estimable",
                )
            )
            row = {key: part[key] for key in ("population", "n", "n_without", "events")} | {"score": one["score"]}
            row |= {f"c_{key}": one["harrell"][key] for key in ("value", "lower", "upper")} | {"sd": one["sd"]}
            for scale in ("per_unit", "per_sd"):
                row |= {f"{scale}_{key}": value for key, value in one[scale].items()}
            row |= {f"{c}_difference_{key}": part[c][key] for c in ("harrell", "uno") for key in gap} if second else {}
            full.append(row)
    columns = [
        "Cohort, patients (events), and number",
        "Harrell's c (95% CI)",
        "Difference (95% CI)",
        "p",
        "HR per SD (95% CI)",
    ]
    note = (
        "Differences are paired: the same patients have both numbers. SD is that of these patients. Cox models of one "
    )
    note += "number each, stratified by cohort where cohorts are taken together. Other deaths are censored."
    title = "Both numbers on external patients."
    return Table("clinical_numbers", title, pd.DataFrame(rows, columns=columns), pd.DataFrame(full), note, status)


def _rows(found: dict[str, Any], own: dict[str, Any] | None) -> list[ForestRow]:
    nothing = (float("nan"), float("nan"), float("nan"))
    model = found["model"]
    rows = [ForestRow("Tuning (one model)", f"{model['n']} ({model['events']})", *nothing, "", heading=True)]
    rows += [ForestRow(f"  {_label(term)}"[:44], "", *_scaled(term), "") for term in model["terms"]]
    if own is None:
        return rows
    rows.append(ForestRow("Primary cohort (two models)", f"{own['n']} ({own['events']})", *nothing, "", heading=True))
    for one in own["scores"]:
        per = one["per_sd"]
        ratio: tuple[float, float, float] = (per["hr"], per["lower"], per["upper"]) if "hr" in per else nothing
        name = NAMES[one["score"]].split(" (")[0]
        rows.append(ForestRow(f"  {name}, per SD", "", *ratio, p_cell(per["p"]) if "hr" in per else ""))
    return rows
