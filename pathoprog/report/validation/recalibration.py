"""The part of a report's calibration that moves the stated model to these patients: a further, named model."""

from typing import Any

import pandas as pd

from pathoprog.report.document import Table, Text
from pathoprog.text.numbers import MINUS, format_interval, format_percent
from pathoprog.text.wording import capital


def recalibration_blocks(found: dict[str, Any], status: str) -> list[Text | Table]:
    """The recalibrated models at each horizon, what they are, and what they are not.

    Args:
        found: ``calibration`` of `statistics.json`.
        status: planned or exploratory.
    """
    parts = [part for part in found["horizons"] if not part["note"]]
    blocks: list[Text | Table] = [
        Text(f"{capital(part['recalibrated']['note'])}.", "note")
        for part in parts
        if "slope" not in part["recalibrated"]
    ]
    models = [part["recalibrated"] for part in parts if "slope" in part["recalibrated"]]
    if not models:
        return blocks
    shown = [
        (
            f"{one['name']} years",
            format_percent(one["expected"]),
            format_percent(one["observed"]["value"]),
            _estimate(one["in_the_large"]),
            _estimate(one["intercept"]),
            _estimate(one["slope"]),
        )
        for one in models
    ]
    full = [
        {key: one[key] for key in ("name", "horizon", "n", "events", "competing", "expected")}
        | {
            f"{name}{suffix}": one[name][key]
            for name in ("observed", "in_the_large", "intercept", "slope")
            for suffix, key in (("", "value"), ("_lower", "lower"), ("_upper", "upper"))
        }
        for one in models
    ]
    blocks += [
        Text(
            "Recalibrated, the risks are those of another model, with a name of its own: with r the given risk and "
            f"L(r) = log({MINUS}log(1 {MINUS} r)), the new risk has L = L(r) + shift (in the large: the mean fits), "
            f"or L = intercept + slope x L(r). {models[0]['note']}",
            "warning",
        ),
        Table(
            "recalibrated",
            "Recalibrated models (95% CI): to be validated in other patients.",
            pd.DataFrame(shown, columns=["Model", "Mean risk given", "Observed", "Shift", "Intercept", "Slope"]),
            pd.DataFrame(full),
            status=status,
        ),
    ]
    return blocks


def _estimate(value: dict[str, float]) -> str:
    return format_interval(value["value"], value["lower"], value["upper"], 2)
