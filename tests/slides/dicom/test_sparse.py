"""DICOM levels that leave frames out: background may be, tissue may not, on any level and however it is stored."""

import struct

import imagecodecs
import numpy as np
import pytest
from made_dicom import JPEG, element, write_instance
from made_slides import texture

from pathoprog.errors import SlideError
from pathoprog.quality.hollow import check_levels
from pathoprog.regions.tissue import tissue_mask
from pathoprog.slides import open_slide
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, StreamSettings, TileStream
from pathoprog.tiles.grid import standard_spec

SIDE = 2048  # 8 tiles of 256 px


def encode(tile):
    return imagecodecs.jpeg8_encode(tile, 90, colorspace="RGB", outcolorspace="YCBCR", subsampling="422")


def write_slide(folder, image, absent, ends=False):
    """Three levels; `absent`: of each, (row, column) of frames left out, or None where it is stored in full."""
    for number, gone in enumerate(absent, 1):
        write_instance(
            folder / f"{number}.dcm", image, encode, JPEG, "YBR_FULL_422", mpp=0.25 * 2 ** (number - 1), number=number,
            ends=ends, absent=gone,
        )  # fmt: skip
        image = np.ascontiguousarray(image[::2, ::2])
    return folder


def checked(path):
    with open_slide(path) as slide:
        check_levels(slide, tissue_mask(slide))
        return slide


@pytest.mark.parametrize("ends", [False, True], ids=["lengths", "end marks"])
@pytest.mark.parametrize("gone", [{(3, 3)}, {(row, column) for row in (2, 3, 4) for column in (2, 3, 4)}])
@pytest.mark.parametrize("levels", [1, 3])
def test_frames_left_out_inside_tissue(tmp_path, ends, gone, levels):
    tissue = texture(SIDE, SIDE, seed=1)
    path = write_slide(tmp_path / "s", tissue, [gone, None, None][:levels], ends)
    with pytest.raises(
        SlideError, match=f"hollow: {len(gone)} tiles of level 0 hold no data where there is tissue"
    ) as e:
        checked(path)
    assert e.value.code == "hollow"
    checked(write_slide(tmp_path / "whole", tissue, [set(), None, None][:levels], ends))


@pytest.mark.parametrize(("absent", "level"), [([None, {(1, 1)}, None], 1), ([None, set(), {(1, 1)}], 2)])
def test_a_coarser_level_that_lost_frames(tmp_path, absent, level):
    path = write_slide(tmp_path / "s", texture(SIDE, SIDE, seed=1), absent)
    with pytest.raises(SlideError, match=f"hollow: 1 tiles of level {level}"):
        checked(path)


@pytest.mark.parametrize("levels", [1, 3])
def test_background_may_be_left_out(tmp_path, levels):
    image = np.full((SIDE, SIDE, 3), 243, np.uint8)
    image[:1024, :1280] = texture(1280, 1024, seed=2)
    glass = [
        {(row, column) for row in range(8) for column in range(8) if row >= 4 or column >= 5},
        {(row, column) for row in (2, 3) for column in range(4)},
        {(1, 1)},
    ]
    slide = checked(write_slide(tmp_path / "s", image, glass[:levels]))
    assert [int((page.counts == 0).sum()) for page in slide.pages] == [44, 8, 1][:levels]
    assert (slide.width, slide.height, slide.origin_x) == (SIDE, SIDE, 0)


def test_a_level_in_several_files_holds_what_they_hold_together(tmp_path):
    tissue = texture(SIDE, SIDE, seed=1)
    everything = {(row, column) for row in range(8) for column in range(8)}
    upper = {(row, column) for row, column in everything if row < 4}
    for lost in (set(), {(3, 3)}):
        folder = tmp_path / f"s{len(lost)}"
        for part, gone in enumerate((everything - upper | lost, upper), 1):
            path = write_instance(folder / f"{part}.dcm", tissue, encode, JPEG, "YBR_FULL_422", number=1, absent=gone)
            first = 0 if part == 1 else 32 - len(lost)
            joined = (
                element(0x0020, 0x0242, "UI", "1.2.3.4")
                + element(0x0020, 0x9161, "UI", "1.2.3.5")
                + element(0x0020, 0x9162, "US", part)
                + element(0x0020, 0x9163, "US", 2)
                + element(0x0020, 0x9228, "UL", first)
            )
            sparse = element(0x0020, 0x9311, "CS", "TILED_SPARSE")
            uid = b"1.2.826.0.1.3680043.10.999.1.1"
            data = path.read_bytes().replace(sparse, joined + sparse)
            path.write_bytes(data.replace(uid, uid[:-1] + str(part + 3).encode()))
        if lost:
            with pytest.raises(SlideError, match="hollow: 1 tiles of level 0"):
                checked(folder)
        else:
            checked(folder)


def test_a_list_of_places_that_cannot_be_followed(tmp_path):
    path = write_slide(tmp_path / "s", texture(SIDE, SIDE, seed=1), [{(3, 3)}]) / "1.dcm"
    data = path.read_bytes()
    item = struct.pack("<HH2sH", 0x0048, 0x021E, b"SL", 4)
    assert data.count(item) == 63
    path.write_bytes(data.replace(item, struct.pack("<HH2sH", 0x0048, 0x021E, b"SL", 60_000)))
    with pytest.raises(SlideError):
        checked(path)


def test_a_slide_with_lost_frames_ends_as_failed(tmp_path):
    """Through the reader processes, as scoring and training read it."""
    tissue = texture(SIDE, SIDE, seed=1)
    paths = [write_slide(tmp_path / name, tissue, [gone, None]) for name, gone in (("a", {(3, 3)}), ("b", set()))]
    ends = {}
    with TileStream(StreamSettings(workers=1)) as stream:
        for event in stream.read([SlideJob(path.name, str(path), [standard_spec("10x", 112)]) for path in paths]):
            if isinstance(event, SlideFailed):
                ends[event.slide_id] = event.error.code
            elif isinstance(event, SlideDone):
                ends[event.slide_id] = ""
    assert ends == {"a": "hollow", "b": ""}
