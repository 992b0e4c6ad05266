"""The published result, rebuilt from its table (METHOD, section 3)."""

import numpy as np
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, harrell_c
from pathoprog.survival.prediction.horizon import values_by_curves, values_by_weights, values_of_complete_cases
from pathoprog.survival.rebuild import (
    PUBLISHED_CLASSES,
    PUBLISHED_GRADES,
    PUBLISHED_TIMES,
    RiskTable,
    placements,
    rebuild,
    risk_table,
)


@pytest.mark.parametrize("table", [PUBLISHED_CLASSES, PUBLISHED_GRADES])
@pytest.mark.parametrize("random", [None, np.random.default_rng(1)])
def test_every_cell_is_kept(table: RiskTable, random: np.random.Generator | None) -> None:
    patients = rebuild(table, random)
    assert risk_table(patients, PUBLISHED_TIMES) == table
    assert len(patients) == sum(n[0] for n in table.at_risk.values())


def test_published_hazard_ratios() -> None:
    patients = rebuild(PUBLISHED_CLASSES)
    assert len(patients) == 1110
    terms = cox(patients, "time", "event", ["group"], reference={"group": "good"}).terms.set_index("level")
    for level, expected in {"poor": (3.84, 2.72, 5.43), "uncertain": (1.90, 1.14, 3.16)}.items():
        assert tuple(terms.loc[level, ["hr", "lower", "upper"]].astype(float).round(2)) == expected
    order = patients["group"].map(["good", "uncertain", "poor"].index)
    assert round(harrell_c(patients["time"], patients["event"], order).value, 3) == 0.667


def test_published_values_at_three_and_five_years() -> None:
    patients = rebuild(PUBLISHED_CLASSES)
    arguments = (patients["time"], patients["event"], patients["group"] == "poor")
    curves, weights, plain = (f(*arguments, 3) for f in (values_by_curves, values_by_weights, values_of_complete_cases))
    found = [100 * getattr(curves, name).value for name in ("sensitivity", "specificity", "ppv", "npv")]
    assert np.round(found, 1).tolist() == [52.4, 78.3, 18.3, 94.7]
    found = [100 * getattr(plain, name) for name in ("sensitivity", "specificity", "ppv", "npv")]
    assert np.round(found, 1).tolist() == [52.3, 78.2, 19.6, 94.2]
    for sensitivity, specificity, ppv, npv in (
        (curves.sensitivity.value, curves.specificity.value, curves.ppv.value, curves.npv.value),
        (weights.sensitivity, weights.specificity, weights.ppv, weights.npv),
    ):
        assert (round(100 * sensitivity), round(100 * specificity)) == (52, 78)
        assert abs(100 * ppv - 19) < 1 and abs(100 * npv - 94) < 1
    # complete cases mislead late
    at_five = [f(*arguments, 5) for f in (values_by_curves, values_by_weights, values_of_complete_cases)]
    found = [at_five[0].ppv.value, at_five[1].ppv, at_five[2].ppv]
    assert np.round(100 * np.array(found), 1).tolist() == [29.8, 29.0, 44.0]


def test_other_placements_move_little() -> None:
    found = placements(PUBLISHED_CLASSES, "good", ["poor"], 3, samples=400)
    even, drawn = found.iloc[0], found.iloc[1:]
    assert len(drawn) == 400 and even["placement"] == "even"
    for column, most in (("hr poor", 0.04), ("hr uncertain", 0.055)):
        moved = (drawn[column] / even[column] - 1).abs()
        assert moved.quantile(0.95) < 0.04 and moved.max() < most
    for column in ("sensitivity", "specificity", "ppv", "npv"):
        for estimator in ("", "_weights"):
            low, high = drawn[column + estimator].quantile([0.025, 0.975])
            assert low <= even[column + estimator] <= high


@pytest.mark.parametrize(
    ("times", "at_risk", "events", "words"),
    [
        ((0, 2, 2), {"a": (3, 2, 1)}, {"a": (0, 0)}, "must rise"),
        ((0, 2), {"a": (3, 2)}, {"b": (0,)}, "same groups"),
        ((0, 2), {"a": (3, 2)}, {"a": (2,)}, "yet 2 at risk"),
        ((0, 2), {"a": (3,)}, {"a": (1,)}, "numbers at risk"),
    ],
)
def test_contradictory_tables_are_refused(
    times: tuple[float, ...], at_risk: dict[str, tuple[int, ...]], events: dict[str, tuple[int, ...]], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        rebuild(RiskTable(times, at_risk, events))
