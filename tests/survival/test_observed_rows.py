"""Delayed entry, case weights and several rows of one patient: counted rightly, or refused by name."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, harrell_c, kaplan_meier, logrank, number_at_risk, trend, uno_c
from pathoprog.survival.analyses import ALL, ANALYSES, Analysis
from pathoprog.survival.question import (
    FurtherEndpoint,
    Grouping,
    Model,
    NotEstimated,
    PredictedRisk,
    Question,
    Score,
    Treatment,
)
from pathoprog.survival.regression.proportional import proportional_hazards
from pathoprog.survival.table import CODE, TIME


def made(n: int = 120, seed: int = 3) -> pd.DataFrame:
    """Rows with ties, late entries, groups, scores and weights."""
    rng = np.random.default_rng(seed)
    time = rng.integers(2, 40, n).astype(float)
    entry = np.where(rng.random(n) < 0.5, 0.0, np.floor(time * rng.random(n)))
    return pd.DataFrame(
        {
            TIME: time,
            CODE: rng.integers(0, 2, n),
            "entry": entry,
            "x": rng.normal(size=n).round(1),
            "group": rng.choice(["a", "b", "c"], n),
            "site": rng.choice(["s", "t"], n),
            "weight": rng.integers(1, 4, n).astype(float),
            "part": rng.random(n) + 0.5,
            "patient": rng.integers(0, n // 2, n),
        }
    )


DATA = made()
COPIES = DATA.loc[DATA.index.repeat(DATA["weight"].astype(int))]


def at_risk(data: pd.DataFrame, t: float) -> Any:
    return (data[TIME] >= t) & ((data["entry"] < t) | (data["entry"] == 0))


def test_an_entry_of_zero_is_no_delay_to_the_last_bit() -> None:
    nothing = np.zeros(len(DATA))
    time, event = DATA[TIME], DATA[CODE]
    for with_entry, without in (
        (kaplan_meier(time, event, entry=nothing).std_err, kaplan_meier(time, event).std_err),
        (logrank(time, event, DATA["group"], entry=nothing).variance, logrank(time, event, DATA["group"]).variance),
        (
            cox(DATA.assign(entry=0.0), TIME, CODE, ["x", "group"], entry="entry").covariance,
            cox(DATA, TIME, CODE, ["x", "group"]).covariance,
        ),
    ):
        np.testing.assert_array_equal(with_entry, without)
    ones = np.ones(len(DATA))
    assert harrell_c(time, event, DATA["x"], entry=nothing, weight=ones) == harrell_c(time, event, DATA["x"])


def test_the_curve_counts_who_has_entered() -> None:
    km = kaplan_meier(DATA[TIME], DATA[CODE], entry=DATA["entry"])
    survival = 1.0
    for k, t in enumerate(km.time):
        n = int(at_risk(DATA, t).sum())
        d = int(((DATA[TIME] == t) & (DATA[CODE] == 1)).sum())
        assert (km.n_risk[k], km.n_event[k]) == (n, d)
        survival *= 1 - d / n
        assert km.survival[k] == pytest.approx(survival, rel=1e-12)
    table = number_at_risk(DATA[TIME], DATA[CODE], [0, 10, 20], DATA["entry"])
    assert list(table.n_risk) == [int((DATA["entry"] == 0).sum()), *(int(at_risk(DATA, t).sum()) for t in (10, 20))]


def test_tiny_early_risk_sets_are_flagged() -> None:
    time = np.concatenate(([2.0, 3.0], np.arange(10, 40)))
    entry = np.concatenate(([0.0, 0.0], np.full(30, 5.0)))
    found = kaplan_meier(time, np.ones(32), entry=entry).early
    assert found is not None
    assert (found.times, found.smallest, found.until, found.survival, found.emptied) == (2, 1, 3.0, 0.0, True)
    assert "fell to 0 while others had still to enter" in found.note
    assert kaplan_meier(time, np.ones(32)).early is None
    calm = kaplan_meier(time + 10, np.ones(32), entry=entry).early  # all have entered before the first event
    assert calm is not None and calm.note == ""
    asked = Question(
        frame=pd.DataFrame({TIME: time, CODE: 1, "entry": entry}), entry="entry", columns=np.array([0.0, 10.0])
    )
    assert ANALYSES["kaplan_meier"].run(asked).overall.curve.early == found


def test_logrank_under_delayed_entry_is_the_sum_over_risk_sets() -> None:
    test = logrank(DATA[TIME], DATA[CODE], DATA["group"] == "a", entry=DATA["entry"])
    gap = variance = 0.0
    for t in sorted(set(DATA.loc[DATA[CODE] == 1, TIME])):
        here = DATA[at_risk(DATA, t)]
        dead = here[(here[TIME] == t) & (here[CODE] == 1)]
        n, d, n1 = len(here), len(dead), int((here["group"] == "a").sum())
        gap += int((dead["group"] == "a").sum()) - d * n1 / n
        variance += d * (n1 / n) * (1 - n1 / n) * (n - d) / max(n - 1, 1)
    assert test.statistic == pytest.approx(gap**2 / variance, rel=1e-12)


def test_whole_weights_are_copies() -> None:
    weight, event = DATA["weight"], DATA[CODE]
    one, many = kaplan_meier(DATA[TIME], event, weight=weight), kaplan_meier(COPIES[TIME], COPIES[CODE])
    np.testing.assert_allclose(one.std_err, many.std_err, rtol=1e-12)
    ours = logrank(DATA[TIME], event, DATA["group"], DATA["site"], entry=DATA["entry"], weight=weight)
    theirs = logrank(COPIES[TIME], COPIES[CODE], COPIES["group"], COPIES["site"], entry=COPIES["entry"])
    np.testing.assert_allclose(ours.variance, theirs.variance, rtol=1e-12)
    assert not ours.robust
    fit = cox(DATA, TIME, CODE, ["x"], ties="breslow", entry="entry", weight="weight")
    copies = cox(COPIES, TIME, CODE, ["x"], ties="breslow", entry="entry")
    np.testing.assert_allclose((fit.coef, fit.covariance[0]), (copies.coef, copies.covariance[0]), rtol=1e-10)
    assert fit.loglik == pytest.approx(copies.loglik)
    zph = [proportional_hazards(one, "identity").loc[0, "statistic"] for one in (fit, copies)]
    assert zph[0] == pytest.approx(zph[1], rel=1e-9)
    at = [0.0, 7.0, 21.0]
    weighted = number_at_risk(DATA[TIME], event, at, DATA["entry"], weight)
    copied = number_at_risk(COPIES[TIME], COPIES[CODE], at, COPIES["entry"])
    for name in ("n_risk", "n_event", "cum_events", "cum_censored"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(copied, name), rtol=1e-12)


def pairs(data: pd.DataFrame, weight: Any) -> float:
    """Harrell's c by going through all pairs."""
    good = all_ = 0.0
    rows = list(zip(data[TIME], data[CODE], data["entry"], data["x"], weight, strict=True))
    for t, e, _, x, w in rows:
        if not e:
            continue
        for later, dead, entry, y, v in rows:
            follows = later > t or (later == t and not dead)
            if follows and (entry < t or entry == 0):
                all_ += w * v
                good += w * v * (1.0 if x > y else 0.5 if x == y else 0.0)
    return good / all_


