"""Maps of tile values: each tile is its pixel, in the right colour at the right place."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pathoprog.errors import InputError
from pathoprog.inference.service.viewing.score_maps import map_png, read_maps
from pathoprog.slide_report.heatmap import CAPTION_UNKNOWN as CAPTION
from pathoprog.slide_report.heatmap import COLOURS

STEP = {"10x": 1792.5, "40x": 448.1}


def write_tiles(folder, places, attention=None):
    """`places`: resolution -> {(column, row): score}."""
    rows = [(name, *place, score) for name, tiles in places.items() for place, score in tiles.items()]
    columns = {
        "resolution": [name for name, *_ in rows],
        "x0": [round(column * STEP[name]) for name, column, _, _ in rows],
        "y0": [round(row * STEP[name]) for name, _, row, _ in rows],
        "width0": [STEP[name] for name, *_ in rows],
        "height0": [STEP[name] for name, *_ in rows],
        "score": pa.array([score for *_, score in rows], pa.float32()),
    }
    if attention is not None:
        columns["attention"] = pa.array(attention, pa.float32())
    pq.write_table(pa.table(columns), folder / "tiles.parquet")


def test_each_tile_is_a_pixel_of_its_colour(tmp_path):
    write_tiles(tmp_path, {"10x": {(3, 2): 0.0, (5, 2): 1.0, (4, 7): 0.5}, "40x": {(100, 90): 0.25}})
    found = read_maps(tmp_path, CAPTION)
    assert [(one.resolution, one.measure, one.n_tiles) for one in found.maps] == [
        ("10x", "score", 3),
        ("40x", "score", 1),
    ]
    coarse, fine = found.maps
    assert (coarse.x0, coarse.y0, coarse.step_x) == (3 * 1792.5, 2 * 1792.5, 1792.5)
    assert (fine.x0, fine.y0) == pytest.approx((44810, 40329)) and fine.levels.shape == (1, 1)
    image = np.asarray(Image.open(io.BytesIO(map_png(coarse))).convert("RGBA"))
    assert image.shape == (6, 3, 4)
    assert (image[..., 3] > 0).sum() == 3, "only where there is a tile"
    assert tuple(image[0, 0, :3]) == tuple(COLOURS[0]) and tuple(image[0, 2, :3]) == tuple(COLOURS[255])
    middle = image[5, 1, :3].astype(int)
    assert np.abs(middle - COLOURS[127].astype(int)).max() <= 3
    assert found.caption == CAPTION and (coarse.low, coarse.high) == ("0", "1")


def test_attention_is_shown_against_equal_weights(tmp_path):
    write_tiles(tmp_path, {"10x": {(0, 0): 0.1, (1, 0): 0.2}}, attention=[0.5, 2.0])
    found = read_maps(tmp_path, CAPTION)
    assert [one.measure for one in found.maps] == ["score", "attention"]
    assert found.maps[1].high == "4 x equal"
    assert found.maps[1].levels.tolist() == [[1 + round(254 * 0.25), 255]]


def test_a_hundred_thousand_tiles_are_a_small_picture(tmp_path):
    rng = np.random.default_rng(1)
    places = {(column, row): float(rng.random()) for column in range(400) for row in range(250)}
    write_tiles(tmp_path, {"40x": places})
    (one,) = read_maps(tmp_path, CAPTION).maps
    assert one.levels.shape == (250, 400) and one.n_tiles == 100_000 and len(map_png(one)) < 200_000


def test_without_tiles_there_is_no_map_and_a_damaged_table_is_refused(tmp_path):
    assert read_maps(tmp_path, CAPTION).maps == ()
    (tmp_path / "tiles.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read"):
        read_maps(tmp_path, CAPTION)
    write_tiles(tmp_path, {"10x": {(0, 0): 0.1, (50_000, 0): 0.2}})
    with pytest.raises(InputError, match="no slide has"):
        read_maps(tmp_path, CAPTION)
