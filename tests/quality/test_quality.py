"""Checks against limits, the bundle's limits and reference, and what a person may override."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pathoprog.errors import BundleError
from pathoprog.quality.checks import (
    CHECKS,
    DEFAULT_LIMITS,
    FAIL,
    NOT_CHECKED,
    PASS,
    WARN,
    QualityCheck,
    QualityRules,
    overrides,
    quality_file,
    read_rules,
)
from pathoprog.quality.config import LimitSettings, QualitySettings
from pathoprog.quality.look import QualityLook
from pathoprog.quality.reference import Measured, Reference, features, fit_reference
from pathoprog.regions.tissue import RegionMask
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.stream.events import SlideOpened
from pathoprog.system.files import write_json

GOOD = QualityLook(
    glass=245, empty_share=0.0, pen_share=0.0, pen_elsewhere_mm2=0.0, fold_share=0.0, bubble_share=0.0,
    green_share=0.99, sharpness=(-0.5, -0.4, -0.45, -0.6, -0.5, -0.5), colour=(0.25, 0.5, 0.28, 0.4),
)  # fmt: skip


def opened(look=GOOD, area_um2=2e6, source="outline"):
    facts = SlideFacts("S", "made", "made", 4000, 4000, (Level(4000, 4000, 1.0),), 0.25, 0.25, None, ())
    mask = RegionMask(np.ones((10, 10), bool), 400.0, 400.0, 100.0)
    picture = np.zeros((10, 10, 3), np.uint8)
    return SlideOpened("S", facts, {}, {}, picture, 400.0, mask, source, None, area_um2, area_um2, "", look)


def verdicts(look, rules=None, **more):
    checks = (rules or QualityRules()).judge(opened(look, **more))
    return {check.name: check.verdict for check in checks}


def looks(n, seed, shift=0.0):
    """Slides of six sites, the last feature of each spread by 0.1."""
    rng = np.random.default_rng(seed)
    return [
        Measured(
            replace(GOOD, colour=tuple(np.exp(rng.normal(-1 + shift, 0.1, 4))), sharpness=(rng.normal(-0.5, 0.1),)),
            f"site {index % 6}",
            float(rng.uniform(2, 10)),
        )
        for index in range(n)
    ]


def test_a_good_slide_passes_and_says_what_was_not_checked():
    found = verdicts(GOOD)
    assert found.pop("distance to the training slides") == NOT_CHECKED
    assert set(found.values()) == {PASS} and len(found) >= 11


@pytest.mark.parametrize(
    ("name", "warns", "fails"),
    [
        ("empty glass", {"empty_share": 0.4}, {"empty_share": 0.8}),
        ("pen marks", {"pen_share": 0.05}, {"pen_share": 0.1}),
        ("folds", {"fold_share": 0.05}, {"fold_share": 0.1}),
        ("air bubbles", {"bubble_share": 0.05}, {"bubble_share": 0.1}),
        ("brightness of the glass", {"glass": 190}, {"glass": 100}),
        ("stain: green absorbed most", {"green_share": 0.7}, {"green_share": 0.5}),
        ("stain: red and blue over green", {"colour": (0.4, 0.5, 0.35, 0.4)}, {"colour": (0.5, 0.5, 0.5, 0.4)}),
        ("sharpness", {"sharpness": (-1.0,) * 6}, {"sharpness": (-1.3,) * 6}),
        ("blurred fields", {"sharpness": (-1.3, *(-0.5,) * 5)}, {"sharpness": (*(-1.3,) * 4, -0.5, -0.5)}),
        ("pen marks elsewhere", {"pen_elsewhere_mm2": 0.5}, None),
    ],
)
def test_each_check_warns_and_fails_beyond_its_limits(name, warns, fails):
    assert verdicts(replace(GOOD, **warns))[name] == WARN
    if fails:
        assert verdicts(replace(GOOD, **fails))[name] == FAIL
    else:
        assert DEFAULT_LIMITS["pen_elsewhere"][1] is None, "ink beside the tumour refuses no slide"


def test_a_value_at_its_limit_passes_and_a_finding_names_the_limit():
    rules = QualityRules()
    (check,) = [check for check in rules.judge(opened(replace(GOOD, fold_share=0.08))) if check.name == "folds"]
    assert (check.verdict, check.value, check.warn, check.fail, check.unit) == (WARN, 8.0, 2, 8, "%")
    (check,) = [check for check in rules.judge(opened(replace(GOOD, fold_share=0.0801))) if check.name == "folds"]
    assert check.verdict == FAIL and check.finding == "folds 8.01 % (limit 8)"


def test_what_cannot_be_measured_is_not_checked_and_never_passes():
    found = verdicts(QualityLook(), area_um2=0.0)
    assert found.pop("tissue area") == found.pop("tumour area") == FAIL
    assert set(found.values()) == {NOT_CHECKED}


def test_the_distance_is_mahalanobis():
    """By hand: two of five features deviate, by 2 and 1 SD, uncorrelated."""
    reference = Reference(features(GOOD), np.diag([0.04, 1.0, 1.0, 1.0, 0.01]), 100, 4)
    away = replace(GOOD, colour=(0.25 * math.exp(0.4), *GOOD.colour[1:]), sharpness=(-0.4,))
    assert reference.distance(GOOD) == pytest.approx(0, abs=1e-6)
    assert reference.distance(away) == pytest.approx(math.sqrt(2**2 + 1**2))
    assert math.isnan(reference.distance(replace(GOOD, colour=())))
    again = Reference.from_dict(reference.as_dict())
    assert again.distance(away) == reference.distance(away) and again.n_slides == 100


def test_the_limits_follow_from_the_reference_s_own_spread():
    slides = looks(600, 1)
    reference, limits = fit_reference(slides)
    assert reference is not None and (reference.n_slides, reference.n_sites) == (600, 6)
    warn, fail = limits["distance"]
    assert warn == pytest.approx(math.sqrt(15.09), rel=0.08), "99th percentile of chi-squared with 5 degrees"
    assert fail == 2 * warn
    areas = [slide.area_mm2 for slide in slides]
    assert limits["tumour_area"] == [pytest.approx(np.percentile(areas, 1)), pytest.approx(np.percentile(areas, 1) / 4)]
    fresh = [reference.distance(slide.look) > warn for slide in looks(600, 2)]
    assert np.mean(fresh) < 0.03
    assert all(reference.distance(slide.look) > fail for slide in looks(50, 3, shift=2.0))


def test_a_site_that_stands_apart_widens_the_limits():
    """A laboratory that training did not see may lie as far off as one of training's does from the others."""
    slides = looks(300, 1)
    apart = [replace(slide, site="site 7") for slide in looks(60, 4, shift=0.5)]
    near, far = fit_reference(slides)[1]["distance"][0], fit_reference(slides + apart)[1]["distance"][0]
    assert far > 1.5 * near


