"""Each site's c, hazard ratio, calibration and class shares, and what the sites have in common."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc, expit, logit, ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, FloatArray, groups_of, level_names
from pathoprog.survival.curves.rank_tests import HypothesisTest
from pathoprog.survival.prediction.calibration import calibration
from pathoprog.survival.prediction.concordance import harrell_c
from pathoprog.survival.question import Model, NotEstimated, PredictedRisk, Question, Score
from pathoprog.survival.sites.random_effects import METHODS, RandomEffects, further_site, leave_one_out, random_effects

FROM: dict[str, Callable[[Any], Any]] = {"log": np.exp, "logit": expit, "identity": lambda value: value}
"""From the scale on which sites are pooled to the figure's own."""


@dataclass(frozen=True)
class SiteEstimate:
    """One site's figure.

    Attributes:
        site: its name.
        n: rows.
        events: events.
        estimate: on the scale on which sites are pooled; nan where there is none.
        se: its standard error there.
        value: the figure itself (hazard ratio, c).
        lower: lower 95% limit.
        upper: upper 95% limit.
        note: why it is listed and not pooled; empty where it is pooled.
    """

    site: str
    n: int
    events: int
    estimate: float
    se: float
    value: float
    lower: float
    upper: float
    note: str

    @property
    def pooled(self) -> bool:
        """True where it has a finite estimate."""
        return not self.note


@dataclass(frozen=True)
class PooledSites:
    """A random-effects pool on the figure's own scale, with its parts on the scale of pooling in `model`.

    Attributes:
        value: the mean over sites.
        lower: lower limit.
        upper: upper limit.
        prediction_lower: of a further site, by Higgins, Thompson and Spiegelhalter, as R; covers too seldom.
        prediction_upper: upper limit.
        further_lower: of a further site, with the variance between sites as little known as it is (`further_site`).
        further_upper: upper limit.
        model: the pool.
    """

    value: float
    lower: float
    upper: float
    prediction_lower: float
    prediction_upper: float
    further_lower: float
    further_upper: float
    model: RandomEffects


@dataclass(frozen=True)
class SiteMeasure:
    """One figure over all sites.

    Attributes:
        measure: ``hazard_ratio``, ``c``, ``share`` of the worst group, ``observed_expected`` or ``calibration_slope``.
        what: in words.
        scale: of pooling: ``log``, ``logit`` or ``identity``.
        sites: each site's.
        pools: by method and limits: ``REML_knapp_hartung`` (shown first), ``REML_z``, ``DL_knapp_hartung``, ``DL_z``.
        without: pooled by the first of these without each pooled site, by its name; empty below three.
        one_stage: the figure of one model stratified by site, on its own scale: value, lower, upper; None where there
            is no such model.
        note: why sites are not pooled, or which are only listed; else empty.
    """

    measure: str
    what: str
    scale: str
    sites: tuple[SiteEstimate, ...]
    pools: dict[str, PooledSites]
    without: dict[str, PooledSites]
    one_stage: tuple[float, float, float] | None
    note: str


@dataclass(frozen=True)
class BySite:
    """Everything by the sites of one column.

    Attributes:
        column: that names them.
        names: the sites.
        n_missing: rows without a site, in none of these figures.
        shares: ``site, n, events`` and the share of each group (``share LEVEL``), of rows, not weighted.
        shares_test: Pearson's chi-squared test of equal shares at all sites; nan where rows are weighted, or several
            are of one patient.
        measures: by name.
        note: said plainly where there is one site only; else empty.
        refused: figures that do not take how the rows were observed, each with the reason.
    """

    column: str
    names: tuple[str, ...]
    n_missing: int
    shares: pd.DataFrame
    shares_test: HypothesisTest
    measures: dict[str, SiteMeasure]
    note: str
    refused: tuple[str, ...] = ()


