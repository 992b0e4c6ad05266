"""The section of a report on what the classes add to stage and the standard variables."""

from typing import Any

import pandas as pd

from pathoprog.report.document import Section, Table, Text
from pathoprog.report.two_models import two_models_figure
from pathoprog.report.validation.findings import Figures, Findings
from pathoprog.text.numbers import bare_ratio, format_difference, format_p
from pathoprog.text.wording import capital, count, listing, p_cell

FEW_PATIENTS = 200
"""Below that limits without optimism are not trusted (`benchmarks/coverage_more.py --resampled`)."""


def added_section(findings: Findings, figures: Figures) -> Section:
    """Likelihood ratio test, differences of c and AUC(t), calibration and net benefit of both models."""
    section = Section("added_value", "Added value over stage and the standard variables")
    found = findings.statistics.get("added_value")
    if found is None:
        return section
    if "harrell" not in found:
        section.add(Text(f"No added value could be judged: {found['note']}."))
        return section
    status = findings.status("added_value", findings.primary)
    over = listing([findings.dated("added_value", name) for name in found["base"]])
    what = {"risk_class": "the classes", "risk_group": "the stage-combined groups"}[found["added"][0]]
    test = found["likelihood_ratio"]
    missing = f" ({count(found['n_missing'], 'patient')} without a value left out)" if found["n_missing"] else ""
    failed = found["resamples"]["failed"]
    section.add(
        Text(
            f"Two Cox models of {found['n']} patients with {count(found['events'], 'event')}{missing}: one of {over}, "
            f"one with {what} too. Likelihood ratio test of what {what} add: chi-squared {test['statistic']:.2f}, "
            f"{test['df']} df, {format_p(test['p_value'])}. It is the test of added value; a difference of c is small "
            "where the covariates are good, and its interval wide. Other deaths are censored (net)."
        ),
        Text(
            "Both models were fitted on the patients that they are judged in, which flatters the larger one more. The "
            f"optimism of {found['resamples']['drawn']} resamples is taken off in the table and from the net benefit"
            + (f" ({failed} resamples gave no model)" if failed else "")
            + ". "
            + found["note"],
            "note",
        ),
        _differences(found, status),
        _terms(found, status),
    )
    for part in found["horizons"]:
        when = f"{part['horizon']:g} years"
        if part["note"]:
            section.add(Text(f"At {when}: {part['note']}.", "note"))
            continue
        section.add(
            figures.add(
                two_models_figure(part, when, stamps=findings.stamps(status)),
                f"added_value_{part['horizon']:g}".replace(".", "_"),
                f"{capital(findings.primary.phrase)}: both models at {when}.",
                "Calibration of a model in the patients it was fitted on is good by construction.",
                status,
            )
        )
    return section


def _differences(found: dict[str, Any], status: str) -> Table:
    rows = [("Harrell's c", found["harrell"], found["corrected"].get("c_difference"))]
    rows.append(("Uno's c", found["uno"], None))
    for part in found["horizons"]:
        if not part["note"]:
            corrected = found["corrected"].get(f"auc_difference {part['horizon']:g}")
            rows.append((f"AUC at {part['horizon']:g} years", part["auc"], corrected))
    shown, full = [], []
    for name, gap, corrected in rows:
        off = "–"
        if corrected is not None:
            off = format_difference(corrected["value"], corrected["lower"], corrected["upper"], 3)
        difference = format_difference(gap["value"], gap["lower"], gap["upper"], 3)
        shown.append((name, f"{gap['first']:.3f}", f"{gap['second']:.3f}", difference, p_cell(gap["p"]), off))
        full.append({"figure": name, **gap, **{f"corrected_{key}": v for key, v in (corrected or {}).items()}})
    columns = ["Figure", "Without", "With", "Difference (95% CI)", "p", "Without optimism"]
    note = "Paired standard errors: the same patients stand behind both models."
    if found["n"] < FEW_PATIENTS:
        note += (
            f" In fewer than {FEW_PATIENTS} patients the limits without optimism may be too narrow: of 100 they "
            "covered 90% of simulated tables."
        )
    return Table(
        "added_value", "What is gained.", pd.DataFrame(shown, columns=columns), pd.DataFrame(full), note, status
    )


def _terms(found: dict[str, Any], status: str) -> Table:
    base = {(row["term"], row["level"]): row for row in found["base_model"]["terms"]}
    shown = []
    for row in found["full_model"]["terms"]:
        other = base.get((row["term"], row["level"]))
        name = "class" if row["term"] == "risk_class" else row["term"].replace("_", " ")
        shown.append(
            (
                f"{name}: {row['level']} vs {row['reference']}" if row["level"] else f"{name}, per unit",
                _ratio(other) if other else "–",
                _ratio(row),
                p_cell(row["p"]),
            )
        )
    full = [{"model": name, **row} for name in ("base", "full") for row in found[f"{name}_model"]["terms"]]
    columns = ["Term", "Without (95% CI)", "With (95% CI)", "p"]
    return Table(
        "added_value_models", "Both models.", pd.DataFrame(shown, columns=columns), pd.DataFrame(full), "", status
    )


def _ratio(row: dict[str, Any]) -> str:
    return bare_ratio(row["hr"], row["lower"], row["upper"])
