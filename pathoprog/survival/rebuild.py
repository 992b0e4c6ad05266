"""Patients rebuilt from a published table of numbers at risk with events."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.curves.risk_sets import number_at_risk
from pathoprog.survival.prediction.concordance import harrell_c
from pathoprog.survival.prediction.horizon import values_by_curves, values_by_weights
from pathoprog.survival.resampling.statistics import hazard_ratios

JUST_AFTER = 1e-3


@dataclass(frozen=True)
class RiskTable:
    """A published table: one row a group.

    Attributes:
        times: the table's columns, ascending, any unit (m,).
        at_risk: by group, patients at risk at each time (m,).
        events: by group, events in [t, next t) for all but the last time (m - 1,).
    """

    times: tuple[float, ...]
    at_risk: dict[str, tuple[int, ...]]
    events: dict[str, tuple[int, ...]]

    def check(self) -> None:
        """Raise InputError where the numbers contradict each other."""
        if len(self.times) < 2 or any(b <= a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise InputError("the table's times must rise")
        if set(self.at_risk) != set(self.events):
            raise InputError("numbers at risk and events must be given for the same groups")
        for group, n in self.at_risk.items():
            d = self.events[group]
            if len(n) != len(self.times) or len(d) != len(self.times) - 1:
                raise InputError(f"{group}: {len(n)} numbers at risk and {len(d)} events for {len(self.times)} times")
            for k, deaths in enumerate(d):
                if deaths < 0 or n[k] - deaths < n[k + 1]:
                    raise InputError(
                        f"{group}: {n[k]} at risk at {self.times[k]:g}, {deaths} events, yet {n[k + 1]} at risk "
                        f"at {self.times[k + 1]:g}"
                    )


def rebuild(table: RiskTable, random: np.random.Generator | None = None) -> pd.DataFrame:
    """Patient-level data with the table's numbers at risk and events in every cell.

    Inside each interval events and censorings are spread evenly, or at random; patients at risk at the last time are
    censored just after it. The table fixes hazard ratios well, but not the curve between its times. (Where the curve
    itself is digitised too, Guyot et al., BMC Med Res Methodol 2012;12:9, recover more.)

    Args:
        table: the published numbers.
        random: None: evenly, each in the middle of its share of the interval; else uniformly drawn.

    Returns:
        Columns ``time, event, group``, one row a patient.

    Raises:
        InputError: the numbers contradict each other.
    """
    table.check()
    rows: list[tuple[float, int, str]] = []
    for group, n in table.at_risk.items():
        for k, deaths in enumerate(table.events[group]):
            start, end = table.times[k], table.times[k + 1]
            lost = n[k] - n[k + 1] - deaths
            for count, code in ((deaths, 1), (lost, 0)):
                rows += [(time, code, group) for time in _places(start, end, count, random)]
        rows += [(table.times[-1] + JUST_AFTER, 0, group)] * n[-1]
    return pd.DataFrame(rows, columns=["time", "event", "group"])


def _places(start: float, end: float, count: int, random: np.random.Generator | None) -> list[float]:
    """`count` times in [start, end)."""
    share = (np.arange(count) + 0.5) / max(count, 1) if random is None else random.random(count)
    return [float(time) for time in start + (end - start) * share]


def risk_table(patients: pd.DataFrame, times: Any) -> RiskTable:
    """The table that patients give: the check that rebuilding kept every cell."""
    at_risk, events = {}, {}
    for group, mine in patients.groupby("group", sort=False):
        counted = number_at_risk(mine["time"], mine["event"], times)
        at_risk[str(group)] = tuple(int(k) for k in counted.n_risk)
        events[str(group)] = tuple(int(k) for k in counted.n_event[:-1])
    return RiskTable(tuple(float(time) for time in times), at_risk, events)


def placements(
    table: RiskTable, reference: str, positive: list[str], horizon: float, samples: int = 400, seed: int = 1
) -> pd.DataFrame:
    """How much the answers depend on where events lie inside their intervals.

    Args:
        table: the published numbers.
        reference: group that hazard ratios compare with.
        positive: groups said to have the event.
        horizon: of the predictive values, in the table's unit.
        samples: random placements; the first row is the even one.
        seed: of the random numbers.

    Returns:
        One row a placement: ``placement, hr GROUP …, c, sensitivity, specificity, ppv, npv`` by Kaplan-Meier, and the
        last four again with ``_weights`` for inverse weights. c takes the groups in the table's order, later = worse.
    """
    random = np.random.default_rng(seed)
    levels = [reference, *(group for group in table.at_risk if group != reference)]
    order = list(table.at_risk)
    rows = []
    for k in range(samples + 1):
        patients = rebuild(table, None if k == 0 else random)
        place = patients["group"].map(levels.index).to_numpy()
        time, event = patients["time"].to_numpy(), patients["event"].to_numpy()
        ratios = hazard_ratios(time, event == 1, place, len(levels))
        mark = patients["group"].isin(positive).to_numpy()
        curves, weights = values_by_curves(time, event, mark, horizon), values_by_weights(time, event, mark, horizon)
        names = ("sensitivity", "specificity", "ppv", "npv")
        rows.append(
            {
                "placement": "even" if k == 0 else f"random {k}",
                **{f"hr {level}": ratio for level, ratio in zip(levels[1:], ratios, strict=True)},
                "c": harrell_c(time, event, patients["group"].map(order.index)).value,
                **{name: getattr(curves, name).value for name in names},
                **{f"{name}_weights": getattr(weights, name) for name in names},
            }
        )
    return pd.DataFrame(rows)


# Skrede et al., Lancet 2020;395:350-360: external validation, cancer-specific survival, years
PUBLISHED_TIMES = (0.0, 2.0, 4.0, 6.0, 8.0)
PUBLISHED_CLASSES = RiskTable(
    PUBLISHED_TIMES,
    {"good": (704, 659, 492, 71, 1), "uncertain": (136, 121, 87, 17, 1), "poor": (270, 228, 151, 26, 0)},
    {"good": (13, 29, 15, 0), "uncertain": (8, 11, 0, 1), "poor": (25, 41, 8, 0)},
)
PUBLISHED_GRADES = RiskTable(
    PUBLISHED_TIMES,
    {"grade 1": (45, 43, 32, 5, 0), "grade 2": (846, 773, 555, 94, 2), "grade 3": (168, 144, 103, 10, 0)},
    {"grade 1": (0, 3, 2, 0), "grade 2": (31, 64, 14, 1), "grade 3": (12, 11, 5, 0)},
)
