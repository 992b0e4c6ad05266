"""MIRAX slides: a whole one is read, one whose files are cut or missing is refused with the place."""

import struct

import numpy as np
import pytest
from made_mirax import write_mirax
from made_slides import texture

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide


@pytest.fixture
def slide(tmp_path):
    return write_mirax(tmp_path / "s.mrxs", texture(1024, 768, seed=8))


def test_a_whole_one_is_read(slide):
    with open_slide(slide) as opened:
        assert (opened.vendor, opened.mpp) == ("mirax", pytest.approx(0.25))
        assert [level.width for level in opened.levels] == [1024, 512, 256]
        image = texture(1024, 768, seed=8)[200:500, 100:700].astype(int)
        assert np.abs(opened.read_region(100, 200, 0, (600, 300)) - image).max() < 20


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("lost", [1, 9000])
def test_a_data_file_that_ends_too_early(slide, level, lost):
    file = slide.with_suffix("") / f"Data000{level}.dat"
    data = file.read_bytes()
    file.write_bytes(data[: max(0, len(data) - lost)])
    size = file.stat().st_size
    with pytest.raises(SlideError, match=rf"truncated: .* of {file.name}, which ends at byte {size}") as caught:
        open_slide(slide)
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("name", ["Data0000.dat", "Data0002.dat", "Index.dat"])
def test_a_missing_file(slide, name):
    (slide.with_suffix("") / name).unlink()
    with pytest.raises(SlideError, match=f"{name} of its folder is missing"):
        open_slide(slide)


def test_a_damaged_index(slide):
    """A page that leads to itself would keep OpenSlide busy without end."""
    index = slide.with_suffix("") / "Index.dat"
    whole = bytearray(index.read_bytes())
    first = struct.unpack_from("<i", whole, 37)[0]
    page = struct.unpack_from("<i", whole, struct.unpack_from("<i", whole, first)[0] + 4)[0]
    for at, value, words in (
        (page + 4, page, "go round in a circle"),
        (page, 100_000, "would hold 100000 records"),
        (page + 8 + 12, 7, "names data file 7 of 3"),
        (page + 8 + 8, 0, "1 of 17 images have no bytes"),
        (first, 10_000_000, r"Index.dat: it names byte \d+ and has"),
    ):
        spoilt = bytearray(whole)
        struct.pack_into("<i", spoilt, at, value)
        index.write_bytes(spoilt)
        with pytest.raises(SlideError, match=words):
            open_slide(slide)
    index.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SlideError, match=r"Index\.dat"):
        open_slide(slide)