def test_too_few_slides_make_no_reference():
    reference, limits = fit_reference(looks(29, 1))
    assert reference is None and limits == {}
    blind = [replace(slide, look=replace(slide.look, sharpness=())) for slide in looks(40, 1)]
    reference, limits = fit_reference(blind)
    assert reference is None and list(limits) == ["tumour_area"]


def test_a_bundle_s_limits_and_reference_hold_and_a_person_s_override(tmp_path):
    reference, _ = fit_reference(looks(60, 1))
    limits = {"folds": [1.0, 3.0], "pen": [None, None], "distance": [4.0, 8.0], "tumour_area": [5.0, 1.0]}
    write_json(tmp_path / "quality.json", quality_file(limits, reference, "outline"))
    rules = read_rules(tmp_path, QualitySettings(), "outline")
    assert rules.limits["folds"] == (1.0, 3.0) and rules.limits["pen"] == (None, None)
    assert verdicts(replace(GOOD, fold_share=0.04), rules)["folds"] == FAIL
    assert verdicts(GOOD, rules)["distance to the training slides"] in (WARN, FAIL, PASS)
    assert rules.limits["tumour_area"] == (5.0, 1.0)
    assert read_rules(tmp_path, QualitySettings(), "tissue").limits["tumour_area"] == DEFAULT_LIMITS["tumour_area"]

    settings = QualitySettings(policy="report", limits=LimitSettings(folds_fail=50.0))
    assert read_rules(tmp_path, settings, "outline").limits["folds"] == (1.0, 50.0)
    assert overrides(settings) == {"quality.limits.folds_fail": 50.0, "quality.policy": "report"}
    assert overrides(QualitySettings()) == {}


def test_a_bundle_without_a_quality_file_is_judged_by_the_defaults(tmp_path):
    rules = read_rules(tmp_path, QualitySettings(), "outline")
    assert rules.limits == DEFAULT_LIMITS and rules.reference is None and "no reference" in rules.why_no_reference


def test_a_reference_of_another_version_is_not_used_and_a_broken_file_is_refused(tmp_path):
    reference, _ = fit_reference(looks(60, 1))
    write_json(
        tmp_path / "quality.json", {"version": "0", "region": "outline", "limits": {}, "reference": reference.as_dict()}
    )
    rules = read_rules(tmp_path, QualitySettings(), "outline")
    assert rules.reference is None and "version 0" in rules.why_no_reference
    write_json(tmp_path / "quality.json", {"version": "1", "limits": {"folds": [1]}})
    with pytest.raises(BundleError, match="not a quality file"):
        read_rules(tmp_path, QualitySettings(), "outline")


def test_every_limit_has_its_settings():
    names = {f"{key}_{side}" for key in DEFAULT_LIMITS for side in ("warn", "fail")}
    assert names == set(LimitSettings.__dataclass_fields__)


def test_a_new_check_is_a_function_and_a_line(monkeypatch):
    new = QualityCheck(lambda opened, _: {"thumbnail's width": float(opened.thumbnail.shape[1])}, "Pixels.", "px", 5, 8)
    monkeypatch.setitem(CHECKS, "width", new)
    found = QualityRules(DEFAULT_LIMITS | {"width": (new.warn, new.fail)}).judge(opened())[-1]
    assert (found.name, found.value, found.unit, found.verdict) == ("thumbnail's width", 10.0, "px", FAIL)
