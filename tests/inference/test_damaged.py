"""Slides with damaged tiles through `pathoprog score`: failed, each with its reason, and the sound ones are scored."""

import csv

import pytest
from made_damage import HALF_LOST, with_changed_tiles
from made_dicom import JPEG_2000, write_instance
from made_slides import texture, write_pyramid

from pathoprog import cli

STREAM = ["stream.workers=2", "stream.batch_tiles=16", "device=cpu", "settle_s=0", "threads=1"]


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A whole slide; one with one kind of damage on each level; a DICOM slide of false colours."""
    import imagecodecs

    folder = tmp_path_factory.mktemp("damaged")
    image = texture(700, 600, seed=1, margin=60)
    whole = write_pyramid(folder / "whole.tif", image)
    for index, (kind, change) in enumerate(HALF_LOST.items()):
        with_changed_tiles(whole, folder / f"{kind}.tif", change, {0 if index % 2 else 2: None})
    encode = imagecodecs.jpeg2k_encode
    write_instance(
        folder / "colours.dcm", image[:512, :512], lambda tile: encode(tile, level=40, codecformat="J2K", mct=False),
        JPEG_2000, "YBR_ICT",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    "backend", ["auto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("openslide", "tiffslide"))]
)
def test_no_class_comes_from_damaged_tiles(bundle, slides, tmp_path, backend):
    out = tmp_path / "out"
    call = ["score", f"slides={slides}", f"ensemble={bundle}", f"out={out}", f"slides.backend={backend}", *STREAM]
    assert cli.main(call) == 1
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["slide_id"]: row for row in csv.DictReader(stream)}
    assert len(rows) == len(HALF_LOST) + 2
    assert rows["whole"]["status"] == "scored" and rows["whole"]["risk_class"]
    for kind in HALF_LOST:
        row = rows[kind]
        assert (row["status"], row["risk_class"], row["score_10x"]) == ("failed", "", ""), kind
        assert "damaged data" in row["reason"] and str(slides) not in row["reason"], row["reason"]
        assert row["reason"].endswith("copy or export the slide again")
    if backend != "tiffslide":  # which reads no DICOM
        assert rows["colours"]["status"] == "failed"
        assert "no colour transform" in rows["colours"]["reason"] and "pen" not in rows["colours"]["reason"]
