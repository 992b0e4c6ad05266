"""Rules for um per pixel."""

import pytest

from pathoprog.errors import SlideError
from pathoprog.slides.mpp import check_resolution, checked_mpp, objective_warning


@pytest.mark.parametrize(
    ("x", "y", "code"),
    [
        (None, None, "mpp_missing"),
        (0.0, 0.0, "mpp_absurd"),
        (352.78, 352.78, "mpp_absurd"),  # "72 dpi"
        (0.001, 0.001, "mpp_absurd"),
        (float("nan"), float("nan"), "mpp_absurd"),
        (0.25, 0.2551, "mpp_unequal"),
    ],
)
def test_bad_mpp_is_refused_and_the_override_named(x, y, code):
    with pytest.raises(SlideError, match=r"slides\.mpp=") as caught:
        checked_mpp(x, y)
    assert caught.value.code == code
    assert caught.value.not_reportable


def test_sane_mpp_and_override():
    assert checked_mpp(0.25, 0.2549) == (0.25, 0.2549)
    assert checked_mpp(0.25, None) == (0.25, 0.25)
    assert checked_mpp(352.78, None, override=0.5) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("objective", "mpp", "warned"),
    [
        (40, 0.25, False),
        (40, 0.2267, False),
        (20, 0.499, False),
        (20, 0.234, True),
        (40, 0.5, True),
        (None, 0.5, False),
    ],
)
def test_objective_that_contradicts_is_a_warning(objective, mpp, warned):
    assert bool(objective_warning(objective, mpp)) == warned


def test_base_up_to_a_tenth_coarser_is_resampled_and_no_more():
    check_resolution(0.275, 0.25, "40x")
    with pytest.raises(SlideError, match=r"no 40x score: the slide has 0\.499 um/px") as caught:
        check_resolution(0.499, 0.25, "40x")
    assert caught.value.code == "resolution"
    assert caught.value.not_reportable
    check_resolution(0.499, 0.25, "40x", allow_upsampling=True)
