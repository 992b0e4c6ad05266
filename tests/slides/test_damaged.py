"""A tile that lost part of its data is refused on every path, and what only looks odd is read."""

import io
import zlib

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile
from made_damage import HALF_LOST, halved_by, tile_places, with_changed_tiles, with_tiles_instead
from made_slides import aperio_description, texture, write_pyramid
from PIL import Image
from shared_data import shared_data

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.pixels.jpeg_stream import BENIGN, TileDamageError, decode_jpeg
from pathoprog.slides.pixels.picture_head import jpeg2000_loss
from pathoprog.slides.pixels.tile_data import check_tile

SIDE = 1024
BACKENDS = ("auto", "openslide", "tiffslide", "jpeg")


@pytest.fixture(scope="module")
def image():
    return texture(SIDE, SIDE, seed=3)


@pytest.fixture(scope="module")
def tile(image):
    return np.ascontiguousarray(image[256:512, 256:512])


@pytest.fixture(scope="module")
def sound(image, tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("sound") / "s.tif", image)


def jpeg(tile, **options):
    """A JPEG by Pillow, which writes progressive ones and restart markers."""
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, "JPEG", quality=85, **options)
    return stream.getvalue()


def refused(slide, *arguments, read="read_region"):
    with pytest.raises(SlideError) as caught:
        getattr(slide, read)(*arguments)
    assert caught.value.code == "unreadable" and not caught.value.not_reportable
    return str(caught.value)


@pytest.mark.parametrize("kind", HALF_LOST)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tile_that_lost_half_is_refused_and_its_neighbours_are_read(sound, tmp_path, kind, backend):
    path = with_changed_tiles(sound, tmp_path / "s.tif", HALF_LOST[kind], {0: [5]})
    with open_slide(path, backend) as slide, open_slide(sound, backend) as whole:
        text = refused(slide, 300, 300, 0, (100, 100))
        assert "damaged data" in text and "level 0, x 256, y 256" in text and "copy or export the slide again" in text
        for x, y in ((0, 0), (520, 256), (256, 520)):
            assert np.array_equal(slide.read_region(x, y, 0, (99, 99)), whole.read_region(x, y, 0, (99, 99)))
        refused(slide, 300, 300, 0, (9, 9))  # again: an error never turns into pixels


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_way_to_read_refuses(sound, tmp_path, backend):
    path = with_changed_tiles(sound, tmp_path / "s.tif", HALF_LOST["zeroed"], {0: [5], 2: [0]})
    with open_slide(path, backend) as slide:
        refused(slide, 200.0, 200.0, 0.3, (300, 300), read="read_at_mpp")
        reader = slide.tile_reader(np.array([0, 256]), np.array([0, 256]), 0.25, 256)
        out = np.empty((1, 256, 256, 3), np.uint8)
        reader.read(0, out)
        with pytest.raises(SlideError, match="level 0, x 256, y 256"):
            reader.read(1, out)
        assert "level 2, x 0, y 0" in refused(slide, 8.0, read="overview")
        assert "level 2, x 0, y 0" in refused(slide, 64, read="thumbnail")


def test_aperio_tiles_of_rgb_with_shared_tables(tmp_path, image):
    """Abbreviated streams get their tables, RGB its colours; damage is seen in them too."""
    path = tmp_path / "s.svs"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            image, tile=(256, 256), compression="jpeg", photometric="rgb", metadata=None, subsampling=(1, 1),
            compressionargs={"level": 95, "outcolorspace": "rgb"}, description=aperio_description(SIDE, SIDE, 0.25),
        )  # fmt: skip
    with open_slide(path) as slide:
        assert slide.backend == "openslide+jpeg"
        assert np.abs(slide.read_region(0, 0, 0, (SIDE, SIDE)).astype(int) - image).max() <= 12
    harmed = with_changed_tiles(path, tmp_path / "h.svs", HALF_LOST["ended early"], {0: [5]})
    for backend in BACKENDS:
        with open_slide(harmed, backend) as slide:
            refused(slide, 300, 300, 0, (9, 9))


def test_real_tiles_have_the_pixels_of_libjpeg():
    path = shared_data("wsi/aperio_CMU-1-Small-Region.svs")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        for offset, count in tile_places(path):
            tiff.filehandle.seek(offset)
            data = tiff.filehandle.read(count)
            expected = imagecodecs.jpeg8_decode(data, tables=page.jpegtables, colorspace="RGB", outcolorspace="RGB")
            assert np.array_equal(decode_jpeg(data, page.jpegtables, True, (240, 240)), expected)


