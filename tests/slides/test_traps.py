"""What scanners and laboratories really make: each trap on a made or shared file."""

import numpy as np
import pytest
import tifffile
from made_slides import aperio_description, halved, texture, write_pyramid, write_scn, write_sparse
from PIL import Image
from shared_data import shared_data

from pathoprog.errors import SlideError
from pathoprog.quality.hollow import check_index, check_tiles
from pathoprog.regions.tissue import tissue_mask
from pathoprog.slides import open_slide

TOLERANCE = 1  # grey levels between backends, at whole downsamples


def difference(a, b):
    return int(np.abs(a.astype(int) - b).max())


def write_flat(path, array, **options):
    """One tiled level with um/px."""
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(array, tile=(256, 256), metadata=None, resolution=(40_000, 40_000), resolutionunit=3, **options)
    return path


@pytest.fixture(scope="module")
def image():
    return texture(1111, 903, seed=5)


@pytest.mark.parametrize("tile", [256, (240, 240), (208, 304), (512, 16)])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2), (2, 1)])
def test_backends_agree_on_jpeg_pyramids_of_any_tile_size(tmp_path, image, tile, subsampling):
    path = write_pyramid(tmp_path / "s.tif", image[:896, :1104], tile=tile, subsampling=subsampling)
    with open_slide(path, "openslide") as a, open_slide(path, "tiffslide") as b, open_slide(path) as c:
        assert c.backend == "openslide+jpeg"
        assert a.levels == b.levels == c.levels
        assert a.file_mpp == pytest.approx(b.file_mpp)
        for level, facts in enumerate(a.levels):
            size = (facts.width - 40, facts.height - 30)
            regions = [slide.read_region(20 << level, 10 << level, level, size) for slide in (a, b, c)]
            assert difference(regions[0], regions[1]) <= TOLERANCE
            assert difference(regions[0], regions[2]) <= TOLERANCE


def test_colour_space_is_the_tags_word_and_not_a_guess(tmp_path, image):
    """Aperio stores RGB in JPEG without a marker; read as YCbCr it would be green and pink."""
    image = image[:768, :1024]
    with tifffile.TiffWriter(tmp_path / "rgb.svs") as tiff:
        tiff.write(
            image, tile=(256, 256), compression="jpeg", photometric="rgb", metadata=None, subsampling=(1, 1),
            compressionargs={"level": 98, "outcolorspace": "rgb"}, description=aperio_description(1024, 768, 0.25),
        )  # fmt: skip
    with tifffile.TiffFile(tmp_path / "rgb.svs") as tiff:
        assert tiff.pages.first.photometric.name == "RGB"
    with open_slide(tmp_path / "rgb.svs", "openslide") as a, open_slide(tmp_path / "rgb.svs") as b:
        assert b.backend == "openslide+jpeg"
        for slide in (a, b):
            assert difference(slide.read_region(0, 0, 0, (1024, 768)), image) <= 10


@pytest.mark.parametrize("name", ["aperio_CMU-1-Small-Region.svs", "ome_OS-1-detail_HE.ome.tif"])
def test_fast_path_on_real_slides(name):
    path = shared_data(f"wsi/{name}")
    with open_slide(path, "tiffslide") as a, open_slide(path) as b:
        assert b.backend.endswith("+jpeg")
        size = (a.width, a.height)
        assert difference(a.read_region(0, 0, 0, size), b.read_region(0, 0, 0, size)) <= TOLERANCE


