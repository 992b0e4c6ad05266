"""DICOM as it comes: stored otherwise, in parts, beside other slides: right pixels or one sentence, and an end."""

import re
import shutil
import struct
import time

import imagecodecs
import numpy as np
import pytest
from made_dicom import JPEG, JPEG_2000, SLIDE_CLASS, element, write_instance
from made_slides import texture

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.dicom.elements import ElementError, Elements, Tag, pixel_items
from pathoprog.slides.dicom.header import read_head
from pathoprog.slides.dicom.series import read_instance

SIDE = 1024
DEFLATED, BIG_ENDIAN, IMPLICIT = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"
ENDLESS = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF)
EMPTY_ITEM, OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0), struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
ITEM_END, SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def encode(tile):
    return imagecodecs.jpeg8_encode(tile, 90, colorspace="RGB", outcolorspace="YCBCR", subsampling="422")


@pytest.fixture(scope="module")
def image():
    return texture(SIDE, SIDE, seed=4)


def write_slide(folder, image, syntax=JPEG, series="1"):
    small = np.ascontiguousarray(image[::2, ::2])
    write_instance(folder / f"{series}a.dcm", image, encode, syntax, "YBR_FULL_422", series=series)
    write_instance(folder / f"{series}b.dcm", small, encode, syntax, "YBR_FULL_422", mpp=0.5, number=2, series=series)
    return folder


def sentence(path):
    with pytest.raises(SlideError) as caught:
        open_slide(path).close()
    text = str(caught.value)
    assert text.count(str(path)) == 1 and text.isprintable(), "one path, and no bytes of the file"
    return text.replace(str(path), "S")


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        (DEFLATED, "S: is DICOM stored deflated"),
        (BIG_ENDIAN, "S: is DICOM stored big endian"),
        (IMPLICIT, "implicit little endian"),
        ("1.2.840.10008.1.2.4.80", "Unsupported transfer syntax 1.2.840.10008.1.2.4.80, which OpenSlide does not read"),
    ],
)
def test_a_way_to_store_that_nothing_reads_is_named(tmp_path, image, syntax, words):
    folder = write_slide(tmp_path / "s", image, syntax)
    if syntax == IMPLICIT:  # in which the walker follows it, too
        for path in folder.iterdir():
            path.write_bytes(implicit(path.read_bytes()))
            found = read_instance(path)
            assert found.trouble == "" and found.width in (1024, 512) and found.photometric == "YBR_FULL_422"
    assert words in sentence(folder / "1a.dcm") and "explicit little endian" in sentence(folder / "1b.dcm")


def implicit(data):
    """A made file's elements behind its meta information without their kinds of value."""
    at = data.index(struct.pack("<HH2s", 0x0008, 0x0008, b"CS"))
    return data[:at] + without_kinds(data[at:])


def without_kinds(data):
    parts, at = [], 0
    while at < len(data):
        tag, kind = data[at : at + 4], data[at + 4 : at + 6]
        long = kind in (b"SQ", b"OB")
        length = struct.unpack_from("<I", data, at + 8)[0] if long else struct.unpack_from("<H", data, at + 6)[0]
        at += 12 if long else 8
        if length == 0xFFFFFFFF:  # the pixels
            return b"".join([*parts, tag, b"\xff" * 4, data[at:]])
        value = data[at : at + length]
        if kind == b"SQ":
            inner = without_kinds(value[8:])
            value = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
        parts += [tag, struct.pack("<I", len(value)), value]
        at += length
    return b"".join(parts)


def test_a_file_without_preamble(tmp_path, image):
    folder = write_slide(tmp_path / "s", image)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    assert sentence(folder / "1a.dcm").startswith("S: DICOM without the 132 bytes that its files begin with")
    assert "no DICOM file in it; 1a.dcm is DICOM without the 132 bytes" in sentence(folder)


def test_two_series_in_one_folder_are_never_taken_for_one(tmp_path, image):
    folder = write_slide(write_slide(tmp_path / "s", image), image[::-1].copy(), series="2")
    assert "a folder of 2 slides (DICOM series)" in sentence(folder) and "1a.dcm, 2a.dcm" in sentence(folder)
    for name, picture in (("1b.dcm", image), ("2b.dcm", image[::-1])):
        with open_slide(folder / name) as slide:
            shown = slide.read_region(0, 0, 0, (SIDE, SIDE)).astype(int)
            assert len(slide.levels) == 2 and np.abs(shown - picture).mean() < 3


def test_a_level_that_is_there_twice(tmp_path, image):
    folder = write_slide(tmp_path / "s", image)
    small = np.ascontiguousarray(image[::2, ::2])

    def jpeg2000(tile):
        return imagecodecs.jpeg2k_encode(tile, level=45, codecformat="J2K", mct=True, reversible=False)

    write_instance(folder / "c.dcm", small, jpeg2000, JPEG_2000, "YBR_ICT", mpp=0.5, number=3)
    assert re.match(r"S: (1b|c)\.dcm holds an image that the series holds twice", sentence(folder / "1a.dcm"))


