"""Decision curve: the net benefit of acting on a predicted risk, over the thresholds at which one would act."""

from typing import Any

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import checked
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.product_limit import kaplan_meier

DEFAULT_THRESHOLDS = tuple(round(0.01 * k, 2) for k in range(1, 51))


def decision_curve(
    time: Any,
    event: Any,
    risks: dict[str, Any],
    horizon: float,
    thresholds: Any = DEFAULT_THRESHOLDS,
    competing: bool = False,
) -> pd.DataFrame:
    """Net benefit by the horizon of each model, of acting in all patients and in none.

    Vickers and Elkin, Med Decis Making 2006;26:565; censoring by the Kaplan-Meier curve of those above the threshold:
    Vickers et al., BMC Med Inform Decis Mak 2008;8:53 (competing deaths: by Aalen and Johansen). Equal to the
    `dcurves` package where that one can be used; it knows no competing deaths.

    Args:
        time: follow-up (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        risks: by name, the predicted probabilities of the event by the horizon (n,).
        horizon: in the unit of `time`.
        thresholds: risks at which one would act, each above 0 and below 1.
        competing: True: by cumulative incidence; False: competing deaths are censored.

    Returns:
        Columns ``model, threshold, share_positive, true_positive, false_positive, net_benefit``; shares are of all
        patients; nan where nobody above the threshold was followed to the horizon.
    """
    times, codes = checked(time, event)
    levels = np.asarray(thresholds, dtype=float)
    if not ((levels > 0) & (levels < 1)).all():
        raise InputError("thresholds of a decision curve must lie between 0 and 1")
    columns = {name: np.asarray(risk, dtype=float) for name, risk in risks.items()}
    columns["all"] = np.ones(times.size)
    rows = []
    for name, risk in columns.items():
        if risk.shape != times.shape or not ((risk >= 0) & (risk <= 1)).all():
            raise InputError(f"{name}: predicted risks must be one number from 0 to 1 for each patient")
        done: dict[int, float] = {}
        for threshold in levels:
            above = risk >= threshold
            count = int(above.sum())
            if count not in done:  # thresholds between two predictions pick the same patients
                done[count] = _event_share(times[above], codes[above], horizon, competing)
            positive = count / times.size
            true = done[count] * positive
            false = (1 - done[count]) * positive
            benefit = true - false * threshold / (1 - threshold)
            rows.append((name, float(threshold), positive, true, false, benefit))
    rows += [("none", float(threshold), 0.0, 0.0, 0.0, 0.0) for threshold in levels]
    names = ["model", "threshold", "share_positive", "true_positive", "false_positive", "net_benefit"]
    return pd.DataFrame(rows, columns=names)


def _event_share(time: Any, event: Any, horizon: float, competing: bool) -> float:
    """P(event by the horizon) among the given patients; 0 of none, nan if not followed so long."""
    if time.size == 0:
        return 0.0
    anything = kaplan_meier(time, event > 0 if competing else event == 1).at(horizon)
    if anything.beyond[0] and anything.survival[0] > 0:
        return float("nan")  # as `followed_to`: nobody was followed so long
    if competing:
        return float(cumulative_incidence(time, event).at(horizon).value[0])
    return float(1 - anything.survival[0])
