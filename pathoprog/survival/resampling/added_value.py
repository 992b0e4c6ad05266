"""What columns add to covariates that are known without them: two nested models, judged beside each other."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, IntArray, level_names
from pathoprog.survival.curves.rank_tests import HypothesisTest
from pathoprog.survival.prediction.accuracy import auc_influence
from pathoprog.survival.prediction.calibration import Calibration, calibration
from pathoprog.survival.prediction.concordance import harrell_c
from pathoprog.survival.prediction.decision import decision_curve
from pathoprog.survival.prediction.differences import PairedDifference, auc_difference, concordance_difference
from pathoprog.survival.question import Model, NotEstimated, Question
from pathoprog.survival.regression.baseline import predict_risk
from pathoprog.survival.regression.cox_model import CoxFit, refitted
from pathoprog.survival.regression.design import complete_rows
from pathoprog.survival.regression.partial_likelihood import maximise, risk_sets
from pathoprog.survival.resampling.bootstrap import bootstrap

THRESHOLDS = tuple(round(0.02 * k, 2) for k in range(1, 26))
WHY_NO_NRI = (
    "Net reclassification and integrated discrimination improvement are left out: both can be made to rise by a model "
    "that is only miscalibrated or adds noise (Hilden and Gerds, Stat Med 2014;33:3405; Pepe et al., Stat Biosci "
    "2015;7:282)."
)


@dataclass(frozen=True)
class Corrected:
    """A figure of a model judged in the patients that it was fitted on, and without its optimism.

    Attributes:
        apparent: as it is.
        optimism: mean over the resamples of what a model gains by being judged where it was fitted.
        value: apparent less optimism.
        lower: lower limit of the apparent figure less optimism; nan where it has none.
        upper: upper limit likewise.
    """

    apparent: float
    optimism: float
    value: float
    lower: float = float("nan")
    upper: float = float("nan")


@dataclass(frozen=True)
class AtOneHorizon:
    """Both models at a horizon: risks judged side by side.

    Attributes:
        horizon: the time.
        auc: difference of AUC(t) of the risks, apparent.
        calibration: of ``base`` and of ``full``, apparent; NotEstimated where there is none.
        risk: predicted risks of both (n,).
        net_benefit: ``threshold, all, base, full`` and, without optimism, ``base_corrected, full_corrected``.
        note: why there is nothing; else empty.
    """

    horizon: float
    auc: PairedDifference
    calibration: dict[str, Calibration | NotEstimated]
    risk: dict[str, FloatArray]
    net_benefit: pd.DataFrame
    note: str = ""


@dataclass(frozen=True)
class AddedValue:
    """A model of covariates (``base``) and one with the added columns (``full``), fitted on the same patients.

    Attributes:
        base: covariates of the base model.
        added: columns added.
        n: patients with all of them.
        n_missing: patients without.
        events: events.
        likelihood_ratio: test of the added terms; Wald where the variance is robust.
        base_model: the fit.
        full_model: the fit.
        harrell: difference of Harrell's c of the linear predictors, pairs inside cohorts where these are pooled.
        uno: of Uno's c, likewise.
        corrected: without optimism: ``c_base``, ``c_full``, ``c_difference``, ``slope_base``, ``slope_full`` and for
            each horizon ``auc_base T``, ``auc_full T``, ``auc_difference T``; empty without resamples.
        resamples: how many, and how many of them failed.
        horizons: both models at each.
    """

    base: tuple[str, ...]
    added: tuple[str, ...]
    n: int
    n_missing: int
    events: int
    likelihood_ratio: HypothesisTest
    base_model: CoxFit
    full_model: CoxFit
    harrell: PairedDifference
    uno: PairedDifference
    corrected: dict[str, Corrected]
    resamples: tuple[int, int]
    horizons: list[AtOneHorizon]


def likelihood_ratio(base: CoxFit, full: CoxFit) -> HypothesisTest:
    """Test of the terms that the full model has and the base model lacks.

    Raises:
        InputError: the models are of other rows, or not nested.
    """
    if base.n != full.n or not (base.time == full.time).all() or not set(base.design.terms) <= set(full.design.terms):
        raise InputError("a likelihood ratio test takes nested models of the same rows")
    mine = [k for k, column in enumerate(full.design.columns) if column.term not in base.design.terms]
    if full.cluster is not None:
        return full.wald_of(mine)
    df = int((~full.maximum.aliased).sum() - (~base.maximum.aliased).sum())
    statistic = max(2 * (full.loglik - base.loglik), 0.0)
    return HypothesisTest(statistic, df, float(chdtrc(df, statistic)) if df else float("nan"))


def added_value(q: Question) -> AddedValue:
    """What the added columns tell beyond the base covariates, by Cox models stratified by cohort where pooled.

    Both models are fitted on the patients that they are judged in, so their figures flatter the larger one more. The
    bootstrap's optimism (Harrell, Lee and Mark, Stat Med 1996;15:361) is taken off: both models are fitted anew in each
    resample, within cohorts, and judged there and in all patients. Limits are moved by it (Noma et al., Stat Med
    2021;40:5691).

    Raises:
        InputError: nothing to add or to add to, a column on both sides, or a model that cannot be fitted.
    """
    if not q.added or not q.base:
        raise InputError("added value takes columns to add and covariates to add them to")
    both = sorted(set(q.added) & set(q.base))
    if both:
        raise InputError(f"{', '.join(both)}: on both sides; what adds to itself adds nothing")
    rows = complete_rows(q.frame, [*q.base, *q.added, *([q.within] if q.within else [])])
    asked = replace(q, frame=q.frame.loc[rows].reset_index(drop=True))
    strata = (q.within,) if q.within else ()
    models = (Model(q.base, strata), Model((*q.base, *q.added), strata))
    base, full = (asked.fit(model) for model in models)
    for fit in (base, full):
        if fit.maximum.infinite.any():
            raise InputError(f"a model has no finite ratio: {'; '.join(fit.notes)}")
    block = level_names(asked.frame[q.within]) if q.within else None
    scores = (base.linear_predictor, full.linear_predictor)
    net = np.where(asked.event == EVENT, 1, 0)
    judge = _Judge(asked, (base, full), net)
    apparent = judge.of((base, full), np.arange(len(net)))
    optimism, resamples = np.zeros(apparent.size), (0, 0)
    if q.bootstrap:
        drawn = bootstrap(judge, len(net), q.bootstrap, block, q.seed, q.workers)
        known = np.isfinite(drawn.samples)
        optimism = np.where(known, drawn.samples, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        optimism = np.where(known.any(axis=0), optimism, np.nan)
        resamples = (q.bootstrap, int(drawn.failed[0]))
    given = (asked.time, net, *scores)
    harrell, uno = (concordance_difference(*given, uno=kind, strata=block) for kind in (False, True))
    horizons = [judge.horizon(h, optimism, bool(q.bootstrap)) for h in q.horizons]
    corrected = {}
    if q.bootstrap:
        limits = {"c_difference": (harrell.lower, harrell.upper)}
        limits |= {f"auc_difference {one.horizon:g}": (one.auc.lower, one.auc.upper) for one in horizons}
        for k, name in enumerate(judge.names):
            low, high = limits.get(name, (float("nan"), float("nan")))
            gain = float(optimism[k])
            corrected[name] = Corrected(float(apparent[k]), gain, float(apparent[k]) - gain, low - gain, high - gain)
    return AddedValue(
        q.base,
        q.added,
        len(net),
        int((~rows).sum()),
        int(net.sum()),
        likelihood_ratio(base, full),
        base,
        full,
        harrell,
        uno,
        corrected,
        resamples,
        horizons,
    )


@dataclass(frozen=True)
class _Judge:
    """Figures of a pair of models in given rows; called with a resample, their optimism: there less in all rows."""

    q: Question
    fits: tuple[CoxFit, CoxFit]
    net: IntArray

    @property
    def names(self) -> list[str]:
        """The figures before the net benefits."""
        found = ["c_base", "c_full", "c_difference", "slope_base", "slope_full"]
        for h in self.q.horizons:
            found += [f"auc_base {h:g}", f"auc_full {h:g}", f"auc_difference {h:g}"]
        return found

    def __call__(self, index: IntArray) -> FloatArray:
        if np.array_equal(index, np.arange(len(self.net))):
            return np.zeros(self.of(self.fits, index).size)
        fits = (refitted(self.fits[0], index), refitted(self.fits[1], index))
        return self.of(fits, index) - self.of(fits, np.arange(len(self.net)))

    def of(self, fits: tuple[CoxFit, CoxFit], rows: IntArray) -> FloatArray:
        """All figures of two models in the rows at `rows`."""
        time, event = self.q.time[rows], self.net[rows]
        block = None if self.fits[0].strata is None else self.fits[0].strata[rows]
        eta = [(whole.design.matrix[rows] * np.nan_to_num(fit.coef)).sum(axis=1) for fit, whole in self._pairs(fits)]
        c = [harrell_c(time, event, one, strata=block).value for one in eta]
        found = [*c, c[1] - c[0], *(self._slope(rows, one) for one in eta)]
        benefit: list[float] = []
        for h in self.q.horizons:
            risks = [self.risk(fit, whole, h)[rows] for fit, whole in self._pairs(fits)]
            read = [auc_influence(time, event, one, h) for one in risks]
            auc = [float("nan") if one is None else one[0] for one in read]
            found += [*auc, auc[1] - auc[0]]
            table = decision_curve(time, event, {"base": risks[0], "full": risks[1]}, h, THRESHOLDS)
            values = {name: part["net_benefit"].to_numpy() for name, part in table.groupby("model")}
            for name in ("base", "full"):  # beside acting in all: what differs by chance of events alone falls out
                benefit += [float(v) for v in values[name] - values["all"]]
        return np.array(found + benefit)

    def _pairs(self, fits: tuple[CoxFit, CoxFit]) -> list[tuple[CoxFit, CoxFit]]:
        return list(zip(fits, self.fits, strict=True))

    def _slope(self, rows: IntArray, eta: FloatArray) -> float:
        """Coefficient of the linear predictor in these rows: 1 where the model was fitted."""
        strata = self.fits[0].strata
        sets = risk_sets(self.q.time[rows], self.net[rows] > 0, None if strata is None else strata[rows], self.q.ties)
        return float(maximise(eta[:, None], sets).beta[0])

    def risk(self, fit: CoxFit, whole: CoxFit, horizon: float) -> FloatArray:
        """Net risk by the horizon of all rows, by a model whose strata are those of the whole (n,)."""
        return predict_risk(fit, whole.design.matrix, horizon, whole.strata)

    def horizon(self, horizon: float, optimism: FloatArray, resampled: bool) -> AtOneHorizon:
        """Both models at one horizon."""
        risks = {name: self.risk(fit, fit, horizon) for name, fit in zip(("base", "full"), self.fits, strict=True)}
        auc = auc_difference(self.q.time, self.net, risks["base"], risks["full"], horizon)
        table = decision_curve(self.q.time, self.net, risks, horizon, THRESHOLDS)
        wide = table.pivot_table(index="threshold", columns="model", values="net_benefit", dropna=False).reset_index()
        shown = pd.DataFrame({name: wide[name] for name in ("threshold", "all", "base", "full")})
        if resampled:
            start = len(self.names) + 2 * len(THRESHOLDS) * self.q.horizons.index(horizon)
            for k, name in enumerate(("base", "full")):
                part = optimism[start + k * len(THRESHOLDS) :][: len(THRESHOLDS)]
                shown[f"{name}_corrected"] = shown[name].to_numpy() - part
        judged: dict[str, Calibration | NotEstimated] = {}
        for name, risk in risks.items():
            try:
                judged[name] = calibration(self.q.time, self.net, risk, horizon, n_groups=5)
            except InputError as error:
                judged[name] = NotEstimated(str(error))
        note = "nobody was followed to the horizon" if np.isnan(auc.first) else ""
        return AtOneHorizon(horizon, auc, judged, risks, shown, note)


def shortened(found: AddedValue) -> dict[str, Any]:
    """The result as `statistics.json` holds it: terms of both models, no patient's own risk."""
    from pathoprog.survival.summary import calibration_parts, plain, records

    result: dict[str, Any] = {
        name: plain(getattr(found, name))
        for name in ("base", "added", "n", "n_missing", "events", "likelihood_ratio", "harrell", "uno", "corrected")
    }
    result["resamples"] = {"drawn": found.resamples[0], "failed": found.resamples[1]}
    for name, fit in (("base_model", found.base_model), ("full_model", found.full_model)):
        result[name] = {"loglik": fit.loglik, "aic": fit.aic, "terms": records(fit.terms)}
    result["note"] = WHY_NO_NRI
    result["horizons"] = []
    for one in found.horizons:
        part: dict[str, Any] = {"horizon": one.horizon, "note": one.note, "auc": plain(one.auc)}
        part["net_benefit"] = records(one.net_benefit)
        for name, judged in one.calibration.items():
            if isinstance(judged, NotEstimated):
                part[name] = plain(judged)
                continue
            numbers, curve = calibration_parts(judged, one.risk[name])
            part[name] = {"calibration": numbers, "calibration_curve": curve}
        result["horizons"].append(part)
    return result
