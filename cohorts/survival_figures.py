"""The figures of `pathoprog survival`."""

from pathlib import Path
from typing import Any

from pathoprog.cohorts.config import SurvivalConfig
from pathoprog.report.calibration import calibration_figure, decision_figure
from pathoprog.report.curves import incidence_figure, kaplan_meier_figure
from pathoprog.report.forest import ForestRow, forest_figure
from pathoprog.report.site_forest import site_forest_figure
from pathoprog.report.style import save_figure
from pathoprog.report.treatment import treatment_forest
from pathoprog.report.two_models import two_models_figure
from pathoprog.survival.question import Question
from pathoprog.text.numbers import bare_p, format_p, format_ratio

PER_YEAR = {"days": 365.25, "months": 12.0, "years": 1.0, "": 1.0}


def draw_figures(settings: SurvivalConfig, q: Question, results: dict[str, Any], folder: Path) -> None:
    """Draw every figure that the results allow, as PNG and SVG."""
    axis: dict[str, Any] = {
        "times": [float(t) for t in q.columns],
        "divide_by": PER_YEAR[settings.unit],
        "x_label": f"Time ({'years' if settings.unit else 'unit of the table'})",
        "title": settings.title,
        "stamps": settings.stamps,
    }
    of, label = q.grouped, q.label if q.group else None
    levels = list(q.levels) or None
    figure = kaplan_meier_figure(
        of.time,
        of.event,
        label,
        levels=levels,
        y_label=f"{settings.y_label} (%)",
        notes=_notes(q, results),
        entry=of.entry,
        weight=of.weight,
        patient=of.patient,
        **axis,
    )
    save_figure(figure, folder / "kaplan_meier")
    if "competing" in results:
        gray = results["competing"].get("gray")
        notes = [f"Gray's test {format_p(gray['event']['p_value'])}"] if gray else []
        figure = incidence_figure(
            of.time, of.event, label, levels=levels, y_label="Cumulative incidence (%)", notes=notes, **axis
        )
        save_figure(figure, folder / "cumulative_incidence")
    rows = _forest(results)
    if rows:
        save_figure(forest_figure(rows, title=settings.title, stamps=settings.stamps), folder / "hazard_ratios")
    rows = _subgroup_rows(results)
    if rows:
        save_figure(forest_figure(rows, title=settings.title, stamps=settings.stamps), folder / "subgroups")
    for number, part in enumerate(results.get("sites", {}).values()):
        for name, found in part.get("measures", {}).items():
            figure = site_forest_figure(found, title=part["column"], stamps=settings.stamps)
            save_figure(figure, folder / f"sites_{number + 1}_{name}".replace(".", "_"))
    for part in results.get("added_value", {}).get("horizons", []):
        if part["note"]:
            continue
        name, when = f"{part['horizon']:g}".replace(".", "_"), _when(settings, part["horizon"])
        save_figure(two_models_figure(part, when, stamps=settings.stamps), folder / f"added_value_{name}")
    rows = treatment_forest(results.get("treatment", {}))
    if rows:
        words = f"Hazard ratio of {results['treatment']['treated']} (95% CI)"
        figure = forest_figure(rows, title=settings.title, x_label=words, stamps=settings.stamps)
        save_figure(figure, folder / "treatment")
    prediction = results.get("prediction", {})
    stamps = [*settings.stamps, *(["apparent"] if "apparent" in prediction.get("source", "") else [])]
    for part in prediction.get("by_horizon", []):
        if not part.get("calibration"):
            continue
        name = f"{part['horizon']:g}".replace(".", "_")
        when = _when(settings, part["horizon"])
        save_figure(calibration_figure(part, when, stamps=stamps), folder / f"calibration_{name}")
        save_figure(decision_figure(part, when, stamps=stamps), folder / f"decision_curve_{name}")


def _when(settings: SurvivalConfig, horizon: float) -> str:
    return f"{horizon / PER_YEAR[settings.unit]:.3g}{' years' if settings.unit else ''}"


def _notes(q: Question, results: dict[str, Any]) -> list[str]:
    """Hazard ratios of the groups and the log-rank p-value, as lines inside the plot."""
    lines = []
    model = results.get("cox", {}).get(f"univariable {q.group}", {})
    for term in model.get("terms", []):
        lines.append(
            f"{term['level']} vs {term['reference']}: HR {format_ratio(term['hr'], term['lower'], term['upper'])}"
        )
    if "tests" in results:
        lines.append(f"Log-rank {format_p(results['tests']['logrank']['p_value'])}")
    if q.competing:
        lines.append("Net: competing deaths are censored")
    return lines


def _forest(results: dict[str, Any]) -> list[ForestRow]:
    """Rows of the multivariable model, or of the single univariable ones."""
    models = results.get("cox", {})
    chosen = {"multivariable": models["multivariable"]} if "terms" in models.get("multivariable", {}) else models
    rows: list[ForestRow] = []
    for model in chosen.values():
        last = ""
        for term in model.get("terms", []):
            if term["level"] and term["term"] != last:
                rows.append(ForestRow(term["term"], "", float("nan"), float("nan"), float("nan"), "", heading=True))
                rows.append(ForestRow(f"   {term['reference']}", "reference", 1.0, 1.0, 1.0, ""))
            last = term["term"]
            text = f"   {term['level']}" if term["level"] else term["term"]
            counts = f"{term['n']} ({term['events']})" if term["level"] else f"{model['n']} ({model['events']})"
            rows.append(ForestRow(text, counts, term["hr"], term["lower"], term["upper"], bare_p(term["p"])))
    return rows


def _subgroup_rows(results: dict[str, Any]) -> list[ForestRow]:
    rows: list[ForestRow] = []
    for part in results.get("subgroups", []):
        p = part["interaction"]["p_value"]
        rows.append(
            ForestRow(
                part["by"], "", float("nan"), float("nan"), float("nan"), f"interaction {format_p(p)}", heading=True
            )
        )
        for row in part["rows"]:
            text = f"   {row['subgroup']}" + (f": {row['level']} vs {row['reference']}" if row["level"] else "")
            rows.append(ForestRow(text, f"{row['n']} ({row['events']})", row["hr"], row["lower"], row["upper"], ""))
    return rows