def by_site(q: Question) -> dict[str, BySite | NotEstimated]:
    """For each column of sites: each site's figures and their random-effects pool, beside the one-stage model.

    Random effects describe the sites: the primary analysis stays the one-stage model stratified by cohort.
    """
    if not q.sites:
        raise InputError("no column of sites is asked for")
    found: dict[str, BySite | NotEstimated] = {}
    for column in q.sites:
        try:
            found[column] = _of_column(q, column)
        except InputError as error:
            found[column] = NotEstimated(str(error))
    return found


def _of_column(q: Question, column: str) -> BySite:
    if column not in q.frame:
        raise InputError(f"no column {column!r}")
    label = level_names(q.frame[column])
    there = label != ""
    if not there.any():
        raise InputError(f"{column}: no row has a site")
    names, _ = groups_of(label[there], int(there.sum()))
    sites = {name: label == name for name in names}
    measures = {}
    if len(q.levels) > 1:
        measures["hazard_ratio"] = _ratios(q, column, sites)
    score = next(iter([*q.scored("c_index"), *q.scored("c_classes")]), None)
    if score is not None:
        measures["c"] = _concordances(q, score, label, sites)
    no_shares = q.refusal("share of the worst group by site", ("entry",)) if len(q.levels) > 1 else ""
    if len(q.levels) > 1 and not no_shares:
        measures["share"] = _worst_shares(q, sites)
    no_calibration = q.refusal("calibration by site", ()) if q.risks else ""
    for risk in () if no_calibration else q.risks:
        suffix = "" if len(q.risks) == 1 else f"_{risk.horizon:g}"
        ratio, slope = _calibrations(q, risk, sites)
        measures[f"observed_expected{suffix}"], measures[f"calibration_slope{suffix}"] = ratio, slope
    note = ""
    if len(names) == 1:
        note = f"{column}: one site only ({names[0]}): nothing can be said of how figures vary between sites"
    table, test = _shares(q, sites)
    if no_shares:  # the test takes rows as patients of weight 1
        test = HypothesisTest(float("nan"), 0, float("nan"))
    refused = tuple(reason for reason in (no_shares, no_calibration) if reason)
    return BySite(column, tuple(names), int((~there).sum()), table, test, measures, note, refused)


def contrast_of(q: Question) -> tuple[str, str]:
    """The worse and the better level that ratios compare: those asked for, else the last and the reference.

    Raises:
        InputError: there is one level only.
    """
    if q.contrast:
        return q.contrast
    better = q.reference.get(q.group, q.levels[0])
    worse = next((level for level in reversed(q.levels) if level != better), "")
    if not worse:
        raise InputError(f"{q.group}: one level only, nothing to compare")
    return worse, better


def _ratios(q: Question, column: str, sites: dict[str, Any]) -> SiteMeasure:
    """Ratios of one contrast: of its two levels alone where it is asked for, else of a model of all groups."""
    worse, better = contrast_of(q)
    label = level_names(q.frame[q.group])
    known = np.isin(label, q.contrast) if q.contrast else label != ""
    against = replace(q, reference={**q.reference, q.group: better})
    within = (q.within,) if q.within and q.within != column else ()

    def fitted(rows: Any, strata: tuple[str, ...]) -> tuple[float, float, str]:
        asked = replace(against, frame=q.frame.loc[rows])
        fit = asked.tried(Model((q.group,), strata))
        if isinstance(fit, NotEstimated):
            return float("nan"), float("nan"), fit.note
        term = next((row for row in fit.terms.to_dict("records") if row["level"] in (worse, "")), None)
        if term is None:
            return float("nan"), float("nan"), f"no row is {worse}"
        return float(term["coef"]), float(term["se"]), str(term["note"])

    rows = [_site(q, name, mine & known, "log", *fitted(mine & known, within)) for name, mine in sites.items()]
    whole = np.logical_or.reduce(list(sites.values())) & known
    coef, se, note = fitted(whole, (*within, column))
    stage = None if note or not np.isfinite([coef, se]).all() else _limits("log", coef, se)
    what = f"hazard ratio, {worse} vs {better}"
    if not q.contrast and len(q.levels) > 2:
        what += " in a model of all groups"
    return _pooled("hazard_ratio", what, "log", rows, stage)


