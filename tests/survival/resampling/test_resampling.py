"""Bootstrap, imputation, subgroups and sample sizes."""

import math

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.hazard_regression import PHReg

from pathoprog.errors import InputError
from pathoprog.survival import cox, harrell_c
from pathoprog.survival.regression.imputation import impute, imputed_cox, rubin
from pathoprog.survival.regression.subgroups import interaction_test, subgroup_analysis
from pathoprog.survival.resampling.bootstrap import bootstrap
from pathoprog.survival.resampling.statistics import Resampled, bootstrap_intervals, hazard_ratios
from pathoprog.survival.sample_size import (
    observed_over_expected_patients,
    schoenfeld_events,
    simulate_precision,
    spread_for_c,
    validation_size,
)


class Mean:
    """Mean of fixed numbers; at the top level, so that processes can take it."""

    values = np.arange(40.0)

    def __call__(self, index: np.ndarray) -> np.ndarray:
        return np.array([self.values[index].mean(), float((index < 10).sum())])


def cohort(n: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": random.normal(size=n), "g": random.choice(["a", "b"], n)})
    frame["h"] = random.choice(["u", "v"], n)
    rate = np.exp(0.7 * frame["x"] + 0.8 * (frame["g"] == "b"))
    death, lost = random.exponential(size=n) / rate, random.uniform(0.2, 2, n)
    return frame.assign(time=np.minimum(death, lost), event=(death <= lost).astype(int))


def test_bootstrap_of_a_mean_within_cohorts() -> None:
    strata = np.repeat(["one", "two"], [10, 30])
    found = bootstrap(Mean(), 40, samples=400, strata=strata, seed=2)
    assert (found.samples[:, 1] == 10).all()  # each cohort keeps its size
    within = np.average([Mean.values[:10].var(), Mean.values[10:].var()], weights=[10, 30])
    assert found.se[0] == pytest.approx(math.sqrt(within / 40), rel=0.1)
    assert found.lower[0] < 19.5 < found.upper[0] and found.value[0] == 19.5


def test_limits_are_order_statistics_of_the_resamples() -> None:
    """Of 199 the 5th and the 195th, as R's boot.ci(type = "perc"): quantiles of the 199 themselves lie further in."""
    found = bootstrap(Mean(), 40, samples=199, seed=2)
    ordered = np.sort(found.samples[:, 0])
    assert (found.lower[0], found.upper[0]) == pytest.approx((ordered[4], ordered[194]))


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing() -> None:
    one, two = (bootstrap(Mean(), 40, samples=60, seed=5, workers=workers) for workers in (1, 2))
    np.testing.assert_array_equal(one.samples, two.samples)
    with pytest.raises(InputError, match="at least 1"):
        bootstrap(Mean(), 40, samples=0)


def test_resampled_statistics_are_those_of_the_library() -> None:
    frame = cohort(150, 1)
    place = (frame["g"] == "b").astype(int).to_numpy()
    time, event, score = (frame[name].to_numpy() for name in ("time", "event", "x"))
    statistic = Resampled(time, event, score, place, ("a", "b"), (0.5,), (("b",),))
    values = dict(zip(statistic.names(), statistic(np.arange(150)), strict=True))
    assert values["c"] == harrell_c(time, event, score).value
    assert values["hr b vs a"] == pytest.approx(cox(frame, "time", "event", ["g"]).terms["hr"][0], rel=1e-12)
    index = np.random.default_rng(0).integers(0, 150, 150)
    again = cox(frame.iloc[index].reset_index(drop=True), "time", "event", ["g"]).terms["hr"][0]
    assert statistic(index)[1] == pytest.approx(again, rel=1e-12)
    found = bootstrap_intervals(statistic, samples=50)["values"]
    assert all(row["lower"] <= row["upper"] and row["failed"] == 0 for row in found.values())


def test_resamples_without_an_answer_are_counted() -> None:
    assert math.isnan(hazard_ratios(np.array([1.0, 2]), np.array([False, False]), np.array([0, 1]), 2)[0])
    time, event, place = np.array([1.0, 2, 3, 4]), np.array([1, 0, 1, 0]), np.array([0, 0, 0, 1])
    statistic = Resampled(time, event, None, place, ("a", "b"), (2.5,), (("b",),))
    found = bootstrap_intervals(statistic, samples=80)["values"]
    assert found["ppv b 2.5 kaplan_meier"]["failed"] > 5


def test_rubin_by_hand() -> None:
    pooled = rubin(np.array([[1.0], [2.0], [3.0]]), np.array([[0.5], [0.5], [0.5]]))
    assert pooled.estimate[0] == 2 and pooled.se[0] == pytest.approx(math.sqrt(0.5 + 4 / 3 * 1))
    ratio = 4 / 3 / 0.5
    assert pooled.df[0] == pytest.approx(2 * (1 + 1 / ratio) ** 2)
    assert pooled.missing_information[0] == pytest.approx((ratio + 2 / (pooled.df[0] + 3)) / (ratio + 1))
    same = rubin(np.ones((3, 1)), np.full((3, 1), 0.25))
    assert same.se[0] == 0.5 and same.upper[0] == pytest.approx(1 + 1.959964 * 0.5, rel=1e-5)


def test_imputed_values_occur_and_known_ones_stay() -> None:
    frame = cohort(200, 4)
    holes = frame.copy()
    holes.loc[::7, "x"] = np.nan
    holes.loc[::9, "g"] = None
    tables = impute(holes, "time", "event", ["x", "g"], imputations=3)
    for table in tables:
        assert set(table["g"]) == {"a", "b"} and table["x"].isin(frame["x"]).all()
        known = holes["x"].notna()
        pd.testing.assert_series_equal(table.loc[known, "x"], frame.loc[known, "x"])
    assert not tables[0]["x"].equals(tables[1]["x"])
    pd.testing.assert_frame_equal(tables[0], impute(holes, "time", "event", ["x", "g"], imputations=3)[0])


def test_imputation_corrects_what_complete_cases_get_wrong() -> None:
    errors = []
    for seed in range(3):
        frame, random = cohort(1200, seed), np.random.default_rng(1)
        # x is missing in many who had the event and whose companion y is high: explained by what is known
        frame["y"] = frame["x"] + 0.5 * random.normal(size=len(frame))
        lost = random.random(len(frame)) < np.where((frame["event"] == 1) & (frame["y"] > 0), 0.6, 0.05)
        holes = frame.assign(x=frame["x"].where(~lost))
        whole, complete = (cox(table, "time", "event", ["x", "g"]).terms["coef"][0] for table in (frame, holes))
        tables = impute(holes, "time", "event", ["x", "g", "y"], imputations=5)
        pooled = np.mean([cox(table, "time", "event", ["x", "g"]).terms["coef"][0] for table in tables])
        errors.append((abs(complete - whole), abs(pooled - whole)))
    by_complete_cases, by_imputation = np.mean(errors, axis=0)
    assert by_imputation < 0.4 * by_complete_cases


def test_imputed_cox_of_complete_data_is_the_plain_one() -> None:
    frame = cohort(120, 2)
    plain = cox(frame, "time", "event", ["g", "x"]).terms
    pooled = imputed_cox(frame, "time", "event", ["g", "x"], imputations=2)
    np.testing.assert_allclose(pooled.terms[["coef", "se"]], plain[["coef", "se"]], rtol=1e-12)
    np.testing.assert_allclose(pooled.terms["p"], plain["p"], rtol=1e-5)
    with pytest.raises(InputError, match="no value at all"):
        impute(frame.assign(x=np.nan), "time", "event", ["x"], imputations=2)


def test_subgroups_and_their_interaction() -> None:
    frame = cohort(300, 6)
    found = subgroup_analysis(frame, "time", "event", "g", "h", reference={"g": "a"})
    for row in found.rows.to_dict("records"):
        inside = frame[frame["h"] == row["subgroup"]]
        assert row["hr"] == pytest.approx(cox(inside, "time", "event", ["g"]).terms["hr"][0])
    product = frame.assign(gh=((frame["g"] == "b") & (frame["h"] == "v")).astype(float))
    full, main = (cox(product, "time", "event", names).loglik for names in (["g", "h", "gh"], ["g", "h"]))
    assert found.interaction.statistic == pytest.approx(2 * (full - main), rel=1e-9) and found.interaction.df == 1
    split = subgroup_analysis(frame, "time", "event", "g", "x")
    assert split.rows["subgroup"].str.contains("up to|above").all() and split.interaction.df == 1
    nothing = subgroup_analysis(frame.assign(h=["a"] * 300), "time", "event", "g", "h")
    assert "one level" in nothing.note and math.isnan(nothing.interaction.p_value)


def test_the_interaction_tested_is_the_one_shown() -> None:
    frame = cohort(400, 8)
    random = np.random.default_rng(2)
    frame["code"] = random.integers(1, 5, 400)  # shown level by level: three degrees of freedom, not one slope
    found = subgroup_analysis(frame, "time", "event", "g", "code", reference={"g": "a"})
    words = frame.assign(code="c" + frame["code"].astype(str))
    test, n = interaction_test(words, "time", "event", "g", "code", reference={"g": "a"})
    assert found.rows["subgroup"].nunique() == 4 and found.interaction.df == 3 and n == 400
    assert found.interaction == test
    halves = subgroup_analysis(frame, "time", "event", "g", "x")  # shown by halves: tested by halves
    half = frame.assign(half=np.where(frame["x"] <= frame["x"].median(), "low", "up"))
    test, _ = interaction_test(half, "time", "event", "g", "half")
    assert halves.interaction.statistic == pytest.approx(test.statistic, rel=1e-9)
    linear, _ = interaction_test(frame, "time", "event", "g", "x")
    assert abs(linear.statistic - test.statistic) > 1e-3
    # within strata too: each subgroup and the test
    strata = frame.assign(site=random.choice(["n", "s"], 400))
    inside = subgroup_analysis(strata, "time", "event", "g", "code", reference={"g": "a"}, strata="site")
    first = cox(strata[strata["code"] == 1], "time", "event", ["g"], {"g": "a"}, "site").terms
    assert inside.rows["hr"][0] == pytest.approx(first["hr"][0]) and inside.interaction != found.interaction


def test_formulas_of_sample_size() -> None:
    assert schoenfeld_events(2.0, 0.5, power=0.8) == pytest.approx(65.34, abs=0.01)
    assert observed_over_expected_patients(0.1, 0.2) == pytest.approx(0.9 / (0.1 * (0.2 / 1.959964) ** 2), rel=1e-5)
    for wrong in ((1.0, 0.5), (2.0, 0.0)):
        with pytest.raises(InputError):
            schoenfeld_events(*wrong)


def test_simulated_precision() -> None:
    # a log hazard of spread s, uncensored, has the wanted c
    spread = spread_for_c(0.7)
    random = np.random.default_rng(0)
    score = spread * random.standard_normal(20_000)
    time = random.exponential(size=20_000) / np.exp(score)
    assert harrell_c(time, np.ones(20_000, dtype=int), score).value == pytest.approx(0.7, abs=0.006)
    small, large = (simulate_precision(0.7, 0.3, patients, tables=80) for patients in (150, 600))
    assert small.events == pytest.approx(45, rel=0.1) and large.events == pytest.approx(180, rel=0.05)
    # to four times the events belongs half the standard error
    assert small.se_c / large.se_c == pytest.approx(2, rel=0.3)
    assert small.se_slope / large.se_slope == pytest.approx(2, rel=0.3)


def test_size_of_a_validation_has_every_question() -> None:
    table = validation_size(2.5, 0.3, 0.68, 0.2, tables=40)
    assert table["question"].tolist() == [
        "primary contrast",
        "discrimination",
        "calibration slope",
        "observed / expected",
    ]
    assert (table["patients"] >= table["events"]).all() and table["events"][0] == math.ceil(schoenfeld_events(2.5, 0.3))


def by_hand(frame: pd.DataFrame, label: "pd.Series[str]") -> tuple[float, int]:
    """Likelihood ratio test of g x label by statsmodels, on columns of 0 and 1 made here: statistic and df."""
    g = (frame["g"] == "b").to_numpy(float)
    levels = sorted(set(label))[1:]
    marks = np.column_stack([(label == level).to_numpy(float) for level in levels])

    def loglik(columns: np.ndarray) -> float:
        return float(PHReg(frame["time"], columns, (frame["event"] == 1).astype(int), ties="efron").fit().llf)

    main = np.column_stack([g, marks])
    return 2 * (loglik(np.column_stack([main, marks * g[:, None]])) - loglik(main)), len(levels)


VARIANTS = {
    "codes far apart": lambda frame, random: random.choice([0, 10, 70], len(frame)),
    "codes as floats": lambda frame, random: random.choice([1.0, 2.0, 9.0], len(frame)),
    "boolean": lambda frame, random: random.choice([True, False], len(frame)),
    "texts of numbers": lambda frame, random: random.choice(["1", "2", "10"], len(frame)),
    "missing": lambda frame, random: pd.Series(random.choice(["x", "y", "z"], len(frame))).mask(frame.index % 9 == 0),
    "floats, missing": lambda frame, random: pd.Series(random.choice([1.0, 2.0], len(frame))).mask(
        frame.index % 7 == 0
    ),
    "unused level": lambda frame, random: pd.Categorical(random.choice(["x", "z"], len(frame)), ["z", "y", "x"]),
    "age": lambda frame, random: random.integers(40, 90, len(frame)),
    "age, many at its top": lambda frame, random: np.minimum(random.integers(40, 90, len(frame)), 70),
    "age, missing": lambda frame, random: pd.Series(random.integers(40, 90, len(frame))).mask(frame.index % 5 == 0),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_interaction_is_of_the_subgroups_shown_however_they_are_stored(name: str) -> None:
    """Against a model made by hand from the very labels of the rows, with their events and ratios."""
    frame = cohort(401, 12)
    frame["by"] = VARIANTS[name](frame, np.random.default_rng(5))
    found = subgroup_analysis(frame, "time", "event", "g", "by", reference={"g": "a"})
    known = frame[frame["by"].notna()]
    if name.startswith("age"):
        middle = known["by"].median()
        halves = np.where(known["by"] <= middle, f"up to {middle:g}", f"above {middle:g}")
        label = pd.Series(halves, index=known.index)
    else:
        label = known["by"].map(lambda value: str(int(value)) if isinstance(value, float) else str(value))
    assert set(found.rows["subgroup"]) == set(label) and found.n == len(known) and found.rows["n"].sum() == len(known)
    for row in found.rows.to_dict("records"):
        assert row["hr"] == pytest.approx(cox(known[label == row["subgroup"]], "time", "event", ["g"]).terms["hr"][0])
    statistic, df = by_hand(known, label)
    assert found.interaction.df == df and found.interaction.statistic == pytest.approx(statistic, abs=1e-5)


def test_a_subgroup_without_an_event_takes_no_degree_of_freedom() -> None:
    frame = cohort(400, 13)
    frame["by"] = np.random.default_rng(6).choice(["x", "y", "z"], 400)
    frame.loc[frame["by"] == "y", "event"] = 0
    found = subgroup_analysis(frame, "time", "event", "g", "by", reference={"g": "a"})
    others = frame[frame["by"] != "y"]
    assert found.interaction.df == 1 and found.n == len(others)
    assert found.interaction.statistic == pytest.approx(by_hand(others, others["by"])[0], abs=1e-5)
    assert found.note == "no event in by y: not in the test of interaction"
    assert list(found.rows["n"]) == [int((frame["by"] == name).sum()) for name in ("x", "y", "z")]
    frame.loc[frame["by"] == "x", "event"] = 0
    alone = subgroup_analysis(frame, "time", "event", "g", "by", reference={"g": "a"})
    assert "fewer than two subgroups of by have an event" in alone.note and math.isnan(alone.interaction.p_value)
