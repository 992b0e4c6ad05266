"""A level that lies in a TIFF and that nothing leads to, or that names another level's data, is never left out."""

import numpy as np
import pytest
from made_directories import TiffBytes
from made_slides import texture, write_giant, write_pyramid

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.tiff import unnamed as tiff_unnamed

KINDS = [{"bigtiff": big, "byteorder": order} for big in (False, True) for order in "<>"]


@pytest.fixture(scope="module", params=KINDS, ids=["classic<", "classic>", "big<", "big>"])
def sound(tmp_path_factory, request):
    return write_pyramid(tmp_path_factory.mktemp("sound") / "s.tif", texture(1600, 1200, seed=2), **request.param)


def refused(path, match):
    for backend in ("auto", "openslide", "tiffslide"):
        with pytest.raises(SlideError, match=match) as caught:
            open_slide(path, backend).close()
        assert caught.value.code == "levels"


@pytest.mark.parametrize("chunk", [1 << 20, 64])
def test_a_chain_that_is_cut_or_skips_a_level(sound, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(tiff_unnamed, "CHUNK", chunk)
    for number, to in ((0, 0), (1, 0), (0, 2)):
        tiff = TiffBytes(sound)
        tiff.put(tiff.pointer, tiff.links[number], tiff.starts[to] if to else 0)
        refused(tiff.write(tmp_path / "cut.tif"), "no directory leads to it")


def test_a_level_that_names_another_levels_data(sound, tmp_path):
    tiff = TiffBytes(sound)
    for i in range(tiff.entries[1][324].n):
        for tag in (324, 325):
            tiff.set_value(1, tag, tiff.value(0, tag, i), i)
    refused(tiff.write(tmp_path / "same.tif"), "name the same data")


def test_what_editors_and_sparse_writers_leave_is_sound(sound, tmp_path):
    open_slide(sound).close()
    tiff = TiffBytes(sound)
    old = tiff.starts[0]  # an editor writes the directory anew at the end and leaves the old one
    length = tiff.links[0] + (8 if tiff.big else 4) - old
    tiff.data += bytes(len(tiff.data) % 2)
    at = len(tiff.data)
    tiff.data += tiff.data[old : old + length]
    tiff.put(tiff.pointer, 8 if tiff.big else 4, at)
    with open_slide(tiff.write(tmp_path / "edited.tif")) as slide:
        assert len(slide.levels) == 3
    write_giant(tmp_path / "giant.tif", 4096)  # tiles that share two compressed ones, on every level
    open_slide(tmp_path / "giant.tif").close()


def test_bytes_that_only_look_like_an_entry_are_passed_over(sound, tmp_path):
    tiff = TiffBytes(sound)
    rng = np.random.default_rng(1)
    entry = bytes(tiff.data[tiff.entries[1][322].at : tiff.entries[1][322].at + 12])
    tiff.data += rng.integers(0, 256, 5000, np.uint8).tobytes() + entry * 3 + bytes(5000) + entry
    open_slide(tiff.write(tmp_path / "tail.tif")).close()