def _concordances(q: Question, score: Score, label: Any, sites: dict[str, Any]) -> SiteMeasure:
    known = np.isfinite(score.values)

    def judged(rows: Any, strata: Any = None) -> tuple[float, float, str]:
        of = q.all_rows.of(rows)
        if not of.time.size:
            return float("nan"), float("nan"), "no row has the score"
        c = harrell_c(
            of.time, of.event, score.values[rows], entry=of.entry, weight=of.weight, patient=of.patient, strata=strata
        )
        if not 0 < c.value < 1 or not c.se > 0:
            note = (
                "no comparable pairs"
                if np.isnan(c.value)
                else f"c is {c.value:.3g} with standard error {c.se:.3g}: not to be pooled"
            )
            return float("nan"), float("nan"), note
        return float(logit(c.value)), c.se / (c.value * (1 - c.value)), ""

    rows = [_site(q, name, mine & known, "logit", *judged(mine & known)) for name, mine in sites.items()]
    whole = np.logical_or.reduce(list(sites.values())) & known
    estimate, se, note = judged(whole, label[whole])
    stage = None if note else _limits("logit", estimate, se)
    return _pooled(
        "c",
        f"Harrell's c of {'the ' * (score.name == 'one_number')}{score.name.replace('_', ' ')}, pairs inside the site",
        "logit",
        rows,
        stage,
    )


def _worst_shares(q: Question, sites: dict[str, Any]) -> SiteMeasure:
    worst = contrast_of(q)[0]
    label = level_names(q.frame[q.group])
    rows = []
    for name, mine in sites.items():
        own = label[mine & (label != "")]
        n, k = own.size, int((own == worst).sum())
        note = "" if 0 < k < n else f"{k} of {n} are {worst}: no logit"
        share = k / n if n else float("nan")
        given = (float(logit(share)), float(np.sqrt(1 / (n * share * (1 - share))))) if not note else (np.nan, np.nan)
        rows.append(_site(q, name, mine & (label != ""), "logit", *given, note))
    return _pooled("share", f"share of {worst}", "logit", rows, None)


def _calibrations(q: Question, risk: PredictedRisk, sites: dict[str, Any]) -> tuple[SiteMeasure, SiteMeasure]:
    """Observed over expected on the log scale, and the calibration slope."""
    values = np.full(len(q.time), np.nan)
    values[risk.rows] = risk.risk
    ratios, slopes = [], []
    for name, site in sites.items():
        mine = site & risk.rows
        event = q.event[mine] if risk.competing else np.where(q.event[mine] == EVENT, 1, 0)
        try:
            if not mine.any():
                raise InputError("no row has a risk")
            found = calibration(q.time[mine], event, values[mine], risk.horizon, risk.competing, 2)
            ratio = (
                (float(np.log(found.ratio.value)), found.ratio.se / found.ratio.value) if found.ratio.value > 0 else ()
            )
            slope = (found.slope.value, found.slope.se)
            notes = ["" if ratio and np.isfinite(ratio).all() else "no event by the horizon, or not followed to it", ""]
            if not np.isfinite(slope).all():
                notes[1] = "no finite slope"
            ratios.append(_site(q, name, mine, "log", *(ratio or (np.nan, np.nan)), notes[0]))
            slopes.append(_site(q, name, mine, "identity", *slope, notes[1]))
        except InputError as error:
            ratios.append(_site(q, name, mine, "log", np.nan, np.nan, str(error)))
            slopes.append(_site(q, name, mine, "identity", np.nan, np.nan, str(error)))
    at = f"at {risk.horizon:g}"
    return (
        _pooled("observed_expected", f"observed over expected {at}", "log", ratios, None),
        _pooled("calibration_slope", f"calibration slope {at}", "identity", slopes, None),
    )


