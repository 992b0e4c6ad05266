"""One list of analyses for `survival`, `validate` and the plan, each computed in one place."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from house import ROOT, sources

from pathoprog.errors import InputError
from pathoprog.survival import cox, harrell_c, kaplan_meier, logrank
from pathoprog.survival.analyses import ANALYSES, Analysis
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.restricted_mean import restricted_mean
from pathoprog.survival.prediction.calibration import calibration
from pathoprog.survival.prediction.horizon import values_by_curves
from pathoprog.survival.prediction.scores import primary_estimator
from pathoprog.survival.question import Grouping, Model, NotEstimated, PredictedRisk, Question, Score
from pathoprog.survival.table import CODE, TIME
from pathoprog.validation.plan import DEFINED_BY, TITLES

TIMES = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
EVENTS = np.array([1, 0, 2, 1, 1, 0, 2, 1, 0, 0])
POSITIVE = np.array([True, False, True, True, False, False, True, False, True, False])
FRAME = pd.DataFrame({TIME: TIMES, CODE: EVENTS, "class": np.where(POSITIVE, "poor", "good"), "site": list("ab") * 5})
ASKED = Question(
    frame=FRAME,
    group="class",
    levels=("good", "poor"),
    reference={"class": "good"},
    groupings=(Grouping("poor", ("poor",)),),
    horizons=(5.0,),
    tau=6.0,
)


def run(name: str, **asked: Any) -> Any:
    return ANALYSES[name].run(replace(ASKED, **asked))


def test_names_of_plans_that_were_locked_stay():
    assert list(TITLES) == [
        "kaplan_meier", "logrank", "hazard_ratios", "c_index", "c_classes", "c_resolutions", "c_members", "groupings",
        "horizon_values", "competing_deaths", "adjusted", "subgroups", "calibration", "stage_groups", "permutation",
        "true_hazard", "sites", "added_value", "clinical_model", "treatment", "time_effects", "endpoints",
    ]  # fmt: skip
    assert set(DEFINED_BY) <= set(TITLES)
    assert all(name == one.name and (one.in_plans or one.in_survival) for name, one in ANALYSES.items())


def test_curves_of_all_and_of_each_group():
    found = run("kaplan_meier", columns=np.array([0.0, 5.0]))
    assert found.overall.curve.n == 10 and list(found.by_group) == ["good", "poor"]
    right = kaplan_meier(TIMES[POSITIVE], EVENTS[POSITIVE])
    np.testing.assert_array_equal(found.by_group["poor"].curve.survival, right.survival)
    assert list(found.by_group["poor"].at_risk.n_risk) == [5, 2]


def test_a_patient_without_a_group_is_in_the_whole_alone():
    asked = replace(ASKED, frame=FRAME.assign(**{"class": FRAME["class"].where(TIMES < 10, None)}))
    found = ANALYSES["kaplan_meier"].run(asked)
    assert found.overall.curve.n == 10 and [own.curve.n for own in found.by_group.values()] == [4, 5]


def test_tests_are_inside_cohorts_taken_together_and_inside_further_strata():
    given = (TIMES, EVENTS, FRAME["class"])
    plain, within = logrank(*given).statistic, logrank(*given, FRAME["site"]).statistic
    assert plain != within
    assert run("logrank").plain.logrank.statistic == plain and run("logrank").stratified is None
    assert run("logrank", within="site").plain.logrank.statistic == within
    found = run("logrank", strata=("site",))
    assert (found.plain.logrank.statistic, found.stratified.logrank.statistic) == (plain, within)


def test_ratios_of_models_and_of_groupings():
    by_hand = cox(FRAME, TIME, CODE, ["class"], {"class": "good"}).coef[0]
    found = run("hazard_ratios", models={"one": Model(("class",)), "none": Model(("site", "nothing"))})
    assert found["one"].coef[0] == by_hand and "no column 'nothing'" in found["none"].note
    two = run("groupings")["poor"]
    assert (two.n_positive, two.n_rest, two.model.coef[0]) == (5, 5, by_hand)


def test_values_at_a_horizon_are_those_of_each_estimator():
    (found,) = run("horizon_values", competing=True)
    given = (TIMES, EVENTS, POSITIVE, 5.0)
    assert found.values["kaplan_meier"] == values_by_curves(*given)
    assert found.values["aalen_johansen"] == values_by_curves(*given, competing=True) != found.values["kaplan_meier"]
    assert next(iter(found.values)) == primary_estimator(True) and list(found.values)[2] == primary_estimator(False)
    assert list(run("horizon_values")[0].values) == ["kaplan_meier", "inverse_weights", "complete_cases"]
    (nothing,) = run("horizon_values", groupings=(Grouping("all", ("good", "poor")),))
    assert isinstance(nothing.values, NotEstimated)


def test_incidences_are_of_the_event_and_of_the_other_death():
    found = run("competing_deaths").overall
    for cause, code in (("event", 1), ("competing", 2)):
        np.testing.assert_array_equal(found[cause].value, cumulative_incidence(TIMES, EVENTS, code).value)


def test_restricted_means_differ_from_the_first_level():
    found = run("rmst")
    assert found.by_group["poor"].value == restricted_mean(TIMES[POSITIVE], EVENTS[POSITIVE], 6.0).value
    assert list(found.difference) == ["poor"]
    assert found.difference["poor"].value == found.by_group["poor"].value - found.by_group["good"].value


def test_concordance_is_of_those_who_have_the_score():
    values = np.where(TIMES < 9, -TIMES, np.nan)
    found = run("c_index", scores=(Score("s", "c_index", values), Score("other", "c_classes", TIMES)))
    assert list(found) == ["s"] and found["s"].n == 8
    assert found["s"].harrell == harrell_c(TIMES[:8], EVENTS[:8], -TIMES[:8])
    nobody = run("c_index", scores=(Score("s", "c_index", values * np.nan),))
    assert isinstance(nobody["s"], NotEstimated)


def test_given_risks_are_calibrated_as_they_are():
    risk = np.linspace(0.9, 0.1, 10)
    given = PredictedRisk(5.0, np.ones(10, dtype=bool), risk, competing=True, groups=5)
    late = replace(given, horizon=30.0)
    found = run("calibration", risks=(given, late))
    right = calibration(TIMES, EVENTS, risk, 5.0, competing=True, n_groups=5)
    assert found[0].calibration.ratio == right.ratio and len(found[0].calibration.groups) == len(right.groups)
    assert isinstance(found[1].calibration, NotEstimated)


def test_one_fit_serves_all_who_look_at_it():
    model = Model(("class",))
    assert ASKED.fit(model) is ASKED.fit(model) is ASKED.tried(model)
    assert replace(ASKED, reference={"class": "poor"}).fit(model) is not ASKED.fit(model)


def test_what_cannot_be_estimated_says_why():
    def refuse(q: Question) -> None:
        raise InputError("too few")

    assert Analysis("made", "", refuse).tried(ASKED) == NotEstimated("too few")
    with pytest.raises(InputError, match="too few"):
        Analysis("made", "", refuse).run(ASKED)


ESTIMATORS = (
    "kaplan_meier", "number_at_risk", "logrank", "trend", "cumulative_incidence", "gray_test", "restricted_mean", "cox",
    "fine_gray", "imputed_cox", "subgroup_analysis", "proportional_hazards", "predict_survival", "harrell_c", "uno_c",
    "values_by_curves", "values_by_weights", "values_of_complete_cases", "calibration", "auc_at", "brier_at",
    "integrated_brier", "decision_curve", "permuted_c", "bootstrap_intervals", "validation_size",
)  # fmt: skip


def test_neither_command_computes_these_by_itself():
    pattern = re.compile(rf"\bimport\b.*\b(?:{'|'.join(ESTIMATORS)})\b")
    files = [
        path
        for path in sources("cohorts", "pathoprog")
        if path.name.startswith("survival") or path.parts[:2] == ("pathoprog", "validation")
    ]
    assert len(files) > 10
    again = [str(path) for path in files if pattern.search((ROOT / path).read_text(encoding="utf-8"))]
    assert not again, "go through ANALYSES"
