"""Healthy glass and lumens pass, whatever the tile; what was lost inside tissue does not, whichever level lost it."""

import numpy as np
import pytest
import tifffile
from made_slides import halved, texture, write_pyramid

from pathoprog.errors import SlideError
from pathoprog.quality.hollow import check_levels
from pathoprog.regions.tissue import tissue_mask
from pathoprog.slides import open_slide
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, StreamSettings, TileStream
from pathoprog.tiles.grid import standard_spec

LUMEN_PX = 220  # radius at 0.25 um/px: 9,500 square um, which the mask fills
SIDE = 1792  # 7 tiles of 256 px
MIDDLE = 3  # of them


def with_lumens(places, colour=255):
    """Tissue with lumens, around places (x, y), that a scanner clipped to one colour."""
    image = texture(SIDE, SIDE, seed=1)
    y, x = np.mgrid[:SIDE, :SIDE]
    for centre_x, centre_y in places:
        image[(y - centre_y) ** 2 + (x - centre_x) ** 2 < LUMEN_PX**2] = colour
    return image


def write_left_out(path, image, absent, levels=3):
    """A pyramid without bytes for 256 px tiles: `absent` = {(level, row, column)}."""
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):

            def tiles(image=image, level=level):
                for row in range(0, image.shape[0], 256):
                    for column in range(0, image.shape[1], 256):
                        gone = (level, row // 256, column // 256) in absent
                        yield None if gone else image[row : row + 256, column : column + 256]

            tiff.write(
                tiles(), shape=image.shape, dtype=np.uint8, tile=(256, 256), compression="jpeg", photometric="rgb",
                metadata=None, subfiletype=int(level > 0), resolution=(40_000, 40_000), resolutionunit="CENTIMETER",
            )  # fmt: skip
            image = halved(image)
    return path


def ends(paths, *specs):
    """How the stream ends, for each slide and each spec (one of 224 px at 40x without any): the error's text, or ""."""
    found = {}
    with TileStream(StreamSettings(workers=1)) as stream:
        jobs = [
            SlideJob(f"{path.name} {i}", str(path), [spec])
            for path in paths
            for i, spec in enumerate(specs or [standard_spec("40x", 224)])
        ]
        for event in stream.read(jobs):
            if isinstance(event, SlideFailed):
                found[event.slide_id] = str(event.error)
            elif isinstance(event, SlideDone):
                found[event.slide_id] = ""
    assert len(found) == len(jobs)
    return list(found.values())


def checked(path, backend="auto"):
    with open_slide(path, backend) as slide:
        check_levels(slide, tissue_mask(slide))


def test_lumens_clipped_to_white_are_healthy(tmp_path):
    """Around the middle of a tile of 224 px, of one of 256 px, and of one of 56 px at 10x."""
    places = [(336, 336), (1152, 384), (560, 1232)]
    paths = [
        write_pyramid(tmp_path / "levels.tif", with_lumens(places)),
        write_pyramid(tmp_path / "one.tif", with_lumens(places), levels=1),
        write_pyramid(tmp_path / "grey.tif", with_lumens(places, 243), compression="deflate"),
    ]
    specs = [standard_spec("40x", size) for size in (448, 256, 224, 112)] + [standard_spec("10x", 56)]
    assert ends(paths, *specs) == [""] * 15


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("backend", ["auto", "openslide", "tiffslide"])
def test_a_lumen_may_be_left_out_and_tissue_may_not(tmp_path, levels, backend):
    tissue = texture(SIDE, SIDE, seed=1)
    healthy = with_lumens([(896, 896)])
    checked(write_left_out(tmp_path / "healthy.tif", healthy, {(0, MIDDLE, MIDDLE)}, levels), backend)
    around = {(0, row, column) for row in (2, 3, 4) for column in (2, 3, 4)}
    for absent in ({(0, MIDDLE, MIDDLE)}, around, {(0, MIDDLE, column) for column in range(1, 6)}):
        hollow = write_left_out(tmp_path / "hollow.tif", tissue, absent, levels)
        with pytest.raises(SlideError, match=f"hollow: {len(absent)} tiles of level 0 hold no data") as caught:
            checked(hollow, backend)
        assert caught.value.code == "hollow"


@pytest.mark.parametrize("absent", [{(2, 1, 1)}, {(1, 2, 2)}, {(1, 2, 2), (2, 1, 1)}])
def test_levels_that_only_the_mask_or_the_thumbnail_reads(tmp_path, absent):
    """The level of the mask has lost tissue: without a look at the finer ones it would count as glass."""
    path = write_left_out(tmp_path / "s.tif", texture(SIDE, SIDE, seed=1), absent)
    level = min(level for level, _, _ in absent)
    with pytest.raises(SlideError, match=f"hollow: 1 tiles of level {level} hold no data"):
        checked(path)
    assert "hollow" in ends([path])[0]


def test_a_level_without_any_data_is_hollow(tmp_path):
    tissue = texture(SIDE, SIDE, seed=1, margin=100)
    lowest = {(2, row, column) for row in range(2) for column in range(2)} - {(2, 0, 0)}
    with pytest.raises(SlideError, match="hollow: 3 tiles of level 2"):
        checked(write_left_out(tmp_path / "s.tif", tissue, lowest))


def test_background_that_was_left_out_on_every_level_is_healthy(tmp_path):
    image = np.full((SIDE, SIDE, 3), 243, np.uint8)
    image[:1024, :1280] = texture(1280, 1024, seed=2)
    absent = {(0, row, column) for row in range(4, 7) for column in range(7)}
    absent |= {(0, row, column) for row in range(4) for column in range(5, 7)}
    absent |= {(1, row, column) for row in range(2, 4) for column in range(4)} | {(2, 1, 1)}
    paths = [write_left_out(tmp_path / f"{levels}.tif", image, absent, levels) for levels in (1, 3)]
    for path in paths:
        for backend in ("auto", "openslide", "tiffslide"):
            checked(path, backend)
    assert ends(paths) == ["", ""]


def test_tiles_that_hold_one_colour_where_other_levels_show_tissue(tmp_path):
    """They have bytes, which decode to nothing: a scanner's or a converter's fault."""
    paths = []
    for colour in (255, 0, 128):
        image = texture(SIDE, SIDE, seed=1)
        paths.append(tmp_path / f"{colour}.tif")
        with tifffile.TiffWriter(paths[-1]) as tiff:
            for level in range(3):
                picture = image.copy()
                if level == 0:
                    picture[256:1024, 256:1024] = colour
                tiff.write(
                    picture, tile=(256, 256), compression="deflate", photometric="rgb", metadata=None,
                    subfiletype=int(level > 0), resolution=(40_000, 40_000), resolutionunit="CENTIMETER",
                )  # fmt: skip
                image = halved(image)
    assert all("hollow: a tile reads as blank where there is tissue" in end for end in ends(paths))


def test_planes_apart(tmp_path):
    """A tile that misses one of its planes is as lost as one that misses all."""
    image = texture(1024, 1024, seed=6)
    path = tmp_path / "s.tif"
    with tifffile.TiffWriter(path) as tiff:
        for level in range(2):
            tiff.write(
                np.moveaxis(image, -1, 0), tile=(256, 256), compression="deflate", photometric="rgb", metadata=None,
                planarconfig="separate", subfiletype=level, resolution=(40_000, 40_000), resolutionunit="CENTIMETER",
            )  # fmt: skip
            image = halved(image)
    with open_slide(path) as slide:
        check_levels(slide, tissue_mask(slide))
        page = slide.pages[0]
        page.counts[16 + 5] = 0
        with pytest.raises(SlideError, match="hollow: 1 tiles of level 0"):
            check_levels(slide, tissue_mask(slide))