@pytest.mark.parametrize("source", ["openslide", "jpeg"])  # TiffSlide sees no pyramid in it
def test_levels_whose_downsample_is_not_whole(tmp_path, source):
    """Regions of a level of 1.6 lie where the same tissue lies on level 0."""
    base = texture(1600, 1200, seed=7)
    small = np.asarray(Image.fromarray(base).resize((1000, 750), Image.Resampling.BOX))
    with tifffile.TiffWriter(tmp_path / "s.tif") as tiff:
        for i, level in enumerate((base, small)):
            tiff.write(
                level, tile=(256, 256), compression="jpeg", compressionargs={"level": 98}, photometric="rgb",
                metadata=None, subfiletype=1 if i else 0, resolution=(40_000, 40_000), resolutionunit=3,
            )  # fmt: skip
    with open_slide(tmp_path / "s.tif", source) as slide:
        assert slide.levels[1].downsample == pytest.approx(1.6)
        region = slide.read_region(801, 403, 1, (300, 200))
        assert difference(region, small[252:452, 501:801]) <= 6  # OpenSlide shifts by parts of a pixel
        view = slide.read_at_mpp(800, 400, 0.5, (200, 150))  # from the level of 0.4 um/px
        expected = base[400:700, 800:1200].reshape(150, 2, 200, 2, 3).mean(axis=(1, 3))
        assert np.abs(view - expected).max() <= 8
        assert np.abs(view - expected).mean() <= 1.5


def test_bounds_of_a_scan_on_a_larger_canvas(tmp_path, image):
    image = image[:768, :1024]
    path = write_scn(tmp_path / "s.scn", image, at=(1001, 2003), canvas=(4000, 6000))
    with open_slide(path) as slide:
        assert (slide.vendor, slide.width, slide.height) == ("leica", 1024, 768)
        assert (slide.facts.origin_x, slide.facts.origin_y) == (1001, 2003)
        assert slide.mpp == pytest.approx(0.5)
        assert difference(slide.read_region(100, 200, 0, (300, 300)), image[200:500, 100:400]) <= 12
        assert difference(slide.read_at_mpp(100, 200, 1.0, (100, 100)), halved(image)[100:200, 50:150]) <= 12
        assert slide.thumbnail(256).shape == (192, 256, 3)
        with pytest.raises(SlideError):
            slide.read_region(1000, 0, 0, (100, 100))


@pytest.mark.parametrize(
    ("name", "description", "compression", "backend"),
    [
        ("a.svs", True, "aperio_jp2000_rgb", "openslide"),
        ("a.tif", False, "jpeg2000", "tiffslide"),
        ("a.tif", False, "lzw", "openslide"),
        ("a.tif", False, "zstd", "openslide"),
        ("a.tif", False, "webp", "tiffslide"),
        ("a.tif", False, None, "openslide"),
    ],
)
def test_other_compressions_are_read_by_who_can(tmp_path, image, name, description, compression, backend):
    path = write_pyramid(
        tmp_path / name,
        image,
        compression=compression,
        levels=1,
        description=aperio_description(1111, 903, 0.25) if description else None,
    )
    with open_slide(path) as slide:
        assert slide.backend == backend
        assert difference(slide.read_region(200, 100, 0, (500, 400)), image[100:500, 200:700]) <= 3
        with pytest.raises(SlideError, match="no plain JPEG pyramid"):
            open_slide(path, "jpeg")


def test_alpha_is_laid_on_white(tmp_path, image):
    alpha = np.full(image.shape[:2], 255, np.uint8)
    alpha[:, :300] = 0
    path = write_flat(tmp_path / "a.tif", np.dstack([image, alpha]), photometric="rgb", extrasamples=["unassalpha"])
    for backend in ("openslide", "tiffslide"):
        with open_slide(path, backend) as slide:
            region = slide.read_region(200, 0, 0, (200, 100))
        assert np.array_equal(region[:, :100], np.full((100, 100, 3), 255))
        assert np.array_equal(region[:, 100:], image[:100, 300:400])


def test_palette_is_read_in_colour_or_refused(tmp_path, image):
    palette = Image.fromarray(image).quantize(200)
    colours = np.zeros((256, 3), np.uint16)
    colours[:200] = np.array(palette.getpalette()[:600]).reshape(-1, 3) * 257
    path = write_flat(tmp_path / "p.tif", np.asarray(palette), photometric="palette", colormap=colours.T)
    with open_slide(path) as slide:
        assert slide.backend == "openslide"
        assert difference(slide.read_region(0, 0, 0, (300, 300)), np.asarray(palette.convert("RGB"))[:300, :300]) <= 1
    with pytest.raises(SlideError, match="does not convert its colours"):
        open_slide(path, "tiffslide")


