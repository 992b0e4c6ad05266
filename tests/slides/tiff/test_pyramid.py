"""Which images of a TIFF are the slide: the same in every backend, whole, or the file is refused."""

import numpy as np
import pytest
import tifffile
from made_directories import TiffBytes
from made_slides import aperio_description, halved, texture, write_pyramid, write_sparse

from pathoprog.errors import SlideError
from pathoprog.regions.tissue import tissue_mask
from pathoprog.slides import open_slide
from pathoprog.slides.tiff.directory import read_directories
from pathoprog.slides.tiff.pyramid import pyramid_of, reduces
from pathoprog.tiles.grid import standard_spec, tile_grid

BACKENDS = ("auto", "openslide", "tiffslide", "jpeg")
IN_TILES = {"tile": (256, 256), "compression": "jpeg", "photometric": "rgb", "metadata": None}
IN_STRIPS = {"rowsperstrip": 64, "compression": "jpeg", "photometric": "rgb", "metadata": None}
AT_40X = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}


@pytest.fixture(scope="module")
def image():
    return texture(1500, 1300, seed=3, margin=100)


def write_levels(tiff, image, **options):
    """Three levels, the lower ones marked as reduced."""
    for level in range(3):
        tiff.write(image, subfiletype=int(level > 0), **IN_TILES, **AT_40X, **options)
        image = halved(image)


@pytest.mark.parametrize("label_options", [IN_STRIPS, IN_TILES, IN_TILES | {"description": "Label"}])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_label_is_never_taken_for_the_slide(tmp_path, image, label_options, backend):
    with tifffile.TiffWriter(tmp_path / "s.tif") as tiff:
        tiff.write(texture(700, 400), **label_options, **AT_40X)
        write_levels(tiff, image)
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path / "s.tif", backend, mpp=0.25).close()
    assert caught.value.code in ("levels", "format")
    if backend == "auto":
        assert "the file holds image 1 (1500 x 1300 px), in tiles: another image, as a label" in str(caught.value)


def test_labels_behind_the_slide_are_no_levels(tmp_path, image):
    with tifffile.TiffWriter(tmp_path / "s.tif") as tiff:
        write_levels(tiff, image)
        tiff.write(texture(600, 200), subfiletype=9, **IN_TILES)
        tiff.write(texture(400, 300), description="label 400x300", **IN_TILES)
        tiff.write(texture(500, 260), **IN_STRIPS)
    pyramid = pyramid_of(read_directories(tmp_path / "s.tif"))
    assert [level.width for level in pyramid.levels] == [1500, 750, 375]
    assert not pyramid.others


def test_images_of_unknown_kind_are_named(tmp_path, image):
    with tifffile.TiffWriter(tmp_path / "s.tif") as tiff:
        write_levels(tiff, image)
        tiff.write(texture(600, 200), **IN_TILES)
    with open_slide(tmp_path / "s.tif") as slide:
        assert len(slide.levels) == 3
        assert slide.warnings == ("image 3 (600 x 200 px) is no level of the slide and is not read",)


def test_all_levels_are_read_by_the_library_that_shows_them(tmp_path, image):
    """OpenSlide sees no sub-directories, and no levels that are not marked as reduced."""
    with tifffile.TiffWriter(tmp_path / "s.ome.tif") as tiff:
        tiff.write(image, subifds=2, **(IN_TILES | {"metadata": {"axes": "YXS"}}), **AT_40X)
        tiff.write(halved(image), subfiletype=1, **IN_TILES)
        tiff.write(halved(halved(image)), subfiletype=1, **IN_TILES)
        tiff.write(texture(400, 300), **(IN_TILES | {"metadata": {"axes": "YXS"}}))
    with tifffile.TiffWriter(tmp_path / "unmarked.tif") as tiff:
        level = image
        for _ in range(3):
            tiff.write(level, **IN_TILES, **AT_40X)
            level = halved(level)
    for name in ("s.ome.tif", "unmarked.tif"):
        with open_slide(tmp_path / name) as slide:
            assert slide.backend == "tiffslide+jpeg"
            assert [level.width for level in slide.levels] == [1500, 750, 375]
        with pytest.raises(SlideError, match=r"OpenSlide shows 1 of the 3 levels .*use slides.backend=auto"):
            open_slide(tmp_path / name, "openslide")