def test_c_counts_pairs_that_are_at_risk_together_by_the_product_of_weights() -> None:
    given = (DATA[TIME], DATA[CODE], DATA["x"])
    ours = harrell_c(*given, entry=DATA["entry"])
    assert ours.value == pytest.approx(pairs(DATA, np.ones(len(DATA))), rel=1e-12)
    ours = harrell_c(*given, entry=DATA["entry"], weight=DATA["part"])
    assert ours.value == pytest.approx(pairs(DATA, DATA["part"]), rel=1e-12)


def test_the_standard_error_of_c_is_the_jackknifes() -> None:
    """Derivatives by each row's weight, taken numerically."""
    given, w = (DATA[TIME], DATA[CODE], DATA["x"]), DATA["part"].to_numpy()
    step, slopes = 1e-6, []
    for k in range(len(DATA)):
        up = w.copy()
        up[k] += step
        rise = harrell_c(*given, entry=DATA["entry"], weight=up).value
        slopes.append(w[k] * (rise - harrell_c(*given, entry=DATA["entry"], weight=w).value) / step)
    by_row = harrell_c(*given, entry=DATA["entry"], weight=w).se
    assert by_row == pytest.approx(float(np.sqrt((np.array(slopes) ** 2).sum())), rel=1e-4)
    sums = pd.Series(slopes).groupby(DATA["patient"]).sum()
    by_patient = harrell_c(*given, entry=DATA["entry"], weight=w, patient=DATA["patient"]).se
    assert by_patient == pytest.approx(float(np.sqrt((sums**2).sum())), rel=1e-4)