def test_wrong_kinds_of_pixels_are_refused_in_words(tmp_path, image):
    kinds = {
        "16-bit pixels": write_flat(tmp_path / "a.tif", image.astype(np.uint16) * 257, photometric="rgb"),
        "one channel, no colour": write_flat(tmp_path / "b.tif", image[..., 0], photometric="minisblack"),
        "32-bit pixels": write_flat(tmp_path / "c.tif", image.astype(np.float32), photometric="rgb"),
    }
    with tifffile.TiffWriter(tmp_path / "d.ome.tif", ome=True) as tiff:
        stack = np.repeat(image[None, ..., 0], 5, axis=0)
        tiff.write(stack, tile=(256, 256), metadata={"axes": "CYX"}, photometric="minisblack")
    kinds["5 separate channels, no brightfield colour"] = tmp_path / "d.ome.tif"
    for words, path in kinds.items():
        for backend in ("auto", "openslide", "tiffslide"):
            with pytest.raises(SlideError, match=words) as caught:
                open_slide(path, backend)
            assert caught.value.code == "pixel_type"


def test_orientation_tag_is_said_and_pixels_stay_as_stored(tmp_path, image):
    path = write_pyramid(tmp_path / "o.tif", image, extratags=[(274, "H", 1, 6, True)])
    with open_slide(path) as slide:
        assert slide.warnings == ("orientation tag 6: pixels are read as stored",)
        assert (slide.width, slide.height) == (1111, 903)
        assert difference(slide.read_region(0, 0, 0, (300, 200)), image[:200, :300]) <= 12


@pytest.mark.parametrize("name", ["Präparat Ø [1], 'a' & b=c.tif", "切片.tif", "a b.svs.tif", "-dash.tif"])
def test_names(tmp_path, image, name):
    path = write_pyramid(tmp_path / name, image)
    for backend in ("openslide", "tiffslide", "jpeg"):
        with open_slide(path, backend) as slide:
            assert slide.read_region(0, 0, 0, (9, 9)).shape == (9, 9, 3)


def test_dicom_folder_is_one_slide():
    with open_slide(shared_data("wsi/dicom_boxes")) as slide:
        assert (slide.vendor, slide.width, slide.mpp, slide.objective) == ("dicom", 16, 0.499, 20)
        assert slide.read_region(0, 0, 0, (16, 16)).shape == (16, 16, 3)


@pytest.mark.parametrize("backend", ["auto", "openslide", "tiffslide", "jpeg"])
def test_opens_and_fails_on_the_first_read(backend):
    with open_slide(shared_data("wsi/bad_openslide_unreadable.svs"), backend) as slide:
        for _ in range(2):  # an error never turns into blank pixels
            with pytest.raises(SlideError) as caught:
                slide.read_region(0, 0, 0, (4, 4))
            assert caught.value.code == "unreadable"


@pytest.mark.parametrize("backend", ["openslide", "tiffslide", "auto"])
def test_truncated_and_damaged(tmp_path, image, backend):
    path = write_pyramid(tmp_path / "s.tif", image, levels=1)
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages.first.dataoffsets[6], tiff.pages.first.databytecounts[6]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\xff" * count  # row 1, column 1
    (tmp_path / "damaged.tif").write_bytes(data)
    with open_slide(tmp_path / "damaged.tif", backend) as slide:
        assert slide.read_region(0, 0, 0, (200, 200)).shape == (200, 200, 3)
        with pytest.raises(SlideError) as caught:
            slide.read_region(256, 256, 0, (100, 100))
        assert caught.value.code == "unreadable"
    (tmp_path / "no_index.tif").write_bytes(data[:64])
    with pytest.raises(SlideError):
        open_slide(tmp_path / "no_index.tif", backend)


