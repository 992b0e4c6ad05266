"""Who is at risk: the event table behind curves and tests, numbers at risk, and tiny risk sets of delayed entry."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoprog.survival.arrays import EVENT, FloatArray, IntArray, checked, checked_entry, checked_weight, level_names

Counts = npt.NDArray[Any]
"""Whole numbers of rows, or sums of their weights."""

EventTable = tuple[FloatArray, Counts, Counts, Counts]
"""Distinct times, at risk, events and censorings at each (k,)."""


def event_table(
    time: FloatArray, event: IntArray, entry: FloatArray | None = None
) -> tuple[FloatArray, IntArray, IntArray, IntArray]:
    """Distinct times (k,) with rows at risk (entry < time <= T), events (code 1), censorings (all others) at each."""
    distinct, place = np.unique(time, return_inverse=True)
    at_time = np.bincount(place, minlength=distinct.size)
    n_event = np.bincount(place[event == EVENT], minlength=distinct.size)
    n_risk = np.cumsum(at_time[::-1])[::-1]
    if entry is not None:
        n_risk = n_risk - not_yet(distinct, entry)
    return distinct, n_risk, n_event, at_time - n_event


def weighted_table(
    rows: EventTable, time: FloatArray, event: IntArray, entry: FloatArray | None, weight: FloatArray
) -> EventTable:
    """The table of `event_table` with weights in place of rows."""
    distinct = rows[0]
    place = np.searchsorted(distinct, time)
    k = distinct.size
    at_time = np.bincount(place, weights=weight, minlength=k)
    n_event = np.bincount(place[event == EVENT], weights=weight[event == EVENT], minlength=k)
    n_risk = np.cumsum(at_time[::-1])[::-1]
    if entry is not None:
        n_risk = n_risk - not_yet(distinct, entry, weight)
    n_censor = np.bincount(place[event != EVENT], weights=weight[event != EVENT], minlength=k)
    return distinct, n_risk, n_event, n_censor


def not_yet(at: FloatArray, entry: FloatArray, weight: FloatArray | None = None) -> Counts:
    """Rows (or their weights) that enter at or after each time (k,); entry 0 is no delay."""
    late = entry > 0
    order = np.argsort(entry[late])
    each = np.ones(int(late.sum()), dtype=np.int64) if weight is None else weight[late][order]
    ahead = np.concatenate((np.cumsum(each[::-1])[::-1], np.zeros(1, dtype=each.dtype)))
    return np.asarray(ahead[np.searchsorted(entry[late][order], at, side="left")])


def continued(
    time: FloatArray, event: IntArray, entry: FloatArray, patient: Any, weight: FloatArray | None = None
) -> Counts:
    """Rows (or weights) without event that end where another row of the patient starts, at each distinct time (k,).

    Their patient is followed on: they are no censorings.
    """
    who = np.unique(level_names(patient), return_inverse=True)[1]
    starts = set(zip(who.tolist(), entry.tolist(), strict=True))
    on = np.array([pair in starts for pair in zip(who.tolist(), time.tolist(), strict=True)]) & (event != EVENT)
    distinct = np.unique(time)
    each = None if weight is None else weight[on]
    return np.bincount(np.searchsorted(distinct, time[on]), weights=each, minlength=distinct.size)


@dataclass(frozen=True)
class AtRisk:
    """Numbers at m times of a table under a curve, or sums of weights where there are some.

    Attributes:
        time: the times (m,).
        n_risk: patients with entry < time <= T (m,).
        n_event: events in [time, next time), the last up to the end of follow-up (m,).
        cum_events: events up to and including time (m,).
        cum_censored: censored before time, competing deaths included (m,).
    """

    time: FloatArray
    n_risk: Counts
    n_event: Counts
    cum_events: Counts
    cum_censored: Counts


def number_at_risk(
    time: Any, event: Any, times: Any, entry: Any = None, weight: Any = None, patient: Any = None
) -> AtRisk:
    """Patients at risk, and events between and up to given times (ascending).

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        times: of the table (m,).
        entry: when each row came under observation; from 0 on where it is 0 (n,).
        weight: case weights, which are then summed (n,).
        patient: of each row (n,): a row that ends where another row of the patient starts is not censored there.
    """
    followup, codes = checked(time, event)
    when = np.atleast_1d(np.asarray(times, dtype=float))
    followup, entries = checked_entry(entry, followup)
    weights = checked_weight(weight, followup.size)
    if entries is None and weights is None:
        everyone = np.sort(followup)
        events = np.sort(followup[codes == EVENT])
        censored = np.sort(followup[codes != EVENT])
        before = np.searchsorted(events, when, side="left")
        return AtRisk(
            when,
            everyone.size - np.searchsorted(everyone, when, side="left"),
            np.diff(np.append(before, events.size)),
            np.searchsorted(events, when, side="right"),
            np.searchsorted(censored, when, side="left"),
        )
    distinct, _, n_event, n_censor = rows = event_table(followup, codes, entries)
    if weights is not None:
        distinct, _, n_event, n_censor = weighted_table(rows, followup, codes, entries, weights)
    if patient is not None and entries is not None:
        n_censor = n_censor - continued(followup, codes, entries, patient, weights)
    each = np.ones(followup.size, dtype=np.int64) if weights is None else weights
    still = _from_on(followup, each, when)
    at_risk = still if entries is None else still - not_yet(when, entries, weights)
    cum_events = np.concatenate((np.zeros(1, dtype=n_event.dtype), np.cumsum(n_event)))
    cum_censored = np.concatenate((np.zeros(1, dtype=n_censor.dtype), np.cumsum(n_censor)))
    before = np.searchsorted(distinct, when, side="left")
    return AtRisk(
        when,
        at_risk,
        np.diff(np.append(cum_events[before], cum_events[-1])),
        cum_events[np.searchsorted(distinct, when, side="right")],
        cum_censored[before],
    )


def _from_on(time: FloatArray, each: Counts, when: FloatArray) -> Counts:
    """Rows, or weights, with T >= each of the times (m,)."""
    order = np.argsort(time)
    ahead = np.concatenate((np.cumsum(each[order][::-1])[::-1], np.zeros(1, dtype=each.dtype)))
    return np.asarray(ahead[np.searchsorted(time[order], when, side="left")])


SMALL_RISK_SET = 10
"""Under delayed entry fewer than so many at risk, while the risk set still grows, are flagged (project default)."""


@dataclass(frozen=True)
class EarlyRisk:
    """Events of tiny risk sets before late entries have filled them: under delayed entry the curve hangs on these.

    Klein and Moeschberger, Survival Analysis, 2nd ed., section 4.6.

    Attributes:
        times: event times with fewer than `SMALL_RISK_SET` rows at risk, before the risk set is at its largest.
        smallest: the fewest rows at risk among them; 0 where there are none.
        until: the last of them; nan where there are none.
        survival: the curve just after it; 1 where there are none.
        emptied: True where the curve fell to 0 while others had still to enter: what follows cannot be estimated.
    """

    times: int
    smallest: int
    until: float
    survival: float
    emptied: bool

    @property
    def note(self) -> str:
        """What a reader must know; empty where no early risk set was tiny."""
        if not self.times:
            return ""
        text = (
            f"delayed entry: {self.times} event {'time' if self.times == 1 else 'times'} up to {self.until:g} had "
            f"fewer than {SMALL_RISK_SET} at risk (at the fewest {self.smallest}), where survival fell to "
            f"{self.survival:.3f}; the whole curve hangs on them"
        )
        return text + ("; it fell to 0 while others had still to enter" if self.emptied else "")


def early_risk(time: FloatArray, n_risk: Counts, n_event: Counts, survival: FloatArray) -> EarlyRisk:
    """The flag of a curve under delayed entry, from its distinct times (k,) and numbers of rows (k,)."""
    growing = np.arange(time.size) < int(np.argmax(n_risk))
    tiny = np.flatnonzero(growing & (n_event > 0) & (n_risk < SMALL_RISK_SET))
    if not tiny.size:
        return EarlyRisk(0, 0, float("nan"), 1.0, False)
    last = int(tiny[-1])
    emptied = bool((n_event[tiny] == n_risk[tiny]).any())
    return EarlyRisk(int(tiny.size), int(n_risk[tiny].min()), float(time[last]), float(survival[last]), emptied)