def test_robust_variance_of_a_doubled_table_is_that_of_the_table() -> None:
    """Every row twice under its own patient says nothing new; the model's own variance halves."""
    twice = pd.concat([DATA.assign(patient=range(len(DATA)))] * 2)
    once = cox(DATA.assign(patient=range(len(DATA))), TIME, CODE, ["x"], ties="breslow", patient="patient")
    both = cox(twice, TIME, CODE, ["x"], ties="breslow", patient="patient")
    assert both.covariance[0, 0] == pytest.approx(once.covariance[0, 0], rel=1e-9)
    assert both.naive_se[0] == pytest.approx(once.naive_se[0] / np.sqrt(2), rel=1e-9)
    assert (both.n, both.patients) == (2 * len(DATA), len(DATA))
    assert np.isnan(both.likelihood_ratio.p_value) and "left out" in both.notes[-1]
    tests = [
        logrank(one[TIME], one[CODE], one["group"], patient=one["patient"]).statistic
        for one in (DATA.assign(patient=range(len(DATA))), twice)
    ]
    assert tests[0] == pytest.approx(tests[1], rel=1e-9)
    curves = [
        kaplan_meier(one[TIME], one[CODE], patient=one["patient"]).std_err
        for one in (DATA.assign(patient=range(len(DATA))), twice)
    ]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-9)
    zph = [proportional_hazards(one).loc[0, "statistic"] for one in (once, both)]
    assert zph[0] == pytest.approx(zph[1], rel=1e-9)


def test_follow_up_cut_into_rows_is_the_same_follow_up() -> None:
    cut = np.floor(DATA[TIME] / 2)
    whole = DATA.assign(patient=range(len(DATA)), entry=0.0)
    first, second = whole.assign(**{TIME: cut, CODE: 0}), whole.assign(entry=cut)
    parts = pd.concat([first[first[TIME] > 0], second])
    one, many = cox(whole, TIME, CODE, ["x"]), cox(parts, TIME, CODE, ["x"], entry="entry")
    np.testing.assert_allclose(many.coef, one.coef, rtol=1e-10)
    np.testing.assert_allclose(many.covariance, one.covariance, rtol=1e-10)
    table = number_at_risk(parts[TIME], parts[CODE], [0, 9, 30], parts["entry"], patient=parts["patient"])
    right = number_at_risk(whole[TIME], whole[CODE], [0, 9, 30])
    for name in ("n_risk", "n_event", "cum_events", "cum_censored"):
        np.testing.assert_array_equal(getattr(table, name), getattr(right, name))
    assert harrell_c(parts[TIME], parts[CODE], parts["x"], entry=parts["entry"]).value == pytest.approx(
        harrell_c(whole[TIME], whole[CODE], whole["x"]).value
    )