@pytest.mark.parametrize("suffix", [".tif", ".svs"])
@pytest.mark.parametrize("backend", ["openslide", "tiffslide", "auto"])
def test_hollow_file_is_refused_and_background_left_out_is_white(tmp_path, suffix, backend):
    description = aperio_description(2048, 1536, 0.25) if suffix == ".svs" else None
    picture = texture(2048, 1536, margin=256)
    if (backend, suffix) == ("tiffslide", ".svs"):  # it takes no sub-levels from an SVS without a thumbnail
        with pytest.raises(SlideError, match=r"shows 1 of the 3 levels .* use slides.backend=auto") as caught:
            open_slide(write_sparse(tmp_path / "legal.svs", picture, set(), description=description), backend)
        assert caught.value.code == "levels"
        return
    legal = write_sparse(tmp_path / f"legal{suffix}", picture, {(0, i) for i in range(1, 8)}, description=description)
    with open_slide(legal, backend) as slide:
        check_index(slide, 0, tissue_mask(slide))
        assert np.array_equal(slide.read_region(300, 20, 0, (100, 100)), np.full((100, 100, 3), 255))
    hollow = write_sparse(tmp_path / f"hollow{suffix}", picture, {(2, 3)}, description=description)
    with open_slide(hollow, backend) as slide:
        tissue = tissue_mask(slide)
        with pytest.raises(SlideError, match="hollow: 1 tiles of level 0 hold no data") as caught:
            check_index(slide, 0, tissue)
        assert caught.value.code == "hollow"
        check_index(slide, 1, tissue)


def test_blank_tile_in_tissue_is_hollow_whatever_the_format():
    tiles = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)
    tiles[1] = 255
    check_tiles(tiles, np.array([True, False, True]), "s")
    with pytest.raises(SlideError, match="reads as blank where there is tissue; copy or export the slide again"):
        check_tiles(tiles, np.array([True, True, True]), "s")
    tiles[1, 5, 5] = 250
    check_tiles(tiles, np.array([True, True, True]), "s")


def test_single_level_giant_is_viewed_in_bounded_blocks(tmp_path, monkeypatch):
    path = write_pyramid(tmp_path / "s.tif", np.tile(texture(600, 500), (10, 10, 1)), levels=1)
    with open_slide(path) as slide:
        largest = []
        read = slide._read

        def watched(level, x, y, width, height):
            largest.append(width * height)
            return read(level, x, y, width, height)

        monkeypatch.setattr(slide, "_read", watched)
        view = slide.overview(8.0)
    assert view.shape == (156, 187, 3)
    assert max(largest) <= 2048 * 2048
    assert len(largest) > 4


def test_each_compressed_tile_is_decoded_once(tmp_path):
    path = write_pyramid(tmp_path / "s.tif", texture(2300, 2300), levels=1)
    with open_slide(path) as slide, open_slide(path, "openslide") as plain:
        grid = np.array([(x, y) for y in range(0, 1850, 448) for x in range(0, 1850, 448)])
        reader = slide.tile_reader(grid[:, 0], grid[:, 1], 0.25, 448)
        tiles = np.empty((25, 448, 448, 3), np.uint8)
        for start in range(0, 25, 4):
            reader.read(start, tiles[start : start + 4])
        assert slide.decoded == 9 * 9  # 2240 px of 256 px tiles
        assert not reader.kept
        for i in (0, 12, 24):
            expected = plain.read_region(int(grid[i, 0]), int(grid[i, 1]), 0, (448, 448))
            assert difference(tiles[i], expected) <= TOLERANCE
        resampled = slide.tile_reader(grid[:9, 0], grid[:9, 1], 0.3, 200)
        out = np.empty((9, 200, 200, 3), np.uint8)
        resampled.read(0, out)
        assert np.array_equal(out[4], slide.read_at_mpp(float(grid[4, 0]), float(grid[4, 1]), 0.3, (200, 200)))
