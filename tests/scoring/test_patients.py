"""Several slides of one patient and role: one class by the bundle's rule."""

import random
import weakref
from collections import Counter

import pytest
import torch
from made_bundle import made_bundle

from pathoprog.ensemble.loading import load_bundle
from pathoprog.scoring.patients import PatientSlide, member_rows, patient_row, patients_of, score_patients
from pathoprog.scoring.scorer import Scorer

THRESHOLDS = {"10x": 0.5, "40x": 0.5}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return Scorer(load_bundle(made_bundle(tmp_path_factory.mktemp("patients") / "bundle", 32)), torch.device("cpu"))


def slide(slide_id, patient="P1", role="external", status="scored", low=0.4, high=0.6, duplicate_of="", reason=""):
    scores = {"10x": low, "40x": high} if status == "scored" else {}
    return PatientSlide(
        slide_id=slide_id,
        patient_id=patient,
        cohort="C",
        role=role,
        status=status,
        reason=reason,
        duplicate_of=duplicate_of,
        risk_class="uncertain" if status == "scored" else "",
        scores=scores,
        members={
            resolution: {f"{resolution}-{i}": score + (i - 2) / 100 for i in range(5)}
            for resolution, score in scores.items()
        },
    )


def no_instances(slide_id):
    raise AssertionError("a single slide needs no instances")


def test_a_single_slide_is_the_patient(scorer):
    (patient,) = score_patients([slide("A")], "bag", lambda: scorer, no_instances)
    assert (patient.status, patient.risk_class, patient.scores) == ("scored", "uncertain", {"10x": 0.4, "40x": 0.6})
    row = patient_row(patient, THRESHOLDS)
    assert float(row["one_number"]) == pytest.approx(0.0) and row["slides"] == "A" and row["rule"] == "bag"


@pytest.mark.parametrize(("rule", "expected"), [("mean", {"10x": 0.5, "40x": 0.5}), ("max", {"10x": 0.6, "40x": 0.7})])
def test_mean_and_max_of_slide_scores(scorer, rule, expected):
    slides = [slide("A", low=0.4, high=0.7), slide("B", low=0.6, high=0.3)]
    (patient,) = score_patients(slides, rule, lambda: scorer, no_instances)
    assert patient.scores == pytest.approx(expected) and patient.risk_class == "poor"
    assert patient.members["10x"]["10x-0"] == pytest.approx(expected["10x"] - 0.02)
    assert len(member_rows(patient)) == 10


def test_the_bag_rule_pools_all_tiles_of_all_slides(scorer):
    torch.manual_seed(0)
    kept = {
        name: {
            resolution: {member.name: torch.rand(n, 8) for member in scorer.bundle.members[resolution]}
            for resolution in ("10x", "40x")
        }
        for name, n in (("A", 3), ("B", 30))
    }
    (patient,) = score_patients([slide("B"), slide("A")], "bag", lambda: scorer, kept.__getitem__)
    for resolution in ("10x", "40x"):
        for member in scorer.bundle.members[resolution]:
            bag = torch.cat([kept[name][resolution][member.name] for name in ("A", "B")])
            expected = float(member.network.bag_scores(bag, [33], member.score_map))
            assert patient.members[resolution][member.name] == pytest.approx(expected, abs=1e-7)
    assert patient.slides == ["A", "B"], "the order of the table does not matter"


def test_roles_are_never_joined(scorer):
    patients = score_patients(
        [slide("A", role="training"), slide("B", role="test")], "bag", lambda: scorer, no_instances
    )
    assert [(patient.role, patient.slides) for patient in patients] == [("training", ["A"]), ("test", ["B"])]


def test_slides_that_are_not_reportable_are_left_out_and_listed(scorer):
    slides = [slide("A"), slide("B", status="not_reportable", reason="no 40x")]
    (patient,) = score_patients(slides, "bag", lambda: scorer, no_instances)
    assert (patient.status, patient.scored, patient.reason) == ("scored", ["A"], "B: no 40x")
    (patient,) = score_patients(slides[1:], "bag", lambda: scorer, no_instances)
    assert (patient.status, patient.risk_class, patient.reason) == ("not_reportable", "", "B: no 40x")
    assert patient_row(patient, THRESHOLDS)["one_number"] == ""


def test_a_failed_slide_leaves_its_patient_without_a_class(scorer):
    slides = [slide("A"), slide("B", status="failed", reason="truncated")]
    (patient,) = score_patients(slides, "bag", lambda: scorer, no_instances)
    assert (patient.status, patient.risk_class, patient.reason) == ("failed", "", "B: truncated")


def test_the_same_slide_twice_counts_once(scorer):
    slides = [slide("A"), slide("B", duplicate_of="A")]
    (patient,) = score_patients(slides, "bag", lambda: scorer, no_instances)
    assert patient.scored == ["A"] and patient.reason == "B: the same slide as A"


def sizes(slides):
    return Counter((slide.patient_id, slide.role) for slide in slides)


def test_patients_come_in_the_same_order_whether_their_slides_are_counted_before_or_not(scorer):
    shuffled = random.Random(1)
    for _ in range(20):
        slides = [
            slide(f"S{n}", f"P{shuffled.randrange(12)}", shuffled.choice(["test", "external"]), low=n / 40)
            for n in range(30)
        ]
        whole = list(score_patients(slides, "mean", lambda: scorer, no_instances))
        assert list(score_patients(iter(slides), "mean", lambda: scorer, no_instances, sizes(slides))) == whole
        firsts = list(dict.fromkeys((slide.patient_id, slide.role) for slide in slides))
        assert [(patient.patient_id, patient.role) for patient in whole] == firsts


def test_a_patient_s_slides_are_let_go_when_they_are_all_there():
    made, most = [], 0

    def slides():
        nonlocal most
        for n in range(60):
            one = slide(f"S{n}", f"P{n // 3}")
            made.append(weakref.ref(one))
            most = max(most, sum(one() is not None for one in made))
            yield one

    counted = {(f"P{n}", "external"): 3 for n in range(20)}
    found = [[one.slide_id for one in group] for group in patients_of(slides(), counted)]
    assert found == [[f"S{n + i}" for i in range(3)] for n in range(0, 60, 3)]
    assert most <= 7, "the group in hand, the one before, and the next slide"
