"""Every patient and slide is accounted for, or there is no report."""

from pathlib import Path

import pandas as pd
import pytest
from made_cohort import THRESHOLDS, make_cohort

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.errors import InputError, LockError
from pathoprog.validation.flow import check_complete, flow_of, not_scored
from pathoprog.validation.populations import analysed_patients, populations_of
from pathoprog.validation.score_tables import read_members, read_patients, read_results


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cohort(tmp_path_factory.mktemp("made"), development=80, test=20, external=(60, 50)).folder


def tables(made: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return (
        read_cohort(made / "cohort.csv", made / "overlap.json"),
        read_results(made / "scored" / "results.csv", [ensemble_id(made / "bundle")]),
        read_patients(made / "scored" / "patients.csv", THRESHOLDS),
    )


def test_numbers_add_up_and_exclusions_count(made: Path):
    cohort, results, patients = tables(made)
    check_complete(cohort, results, patients)
    scored = patients[(patients["cohort"] == "trial 1") & (patients["status"] == "scored")]
    gone, dropped = scored["patient_id"].iloc[0], scored["patient_id"].iloc[1]
    outcomes = read_outcomes(made / "outcomes.csv")
    outcomes = outcomes[outcomes["patient_id"] != gone]
    analysed = analysed_patients(cohort, patients, outcomes, {dropped})
    flow = flow_of("external", "trial 1", cohort, results, patients, analysed, {dropped: "neoadjuvant treatment"})
    assert flow.patients["all"] == flow.slides["all"] == 60
    assert flow.excluded == {"neoadjuvant treatment": 1}
    assert flow.no_outcome == 1
    assert flow.analysed["all"] == len(scored) - 2 == sum(flow.events.values())
    own = results[results["slide_id"].isin(cohort.loc[cohort["cohort"] == "trial 1", "slide_id"])]
    assert flow.slides["failed"] == (own["status"] == "failed").sum() > 0
    assert set(flow.reasons["reason"]) == {"the file ends early", "no 40x score: 0.499 um/px is too coarse for 0.25"}


def test_populations_of_several_cohorts_come_pooled_first(made: Path):
    cohort, _, patients = tables(made)
    analysed = analysed_patients(cohort, patients, read_outcomes(made / "outcomes.csv"), set())
    external = [p for p in populations_of(analysed) if p.role == "external"]
    assert [(p.name, p.strata) for p in external] == [
        ("external: all cohorts", "cohort"),
        ("external: trial 1", None),
        ("external: trial 2", None),
    ]
    assert len(external[0].patients) == len(external[1].patients) + len(external[2].patients)


def test_a_flow_that_does_not_add_up_is_refused(made: Path):
    cohort, results, patients = tables(made)
    analysed = analysed_patients(cohort, patients, read_outcomes(made / "outcomes.csv"), set())
    analysed["event"] = analysed["event"].replace(2, 3)
    with pytest.raises(InputError, match="does not add up; no report: analysed by event"):
        flow_of("external", "trial 1", cohort, results, patients, analysed, {})


def test_every_missing_unknown_or_miscounted_row_is_listed(made: Path):
    cohort, results, patients = tables(made)
    lost = results["slide_id"].iloc[0]
    patients = patients.copy()
    patients.loc[5, "n_slides"] = 2
    patients.loc[6, "patient_id"] = "nobody"
    results = results.iloc[1:].copy()
    results.loc[3, "patient_id"] = "someone"
    results.loc[4, "slide_sha256"] = results["slide_sha256"][7]
    with pytest.raises(InputError) as caught:
        check_complete(cohort, results, patients)
    text = str(caught.value)
    assert f"slide {lost}: in the cohort, but not in the results" in text
    assert "patient nobody (" in text and "in patients.csv, but not in the cohort" in text
    assert "of someone in the results" in text
    assert "1 slides scored by the results, 1 of 2" in text.replace("1 of 1 slides", "1 slides")
    assert "the same content as slide" in text


def test_cohorts_that_were_not_scored_are_left_out_as_a_whole(made: Path):
    cohort, results, _ = tables(made)
    external = cohort.loc[cohort["role"] == "external", "slide_id"]
    left_out = not_scored(cohort, results[results["slide_id"].isin(external)])
    assert ("training", "north") in left_out and ("test", "retest") in left_out
    assert not [pair for pair in left_out if pair[0] == "external"]


def test_scores_of_another_ensemble_or_an_edited_class_are_refused(made: Path, tmp_path: Path):
    with pytest.raises(LockError, match="scored by another ensemble"):
        read_results(made / "scored" / "results.csv", ["0" * 64])
    with pytest.raises(LockError, match="the class does not follow"):
        read_patients(made / "scored" / "patients.csv", {"10x": 0.2, "40x": 0.55})
    text = (made / "scored" / "patients.csv").read_text()
    edited = tmp_path / "patients.csv"
    edited.write_text(text.replace(",poor,", ",good,", 1))
    with pytest.raises(LockError, match=r"in line \d+$"):
        read_patients(edited, THRESHOLDS)
    edited.write_text(text + text.splitlines()[-1] + "\n")
    with pytest.raises(InputError, match="the same patient_id and role"):
        read_patients(edited, THRESHOLDS)
    edited.write_text(text.replace("external", "extern"))
    with pytest.raises(InputError, match="role 'extern'"):
        read_patients(edited, THRESHOLDS)


def test_members_are_optional(made: Path, tmp_path: Path):
    assert read_members(tmp_path / "members.csv") is None
    members = read_members(made / "scored" / "members.csv")
    assert members is not None
    assert members.groupby(["patient_id", "role"]).size().eq(10).all()
