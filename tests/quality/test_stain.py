"""H&E told from what is not, on pictures at hand."""

import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

from pathoprog.quality.stain import is_dark, stain_look


def look(relative):
    return stain_look(np.asarray(Image.open(shared_data(relative)).convert("RGB")))


@pytest.mark.parametrize(
    "name",
    [
        "high-nuclei-score-level0",
        "medium-nuclei-score-level2",
        "tissue-level0-4302-10273-4814-10785",
        "liver-level2-57138-8209-57938-9009",
    ],
)
def test_h_and_e(name):
    assert look(f"tiles/histolab/tiles/{name}.png").kind == "h&e"


@pytest.mark.parametrize("part", ["310-500-360-530", "330-480-380-510", "340-520-390-550"])
def test_immunostain_is_not(part):
    assert look(f"tiles/histolab/tiles/kidney-ihc-level0-{part}.png").kind == "other"


def test_orion_h_and_e_tiles():
    folder = shared_data("tiles/orion_crc")
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*/*.tif"))[::5]]
    shares = [stain_look(picture).green_share for picture in pictures]
    assert np.mean(np.array(shares) > 0.6) > 0.95


def test_dark_and_blank():
    assert is_dark(np.full((64, 64, 3), 5, np.uint8))
    assert not is_dark(np.full((64, 64, 3), 245, np.uint8))
    assert stain_look(np.full((64, 64, 3), 245, np.uint8)).kind == "blank"