def cut_between_scans(data, n):
    """Only the first `n` scans of a progressive picture, and an end marker: no decoder warns."""
    starts = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    return data[: starts[n]] + b"\xff\xd9"


def test_progressive_tiles_are_read_whole_and_refused_without_their_last_scan(tmp_path, sound, tile):
    data = jpeg(tile, progressive=True)
    expected = imagecodecs.jpeg8_decode(data)
    path = with_tiles_instead(sound, tmp_path / "p.tif", lambda _: data)
    for backend in BACKENDS:
        with open_slide(path, backend) as slide:
            assert np.abs(slide.read_region(256, 256, 0, (256, 256)).astype(int) - expected).max() <= 1
    for n in (1, 9):
        less = cut_between_scans(data, n)
        assert simplejpeg.decode_jpeg(less, strict=True).shape == (256, 256, 3), "no warning tells"
        path = with_tiles_instead(sound, tmp_path / "p.tif", lambda _, less=less: less)
        for backend in BACKENDS:
            with open_slide(path, backend) as slide:
                assert "scans are missing" in refused(slide, 256, 256, 0, (9, 9))


def test_restart_markers_are_read_and_a_lost_interval_is_refused(tmp_path, sound, tile):
    data = jpeg(tile, restart_marker_blocks=4)
    path = with_tiles_instead(sound, tmp_path / "r.tif", lambda _: data)
    first, second = data.index(b"\xff\xd0"), data.index(b"\xff\xd1")
    lost = with_tiles_instead(sound, tmp_path / "l.tif", lambda _: data[:first] + data[second:])
    for backend in BACKENDS:
        with open_slide(path, backend) as slide:
            expected = imagecodecs.jpeg8_decode(data)
            assert np.abs(slide.read_region(0, 0, 0, (256, 256)).astype(int) - expected).max() <= 1
        with open_slide(lost, backend) as slide:
            refused(slide, 0, 0, 0, (9, 9))


def test_other_kinds_of_jpeg_than_the_tags_say_are_refused(tmp_path, sound, tile):
    wrong = {
        "1 channels in place of 3": imagecodecs.jpeg8_encode(np.ascontiguousarray(tile[..., 0]), 85),
        "4 channels in place of 3": imagecodecs.jpeg8_encode(
            np.dstack([tile, tile[..., :1]]), 85, colorspace="CMYK", outcolorspace="CMYK"
        ),
        "128 x 512": imagecodecs.jpeg8_encode(texture(128, 512), 85),  # as many pixels as a tile
        "512 x 512": imagecodecs.jpeg8_encode(texture(512, 512), 85),
        "do not begin as JPEG": b"\x89PNG\r\n\x1a\n" + bytes(400),
        "they end within the header": jpeg(tile)[:100],
    }
    for words, data in wrong.items():
        path = with_tiles_instead(sound, tmp_path / "w.tif", lambda _, data=data: data)
        for backend in BACKENDS:
            with open_slide(path, backend) as slide:
                text = refused(slide, 256, 256, 0, (9, 9))
                assert words in text or "Dimensional mismatch" in text, (words, backend, text)


ODD = {
    "application": lambda data: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x07\x01\x00\x00\x01\x00\x01\x00\x00" + data[20:],
    "no end": lambda data: data[:-2],
    "behind the end": lambda data: data + b"\xff\x00\x55" * 9,
    "scan parameters": lambda data: data.replace(b"\x00\x3f\x00", bytes(3), 1),
}


