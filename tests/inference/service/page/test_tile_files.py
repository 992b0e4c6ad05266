"""Tiles as the page reads them, and the script for QuPath."""

import re

import numpy as np
import pytest
from made_page import made_outcome

from pathoprog.errors import InputError
from pathoprog.inference.service.page.qupath_script import qupath_script
from pathoprog.inference.service.page.tile_files import read_tiles
from pathoprog.networks.feature_values import PIXELS
from pathoprog.scoring.results import TILES
from pathoprog.scoring.slide_result import SlideRecord
from pathoprog.slide_report.slide_folder import _parquet

SLIDE = SlideRecord(
    sha256="ab", width=1200, height=900, mpp_x=0.25, mpp_y=0.25, vendor="made", backend="made", objective=None,
    warnings=(), region_source="tissue", tissue_area_um2=1.0, tumour_area_um2=1.0,
)  # fmt: skip


def test_tiles_are_read_by_resolution_the_highest_first(tmp_path):
    (tmp_path / TILES).write_bytes(_parquet(made_outcome("S", "scored", "good", (0.1, 0.2)), PIXELS))
    found = read_tiles(tmp_path)
    assert list(found) == ["10x", "40x"] and found["10x"].attention is None
    assert found["10x"].x0.dtype == np.int64 and found["10x"].width0 == 100.0
    assert found["40x"].highest(3).tolist() == [11, 10, 9]


def test_no_tiles_are_none_and_a_damaged_file_is_said(tmp_path):
    assert read_tiles(tmp_path) == {}
    (tmp_path / TILES).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"tiles\.parquet cannot be read"):
        read_tiles(tmp_path)


@pytest.mark.parametrize("slide_id", ["S1", 'a"; System.exit(1) //', "${System.exit(1)}", "new\nline", "<b>ø ' \\"])
def test_a_slide_s_id_is_but_a_string_of_the_script(slide_id):
    text = qupath_script(slide_id, SLIDE, "10x", "A caption.")
    (line,) = [line for line in text.splitlines() if line.startswith("def slideId")]
    literal = re.fullmatch(r'def slideId = ("(?:[^"\\$]|\\.)*")', line)
    assert literal, "one literal without an expression"
    comments = [line for line in text.splitlines() if slide_id.splitlines()[0] in line and line != line.lstrip("/")]
    assert all("$" not in line for line in comments)
    assert text.count("{") == text.count("}") and "width = 1200" in text
