"""An outline in other units than level-0 pixels is told from one of another slide, with both extents."""

import dataclasses
import json

import numpy as np
import pytest
import shapely
import shapely.affinity
from made_slides import texture, write_pyramid

from pathoprog.errors import SlideError
from pathoprog.regions.slide_outline import check_on_tissue, inside_slide, looks_scaled, where_given
from pathoprog.regions.tissue import RegionMask, tissue_mask
from pathoprog.slides import open_slide
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, SlideOpened, StreamSettings, TileStream
from pathoprog.tiles.grid import standard_spec

SIDE, MPP = 4096, 0.25
TUMOUR = shapely.MultiPolygon([shapely.box(2000, 2000, 3800, 3600)])
IN_UM = shapely.affinity.scale(TUMOUR, MPP, MPP, origin=(0, 0))  # 500 to 950, 500 to 900


def slide(path, left, mpp=MPP):
    """Glass, with tissue from (left, left) to the far corner, on levels of factors 1, 2 and 4."""
    image = np.full((SIDE, SIDE, 3), 243, np.uint8)
    image[left:, left:] = texture(SIDE - left, SIDE - left, seed=1)
    return write_pyramid(path, image, mpp=mpp)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    path = slide(tmp_path_factory.mktemp("s") / "s.tif", 1900)
    with open_slide(path) as made:
        return made.facts, tissue_mask(made)


def test_micrometres_on_glass(opened):
    facts, tissue = opened
    with pytest.raises(SlideError) as caught:
        check_on_tissue(IN_UM, facts, tissue)
    said = str(caught.value)
    assert "only 0% of it is tissue (its x 500 to 950, y 500 to 900; the slide has 4096 x 4096 px)" in said
    assert (
        "divided by 0.25 um/px they lie on tissue: its coordinates look like micrometres or pixels of level 2" in said
    )
    check_on_tissue(TUMOUR, facts, tissue)
    assert looks_scaled(TUMOUR, facts, tissue) == ""


def test_pixels_of_a_lower_level(opened):
    facts, tissue = opened
    halved = shapely.affinity.scale(TUMOUR, 0.5, 0.5, origin=(0, 0))
    with pytest.raises(
        SlideError, match=r"multiplied by that level's downsample .* look like pixels of level 1, and must"
    ):
        check_on_tissue(halved, facts, tissue)


def test_an_outline_of_another_slide_is_not_said_to_be_scaled(opened):
    facts, tissue = opened
    corner = shapely.MultiPolygon([shapely.box(20, 20, 400, 300)])
    with pytest.raises(SlideError, match="was it drawn on another slide") as caught:
        check_on_tissue(corner, facts, tissue)
    assert "micrometres" not in str(caught.value)


def test_micrometres_beyond_a_coarse_slide(opened):
    """At 2 um/px they are larger than the pixels."""
    facts = dataclasses.replace(opened[0], mpp_x=2.0, mpp_y=2.0)
    whole = shapely.MultiPolygon([shapely.box(1000, 1000, 8000, 8000)])
    with pytest.raises(
        SlideError, match=r"lies outside the slide .*divided by 2 um/px they lie on the slide"
    ) as caught:
        inside_slide(whole, facts)
    assert "micrometres" in str(caught.value)
    with pytest.raises(SlideError, match="was it drawn on another slide"):
        inside_slide(shapely.affinity.translate(whole, 9000), facts)


def test_where_an_outline_without_tiles_lies(opened):
    facts, tissue = opened
    assert where_given(IN_UM, facts, tissue).startswith(" (the outline: its x 500 to 950, y 500 to 900; the slide has")
    assert "micrometres" in where_given(IN_UM, facts, tissue)
    everywhere = RegionMask(np.ones_like(tissue.array), tissue.downsample, tissue.downsample_y, tissue.mpp)
    assert "micrometres" not in where_given(IN_UM, facts, everywhere)  # it fits as it is


def test_through_the_readers(tmp_path):
    """Partly on tissue as it is, wholly as micrometres: read, with a warning."""
    path = slide(tmp_path / "s.tif", 850)
    outlines = {"um": IN_UM, "px": TUMOUR}
    warnings = {}
    with TileStream(StreamSettings(workers=1)) as stream:
        jobs = []
        for name, outline in outlines.items():
            (tmp_path / f"{name}.geojson").write_text(json.dumps(shapely.geometry.mapping(outline)))
            spec = standard_spec("10x", 112)
            jobs.append(
                SlideJob(
                    name, str(path), [spec], tumour_policy="outline", outline_path=str(tmp_path / f"{name}.geojson")
                )
            )
        for event in stream.read(jobs):
            assert not isinstance(event, SlideFailed), event
            if isinstance(event, SlideOpened):
                warnings[event.slide_id] = [text for text in event.facts.warnings if "outline" in text]
            elif isinstance(event, SlideDone):
                assert event.slide_id in warnings
    assert warnings["px"] == []
    assert len(warnings["um"]) == 1 and "look like micrometres" in warnings["um"][0]
