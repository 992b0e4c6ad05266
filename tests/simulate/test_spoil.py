"""Spoilt slides: equal from equal seeds, hurt where the tumour is, and files that scoring reads."""

import numpy as np
import pytest
import shapely
from made_spoilt import GOOD, made_good

from pathoprog.regions.annotations import read_outline
from pathoprog.simulate.drawing import slide_files
from pathoprog.simulate.spoil import ALL_KINDS, KINDS, LITTLE_TUMOUR, spoil_slide
from pathoprog.slides import open_slide

TUMOUR = shapely.MultiPolygon([shapely.box(60, 60, 200, 200)])
MPP = 2.0


@pytest.fixture
def picture():
    rng = np.random.default_rng(1)
    tissue = rng.integers(120, 200, (260, 260, 1)) + np.array([40, -40, 20])
    result = np.full((260, 260, 3), 245)
    result[20:240, 20:240] = tissue[20:240, 20:240]
    return result.astype(np.uint8)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_tumour_is_hurt_and_equal_seeds_give_equal_damage(kind, picture):
    before = picture.copy()
    one, other = (KINDS[kind](np.random.default_rng(5), picture, MPP, TUMOUR) for _ in range(2))
    assert one.dtype == np.uint8 and one.shape == picture.shape and np.array_equal(one, other)
    assert np.array_equal(picture, before), "the good picture is left as it was"
    inside = np.abs(one[60:200, 60:200].astype(int) - picture[60:200, 60:200]).max(axis=-1) > 10
    assert inside.mean() > 0.1
    drawn_anew = KINDS[kind](np.random.default_rng(6), picture, MPP, TUMOUR)
    assert kind == "grey" or kind == "fluorescence" or not np.array_equal(one, drawn_anew)


def test_ink_takes_light_and_never_gives_any(picture):
    marked = KINDS["pen"](np.random.default_rng(5), picture, MPP, TUMOUR)
    assert (marked.astype(int) - picture).max() <= 1


def test_files_are_written_with_their_outlines(tmp_path):
    source = made_good(tmp_path / "good")
    whole = read_outline(slide_files(source, GOOD)[1])
    for kind in ("ihc", LITTLE_TUMOUR):
        spoil_slide(source, GOOD, kind, 3, tmp_path / "out")
        slide, outline = slide_files(tmp_path / "out", f"{GOOD}-{kind}")
        with open_slide(str(slide)) as found, open_slide(str(slide_files(source, GOOD)[0])) as good:
            assert (found.mpp, found.width, len(found.levels)) == (good.mpp, good.width, len(good.levels))
        share = read_outline(outline).area / whole.area
        assert share == pytest.approx(1, abs=0.01) if kind == "ihc" else 0.02 < share < 0.11
    before = slide.read_bytes()
    spoil_slide(source, GOOD, LITTLE_TUMOUR, 3, tmp_path / "out")
    assert slide.read_bytes() == before
    assert set(ALL_KINDS) >= {"blurred", "pen", "folded", "ihc", "blank", "bubbles", "little_tumour"}
