"""Figures of R where tables are awkward: rounding between entry and event, pieces without events, units, few patients.

Found by comparing random tables with R 4.2.2 (survival 3.5-3); the figures beside each small table are R's.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, harrell_c, kaplan_meier, logrank, number_at_risk
from pathoprog.survival.regression.fine_gray import fine_gray
from pathoprog.survival.regression.information import quadratic
from pathoprog.survival.regression.over_time import piecewise_ratios
from pathoprog.survival.regression.pseudo_mean import adjusted_means

# 0.1 + 0.2 is the next double after 0.3: entries and events on both sides of it are one time
LATE = pd.DataFrame(
    {
        "entry": [0, 0, 0, 0, 0.1 + 0.2, 0.3, 0, 0.3, 1, 1],
        "time": [0.3, 0.1 + 0.2, 0.5, 0.9, 0.9, 1.4, 1.4, 2, 2, 2.5],
        "event": [1, 1, 0, 1, 1, 0, 1, 1, 0, 1],
        "x": [1, 0, 2, 0, 1, 3, 1, 0, 2, 1],
        "group": list("ababababab"),
        "site": list("uuvuvuvvuv"),
    }
)
OF = (LATE["time"], LATE["event"])


def test_an_entry_within_rounding_of_an_event_is_at_it() -> None:
    km = kaplan_meier(*OF, entry=LATE["entry"])
    assert km.n_risk.tolist() == [5, 6, 5, 5, 3, 1]  # survfit(Surv(entry, time, event) ~ 1)
    np.testing.assert_allclose(km.survival, [0.6, 0.6, 0.36, 0.288, 0.192, 0], rtol=1e-12)
    errors = [0.219089023002066, 0.219089023002066, 0.185903200617956, 0.162066652954888, 0.133482583133531]
    np.testing.assert_allclose(km.std_err[:-1], errors, rtol=1e-12)
    assert number_at_risk(*OF, [0.3], LATE["entry"]).n_risk.tolist() == [5]
    fit = cox(LATE, "time", "event", ["x"], entry="entry")
    np.testing.assert_allclose(
        [fit.coef[0], fit.terms["se"][0], fit.loglik_null, fit.loglik],
        [-0.771497739742526, 0.586940216830058, -8.69951474821019, -7.594296666199745],
        rtol=1e-9,
    )
    rounded = LATE.round(1)
    assert harrell_c(*OF, LATE["x"], entry=LATE["entry"]) == harrell_c(
        rounded["time"], rounded["event"], rounded["x"], entry=rounded["entry"]
    )


@pytest.mark.parametrize(("strata", "statistic"), [(None, 0.0601503759398496), ("site", 2.66666666666667)])
def test_logrank_under_delayed_entry_is_the_score_test_of_the_exact_model(strata: str | None, statistic: float) -> None:
    """coxph(ties = "exact", iter.max = 0): its information is the hypergeometric variance, which survdiff has not."""
    blocks = LATE[strata] if strata else None
    assert logrank(*OF, LATE["group"], blocks, entry=LATE["entry"]).statistic == pytest.approx(statistic, rel=1e-12)


def test_a_piece_without_an_event_has_no_ratio_and_spoils_none() -> None:
    table = pd.DataFrame(
        {
            "time": [1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            "event": [1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0],
            "treated": [0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 1],
            "x": [2, 1, 3, 2, 1, 0, 2, 1, 1, 0, 1, 2],
        }
    ).astype(float)
    found = piecewise_ratios(table, "time", "event", "treated", (3, 8), ["x"])  # survSplit, tr:strata(episode) + x
    np.testing.assert_allclose(found.rows["coef"][:2], [-0.764969284902562, -0.717453779342502], rtol=1e-9)
    np.testing.assert_allclose(found.rows["se"][:2], [1.251238691405802, 1.226769898397437], rtol=1e-9)
    assert math.isnan(found.rows["coef"][2]) and found.rows["note"][2].startswith("no event in this piece")
    assert found.loglik == pytest.approx(-13.0992602036593, rel=1e-12)
    assert found.constant.df == 1 and found.constant.statistic == pytest.approx(7.29494793265673e-04, rel=1e-9)


@pytest.mark.parametrize("model", [cox, fine_gray])
@pytest.mark.parametrize("order", [["x", "early"], ["early", "x"]])
def test_a_covariate_that_no_event_can_tell_apart_is_said(model: Any, order: list[str]) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"time": rng.integers(5, 40, 60) * 1.0, "event": rng.integers(0, 3, 60)})
    table["x"], table["early"] = rng.normal(size=60), 0.0
    table.loc[:5, "time"], table.loc[:5, "event"], table.loc[:5, "early"] = 2.0, 0, rng.normal(size=6)
    terms = model(table, "time", "event", order).terms.set_index("term")
    alone = model(table, "time", "event", ["x"]).terms
    assert math.isnan(terms.loc["early", "coef"]) and "the same in all at risk" in str(terms.loc["early", "note"])
    assert (terms.loc["x", "coef"], terms.loc["x", "se"]) == (
        pytest.approx(alone["coef"][0], rel=1e-9),
        pytest.approx(alone["se"][0], rel=1e-9),
    )


def units() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"time": rng.integers(1, 30, 80) * 1.0, "event": rng.integers(0, 2, 80)})
    table["group"], table["patient"] = rng.choice(["a", "b", "c"], 80), rng.integers(0, 40, 80)
    return table.assign(x=rng.normal(size=80), y=rng.normal(size=80))


@pytest.mark.parametrize("patient", ["", "patient"])
def test_joint_tests_do_not_hang_on_units(patient: str) -> None:
    plain = units()
    scaled = plain.assign(x=plain["x"] * 1e-6, y=plain["y"] * 1e6)
    one, other = (cox(table, "time", "event", ["x", "y"], patient=patient) for table in (plain, scaled))
    assert other.wald.statistic == pytest.approx(one.wald.statistic, rel=1e-9)
    assert other.score.statistic == pytest.approx(one.score.statistic, rel=1e-9)
    assert other.wald_of([0, 1]).statistic == pytest.approx(one.wald.statistic, rel=1e-9)
    assert quadratic(np.array([1e-6, 1e6]), np.diag([1e-12, 1e12])) == pytest.approx(2.0)


def test_an_adjusted_mean_does_not_hang_on_units() -> None:
    plain = units()
    large = plain.assign(x=2000 + 1e6 * plain["x"])
    one, other = (adjusted_means(table, "time", "event", "group", ["x"], 20).rows for table in (plain, large))
    columns = ["difference", "se", "lower", "upper", "p"]
    np.testing.assert_allclose(other[columns], one[columns], rtol=1e-9)


def test_a_group_that_a_covariate_determines_has_no_adjusted_mean() -> None:
    table = units().assign(arm=lambda t: np.where(t["group"] == "a", 3.0, 5.0))
    with pytest.raises(InputError, match="group=b is determined by the other columns"):
        adjusted_means(table[table["group"] != "c"], "time", "event", "group", ["arm"], 20)


def test_a_robust_curve_at_zero_is_as_in_r() -> None:
    given = ([1, 2, 3, 4, 5, 6], [1, 1, 0, 1, 1, 1])
    weight = [0.5, 1, 1.3, 1, 2, 1]
    plain, log = (kaplan_meier(*given, conf, weight=weight) for conf in ("plain", "log"))
    np.testing.assert_allclose(plain.std_err[-2:], [0.18213628, 0], rtol=1e-7)  # survfit(robust = TRUE)
    np.testing.assert_allclose(plain.upper[-2:], [0.5518335, 0], rtol=1e-6)
    assert plain.quantile(0.5) == (5, 2, 6)
    assert math.isnan(log.upper[-1]) and math.isnan(kaplan_meier(*given).std_err[-1])


def test_fewer_patients_than_terms_give_no_robust_joint_test() -> None:
    table = units().assign(patient=lambda t: np.arange(80) % 2)
    fit = cox(table, "time", "event", ["x", "y"], patient="patient")
    assert math.isnan(fit.wald.p_value) and math.isnan(fit.score.p_value) and math.isnan(fit.wald_of([0, 1]).p_value)
    assert any("2 patients for 2 terms" in note for note in fit.notes)
    test = logrank(table["time"], table["event"], table["group"], patient=table["patient"])
    assert math.isnan(test.statistic) and math.isnan(test.p_value)
