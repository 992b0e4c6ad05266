"""Decision curve: the net benefit of acting on a predicted risk, over the thresholds at which one would act."""

from typing import Any

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, IntArray, checked

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
        above = risk >= levels[:, None]
        positive = above.sum(axis=1) / max(times.size, 1)
        true = _event_shares(times, codes, above, horizon, competing) * positive
        false = positive - true
        benefit = true - false * levels / (1 - levels)
        rows += [(name, *map(float, row)) for row in zip(levels, positive, true, false, benefit, strict=True)]
    rows += [("none", float(threshold), 0.0, 0.0, 0.0, 0.0) for threshold in levels]
    names = ["model", "threshold", "share_positive", "true_positive", "false_positive", "net_benefit"]
    return pd.DataFrame(rows, columns=names)


def _event_shares(time: FloatArray, event: IntArray, above: Any, horizon: float, competing: bool) -> FloatArray:
    """P(event by the horizon) among the patients above each threshold (k, n): 0 of none, nan if not followed so far.

    By Kaplan and Meier, or Aalen and Johansen, of all thresholds at once.
    """
    order = np.argsort(time, kind="stable")
    t, code, inside = time[order], event[order], above[:, order]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(t) > 0)))
    starts = starts[t[starts] <= horizon]
    stop = int(np.searchsorted(t, horizon, side="right"))
    last = np.where(inside.any(axis=1), t[t.size - 1 - np.argmax(inside[:, ::-1], axis=1)], np.inf)
    at_risk = np.cumsum(inside[:, ::-1], axis=1)[:, ::-1][:, starts]

    def deaths(which: Any) -> FloatArray:
        found = (inside & which)[:, :stop].astype(float)
        return np.asarray(np.add.reduceat(found, starts, axis=1) if starts.size else found)

    own = deaths(code == EVENT)
    any_ = deaths(code > 0) if competing else own
    safe = np.maximum(at_risk, 1)
    survival = np.cumprod((safe - any_) / safe, axis=1)
    before = np.concatenate((np.ones((len(inside), 1)), survival), axis=1)
    share = (before[:, :-1] * own / safe).sum(axis=1) if competing else 1 - before[:, -1]
    return np.where((horizon > last) & (before[:, -1] > 0), np.nan, share)
