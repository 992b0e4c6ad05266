"""Features of TRIDENT, CLAM and STAMP: what their files say is read, and what cannot be used says why."""

import h5py
import numpy as np
import pytest
from made_foreign import (
    write_clam,
    write_stamp,
    write_stamp_whole,
    write_trident,
    write_trident_slide,
)

from pathoprog.errors import InputError
from pathoprog.networks.features import is_foreign, read_features
from pathoprog.networks.foreign.maker import FeatureMaker, maker_lines
from pathoprog.tiles.config import TileSpec

VALUES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def test_trident_s_tiles(tmp_path):
    found = read_features(write_trident(tmp_path, "S1", VALUES))
    assert found.maker == FeatureMaker(
        tool="TRIDENT", model="uni_v1", level="tile", d=4, size_px=256.0, mpp=0.5
    ) and is_foreign(found.path)
    assert np.array_equal(found.values, VALUES) and (found.unit, found.side) == ("px", 512.0)
    assert found.x0.tolist() == [0, 512, 1024, 1536, 0, 512] and found.y0.tolist() == [0, 0, 0, 0, 512, 512]
    spec = found.maker.spec(TileSpec("10x", 1.0, 448, max_per_slide=9))
    assert (spec.mpp, spec.size_px, spec.max_per_slide) == (0.5, 256, 0)


def test_scans_of_two_magnifications_are_of_one_maker(tmp_path):
    """At one target magnification the side in level-0 px hangs on the scan, and nothing else does."""
    fine, coarse = (write_trident(tmp_path, name, VALUES, scanned_at=at) for name, at in (("a", 40), ("b", 20)))
    one, two = read_features(fine), read_features(coarse)
    assert one.made_by == two.made_by and (one.side, two.side) == (512.0, 256.0)
    other = read_features(write_trident(tmp_path, "a", VALUES, model="conch_v15"))
    assert other.made_by != one.made_by and other.maker.differences(one.maker) == ["model (conch_v15 and uni_v1)"]


def test_clam_s_tiles(tmp_path):
    found = read_features(write_clam(tmp_path, "S1", VALUES))
    assert found.maker == FeatureMaker(tool="CLAM", model="", level="tile", d=4)
    assert (found.unit, found.x0.tolist()) == ("px", [0, 256, 512, 768, 0, 256])
    assert found.maker.says() == "CLAM, a model that is not named, d=4, tiles of a size that is not said"
    assert found.maker.spec(TileSpec("40x", 0.25, 448)) == TileSpec("40x", 0.25, 448)


def test_stamp_s_tiles_lie_in_um(tmp_path):
    found = read_features(write_stamp(tmp_path, "a/S1.svs", VALUES))
    assert found.maker.tool == "STAMP" and found.maker.model == "uni2" and found.maker.size_px == 224
    assert found.maker.mpp == pytest.approx(256 / 224) and (found.unit, found.side) == ("um", 256.0)
    assert found.values.dtype == np.float16 and np.array_equal(found.values, VALUES.astype(np.float16))
    assert found.x0.tolist() == [0, 256, 512, 768, 0, 256]


@pytest.mark.parametrize("form", ["trident", "stamp", "stamp 2-d"])
def test_a_vector_of_a_slide_is_a_bag_of_one(tmp_path, form):
    vector = VALUES[0]
    if form == "trident":
        found = read_features(write_trident_slide(tmp_path, "S1", vector))
    else:
        found = read_features(write_stamp_whole(tmp_path, "S1", vector if form == "stamp" else vector[None]))
    assert found.values.shape == (1, 4) and np.array_equal(np.asarray(found.values)[0], vector)
    assert np.array_equal(found.values[np.array([0])], vector[None]) and found.unit == ""
    assert (found.maker.level, found.maker.model, found.maker.size_px) == ("slide", "titan", None)
    assert maker_lines({"40x": found.maker})[0].startswith("features at 40x of another tool: ")
    assert found.maker.says().endswith("titan, d=4, one vector a slide")


def test_a_slide_in_which_trident_found_no_tile(tmp_path):
    found = read_features(write_trident(tmp_path, "S1", np.zeros((0, 4))))
    assert found.values.shape == (0, 4) and found.x0.shape == (0,)
    path = tmp_path / "none.h5"
    with h5py.File(path, "w") as file:  # where the encoder's d was not known
        file["features"], file["coords"] = np.zeros(0, np.float32), np.zeros((0, 2), np.int64)
    assert len(read_features(path).values) == 0


def spoil(path, harm):
    with h5py.File(path, "a") as file:
        harm(file)
    return path


def drop_coords(file):
    del file["coords"]


def with_nan(file):
    name = "feats" if "feats" in file else "features"
    file[name][2, 1] = np.nan


def nan_coords(file):
    values = np.asarray(file["coords"], float)
    del file["coords"]
    values[0, 0] = np.nan
    file["coords"] = values


def fewer_coords(file):
    values = np.asarray(file["coords"])[:-1]
    del file["coords"]
    file["coords"] = values


@pytest.mark.parametrize("write", [write_trident, write_clam, write_stamp])
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (drop_coords, r"S1\.h5: no dataset coords beside (features|feats) \(6, 4\): where its tiles lie is not known"),
        (with_nan, r"S1\.h5: features hold NaN or infinity"),
        (nan_coords, r"S1\.h5: coords hold NaN or infinity"),
        (fewer_coords, r"(features|feats) \(6, 4\) and coords \(5, 2\)"),
    ],
)
def test_files_that_cannot_be_used_say_why(tmp_path, write, harm, said):
    path = spoil(write(tmp_path, "S1", VALUES), harm)
    with pytest.raises(InputError, match=said):
        read_features(path)


@pytest.mark.parametrize("write", [write_trident, write_clam, write_stamp])
def test_a_file_that_is_cut_short(tmp_path, write):
    path = write(tmp_path, "S1", VALUES)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"S1\.h5: not an h5 file"):
        read_features(path)


def test_vectors_of_patients_and_coordinates_alone_are_refused(tmp_path):
    with pytest.raises(InputError, match="one vector of a patient, named after it"):
        read_features(write_stamp_whole(tmp_path, "P1", VALUES[0], kind="patient"))
    write_trident(tmp_path, "S1", VALUES)
    with pytest.raises(InputError, match="holds coordinates alone, as the tools' folders `patches` do"):
        read_features(tmp_path / "20x_256px_0px_overlap/patches/S1_patches.h5")
    with pytest.raises(InputError, match="where one vector of a slide should be"):
        read_features(write_stamp_whole(tmp_path, "S2", VALUES))
