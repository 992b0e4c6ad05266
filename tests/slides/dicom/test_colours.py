"""A DICOM slide whose frames contradict its photometric interpretation is refused for its colours, not for a pen."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from made_dicom import JPEG, JPEG_2000, write_instance
from made_slides import aperio_description, texture

from pathoprog.cli import main
from pathoprog.errors import SlideError
from pathoprog.slides import open_slide

SIDE = 512


@pytest.fixture(scope="module")
def image():
    return texture(SIDE, SIDE, seed=3, margin=40)


def ycbcr(tile):
    """The samples of T.871 (JFIF)."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.clip(np.rint(tile @ matrix.T + (0, 128, 128)), 0, 255).astype(np.uint8)


def jpeg2000(tile, transform):
    return imagecodecs.jpeg2k_encode(tile, level=45, codecformat="J2K", mct=transform, reversible=False)


def of_rgb(tile):
    return jpeg2000(tile, transform=False)


def of_ycbcr(tile):
    return jpeg2000(ycbcr(tile), transform=False)


def of_transformed(tile):
    return jpeg2000(tile, transform=True)


def jfif(tile):
    return imagecodecs.jpeg8_encode(tile, 90, subsampling="422")


def adobe_rgb(tile):
    return imagecodecs.jpeg8_encode(tile, 90, colorspace="RGB", outcolorspace="RGB")


def write_slide(folder, image, encode, syntax, photometric, second=None, **options):
    write_instance(folder / "1.dcm", image, encode, syntax, photometric, **options)
    write_instance(
        folder / "2.dcm", np.ascontiguousarray(image[::4, ::4]), second or encode, syntax, photometric, mpp=1.0,
        number=2, **options,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(
    ("encode", "syntax", "photometric"),
    [
        (of_transformed, JPEG_2000, "YBR_ICT"),
        (of_transformed, JPEG_2000, "RGB"),  # decoders undo the transform whatever the header says
        (of_rgb, JPEG_2000, "RGB"),
        (jfif, JPEG, "YBR_FULL_422"),
        (adobe_rgb, JPEG, "RGB"),
    ],
)
def test_sound_slides_are_read_in_their_colours(tmp_path, image, encode, syntax, photometric, ends):
    with open_slide(write_slide(tmp_path / "s", image, encode, syntax, photometric, ends=ends)) as slide:
        assert slide.mpp == pytest.approx(0.25) and len(slide.levels) == 2
        assert np.abs(slide.read_region(0, 0, 0, (SIDE, SIDE)).astype(int) - image).mean() < 6


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(
    ("encode", "syntax", "photometric", "words"),
    [
        (of_ycbcr, JPEG_2000, "YBR_ICT", "YBR_ICT, but its JPEG 2000 data have no colour transform"),
        (of_ycbcr, JPEG_2000, "YBR_RCT", "YBR_RCT, but its JPEG 2000 data have no colour transform"),
        (of_rgb, JPEG_2000, "YBR_ICT", "YBR_ICT, but its JPEG 2000 data have no colour transform"),
        (jfif, JPEG, "RGB", "RGB, but its JPEG data say that their colour transform is YCbCr"),
        (adobe_rgb, JPEG, "YBR_FULL_422", "YBR_FULL_422, but its JPEG data say that they have no colour transform"),
    ],
)
def test_a_contradiction_is_refused_for_what_it_is(tmp_path, image, encode, syntax, photometric, words, ends):
    folder = write_slide(tmp_path / "s", image, encode, syntax, photometric, ends=ends)
    for path in (folder, folder / "2.dcm"):
        with pytest.raises(SlideError, match=words) as caught:
            open_slide(path)
        assert caught.value.code == "colour" and "photometric interpretation" in str(caught.value)


def test_a_level_of_its_own_is_enough(tmp_path, image):
    folder = write_slide(tmp_path / "s", image, of_transformed, JPEG_2000, "YBR_ICT", second=of_ycbcr)
    with pytest.raises(SlideError, match=r"s/1\.dcm: 2\.dcm: its header says YBR_ICT"):
        open_slide(folder)


def test_labels_and_other_series_are_not_looked_at(tmp_path, image):
    folder = write_slide(tmp_path / "s", image, of_transformed, JPEG_2000, "YBR_ICT")
    small = np.ascontiguousarray(image[:256, :256])
    write_instance(folder / "3.dcm", small, of_ycbcr, JPEG_2000, "YBR_ICT", number=3, flavour="LABEL")
    write_instance(folder / "4.dcm", small, of_ycbcr, JPEG_2000, "YBR_ICT", number=1, series="2")
    (folder / "5.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    (folder / "6.txt").write_text("no DICOM")
    with open_slide(folder / "1.dcm") as slide:
        assert slide.width == SIDE


def test_inspect_names_the_colours_before_any_stain_or_pen(tmp_path, image, capsys):
    write_slide(tmp_path / "s", image, of_ycbcr, JPEG_2000, "YBR_ICT")
    assert main(["inspect", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "not usable" in text and "colour transform" in text and "pen mark" not in text and "H&E" not in text


@pytest.mark.parametrize("compression", [33003, 34712])
def test_tiffslide_shows_no_stored_ycbcr_as_colours(tmp_path, image, compression):
    """Aperio's YCbCr variant is OpenSlide's to read; nobody here converts the generic one."""
    picture = image[:512, :512]
    description = aperio_description(512, 512, 0.25) if compression == 33003 else None

    def written(name, encode):
        places = [(x, y) for y in (0, 256) for x in (0, 256)]
        tiles = iter([encode(np.ascontiguousarray(picture[y : y + 256, x : x + 256])) for x, y in places])
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            tiff.write(
                tiles, shape=picture.shape, dtype=np.uint8, tile=(256, 256), compression=compression, metadata=None,
                photometric="ycbcr", description=description, resolution=(40_000, 40_000), resolutionunit=3,
            )  # fmt: skip
        return tmp_path / name

    stored = written("stored.svs", of_ycbcr)
    with pytest.raises(SlideError, match="does not convert its colours"):
        open_slide(stored, "tiffslide")
    read = stored if compression == 33003 else written("transformed.svs", of_transformed)
    with open_slide(read) as slide:
        assert slide.backend == ("openslide" if compression == 33003 else "tiffslide")
        assert np.abs(slide.read_region(0, 0, 0, (512, 512)).astype(int) - picture).mean() < 6
