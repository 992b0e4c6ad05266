"""The walk through a TIFF's directories: what is whole passes, what is not is refused at once, with its place."""

import struct
import time

import numpy as np
import pytest
import tifffile
from made_directories import TiffBytes
from made_slides import halved, texture, write_pyramid, write_sparse

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide
from pathoprog.slides.tiff.directory import read_directories

KINDS = [{"bigtiff": big, "byteorder": order} for big in (False, True) for order in "<>"]


@pytest.fixture(scope="module", params=KINDS, ids=["classic<", "classic>", "big<", "big>"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def sound(tmp_path_factory, kind):
    return write_pyramid(tmp_path_factory.mktemp("sound") / "s.tif", texture(1000, 700, seed=2), **kind)


def refused(path, match, backend="auto"):
    """The file is refused within seconds; returns the reason."""
    start = time.monotonic()
    with pytest.raises(SlideError, match=match) as caught:
        open_slide(path, backend).close()
    assert time.monotonic() - start < 5.0  # without the check they took minutes; a busy machine needs room
    assert caught.value.code == "unreadable"
    return str(caught.value)


def test_what_stands_in_the_directories(sound):
    images = read_directories(sound)
    assert [(image.width, image.height, image.tile_width, image.subfile) for image in images] == [
        (1000, 700, 256, 0), (500, 350, 256, 1), (250, 175, 256, 1),
    ]  # fmt: skip
    with tifffile.TiffFile(sound) as tiff:
        for image, page in zip(images, tiff.pages, strict=True):
            assert image.offsets.tolist() == list(page.dataoffsets)
            assert image.counts.tolist() == list(page.databytecounts)
            assert (image.compression, image.photometric) == (page.compression, page.photometric)
            assert (image.bits, image.samples, image.planar) == ((8, 8, 8), 3, 1)


def test_sub_directories_that_writers_chain_as_well(tmp_path):
    """Tifffile lets each sub-directory lead to the next, which the parent names too: no circle."""
    image = texture(900, 600)
    options = {"tile": (256, 256), "compression": "jpeg", "photometric": "rgb"}
    with tifffile.TiffWriter(tmp_path / "s.ome.tif") as tiff:
        tiff.write(image, subifds=2, **options)
        tiff.write(halved(image), subfiletype=1, **options)
        tiff.write(halved(halved(image)), subfiletype=1, **options)
    assert [(found.width, found.parent) for found in read_directories(tmp_path / "s.ome.tif")] == [
        (900, -1), (450, 0), (225, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(("of", "to"), [(2, 0), (1, 0), (2, 2), (0, 0), (1, 1), (2, 1)])
def test_a_circle_of_directories_is_refused_at_once(tmp_path, sound, of, to):
    spoilt = TiffBytes(sound)
    spoilt.link(of, spoilt.starts[to])
    path = spoilt.write(tmp_path / "s.tif")
    for backend in ("auto", "openslide", "tiffslide", "jpeg"):
        refused(path, f"round in a circle: directory {of} leads back to directory {to}", backend)


@pytest.mark.parametrize("children", [[0], [1], [1, 1], [0, 2]])
def test_a_circle_through_sub_directories(tmp_path, sound, children):
    """The resolution unit's entry becomes one of sub-directories, which lead back into the chain."""
    spoilt = TiffBytes(sound)
    place = spoilt.entries[1][296]
    at = len(spoilt.data)
    for child in children:
        spoilt.data += struct.pack(spoilt.order + spoilt.pointer, spoilt.starts[child])
    spoilt.put("H", place.at, 330)
    spoilt.put("H", place.at + 2, 16 if spoilt.big else 4)
    spoilt.put(spoilt.pointer, place.at + 4, len(children))
    value = spoilt.starts[children[0]] if len(children) == 1 else at
    spoilt.put(spoilt.pointer, place.at + (12 if spoilt.big else 8), value)
    refused(spoilt.write(tmp_path / "s.tif"), "round in a circle")


@pytest.mark.parametrize("n", [0, 5000, 65_535])
def test_absurd_numbers_of_entries(tmp_path, sound, n):
    spoilt = TiffBytes(sound)
    spoilt.put("Q" if spoilt.big else "H", spoilt.starts[1], n)
    refused(spoilt.write(tmp_path / "s.tif"), f"directory 1, named by directory 0, at byte .* says it has {n} entries")


def test_endless_directories(tmp_path, kind):
    order, big = kind["byteorder"], kind["bigtiff"]
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, 16) if big else struct.pack(order + "I", 8)
    sides = [struct.pack(order + ("HHQIxxxx" if big else "HHII"), tag, 4, 1, 1) for tag in (256, 257)]
    directory = struct.pack(order + ("Q" if big else "H"), 2) + b"".join(sides)
    size = len(directory) + (8 if big else 4)
    links = (struct.pack(order + ("Q" if big else "I"), len(head) + (i + 1) * size) for i in range(100_000))
    data = head + b"".join(directory + link for link in links)
    (tmp_path / "s.tif").write_bytes(data)
    refused(tmp_path / "s.tif", "more than 4096 directories")


def test_a_file_that_ends_too_early(tmp_path, sound):
    """Cut anywhere, it is refused, with the place and the file's size."""
    data = sound.read_bytes()
    cuts = {8, 20, 256, len(data) // 2, len(data) * 3 // 4, len(data) - 1}
    for cut in sorted(cuts):
        (tmp_path / "s.tif").write_bytes(data[:cut])
        for backend in ("auto", "openslide", "tiffslide"):
            reason = refused(tmp_path / "s.tif", "truncated|damaged TIFF", backend)
            assert str(cut) in reason


def test_offsets_beyond_the_file_and_tiles_without_bytes(tmp_path, sound):
    size = sound.stat().st_size
    for directory in (0, 1, 2):
        for tag, value, words in (
            (324, size - 3, f"truncated: 1 of .* image {directory} .*the file ends at byte {size}"),
            (324, 0, rf"tile 0 of image {directory} .* has offset 0 and \d+ bytes .* the file has {size} bytes"),
            (325, size, f"truncated: 1 of .*the file ends at byte {size}"),
            (325, 0, rf"tile 0 of image {directory} .* has offset \d+ and 0 bytes"),
        ):
            spoilt = TiffBytes(sound)
            if spoilt.entries[directory][tag].kind == 3 and value > 65_535:
                continue
            spoilt.set_value(directory, tag, value)
            refused(spoilt.write(tmp_path / "s.tif"), words)


def test_left_out_is_offset_and_count_of_zero_alone(tmp_path):
    image = texture(1024, 768, margin=256)
    path = write_sparse(tmp_path / "s.tif", image, {(0, 1), (0, 2)})
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_region(256, 0, 0, (512, 256)), np.full((256, 512, 3), 255))
    spoilt = TiffBytes(path)
    spoilt.set_value(0, 324, 4000, index=1)
    refused(spoilt.write(path), "tile 1 of image 0 .* has offset 4000 and 0 bytes")


@pytest.mark.parametrize("directory", [0, 1, 2])
@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        (284, 77, "planar configuration 77"),
        (256, 0, "an image of 0 x"),
        (257, 3000, "has .* tiles and names"),
        (322, 0, "tiles of 0 x 256 px"),
        (322, 128, "has .* tiles and names"),
        (323, 1024, "has .* tiles and names|differs|jpeg|JPEG|tile"),
        (277, 0, "0 samples in a pixel"),
    ],
)
def test_spoilt_entries(tmp_path, sound, directory, tag, value, words):
    spoilt = TiffBytes(sound)
    spoilt.set_value(directory, tag, value)
    path = spoilt.write(tmp_path / "s.tif")
    with pytest.raises(SlideError, match=words) as caught, open_slide(path) as slide:
        for level, facts in enumerate(slide.levels):  # what the directory cannot tell, the read must
            slide.read_region(0, 0, level, (facts.width, facts.height))
    assert caught.value.code in ("unreadable", "levels")


@pytest.mark.parametrize("directory", [0, 1])
@pytest.mark.parametrize("tag", [256, 257, 322, 323, 324, 325])
def test_swapped_and_lost_tags(tmp_path, sound, directory, tag):
    for other in (tag ^ 1, 65_000):
        spoilt = TiffBytes(sound)
        spoilt.set_tag(directory, tag, other)
        refused(spoilt.write(tmp_path / "s.tif"), "damaged TIFF")


def test_damaged_side_images_do_not_count_but_a_cut_file_does(tmp_path, kind):
    """Labels are not looked at: wiped ones pass. A file that ends within its label was cut all the same."""
    path = tmp_path / "s.tif"
    image = texture(600, 500)
    with tifffile.TiffWriter(path, **kind) as tiff:
        tiff.write(image, tile=(256, 256), compression="jpeg", photometric="rgb", metadata=None)
        tiff.write(texture(200, 300), rowsperstrip=300, photometric="rgb", metadata=None, subfiletype=1)
    sound = path.read_bytes()
    for tags in ((279,), (273, 279)):
        spoilt = TiffBytes(path)
        for tag in tags:
            spoilt.set_value(1, tag, 0)
        with open_slide(spoilt.write(tmp_path / "wiped.tif")) as slide:
            assert (slide.width, slide.height) == (600, 500)
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[1].dataoffsets[0], tiff.pages[1].databytecounts[0]
    if start + count == len(sound):
        (tmp_path / "cut.tif").write_bytes(sound[:-9])
        refused(tmp_path / "cut.tif", r"truncated: 1 of 1 strips of image 1 \(200 x 300 px\)")


@pytest.mark.parametrize("tag", [258, 259, 262, 277, 284])
def test_a_tag_of_another_type_than_tiff_allows(sound, tmp_path, tag):
    tiff = TiffBytes(sound)
    tiff.put("H", tiff.entries[1][tag].at + 2, 4)
    refused(tiff.write(tmp_path / "typed.tif"), rf"directory 1: tag {tag} is of type 4, where only 3 can be")