@pytest.mark.parametrize("kind", BENIGN)
def test_what_leaves_every_pixel_as_it_was_is_no_damage(tile, kind):
    data = imagecodecs.jpeg8_encode(tile, 85)
    assert data[:4] == b"\xff\xd8\xff\xe0"
    odd = ODD[kind](data)
    assert odd != data
    if kind != "behind the end":
        with pytest.raises(ValueError, match=r"JFIF|Premature end|Invalid SOS"):
            simplejpeg.decode_jpeg(odd, strict=True)
    assert np.array_equal(decode_jpeg(odd, None, False, (256, 256)), imagecodecs.jpeg8_decode(data))
    with pytest.raises(TileDamageError):  # and hides no damage behind it
        decode_jpeg(odd[: len(data) // 2], None, False, (256, 256))


def test_most_single_changed_bytes_are_seen(tile):
    """Some pass any decoder: only a checksum could tell. The share is what the docs say of it."""
    data = imagecodecs.jpeg8_encode(tile, 85)
    start = data.index(b"\xff\xda") + 14
    rng = np.random.default_rng(0)
    expected = decode_jpeg(data, None, False, (256, 256)).astype(int)
    seen = unseen = 0
    for at in rng.integers(start, len(data) - 2, 300):
        changed = bytearray(data)
        changed[at] ^= int(rng.integers(1, 256))
        try:
            pixels = decode_jpeg(bytes(changed), None, False, (256, 256))
        except TileDamageError:
            seen += 1
        else:
            unseen += bool((np.abs(pixels - expected).max(axis=2) > 8).mean() > 0.01)
    assert seen > 200 and unseen < 60, (seen, unseen)


@pytest.mark.parametrize("compression", ["lzw", "packbits", "deflate", "zstd", "jpeg2000", "webp"])
@pytest.mark.parametrize("backend", ["auto", "tiffslide"])
def test_other_compressions_refuse_a_tile_that_is_cut(tmp_path, image, compression, backend):
    path = write_pyramid(tmp_path / "s.tif", image, compression=compression, levels=1)
    cut = with_tiles_instead(path, tmp_path / "c.tif", lambda data: data[: len(data) // 2], [5])
    with open_slide(path, backend) as slide:
        slide.read_region(256, 256, 0, (256, 256))
    with open_slide(cut, backend) as slide:
        refused(slide, 256, 256, 0, (256, 256))


@pytest.mark.parametrize("kind", ["zeroed", "overwritten with ones", "ended early"])
@pytest.mark.parametrize("compression", [34712, 33005])
def test_jpeg_2000_that_lost_its_end_is_refused(tmp_path, image, compression, kind):
    """OpenJPEG shows a coarser picture in place of what is missing, in its strict mode too."""
    description = aperio_description(SIDE, SIDE, 0.25) if compression == 33005 else None
    path = write_pyramid(
        tmp_path / ("s.svs" if description else "s.tif"),
        image,
        compression=compression,
        levels=1,
        **({"description": description} if description else {}),
    )
    harmed = with_changed_tiles(path, path.with_stem("h"), HALF_LOST[kind], {0: [5]})
    with open_slide(harmed) as slide:
        assert slide.backend == ("openslide" if description else "tiffslide")
        assert "damaged JPEG 2000 data" in refused(slide, 256, 256, 0, (256, 256))
        slide.read_region(0, 0, 0, (256, 256))


def test_jpeg_2000_without_its_end_marker_is_whole(tile):
    """Of one tile part and of several, its length given or left to the data's end."""
    tiled = io.BytesIO()
    Image.fromarray(tile).save(tiled, "JPEG2000", tile_size=(64, 64))
    boxed, bare = imagecodecs.jpeg2k_encode(tile, level=40), imagecodecs.jpeg2k_encode(tile, codecformat="J2K")
    for data in (boxed, bare, tiled.getvalue()):
        assert data.endswith(b"\xff\xd9") and not jpeg2000_loss(data) and not jpeg2000_loss(data[:-2])
        assert jpeg2000_loss(data[:-3]) and jpeg2000_loss(data[:-2] + b"\0\0")
        last = data.rindex(b"\xff\x90\0\x0a")
        assert not jpeg2000_loss(data[: last + 6] + bytes(4) + data[last + 10 :])
    assert jpeg2000_loss(b"") and jpeg2000_loss(data[:60])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_quantisation_table_with_zeros_is_damage(sound, tmp_path, backend):
    """Every block of the tile turns grey and flat, and libjpeg finds nothing to warn of (T.81 B.2.4.1: 1 at least)."""

    def zeroed_table(data):
        at = data.index(b"\xff\xdb") + 5
        return data[:at] + bytes(64) + data[at + 64 :]

    path = with_changed_tiles(sound, tmp_path / "s.tif", zeroed_table, {0: [5]})
    with open_slide(path, backend) as slide:
        assert "quantisation table that holds a zero" in refused(slide, 300, 300, 0, (100, 100))
        slide.read_region(0, 0, 0, (100, 100))


def test_a_zero_in_a_table_that_no_channel_uses_is_none(tile):
    data = jpeg(tile)
    unused = data[:2] + b"\xff\xdb\x00\x43\x03" + bytes(64) + data[2:]
    wide = data[:2] + b"\xff\xdb\x00\x83\x13" + bytes(128) + data[2:]
    for odd in (unused, wide):
        assert (decode_jpeg(odd, None, False, (256, 256)) == decode_jpeg(data, None, False, (256, 256))).all()


@pytest.mark.parametrize("compression", ["lzw", "packbits", "deflate", "zstd"])
@pytest.mark.parametrize("kind", ["overwritten with ones", "overwritten with noise", "zeros within"])
def test_openslide_passes_over_nothing_in_compressed_bytes(tmp_path, image, compression, kind):
    """Libtiff drops what is too much of a tile, with a warning that nobody hears."""
    path = write_pyramid(tmp_path / "s.tif", image, compression=compression, levels=1)
    harmed = with_changed_tiles(path, tmp_path / "h.tif", HALF_LOST[kind], {0: [5]})
    for backend in ("auto", "openslide", "tiffslide"):
        with open_slide(harmed, backend) as slide:
            refused(slide, 256, 256, 0, (256, 256))
            slide.read_region(0, 0, 0, (256, 256))


@pytest.mark.parametrize("backend", ["auto", "openslide", "tiffslide"])
def test_a_checksum_that_does_not_fit_is_seen(tmp_path, image, backend):
    """Deflate data end with one, which the TIFF library does not look at: the last bytes are of another tile."""
    path = write_pyramid(tmp_path / "s.tif", image, compression="deflate", levels=1)
    other = zlib.compress(np.ascontiguousarray(image[:256, :256]).tobytes())
    wrong = with_tiles_instead(path, tmp_path / "w.tif", lambda data: data[:-4] + other[-4:], [5])
    cut = with_tiles_instead(path, tmp_path / "c.tif", lambda data: data[:-3], [5])
    for harmed in (wrong, cut):
        with open_slide(harmed, backend) as slide:
            refused(slide, 256, 256, 0, (256, 256))
            slide.read_region(0, 0, 0, (256, 256))


@pytest.mark.parametrize("compression", ["jpeg2000", "webp"])
def test_a_picture_of_another_shape_is_not_laid_out_as_a_tile(tmp_path, image, compression):
    """128 x 512 px are as many bytes as 256 x 256: their rows would be torn."""
    encode = {"jpeg2000": imagecodecs.jpeg2k_encode, "webp": imagecodecs.webp_encode}[compression]
    path = write_pyramid(tmp_path / "s.tif", image, compression=compression, levels=1)
    other = with_tiles_instead(path, tmp_path / "o.tif", lambda _: encode(texture(128, 512)), [5])
    with open_slide(other) as slide:
        assert "128 x 512 px in place of 256 x 256" in refused(slide, 256, 256, 0, (9, 9))


def test_edge_tiles_as_small_as_the_image_ends_are_read(tmp_path):
    picture = texture(600, 500, seed=4)
    path = write_pyramid(tmp_path / "s.tif", picture, levels=1)
    small = iter(
        imagecodecs.jpeg8_encode(np.ascontiguousarray(picture[y : y + 256, x : x + 256]), 90)
        for y in (0, 256)
        for x in (0, 256, 512)
    )
    edges = with_tiles_instead(path, tmp_path / "e.tif", lambda _: next(small))
    with open_slide(edges, "tiffslide") as slide:
        assert np.abs(slide.read_region(0, 0, 0, (600, 500)).astype(int) - picture).mean() < 4
    with open_slide(edges) as slide:
        assert np.abs(slide.read_region(0, 0, 0, (500, 256)).astype(int) - picture[:256, :500]).mean() < 4
        assert "Dimensional mismatch" in refused(slide, 550, 0, 0, (9, 9)), "OpenSlide takes no such tile"


def test_strips_are_checked_as_tiles_are(tmp_path, image):
    path = tmp_path / "s.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            image[:1000], rowsperstrip=64, compression="jpeg", photometric="rgb", metadata=None,
            resolution=(40_000, 40_000), resolutionunit=3,
        )  # fmt: skip
    harmed = with_changed_tiles(path, tmp_path / "h.tif", halved_by(b"\0"), {0: [3]})
    with open_slide(path, "tiffslide") as slide:
        assert np.abs(slide.read_region(0, 0, 0, (SIDE, 1000)).astype(int) - image[:1000]).mean() < 4
    with open_slide(harmed, "tiffslide") as slide:
        assert "x 0, y 192" in refused(slide, 0, 200, 0, (9, 9))


def test_jpeg_xr_is_refused_by_name():
    """Its decoder fills what is missing without a word."""
    with pytest.raises(TileDamageError, match="JPEG XR"):
        check_tile(22610, imagecodecs.jpegxr_encode(texture(64, 64)), None, 3, (64, 64), (64, 64))
