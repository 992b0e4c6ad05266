"""One list of analyses for `survival`, `validate` and the plan, each computed in one place."""

import re

import numpy as np
from house import ROOT, sources

from pathoprog.survival.analyses import ANALYSES, Followed, horizon_values, incidences, restricted_means
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.curves.restricted_mean import restricted_mean
from pathoprog.survival.prediction.horizon import values_by_curves
from pathoprog.validation.plan import DEFINED_BY, TITLES

PATIENTS = Followed(
    np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]), np.array([1, 0, 2, 1, 1, 0, 2, 1, 0, 0])
)
POSITIVE = np.array([True, False, True, True, False, False, True, False, True, False])


def test_names_of_plans_that_were_locked_stay():
    assert list(TITLES) == [
        "kaplan_meier", "logrank", "hazard_ratios", "c_index", "c_classes", "c_resolutions", "c_members", "groupings",
        "horizon_values", "competing_deaths", "adjusted", "subgroups", "calibration", "stage_groups", "permutation",
        "true_hazard",
    ]  # fmt: skip
    assert set(DEFINED_BY) <= set(TITLES) and list(TITLES) == list(ANALYSES)


def test_values_at_a_horizon_are_those_of_each_estimator():
    found = horizon_values(PATIENTS, POSITIVE, 5.0, competing=True)
    given = (PATIENTS.time, PATIENTS.event, POSITIVE, 5.0)
    assert found["kaplan_meier"] == values_by_curves(*given)
    assert found["aalen_johansen"] == values_by_curves(*given, competing=True) != found["kaplan_meier"]
    assert list(horizon_values(PATIENTS, POSITIVE, 5.0, competing=False)) == [
        "kaplan_meier", "inverse_weights", "complete_cases",
    ]  # fmt: skip


def test_incidences_are_of_the_event_and_of_the_other_death():
    for cause, code in (("event", 1), ("competing", 2)):
        right = cumulative_incidence(PATIENTS.time, PATIENTS.event, code).at([5.0]).value
        assert incidences(PATIENTS, np.array([5.0]))[cause].value == right


def test_restricted_means_differ_from_the_reference_if_it_is_there():
    groups = {
        name: Followed(PATIENTS.time[mark], PATIENTS.event[mark]) for name, mark in (("a", POSITIVE), ("b", ~POSITIVE))
    }
    means, gaps = restricted_means(groups, 6.0, "b")
    assert means["a"].value == restricted_mean(groups["a"].time, groups["a"].event, 6.0).value
    assert list(gaps) == ["a"] and gaps["a"].value == means["a"].value - means["b"].value
    assert restricted_means(groups, 6.0, "c")[1] == {}


def test_neither_command_computes_these_by_itself():
    pattern = re.compile(r"\b(?:values_by_curves|values_by_weights|values_of_complete_cases|restricted_mean)\(")
    files = [path for path in sources("cohorts", "pathoprog") if "survival" not in path.parts]
    again = [str(path) for path in files if pattern.search((ROOT / path).read_text(encoding="utf-8"))]
    assert not again, "call pathoprog.survival.analyses"
