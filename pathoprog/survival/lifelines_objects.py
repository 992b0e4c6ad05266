"""Fitted objects of lifelines from the project's own, for a statistician who goes on in a notebook."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray

if TYPE_CHECKING:
    from pathoprog.survival.curves.product_limit import KaplanMeier
    from pathoprog.survival.regression.cox_model import CoxFit

PRECISION = {"precision": 1e-20, "max_steps": 500}
"""Of lifelines' Newton steps: at its own default its standard errors are up to 4e-4 off, at this 1e-9."""


def kaplan_meier_fitter(curve: "KaplanMeier", label: str = "") -> Any:
    """A fitted `lifelines.KaplanMeierFitter` of the same rows, whose curve and log-log limits are the same.

    Its median differs where the curve runs exactly at one half: lifelines gives the first such time, R and `quantile`
    the middle of that stretch.

    Raises:
        InputError: the standard errors are robust, which lifelines does not have; or the curve fell to 0 while others
            had still to enter, which it refuses.
    """
    of = curve.rows
    if curve.robust:
        raise InputError("lifelines' Kaplan-Meier has no robust standard errors: several rows of a patient, or weights")
    from lifelines import KaplanMeierFitter
    from lifelines.exceptions import StatError

    given = {"entry": of.entry, "weights": of.weight, "label": label or "survival"}
    try:
        return KaplanMeierFitter().fit(of.time, of.died, **given)
    except StatError as error:
        raise InputError(f"lifelines refuses this curve: {error}") from error


def cox_fitter(fit: "CoxFit") -> Any:
    """A fitted `lifelines.CoxPHFitter` of the same design: coefficients, errors and likelihood agree to 1e-9.

    Where standard errors are robust so are its own, by patient, which under ties are up to 0.5% off R's and ours.

    Raises:
        InputError: Breslow ties, which lifelines does not have, or a coefficient without a finite estimate.
    """
    if fit.ties != "efron":
        raise InputError(f"ties={fit.ties}: lifelines has Efron's only")
    if fit.maximum.infinite.any():
        raise InputError(f"no finite estimate, so that lifelines cannot fit it: {'; '.join(fit.notes)}")
    from lifelines import CoxPHFitter

    used = np.flatnonzero(~fit.maximum.aliased)
    table = pd.DataFrame({fit.design.columns[k].name: fit.design.matrix[:, k] for k in used})
    table = table.assign(time=fit.time, event=fit.event.astype(int))
    how: dict[str, Any] = {}
    extras = (
        ("strata", "stratum", None if fit.strata is None else np.array(fit.strata_levels)[fit.strata]),
        ("entry_col", "entry", fit.entry),
        ("weights_col", "weight", fit.weight),
        ("cluster_col", "patient", fit.cluster),
    )
    for key, name, values in extras:
        if values is not None:
            table[name], how[key] = values, name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that are no whole numbers: the errors are robust
        return CoxPHFitter().fit(table, "time", "event", robust=fit.robust is not None, fit_options=PRECISION, **how)


def parametric_fitter(
    distribution: str, time: FloatArray, died: Any, entry: FloatArray | None, weight: FloatArray | None
) -> Any:
    """A fitted `lifelines.WeibullFitter` or `LogNormalFitter`.

    Raises:
        InputError: it did not converge.
    """
    from lifelines import LogNormalFitter, WeibullFitter
    from lifelines.exceptions import ConvergenceError, StatisticalWarning

    fitter = {"weibull": WeibullFitter, "log_normal": LogNormalFitter}[distribution]()
    with warnings.catch_warnings():
        warnings.simplefilter("error", StatisticalWarning)
        try:
            return fitter.fit(time, died, entry=entry, weights=weight)
        except (ConvergenceError, StatisticalWarning, np.linalg.LinAlgError, ValueError) as error:
            said = " ".join(str(error).split())[:120]
            raise InputError(
                f"no {distribution.replace('_', '-')} curve: lifelines did not converge ({said})"
            ) from error
