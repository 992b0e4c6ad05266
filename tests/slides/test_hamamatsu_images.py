"""VMS and VMU: read where they are whole; a file of them that is gone or cut is said, whichever it is."""

import numpy as np
import pytest
from made_hamamatsu import write_vms, write_vmu
from made_slides import texture

from pathoprog.errors import SlideError
from pathoprog.slides import open_slide

WIDTH, HEIGHT = 2048, 1024
VMS_FILES = ("a_0.jpg", "a_1.jpg", "a_map.jpg")
VMU_FILES = ("a.ngr", "a_map.ngr")


@pytest.fixture(scope="module")
def image():
    return texture(WIDTH, HEIGHT, seed=3)


def refused(path):
    with pytest.raises(SlideError) as caught:
        open_slide(path).close()
    assert str(caught.value).count(str(path)) == 1
    return str(caught.value).replace(f"{path}: ", ""), caught.value.code


@pytest.mark.parametrize(("write", "factor", "difference"), [(write_vms, 8, 6), (write_vmu, 4, 0)])
def test_whole_slides_are_read(tmp_path, image, write, factor, difference):
    path = write(tmp_path / f"a.{write.__name__[-3:]}", image)
    with open_slide(path) as slide:
        assert (slide.width, slide.height) == (WIDTH, HEIGHT)
        assert factor in [level.downsample for level in slide.levels]
        assert slide.mpp == pytest.approx(0.25, rel=0.01)
        shown = slide.read_region(0, 0, 0, (WIDTH, HEIGHT)).astype(int)
    assert np.abs(shown - image).mean() <= difference


@pytest.mark.parametrize("name", VMS_FILES)
@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_jpeg_that_ends_too_early(tmp_path, image, name, share):
    path = write_vms(tmp_path / "a.vms", image)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    said, code = refused(path)
    assert said.startswith(f"{name}, which belongs to it, is ") and code == "unreadable"
    assert ("no whole JPEG image" if share < 0.01 else f"at byte {int(len(data) * share)}; copy") in said


def test_padding_behind_the_end_is_no_damage(tmp_path, image):
    path = write_vms(tmp_path / "a.vms", image)
    with open_slide(path) as slide:
        size = (slide.facts.width, slide.facts.height)
    for name in VMS_FILES:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + bytes(4096))
    with open_slide(path) as slide:
        assert (slide.facts.width, slide.facts.height) == size


@pytest.mark.parametrize("name", VMU_FILES)
def test_an_ngr_file_that_ends_too_early(tmp_path, image, name):
    path = write_vmu(tmp_path / "a.vmu", image)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-1])
    said, code = refused(path)
    assert f"px end at byte {len(data)}, the file at byte {len(data) - 1}" in said and code == "unreadable"
    (tmp_path / name).write_bytes(data[:20])
    assert "within its header" in refused(path)[0]
    (tmp_path / name).write_bytes(data[:12] + bytes(4) + data[16:])
    assert "its header says" in refused(path)[0]


@pytest.mark.parametrize("name", [*VMS_FILES, "a.opt", *VMU_FILES])
def test_a_file_that_is_gone_or_empty(tmp_path, image, name):
    path = write_vmu(tmp_path / "a.vmu", image) if "ngr" in name else write_vms(tmp_path / "a.vms", image)
    (tmp_path / name).write_bytes(b"")
    assert refused(path) == (
        f"{name}, which belongs to it, is empty (0 bytes); copy the file again, or have it exported anew", "unreadable",
    )  # fmt: skip
    (tmp_path / name).unlink()
    assert refused(path) == (f"{name}, which belongs to it, is not there: copy it beside the slide", "missing")


def test_something_else_in_an_images_place(tmp_path, image):
    path = write_vms(tmp_path / "a.vms", image)
    (tmp_path / "a_1.jpg").write_bytes(b"<!doctype html><html>log in</html>")
    assert "a_1.jpg, which belongs to it, is no whole JPEG image (34 bytes)" in refused(path)[0]
