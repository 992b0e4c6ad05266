"""Curves of groups and tests between them: follow-up, Kaplan-Meier, rank tests, competing deaths, restricted means."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoprog.survival.arrays import COMPETING, EVENT, level_names
from pathoprog.survival.curves.competing import CumulativeIncidence, cumulative_incidence, gray_test
from pathoprog.survival.curves.product_limit import KaplanMeier, followup_time, kaplan_meier
from pathoprog.survival.curves.rank_tests import HypothesisTest, RankTest, TrendTest, logrank, trend
from pathoprog.survival.curves.restricted_mean import MeanDifference, RestrictedMean, difference, restricted_mean
from pathoprog.survival.curves.risk_sets import AtRisk, number_at_risk
from pathoprog.survival.question import Followed, Question


@dataclass(frozen=True)
class MedianFollowUp:
    """Median follow-up by reverse Kaplan-Meier, with its limits."""

    median: float
    lower: float
    upper: float


def median_followup(q: Question) -> MedianFollowUp:
    """How long all patients were followed."""
    of = q.all_rows
    return MedianFollowUp(*followup_time(of.time, of.event, of.entry, of.weight))


@dataclass(frozen=True)
class GroupCurve:
    """A Kaplan-Meier curve (log-log limits) of some patients, and their numbers at risk."""

    patients: Followed
    curve: KaplanMeier
    at_risk: AtRisk


@dataclass(frozen=True)
class GroupCurves:
    """Curves of all patients, and of each level of the group."""

    overall: GroupCurve
    by_group: dict[str, GroupCurve]


def group_curves(q: Question) -> GroupCurves:
    """Kaplan-Meier curves, competing deaths censored (*net*), with the number at risk at `columns`."""

    def of(own: Followed) -> GroupCurve:
        curve = kaplan_meier(own.time, own.event, entry=own.entry, weight=own.weight, patient=own.patient)
        return GroupCurve(
            own, curve, number_at_risk(own.time, own.event, q.columns, own.entry, own.weight, own.patient)
        )

    return GroupCurves(of(q.all_rows), {level: of(own) for level, own in q.by_group.items()})


@dataclass(frozen=True)
class RankTests:
    """Log-rank test, its Peto form, and the trend over more than two groups whose order says which is worse."""

    n: int
    logrank: RankTest
    peto: RankTest
    trend: TrendTest | None


@dataclass(frozen=True)
class GroupTests:
    """Tests of the groups: as they are, and inside the question's further strata, if it names some."""

    plain: RankTests
    stratified: RankTests | None


def group_tests(q: Question) -> GroupTests:
    """Rank tests over the groups; where cohorts are taken together, both are stratified by cohort."""
    frame = q.frame.loc[q.known]
    cohort = level_names(frame[q.within]) if q.within else None
    stratified = None
    if q.strata:
        names = [*([q.within] if q.within else []), *q.strata]
        labels = [level_names(frame[name]) for name in names]
        whole = np.logical_and.reduce([label != "" for label in labels])
        block = labels[0]
        for more in labels[1:]:
            block = np.char.add(np.char.add(block, "\0"), more)
        stratified = _rank_tests(q, whole, block[whole])
    return GroupTests(_rank_tests(q, np.ones(len(frame), dtype=bool), cohort), stratified)


def _rank_tests(q: Question, rows: npt.NDArray[np.bool_], strata: object) -> RankTests:
    of = q.grouped.of(rows)
    given = (of.time, of.event, q.label[rows])
    how = (of.entry, of.weight, of.patient)
    levels = list(q.levels)
    ordered = q.ordered and len(levels) > 2
    return RankTests(
        int(rows.sum()),
        logrank(*given, strata, 0.0, levels, *how),
        logrank(*given, strata, 1.0, levels, *how),
        trend(*given, None, strata, levels, *how) if ordered else None,
    )


@dataclass(frozen=True)
class Incidences:
    """Curves of the cumulative incidence of the ``event`` and of the ``competing`` death, and Gray's test of each."""

    overall: dict[str, CumulativeIncidence]
    by_group: dict[str, dict[str, CumulativeIncidence]]
    gray: dict[str, HypothesisTest]


def incidences(q: Question) -> Incidences:
    """Cumulative incidence where deaths compete, of all and by group."""
    gray = {}
    if q.group:
        swapped = np.array([0, COMPETING, EVENT])[q.grouped.event]
        for cause, event in (("event", q.grouped.event), ("competing", swapped)):
            gray[cause] = gray_test(q.grouped.time, event, q.label, list(q.levels))
    by_group = {level: _both_causes(own) for level, own in q.by_group.items()}
    return Incidences(_both_causes(Followed(q.time, q.event)), by_group, gray)


def _both_causes(patients: Followed) -> dict[str, CumulativeIncidence]:
    return {
        cause: cumulative_incidence(patients.time, patients.event, code)
        for cause, code in (("event", EVENT), ("competing", COMPETING))
    }


@dataclass(frozen=True)
class RestrictedMeans:
    """Restricted mean net survival of all and of each group, and each group's difference from the first."""

    overall: RestrictedMean
    by_group: dict[str, RestrictedMean]
    difference: dict[str, MeanDifference]


def restricted_means(q: Question) -> RestrictedMeans:
    """Restricted means to `tau`, NaN where nobody was followed so long."""
    overall = restricted_mean(q.grouped.time, q.grouped.event, q.tau).identified()
    means = {level: restricted_mean(own.time, own.event, q.tau).identified() for level, own in q.by_group.items()}
    gaps = {level: difference(mean, means[q.levels[0]]) for level, mean in means.items() if level != q.levels[0]}
    return RestrictedMeans(overall, means, gaps)
