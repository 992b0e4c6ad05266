"""DICOM slides of which a file, a part of a file or a level is missing: refused, whichever file was given."""

import shutil
import struct

import imagecodecs
import numpy as np
import pytest
from made_dicom import JPEG, element, write_instance
from made_slides import halved, texture
from shared_data import shared_data

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.dicom.series import read_instance


def encode(tile):
    return imagecodecs.jpeg8_encode(tile, 90, colorspace="RGB", outcolorspace="YCBCR", subsampling="422")


@pytest.fixture(scope="module", params=[False, True], ids=["lengths", "end marks"])
def series(request, tmp_path_factory):
    """Four levels, 0.25 to 2 um/px, and a label; the folder is not to be changed."""
    folder = tmp_path_factory.mktemp("series")
    image = texture(1024, 768, seed=4)
    for number in (1, 2, 3, 4):
        write_instance(
            folder / f"{number}.dcm", image, encode, JPEG, "YBR_FULL_422", mpp=0.25 * 2 ** (number - 1), number=number,
            ends=request.param,
        )  # fmt: skip
        image = halved(image)
    label = texture(256, 256)
    write_instance(folder / "9.dcm", label, encode, JPEG, "YBR_FULL_422", number=9, flavour="LABEL", ends=request.param)
    return folder


@pytest.fixture
def copy(series, tmp_path):
    shutil.copytree(series, tmp_path / "s")
    return tmp_path / "s"


def refused(folder, match, code="unreadable"):
    """The folder and each of its levels are refused in the same words."""
    for path in (folder, *sorted(folder.glob("[1234].dcm"))):
        with pytest.raises(SlideError, match=match) as caught:
            open_slide(path).close()
        assert caught.value.code == code


def test_whole_series_is_read(series):
    for path in (series, series / "1.dcm", series / "3.dcm"):
        with open_slide(path) as slide:
            assert [level.width for level in slide.levels] == [1024, 512, 256, 128]
            assert slide.mpp == pytest.approx(0.25)
    found = read_instance(series / "2.dcm")
    assert (found.width, found.height, found.number, found.is_level, found.trouble) == (512, 384, 2, True, "")


@pytest.mark.parametrize("name", ["1", "2", "3"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.75, 0.999])
def test_a_file_that_ends_too_early(copy, name, share):
    """OpenSlide leaves out what it cannot read: the slide would go on without that level."""
    path = copy / f"{name}.dcm"
    data = path.read_bytes()
    path.write_bytes(data[: max(140, int(len(data) * share))])
    size = path.stat().st_size
    if share == 0.0:
        refused(copy, f"is truncated: it ends at byte {size}, before its pixels")
    else:
        refused(copy, rf"is truncated: .*{size}")


def test_files_without_content(copy):
    for data in (b"", bytes(5000)):
        (copy / "2.dcm").write_bytes(data)
        with pytest.raises(SlideError, match=rf"2.dcm, of the same slide, holds nothing \({len(data)} bytes\)"):
            open_slide(copy / "1.dcm")


def test_the_last_frame_alone_is_cut_where_a_table_says_where_it_lies(tmp_path):
    """With a table of offsets the frames before the last are not walked; it is looked at all the same."""
    folder = tmp_path / "s"
    path = write_instance(folder / "1.dcm", texture(1024, 512), encode, JPEG, "YBR_FULL_422")
    data = path.read_bytes()
    start = data.index(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)) + 12
    frames, at = [], start + 8
    while data[at : at + 4] == b"\xfe\xff\x00\xe0":
        frames.append(at - start - 8)
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    table = np.array(frames, "<u4").tobytes()
    whole = data[:start] + b"\xfe\xff\x00\xe0" + struct.pack("<I", len(table)) + table + data[start + 8 :]
    path.write_bytes(whole)
    with open_slide(folder) as slide:
        assert slide.read_region(0, 0, 0, (1024, 512)).shape == (512, 1024, 3)
    path.write_bytes(whole[:-20])
    refused(folder, f"frame 8 of 8 begins at byte .*, the file ends at byte {len(whole) - 20}")
    wrong = bytearray(whole)
    wrong[start + 8 + len(table) - 4 : start + 8 + len(table)] = struct.pack("<I", 77)  # then all frames are walked
    path.write_bytes(wrong)
    assert read_instance(path).trouble == ""


def test_a_missing_level(copy):
    (copy / "1.dcm").rename(copy.parent / "1.dcm")
    refused(copy, r"finest level here \(2.dcm, 512 x 384 px\) says it was made from a finer one", "levels")
    (copy.parent / "1.dcm").rename(copy / "1.dcm")
    (copy / "2.dcm").unlink()
    refused(copy, "between the levels of 1024 and 256 px width instance 2 of the series is missing", "levels")


def test_missing_frames(copy):
    data = (copy / "2.dcm").read_bytes()
    (copy / "2.dcm").write_bytes(data.replace(element(0x28, 8, "IS", 4), element(0x28, 8, "IS", 3)))
    refused(copy, "holds 3 frames where its size asks for 4")
    (copy / "2.dcm").write_bytes(data.replace(element(0x28, 8, "IS", 4), element(0x28, 8, "IS", 8)))
    refused(copy, "holds 4 of its 8 frames")


def test_another_slide_in_the_folder_is_no_part(copy, series):
    """A damaged file of another slide does not stop this one; one whose slide is not known does not either."""
    other = copy / "other.dcm"
    write_instance(other, texture(512, 512), encode, JPEG, "YBR_FULL_422", series="7")
    whole = other.read_bytes()
    other.write_bytes(whole[:-500])
    (copy / "head.dcm").write_bytes(whole[:300])
    with open_slide(copy / "1.dcm") as slide:
        assert len(slide.levels) == 4
    with pytest.raises(SlideError, match="truncated"):
        open_slide(other)


@pytest.mark.parametrize("name", ["dicom_boxes", "dicom_camelyon_jpeg_multiframe.dcm", "dicom_highdicom_sm_image.dcm"])
def test_real_files_are_whole(name):
    path = shared_data(f"wsi/{name}")
    for file in path.iterdir() if path.is_dir() else [path]:
        assert read_instance(file).trouble == ""
    open_slide(path).close()
