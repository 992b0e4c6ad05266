"""Files that are no slides are called what they are, each in one sentence that says what to do."""

import zipfile

import numpy as np
import pytest
from made_slides import texture
from PIL import Image

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.not_a_slide import in_words, what_it_is


def encrypted(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("slide.svs", "x" * 100)
    data = bytearray(path.read_bytes())
    data[6] |= 1  # general purpose bit 0: encrypted
    path.write_bytes(data)


FILES = [
    ("a.svs", b"", "an empty file (0 bytes): copy it again"),
    ("a.svs", b"Dear colleague,\nthe patient was seen on\xc3\xa5 Monday.\n" * 9, "a text, and no slide"),
    ("a.svs", b"BMJ 2019;1:1, an article\n", "a text, and no slide"),
    ("a.tif", lambda path: Image.fromarray(texture(90, 70)).save(path, "BMP"), "a picture (BMP)"),
    ("a.tif", b"\xc3\xa5" * 3000, "a text, and no slide"),
    ("a.svs", np.random.default_rng(0).bytes(9000), "not a slide that a library here reads, by what it begins with"),
    ("a.svs", bytes(9000), "nothing but zero bytes, by its first 4096"),
    ("a.tif", b"%PDF-1.7\n" + bytes(900), "a PDF: give the scanner's own file"),
    ("a.svs", b"PK\x03\x04" + bytes(900), "an archive (zip): unpack it first"),
    ("a.svs", encrypted, "an encrypted archive (zip): decrypt and unpack it first"),
    ("a.svs", b"\x1f\x8b" + bytes(900), "a compressed file (gzip): unpack it first"),
    ("a.svs", lambda path: Image.fromarray(texture(90, 70)).save(path, "JPEG"), "a picture (JPEG), with no levels"),
    ("a.tif", lambda path: Image.fromarray(texture(90, 70)).save(path, "PNG"), "a picture (PNG), with no levels"),
    ("a.svs", b"<!DOCTYPE html>\n<html>Log in</html>", "a web page in place of the file"),
    ("a.svs", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a Git LFS pointer"),
    ("a.isyntax", b"<DataObject ObjectType='x'>" + bytes(range(128, 256)) * 9, "Philips's iSyntax, which no library"),
    ("a.mrxs", b"\xff\xd8\xff" + bytes(90), "the index of a MIRAX slide whose folder a holds no Slidedat.ini"),
]


@pytest.mark.parametrize(("name", "content", "said"), FILES)
def test_a_file_that_is_no_slide_is_called_what_it_is(tmp_path, name, content, said):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert caught.value.code == "format"
    text = str(caught.value).removeprefix(f"{path}: ")
    assert text.startswith(said), text
    assert "\n" not in text and str(tmp_path) not in text and "Error" not in text
    assert what_it_is(path) == text


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Attribute BitsAllocated value 16 != 8", "DICOM of 16 bits a sample: only 8-bit colour can be scored"),
        ("Attribute SamplesPerPixel value 1 != 3", "DICOM whose SamplesPerPixel is 1, where only 3 can be read"),
        ("Couldn't get image flavor", "DICOM without ImageType, which tells the slide from its label"),
        ("Couldn't read attribute 'Rows'", "DICOM without Rows, or a file cut off there"),
        ('No magic string "ZISRAWDIRECTORY" in struct header', "CZI that was cut off"),
        ("TIFFReadDirectory: Out of memory", "out of memory: reading it takes more than there is"),
        ("", "damaged, and the library does not say how; copy"),
        ("Unknown\n marker", "Unknown marker; copy or export the slide again"),
        ("Unsupported TIFF compression: 33", "Unsupported TIFF compression: 33; copy or export the slide again"),
    ],
)
def test_a_librarys_words_become_ours(said, words):
    assert in_words(said).startswith(words)


def test_a_file_that_only_begins_like_dicom_is_no_slide(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(90))
    with pytest.raises(SlideError, match="DICOM, and not the microscope image of a whole slide") as caught:
        open_slide(tmp_path / "a.dcm")
    assert caught.value.code == "format"


def test_how_to_overrule_two_refusals_is_said_once():
    from pathoprog.slides.mpp import check_resolution, said_once

    refusals = []
    for resolution, mpp in (("10x", 1.0), ("40x", 0.25)):
        with pytest.raises(SlideError) as caught:
            check_resolution(2.0, mpp, resolution)
        refusals.append(str(caught.value))
    text = said_once(refusals)
    assert text.count("allow_upsampling") == 1 and text.count("not validated") == 1
    assert "no 10x score" in text and "no 40x score" in text and text.endswith("not validated)")
    assert said_once(["no 10x score: no tile"]) == "no 10x score: no tile"
