"""Whether a slide is one that the bundle was made for."""

import pytest

from pathoprog.quality.config import MadeForSettings
from pathoprog.scoring.eligibility import CONFIRMED, NOT_CONFIRMED, NOT_ELIGIBLE, judge, made_for

BOWEL = {"organ": ["colorectum"], "specimen": ["resection"], "stain": ["H&E"], "neoadjuvant": ["no"]}
SLIDE = {"organ": "colorectum", "specimen": "resection", "stain": "H&E", "neoadjuvant": "no"}


def test_a_slide_like_those_of_training_is_confirmed():
    assert judge(SLIDE, BOWEL).verdict == CONFIRMED
    spelled = {"organ": " Colorectum", "specimen": "RESECTION", "stain": "HE", "neoadjuvant": "none"}
    assert judge(spelled, BOWEL).verdict == CONFIRMED


@pytest.mark.parametrize(
    ("trait", "value"), [("organ", "breast"), ("specimen", "biopsy"), ("stain", "HES"), ("neoadjuvant", "yes")]
)
def test_one_trait_that_differs_is_enough(trait, value):
    found = judge({**SLIDE, trait: value}, BOWEL)
    assert found.verdict == NOT_ELIGIBLE and f"{trait} is {value}" in found.says
    assert found.slide[trait] == value and found.made_for == {name: tuple(values) for name, values in BOWEL.items()}


@pytest.mark.parametrize("value", ["", "unknown", "NA", " ? "])
def test_what_is_not_known_is_not_confirmed(value):
    found = judge({**SLIDE, "neoadjuvant": value}, BOWEL)
    assert found.verdict == NOT_CONFIRMED and found.says == "neoadjuvant not known"
    assert judge({}, BOWEL).says == "organ, specimen, stain, neoadjuvant not known"


def test_a_known_mismatch_weighs_more_than_an_unknown():
    assert judge({"organ": "breast"}, BOWEL).verdict == NOT_ELIGIBLE


def test_a_bundle_that_does_not_say_confirms_nothing():
    found = judge(SLIDE, {})
    assert found.verdict == NOT_CONFIRMED and "does not say" in found.says


def test_made_for_is_the_cohort_s_unless_given():
    rows = [{**SLIDE, "stain": "HES"}, {**SLIDE, "organ": ""}, SLIDE, {"organ": "unknown"}]
    assert made_for(MadeForSettings(), rows) == {**BOWEL, "stain": ["H&E", "HES"]}
    assert made_for(MadeForSettings(organ=["colon", "rectum"]), rows)["organ"] == ["colon", "rectum"]
    assert made_for(MadeForSettings(), [{}])["organ"] == []