def write_parts(folder, image, n, says_how_many=True):
    """Level 0 as a concatenation: its rows of frames in `n` files."""
    write_slide(folder, image)
    (folder / "1a.dcm").unlink()
    rows = SIDE // n
    for part in range(n):
        strip = np.ascontiguousarray(image[part * rows : (part + 1) * rows])
        path = write_instance(folder / f"part{part + 1}.dcm", strip, encode, JPEG, "YBR_FULL_422", number=1)
        full = element(0x0020, 0x9311, "CS", "TILED_FULL")
        joined = (
            element(0x0020, 0x0242, "UI", "1.2.3.4")
            + element(0x0020, 0x9161, "UI", "1.2.3.5")
            + element(0x0020, 0x9162, "US", part + 1)
            + (element(0x0020, 0x9163, "US", n) if says_how_many else b"")
            + element(0x0020, 0x9228, "UL", part * (SIDE // 256) * (rows // 256))
        )
        data = path.read_bytes().replace(full, joined + full)
        data = data.replace(element(0x0048, 7, "UL", rows), element(0x0048, 7, "UL", SIDE))
        data = data.replace(element(0x0048, 2, "FL", rows * 0.25 / 1000), element(0x0048, 2, "FL", SIDE * 0.25 / 1000))
        uid = b"1.2.826.0.1.3680043.10.999.1.1"
        path.write_bytes(data.replace(uid, uid[:-1] + str(part + 3).encode()))
    return folder


@pytest.mark.parametrize(("n", "says_how_many"), [(2, True), (4, True), (4, False)])
def test_a_level_in_several_files(tmp_path, image, n, says_how_many):
    folder = write_parts(tmp_path / "s", image, n, says_how_many)
    with open_slide(folder) as slide:
        assert np.abs(slide.read_region(0, 0, 0, (SIDE, SIDE)).astype(int) - image).mean() < 3
    shutil.copyfile(folder / "part1.dcm", folder / "copy.dcm")
    for lost in range(2, n + 1):
        (folder / f"part{lost}.dcm").rename(tmp_path / "lost.dcm")
        said = sentence(folder / "1b.dcm")
        assert "put all files of the series into one folder" in said, said
        (tmp_path / "lost.dcm").rename(folder / f"part{lost}.dcm")
    (folder / "copy.dcm").unlink()
    (folder / "part1.dcm").unlink()
    assert "put all files of the series into one folder" in sentence(folder)


def with_element(path, extra):
    """Put an element behind the modality."""
    data = path.read_bytes()
    at = data.index(element(0x0008, 0x0060, "CS", "SM")) + len(element(0x0008, 0x0060, "CS", "SM"))
    path.write_bytes(data[:at] + extra + data[at:])
    return path


def test_what_stands_before_the_series_is_passed(tmp_path, image):
    """A private value of megabytes, and an unknown one without a length, whose inside has no kinds of value."""
    for name, extra in (
        ("long", element(0x0009, 0x1001, "OB", bytes(3 << 20))),
        (
            "unknown",
            struct.pack("<HH2sHI", 0x0009, 0x0010, b"UN", 0, 0xFFFFFFFF)
            + OPEN_ITEM
            + struct.pack("<HHI", 8, 0x104, 6)
            + b"abcdef"
            + ITEM_END
            + SEQUENCE_END,
        ),
    ):
        path = with_element(write_instance(tmp_path / f"{name}.dcm", image, encode, JPEG, "YBR_FULL_422"), extra)
        assert read_head(path).series.endswith(".1.0") and read_instance(path).trouble == ""
    with open_slide(tmp_path / "long.dcm") as slide:
        assert slide.width == SIDE
    assert "cannot follow" in sentence(tmp_path / "unknown.dcm")


@pytest.mark.parametrize(
    ("hostile", "says"),
    [
        (ENDLESS + (OPEN_ITEM + ENDLESS) * 50_000, "nested without end"),
        (ENDLESS + EMPTY_ITEM * 2_500_000, "more than 2000000 elements"),
        (struct.pack("<HH2sHI", 8, 0x2112, b"UN", 0, 0x7FFFFFFF), "is truncated"),
        (struct.pack("<HH2sHI", 8, 0x0008, b"UT", 0, 1 << 20) + bytes(1 << 20), "a value of 1048576 bytes"),
        (struct.pack("<HH2sH", 8, 0x0008, b"CS", 60_000) + b"A" * 20, "is truncated"),
        (ENDLESS + ITEM_END + bytes(90), "no item where one belongs"),
    ],
    ids=["deep", "long", "huge", "large text", "cut text", "no item"],
)
def test_hostile_heads_end_at_once(tmp_path, hostile, says):
    meta = element(2, 2, "UI", SLIDE_CLASS) + element(2, 0x10, "UI", JPEG)
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + meta + hostile)
    start = time.process_time()
    found = read_instance(path)
    assert says in found.trouble and found.syntax == JPEG and found.image_type == ("",)
    assert read_head(path).series == "" and read_head(path).sop_class == SLIDE_CLASS
    assert time.process_time() - start < 20
    assert says in sentence(path)


def test_frames_are_walked_to_their_end_mark(tmp_path, image):
    path = write_instance(tmp_path / "a.dcm", image, encode, JPEG, "YBR_FULL_422")
    data = path.read_bytes()
    with path.open("rb") as stream:
        *_, (tag, _) = Elements(stream)
        assert tag == Tag.PIXELS
        items = list(pixel_items(stream, len(data)))
    assert len(items) == 1 + 16 and items[0][1] == 0 and items[-1][0] + 8 + items[-1][1] == len(data) - 8
    path.write_bytes(data[:-9])
    with path.open("rb") as stream, pytest.raises(ElementError) as caught:
        stream.seek(items[0][0])
        list(pixel_items(stream, len(data) - 9))
    assert caught.value.ended and caught.value.at == items[-1][0]