def test_an_ome_file_whose_first_image_is_the_label(tmp_path, image):
    with tifffile.TiffWriter(tmp_path / "s.ome.tif") as tiff:
        tiff.write(texture(400, 300), **(IN_TILES | {"metadata": {"axes": "YXS"}}))
        tiff.write(image, subifds=1, **(IN_TILES | {"metadata": {"axes": "YXS"}}), **AT_40X)
        tiff.write(halved(image), subfiletype=1, **IN_TILES)
    for backend in BACKENDS:
        with pytest.raises(SlideError):
            open_slide(tmp_path / "s.ome.tif", backend, mpp=0.25).close()


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (284, 77),
        (284, 2),
        (259, 52_479),
        (259, 1),
        (259, 34_712),
        (258, 16),
        (277, 4),
        (256, 700),
        (257, 500),
        (322, 16),
    ],
)
@pytest.mark.parametrize("suffix", [".tif", ".svs"])
def test_a_spoilt_level_never_vanishes(tmp_path, image, level, tag, value, suffix):
    """Whatever backend is asked for: refused at once, or its read fails; the level is never left out."""
    description = aperio_description(1500, 1300, 0.25) if suffix == ".svs" else None
    spoilt = TiffBytes(write_pyramid(tmp_path / f"sound{suffix}", image, description=description))
    spoilt.set_value(level, tag, value)
    path = spoilt.write(tmp_path / f"s{suffix}")
    for backend in BACKENDS:
        with pytest.raises(SlideError) as caught, open_slide(path, backend) as slide:
            assert len(slide.levels) == 3
            facts = slide.levels[level]
            slide.read_region(0, 0, level, (facts.width, facts.height))
        assert caught.value.code in ("levels", "unreadable")


def test_levels_of_another_way_of_storing_are_refused(tmp_path, image):
    spoilt = TiffBytes(write_pyramid(tmp_path / "sound.tif", image))
    spoilt.set_value(1, 262, 2)  # stored as YCbCr, said to be RGB: read as it stands its colours would be wrong
    with pytest.raises(SlideError, match=r"image 1 .* its photometric interpretation differs") as caught:
        open_slide(spoilt.write(tmp_path / "s.tif"))
    assert caught.value.code == "levels"


def test_an_error_of_openslide_is_no_way_to_tiffslide(tmp_path, image):
    """TiffSlide would open this and read all but the spoilt level."""
    spoilt = TiffBytes(write_pyramid(tmp_path / "sound.tif", image))
    spoilt.set_value(2, 259, 52_479)
    with pytest.raises(SlideError, match="Unsupported TIFF compression: 52479"):
        open_slide(spoilt.write(tmp_path / "s.tif"))


@pytest.mark.parametrize("rows", [{0, 4}, {0}, {4}])
def test_one_frame_where_edge_tiles_were_left_out(tmp_path, rows):
    """OpenSlide from 4.0.1 on gives bounds for such files, and TiffSlide does not."""
    image = texture(1536, 1280, seed=4, margin=256)
    absent = {(row, column) for row in rows for column in range(6)} - {(0, 0)}  # tifffile's writer wants a first tile
    path = write_sparse(tmp_path / "s.tif", image, absent)
    found = []
    for backend in BACKENDS:
        with open_slide(path, backend) as slide:
            assert (slide.width, slide.height, slide.origin_x, slide.origin_y) == (1536, 1280, 0, 0)
            grid = tile_grid(slide.facts, tissue_mask(slide), standard_spec("40x", 224))
            assert np.array_equal(slide.read_region(600, 20, 0, (200, 200)), np.full((200, 200, 3), 255)) == (0 in rows)
            found.append((slide.levels, grid.x0.tolist(), grid.y0.tolist()))
            if backend == "openslide":
                assert "coordinates count from the image's corner" in " ".join(slide.warnings) or rows == {0}
    assert all(one == found[0] for one in found)


def test_what_is_a_reduction():
    def sized(width, height):
        class Image:
            pass

        image = Image()
        image.width, image.height = width, height
        return image

    base = sized(46_000, 32_914)
    for size in ((11_500, 8228), (2875, 2057), (1437, 1028), (2, 1), (1, 1), (46_000, 32_914)):
        assert reduces(sized(*size), base), size
    for size in ((387, 463), (1280, 431), (11_500, 8300), (46_001, 32_914), (574, 768)):
        assert not reduces(sized(*size), base), size