def test_one_large_hazard_that_left_does_not_cost_the_others_their_digits() -> None:
    """A risk set as a difference of running sums would have none left: exp(40) enters after the first events."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    x[0] = 40.0
    data = pd.DataFrame({TIME: np.arange(1.0, 61), CODE: 1, "x": x, "entry": 0.0})
    data.loc[0, [TIME, "entry"]] = [70.0, 60.0]
    alone = cox(data.iloc[1:], TIME, CODE, ["x"])
    both = cox(data, TIME, CODE, ["x"], entry="entry")
    np.testing.assert_allclose(both.coef, alone.coef, rtol=1e-9)
    assert both.loglik == pytest.approx(alone.loglik, rel=1e-12)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"entry": np.full(120, 50.0)}, "enter at or after the end of their follow-up"),
        ({"entry": np.full(120, -1.0)}, "missing or negative"),
        ({"weight": np.zeros(120)}, "not above 0"),
        ({"weight": np.ones(3)}, "3 weights for 120 rows"),
        ({"patient": np.array([None] * 120, dtype=object)}, "120 rows have no patient"),
    ],
)
def test_rows_that_cannot_be_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kaplan_meier(DATA[TIME], DATA[CODE], **columns)
    with pytest.raises(InputError, match=message):
        harrell_c(DATA[TIME], DATA[CODE], DATA["x"], **columns)


ASKED = Question(
    frame=DATA,
    group="group",
    levels=("a", "b", "c"),
    ordered=True,
    reference={"group": "a"},
    groupings=(Grouping("c", ("c",)),),
    horizons=(20.0,),
    columns=np.array([0.0, 20.0]),
    tau=20.0,
    models={"group": Model(("group",))},
    adjusted=Model(("group", "x")),
    subgroups=("site",),
    scores=tuple(
        Score(name, name, DATA["x"].to_numpy())
        for name in ("c_index", "c_classes", "c_members", "c_resolutions", "true_hazard")
    ),
    pattern={"group": "a"},
    imputations=2,
    sites=("site",),
    cuts=(10.0,),
    added=("group",),
    base=("x",),
    treatment=Treatment("site", "s", "t", randomised=False),
    permutations=10,
    bootstrap=5,
    sample_size=True,
)


@pytest.mark.parametrize("key", ALL)
@pytest.mark.parametrize("name", list(ANALYSES))
def test_each_analysis_counts_it_or_refuses_by_name(name: str, key: str) -> None:
    one, asked = ANALYSES[name], replace(ASKED, **{key: {"weight": "part"}.get(key, key)})
    if key not in one.takes:
        found = one.tried(asked)
        assert isinstance(found, NotEstimated) and found.note.startswith(f"{name} takes no ")
        return
    plain, counted = (repr(one.run(q)) for q in (ASKED, asked))
    assert plain != counted, f"{name} passes {key} over"


def test_by_site_each_figure_counts_it_or_refuses_by_name() -> None:
    risk = PredictedRisk(20.0, np.ones(len(DATA), dtype=bool), np.linspace(0.1, 0.9, len(DATA)), False)
    for key, column, refused in (
        ("entry", "entry", {"calibration"}),
        ("weight", "part", {"calibration", "share"}),
        ("patient", "patient", {"calibration", "share"}),
    ):
        by = ANALYSES["sites"].run(replace(ASKED, risks=(risk,), **{key: column}))["site"]
        assert {reason.split()[0] for reason in by.refused} == refused
        assert all(f"({key}={column})" in reason for reason in by.refused)
        assert {"hazard_ratio", "c"} <= set(by.measures) and ("share" in by.measures) is ("share" not in refused)
        assert not any(name.startswith(("observed", "calibration")) for name in by.measures)
        assert bool(np.isnan(by.shares_test.p_value)) is ("share" in refused)


def test_another_endpoint_before_the_entry_leaves_its_row_out_and_stops_nothing() -> None:
    first = DATA[TIME].where(DATA.index % 10 > 0, DATA["entry"] / 2)  # a tenth of the rows had it before
    frame = DATA.assign(first=first, had=1)
    asked = replace(ASKED, frame=frame, entry="entry", endpoints=(FurtherEndpoint("other", "first", "had"),))
    rows = {row.endpoint: row for row in ANALYSES["endpoints"].run(asked).rows if row.endpoint == "other"}
    gone = int((first <= DATA["entry"]).where(DATA["entry"] > 0, False).sum())
    assert gone and (rows["other"].n, rows["other"].n_not_entered) == (len(DATA) - gone, gone)
    assert np.isfinite(rows["other"].ratio.value) and np.isfinite(rows["other"].c.value)


def test_a_new_analysis_takes_nothing_until_it_says_so() -> None:
    with pytest.raises(InputError, match=r"mine takes no delayed entry \(entry=entry\) and no case weights"):
        Analysis("mine", "", lambda q: 1).run(replace(ASKED, entry="entry", weight="part"))


def test_unos_c_and_imputation_say_why_they_are_not_there() -> None:
    found = ANALYSES["c_index"].run(replace(ASKED, entry="entry"))["c_index"]
    assert isinstance(found.uno, NotEstimated) and "delayed entry" in found.uno.note
    imputed = ANALYSES["adjusted"].run(replace(ASKED, patient="patient")).imputed
    assert isinstance(imputed, NotEstimated) and "several rows" in imputed.note
    by_patient = uno_c(DATA[TIME], DATA[CODE], DATA["x"], patient=DATA["patient"])
    assert by_patient.se != uno_c(DATA[TIME], DATA[CODE], DATA["x"]).se


def test_the_trend_takes_them_too() -> None:
    given = (DATA[TIME], DATA[CODE], DATA["group"])
    found = {trend(*given, **{key: DATA[column]}).z for key, column in (("entry", "entry"), ("patient", "patient"))}
    assert len(found | {trend(*given).z}) == 3