def _limits(scale: str, estimate: float, se: float) -> tuple[float, float, float]:
    z = float(ndtri(0.975))
    value, lower, upper = (float(FROM[scale](estimate + step * se)) for step in (0, -z, z))
    return value, lower, upper


def _site(q: Question, name: str, rows: Any, scale: str, estimate: float, se: float, note: str = "") -> SiteEstimate:
    if not note and not (np.isfinite(estimate) and np.isfinite(se) and se > 0):
        note = "no finite estimate"
    value = _limits(scale, estimate, se) if not note else (float("nan"),) * 3
    if note:
        estimate = se = float("nan")
    return SiteEstimate(name, int(rows.sum()), int((q.event[rows] == EVENT).sum()), estimate, se, *value, note)


def _pooled(
    measure: str, what: str, scale: str, rows: list[SiteEstimate], stage: tuple[float, float, float] | None
) -> SiteMeasure:
    kept = [row for row in rows if row.pooled]
    estimate, se = np.array([row.estimate for row in kept]), np.array([row.se for row in kept])
    listed = [row.site for row in rows if not row.pooled]
    note = f"listed, not pooled: {', '.join(listed)}" if listed else ""
    pools: dict[str, PooledSites] = {}
    without: dict[str, PooledSites] = {}
    if len(kept) < 2:
        few = "no site has" if not kept else "one site only has"
        reason = f"{few} a finite estimate: nothing to pool"
        return SiteMeasure(measure, what, scale, tuple(rows), {}, {}, stage, f"{reason}; {note}" if note else reason)
    further = further_site(estimate, se)
    for method in METHODS:
        for wide in (True, False):
            name = f"{method}_{'knapp_hartung' if wide else 'z'}"
            try:
                pools[name] = _back(scale, random_effects(estimate, se, method, wide), further)
            except InputError as error:
                note = f"{note}; {name}: {error}" if note else f"{name}: {error}"
    if len(kept) > 2 and pools:
        first = next(iter(pools.values())).model
        left = leave_one_out(estimate, se, first.method, first.knapp_hartung)
        for i, (row, one) in enumerate(zip(kept, left, strict=True)):
            without[row.site] = _back(scale, one, further_site(np.delete(estimate, i), np.delete(se, i)))
    return SiteMeasure(measure, what, scale, tuple(rows), pools, without, stage, note)


def _back(scale: str, found: RandomEffects, further: tuple[float, float]) -> PooledSites:
    names = (found.estimate, found.lower, found.upper, found.prediction_lower, found.prediction_upper, *further)
    value, lower, upper, low, high, least, most = (float(FROM[scale](one)) for one in names)
    return PooledSites(value, lower, upper, low, high, least, most, found)


def _shares(q: Question, sites: dict[str, Any]) -> tuple[pd.DataFrame, HypothesisTest]:
    label = level_names(q.frame[q.group]) if q.group else np.full(len(q.time), "")
    counts: FloatArray = np.array(
        [[float((label[mine] == level).sum()) for level in q.levels] for mine in sites.values()]
    )
    rows = []
    for k, (name, mine) in enumerate(sites.items()):
        total = counts[k].sum() if q.levels else 0.0
        shares = {f"share {level}": counts[k, j] / total if total else np.nan for j, level in enumerate(q.levels)}
        rows.append({"site": name, "n": int(mine.sum()), "events": int((q.event[mine] == EVENT).sum()), **shares})
    used = counts[:, counts.sum(axis=0) > 0] if counts.size else counts
    used = used[used.sum(axis=1) > 0] if used.size else used
    df = (used.shape[0] - 1) * (used.shape[1] - 1) if used.size else 0
    if df <= 0:
        return pd.DataFrame(rows), HypothesisTest(float("nan"), 0, float("nan"))
    expected = np.outer(used.sum(axis=1), used.sum(axis=0)) / used.sum()
    statistic = float(((used - expected) ** 2 / expected).sum())
    return pd.DataFrame(rows), HypothesisTest(statistic, df, float(chdtrc(df, statistic)))
