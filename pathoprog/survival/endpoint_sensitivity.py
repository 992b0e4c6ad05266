"""What hangs on the endpoint, on early deaths, on classes at a threshold, and on where the middle class is counted."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import CENSORED, EVENT, FloatArray, IntArray, level_names
from pathoprog.survival.prediction.accuracy import NOTHING, Estimate
from pathoprog.survival.prediction.concordance import harrell_c
from pathoprog.survival.question import FurtherEndpoint, Model, NotEstimated, Question
from pathoprog.survival.sites.by_site import contrast_of
from pathoprog.survival.table import CODE, TIME

EARLY, BORDERLINE = "early deaths", "borderline"
"""What may be left out."""


@dataclass(frozen=True)
class SensitivityRow:
    """The contrast and c under one other choice.

    Attributes:
        endpoint: what counts as the event.
        left_out: ``""``, `EARLY` or `BORDERLINE`.
        worse: the levels compared, joined by `` or ``.
        better: those that they are compared with.
        n: rows, with all levels.
        n_worse: rows of `worse`.
        events_worse: their events.
        n_better: rows of `better`.
        events_better: their events.
        ratio: hazard ratio with Wald limits, in a model of the rows compared; its `se` is of the logarithm.
        c: Harrell's c of the score in these rows; nan where there is no score.
        note: why there is no ratio; else empty.
        n_not_entered: under delayed entry rows left out because this endpoint came before they were under observation.
    """

    endpoint: str
    left_out: str
    worse: str
    better: str
    n: int
    n_worse: int
    events_worse: int
    n_better: int
    events_better: int
    ratio: Estimate
    c: Estimate
    note: str
    n_not_entered: int = 0


@dataclass(frozen=True)
class EndpointSensitivity:
    """One table.

    Attributes:
        rows: the first is the analysis as it was asked for.
        early: deaths before this time are the early ones; 0 where none are left out.
        n_early: how many those are.
        n_borderline: rows whose class is at a threshold.
        absent: further endpoints that the table does not have, by name.
    """

    rows: tuple[SensitivityRow, ...]
    early: float
    n_early: int
    n_borderline: int
    absent: tuple[str, ...]


def endpoint_sensitivity(q: Question) -> EndpointSensitivity:
    """The contrast of two levels and c of the score under other endpoints, without some patients, with other classes.

    Every endpoint stands with early deaths (of any cause) kept and left out; with the first one also the borderline
    rows are left out, and the levels between the two compared are counted with either side. None of it is a test of a
    further hypothesis: a reader sees how far one choice moves the figures.

    Raises:
        InputError: there are no two levels to compare.
    """
    if len(q.levels) < 2:
        raise InputError("sensitivity to the endpoint takes two levels of a group to compare")
    worse, better = contrast_of(q)
    everyone = q.known
    entry = q.all_rows.entry
    died = (q.event != CENSORED) & (q.time < q.early)
    borderline = np.zeros(len(q.time), dtype=bool)
    if q.borderline:
        borderline = np.char.lower(level_names(q.frame[q.borderline])) == "true"
    plain = ((worse,), (better,))
    rows, absent = [], []
    for endpoint in _endpoints(q):
        try:
            time, event = _followed(q, endpoint)
        except InputError:
            absent.append(endpoint.name)
            continue
        known = everyone & np.isfinite(time)
        before = known & (entry > 0) & (time <= entry) if entry is not None else np.zeros_like(known)
        for left_out, kept in (("", known), (EARLY, known & ~died)):
            if not left_out or (died & known & ~before).any():
                row = _row(q, endpoint.name, left_out, kept & ~before, time, event, plain)
                rows.append(replace(row, n_not_entered=int((kept & before).sum())))
    first = q.endpoint
    if (borderline & everyone).any():
        rows.append(_row(q, first, BORDERLINE, everyone & ~borderline, q.time, q.event, plain))
    between = tuple(level for level in q.levels if level not in (worse, better))
    if between:
        for sides in (((worse, *between), (better,)), ((worse,), (better, *between))):
            rows.append(_row(q, first, "", everyone, q.time, q.event, sides))
    n_early, n_borderline = (int((mask & everyone).sum()) for mask in (died, borderline))
    return EndpointSensitivity(tuple(rows), q.early, n_early, n_borderline, tuple(absent))


def _endpoints(q: Question) -> list[FurtherEndpoint]:
    """That of the question, death of any cause where deaths compete and it has a name, and those of further columns."""
    found = [FurtherEndpoint(q.endpoint, TIME, CODE)]
    if q.any_death and (q.event[q.known] == 2).any():
        found.append(FurtherEndpoint(q.any_death, TIME, ""))
    return [*found, *q.endpoints]


def _followed(q: Question, endpoint: FurtherEndpoint) -> tuple[FloatArray, IntArray]:
    """Follow-up (nan where unknown) and codes to an endpoint (n,).

    Raises:
        InputError: the table lacks its columns.
    """
    if not endpoint.event:
        return q.time, np.where(q.event != CENSORED, EVENT, CENSORED)
    if not {endpoint.time, endpoint.event} <= set(q.frame.columns):
        raise InputError(f"no columns {endpoint.time} and {endpoint.event}")
    time, event = (
        pd.to_numeric(q.frame[name], errors="coerce").to_numpy(dtype=float) for name in (endpoint.time, endpoint.event)
    )
    if endpoint.time != TIME:
        time = time / endpoint.divide_by
    unknown = ~np.isfinite(time) | ~np.isin(event, (0, 1, 2)) | (time < 0)
    return np.where(unknown, np.nan, time), np.where(unknown, 0, event).astype(np.int64)


Sides = tuple[tuple[str, ...], tuple[str, ...]]


def _row(
    q: Question,
    endpoint: str,
    left_out: str,
    rows: npt.NDArray[np.bool_],
    time: FloatArray,
    event: IntArray,
    sides: Sides,
) -> SensitivityRow:
    """The contrast in some rows, levels of one side taken together."""
    worse, better = names = [" or ".join(side) for side in sides]
    label = level_names(q.frame[q.group])
    for side, name in zip(sides, names, strict=True):
        label = np.where(np.isin(label, side), name, label)
    compared = rows & np.isin(label, names)
    frame = q.frame.loc[compared].assign(**{TIME: time[compared], CODE: event[compared], q.group: label[compared]})
    own = replace(q, frame=frame, levels=(), reference={**q.reference, q.group: better})
    counts: dict[str, int] = {}
    for mark, name in (("worse", worse), ("better", better)):
        mine = rows & (label == name)
        counts |= {f"n_{mark}": int(mine.sum()), f"events_{mark}": int((event[mine] == EVENT).sum())}
    empty = " or ".join(name for mark, name in (("worse", worse), ("better", better)) if not counts[f"n_{mark}"])
    ratio, note = (NOTHING, f"no patient is {empty}") if empty else _ratio(own, worse)
    c, n = _c(q, rows, time, event), int(rows.sum())
    return SensitivityRow(endpoint, left_out, worse, better, n=n, **counts, ratio=ratio, c=c, note=note)


def _ratio(q: Question, worse: str) -> tuple[Estimate, str]:
    fit = q.tried(Model((q.group,), (q.within,) if q.within else ()))
    if isinstance(fit, NotEstimated):
        return NOTHING, fit.note
    term = next((row for row in fit.terms.to_dict("records") if row["level"] == worse), None)
    if term is None:
        return NOTHING, f"no row is {worse}"
    return Estimate(*(float(term[key]) for key in ("hr", "se", "lower", "upper"))), str(term["note"])


def _c(q: Question, rows: npt.NDArray[np.bool_], time: FloatArray, event: IntArray) -> Estimate:
    score = next(iter(q.scored("c_index")), None)
    if score is None:
        return NOTHING
    there = rows & np.isfinite(score.values)
    if not (event[there] == EVENT).any():
        return NOTHING
    of = q.all_rows.of(there)
    c = harrell_c(time[there], event[there], score.values[there], entry=of.entry, weight=of.weight, patient=of.patient)
    return Estimate(c.value, c.se, c.lower, c.upper)
