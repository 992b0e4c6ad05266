"""The numbers under a curve: rows of texts, one text a column."""

from typing import Any

import numpy as np

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray
from pathoprog.survival.curves.risk_sets import number_at_risk


def table_title(brackets: str) -> str:
    """What stands above the table.

    Raises:
        InputError: another word for what stands in brackets.
    """
    titles = {
        "events": "Number at risk (events until next)",
        "censored": "Number at risk (censored until next)",
        "": "Number at risk",
    }
    if brackets not in titles:
        raise InputError(f"brackets={brackets!r}: must be one of 'events', 'censored', ''")
    return titles[brackets]


def cells(
    time: FloatArray,
    event: Any,
    columns: FloatArray,
    brackets: str,
    entry: Any = None,
    weight: Any = None,
    patient: Any = None,
) -> list[str]:
    """One row of the table, for one group.

    Raises:
        InputError: censorings are asked for under delayed entry or case weights.
    """
    at_risk = number_at_risk(time, event, columns, entry, weight, patient)
    counts = at_risk.n_event
    if brackets == "censored":
        if entry is not None or weight is not None:
            raise InputError("brackets='censored' takes no delayed entry and no case weights; use brackets='events'")
        counts = np.diff(np.append(at_risk.cum_censored, time.size - at_risk.n_event.sum() - at_risk.cum_events[0]))
    texts = [_number(n) for n in at_risk.n_risk]
    if not brackets:
        return texts
    inner = [f"{n} ({_number(k)})" for n, k in zip(texts[:-1], counts[:-1], strict=True)]
    return [*inner, texts[-1]]


def _number(value: Any) -> str:
    return f"{value:.1f}".removesuffix(".0")  # weights need no more
