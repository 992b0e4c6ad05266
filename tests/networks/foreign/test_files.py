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


def test_what_an_early_trident_wrote_is_the_same(tmp_path):
    """Version 0.1.1: the folder alone names the encoder, and tiles lie column by column."""
    late = read_features(write_trident(tmp_path / "late", "S1", VALUES))
    found = read_features(write_trident(tmp_path / "early", "S1", VALUES, early=True))
    assert found.maker == late.maker and found.x0.tolist() == [0, 512, 0, 512, 0, 0]
    assert np.array_equal(np.asarray(found.values), VALUES[[0, 4, 1, 5, 2, 3]])


def test_half_precision_stays_so(tmp_path):
    found = read_features(write_trident(tmp_path, "S1", VALUES.astype(np.float16)))
    assert found.values.dtype == np.float16 and np.array_equal(found.values, VALUES.astype(np.float16))


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


@pytest.mark.parametrize(
    ("version", "model", "size_px"), [("2.0.0", "uni2-0a1b2c3d", None), ("2.2.0", "uni2", 224), ("2.5.0", "uni2", 224)]
)
def test_each_version_of_stamp(tmp_path, version, model, size_px):
    found = read_features(write_stamp(tmp_path, "S1.svs", VALUES, version=version))
    assert (found.maker.tool, found.maker.model, found.maker.size_px) == ("STAMP", model, size_px)
    assert (found.unit, found.side, found.maker.level) == ("um", 256.0, "tile")


def test_a_slide_s_vector_of_one_tile(tmp_path):
    found = read_features(write_trident_slide(tmp_path, "S1", VALUES[0], n_tiles=1))
    assert found.values.shape == (1, 4) and found.maker.level == "slide"


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


def say(**said):
    def harm(file):
        file["coords"].attrs.update(said)

    return harm


def half_the_chunks(file):
    """As a writer leaves it that was stopped: HDF5 gives zeros for the rest."""
    del file["features"]
    file.create_dataset("features", (6, 4), np.float32, chunks=(1, 4))[:3] = VALUES[:3]


def never_written(file):
    del file["features"]
    file.create_dataset("features", (6, 4), np.float32)


def vast(file):
    del file["features"]
    file.create_dataset("features", (10**11, 4), np.float32, chunks=(1, 4))


def vast_coords(file):
    del file["coords"]
    file.create_dataset("coords", (10**11, 2), np.int64, chunks=(1, 2))


def coords_of_text(file):
    del file["coords"]
    file["coords"] = np.array([b"0,0"] * 6)


def far_coords(file):
    file["coords"][0] = [10**15, 0]


def one_number(file):
    del file["features"]
    file["features"] = np.float32(1)


def augmented(file):
    file["augmented"] = np.arange(6) > 3


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (say(patch_size="large"), r"S1\.h5: its attribute patch_size is 'large', must be a number over 0"),
        (say(patch_size=-256), "its attribute patch_size is '-256', must be"),
        (say(patch_size=[256, 256]), r"its attribute patch_size is '\[256 256\]', must be"),
        (say(target_magnification=0), "its attribute target_magnification is '0'"),
        (say(overlap=float("nan")), "its attribute overlap is 'nan'"),
        (
            say(patch_size=512),
            "contradict each other: patch_size 512 at 20x of a scan at 40x is 1024 px at level 0, and",
        ),
        (say(level0_width=1000), r"coords from 0 to 1536 lie outside the slide \(level0_width 1000\)"),
        (half_the_chunks, r"features \(6, 4\) were not written to their end; have the file made again"),
        (never_written, "were not written to their end"),
        (vast, "were not written to their end"),
        (vast_coords, r"coords \(100000000000, 2\) were not written to their end"),
        (coords_of_text, r"coords are \|S3, not numbers"),
        (far_coords, "coords reach beyond what any slide has"),
        (one_number, r"features is one number; it must be \[n, d\]"),
        (augmented, "holds altered copies of its tiles beside them"),
    ],
)
def test_hostile_files_say_why(tmp_path, harm, said):
    path = spoil(write_trident(tmp_path, "S1", VALUES), harm)
    with pytest.raises(InputError, match=said):
        read_features(path)


@pytest.mark.parametrize("name", ["patch_size_level0", "target_magnification", "level0_width"])
def test_what_trident_calls_none_is_not_said(tmp_path, name):
    path = spoil(write_trident(tmp_path, "S1", VALUES), say(**{name: "None"}))
    assert np.array_equal(read_features(path).values, VALUES)


@pytest.mark.parametrize("at", [8, 64, 100, 136])
def test_a_damaged_file_is_one_file_s_error(tmp_path, at):
    path = write_trident(tmp_path, "S1", VALUES)
    data = bytearray(path.read_bytes())
    data[at : at + 32] = bytes([255]) * 32
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"S1\.h5: "):
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
