"""Stored features: our files keep everything and map into memory; TRIDENT's and CLAM's are read, others refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from pathoprog.errors import InputError
from pathoprog.networks.features import read_facts, read_features, write_features
from pathoprog.system.file_array import FileArray
from pathoprog.system.h5_array import H5Array

FACTS = {"encoder": {"encoder": "resnet18"}, "spec": {"size_px": 64}, "slide_sha256": "ab"}
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(5, 3)).astype(np.float16)
X0, Y0 = np.arange(5) * 64, np.arange(5) + 7


def write(path, values=VALUES, **facts):
    write_features(path, values, X0[: len(values)], Y0[: len(values)], {**FACTS, **facts})
    return path


def write_h5(path, **parts):
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            file.create_dataset(name, data=value)
    return path


def test_what_is_written_is_read_and_equal_work_gives_equal_bytes(tmp_path):
    path, again = write(tmp_path / "a.safetensors"), write(tmp_path / "b.safetensors")
    assert path.read_bytes() == again.read_bytes()
    found = read_features(path)
    assert isinstance(found.values, FileArray) and found.values.dtype == np.float16 and found.values.shape == (5, 3)
    assert np.array_equal(found.values, VALUES)
    assert np.array_equal(found.x0, X0) and np.array_equal(found.y0, Y0)
    assert found.facts["spec"] == {"size_px": 64} and read_facts(path) == found.facts
    with pytest.raises(TypeError):
        found.values[0] = 0
    assert np.array_equal(found.values[1:3], VALUES[1:3]) and np.array_equal(found.values[[2, 0]], VALUES[[2, 0]])


def test_the_hashes_stand_for_content_and_for_what_made_it(tmp_path):
    first = read_features(write(tmp_path / "a.safetensors", key="one"))
    other_slide = read_features(write(tmp_path / "b.safetensors", slide_sha256="cd"))
    other_encoder = read_features(write(tmp_path / "c.safetensors", encoder={"encoder": "resnet34"}))
    touched = read_features(write(tmp_path / "d.safetensors", key="two"))
    assert first.content == touched.content != other_slide.content
    assert first.made_by == other_slide.made_by != other_encoder.made_by


def test_a_slide_without_tiles_has_a_file_too(tmp_path):
    found = read_features(write(tmp_path / "a.safetensors", np.zeros((0, 3), np.float16)))
    assert found.values.shape == (0, 3) and found.x0.shape == (0,)


def test_what_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(InputError, match="NaN or infinity"):
        write(tmp_path / "a.safetensors", np.array([[1.0, np.inf]], np.float32))
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = write(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"a\.safetensors: not a feature file"):
        read_features(path)
    from safetensors.numpy import save_file

    save_file({"features": VALUES}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="not a feature file of `pathoprog features`"):
        read_features(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="not a feature file"):
        read_features(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("lead", [False, True])
def test_h5_of_other_tools_is_read(tmp_path, lead):
    values = VALUES.astype(np.float32)
    coords = np.stack([X0, Y0], 1)
    shown = values[None] if lead else values
    path = write_h5(tmp_path / "s.h5", features=shown, coords=coords)
    with h5py.File(path, "a") as file:
        file["features"].attrs["encoder"] = "uni_v1"
        file["coords"].attrs["patch_size"] = 256
        file["coords"].attrs["patch_size_level0"] = 512
    found = read_features(path)
    assert np.array_equal(found.values, values) and np.array_equal(found.x0, X0) and np.array_equal(found.y0, Y0)
    assert found.facts == {"encoder": "uni_v1", "patch_size": 256, "patch_size_level0": 512}
    bare = read_features(write_h5(tmp_path / "bare.h5", features=values, coords=coords))
    assert bare.facts == {} and bare.made_by != found.made_by and len(bare.content) == 64


def test_tiles_of_an_h5_are_taken_row_by_row_whatever_their_order_in_it(tmp_path):
    coords = np.array([[512, 0], [0, 512], [0, 0], [512, 512], [1024, 0]])  # x, y
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    found = read_features(write_h5(tmp_path / "s.h5", features=values, coords=coords))
    order = [2, 0, 4, 1, 3]
    assert list(zip(found.x0.tolist(), found.y0.tolist(), strict=True)) == [tuple(coords[row]) for row in order]
    assert np.array_equal(np.asarray(found.values), values[order])
    assert np.array_equal(found.values[np.array([4, 0])], values[[3, 2]])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"values": VALUES, "coords": np.zeros((5, 2))}, r"no dataset features or feats \(it holds: coords, values\)"),
        ({"features": VALUES}, "no dataset coords"),
        ({"features": VALUES, "coords": np.zeros((4, 2))}, r"features \(5, 3\) and coords \(4, 2\)"),
        ({"features": VALUES[:, None, None], "coords": np.zeros((5, 2))}, "must be"),
        ({"features": np.zeros((5, 3), int), "coords": np.zeros((5, 2))}, "int64, not floating point"),
        ({"features": np.full((5, 3), np.nan), "coords": np.zeros((5, 2))}, "NaN"),
    ],
)
def test_h5_that_cannot_be_used_says_why(tmp_path, parts, message):
    with pytest.raises(InputError, match=message):
        read_features(write_h5(tmp_path / "s.h5", **parts))


def test_what_is_no_h5_says_so(tmp_path):
    (tmp_path / "s.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not an h5 file"):
        read_features(tmp_path / "s.h5")


@pytest.mark.parametrize("lead", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_of_an_h5_stay_in_the_file(tmp_path, lead, dtype):
    """A cohort's features fill no memory, and its files no table of descriptors."""
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(dtype)
    path = write_h5(tmp_path / "s.h5", features=values[None] if lead else values, coords=np.zeros((50, 2)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = read_features(path).values
    assert isinstance(found, H5Array) and found.shape == (50, 4) and found.ndim == 2 and len(found) == 50
    shown = values.astype(found.dtype)
    mask = np.arange(50) % 7 == 3
    for index in (
        3,
        -1,
        slice(4, 20, 3),
        [7, 2, 2, 40],
        np.array([49, 0]),
        mask,
        ...,
        np.array([], int),
        [[1, 2], [0, 1]],
    ):
        assert np.array_equal(found[index], shown[index]), index
        assert found[index].dtype == shown.dtype
    assert np.array_equal(np.asarray(found), shown)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(IndexError):
        found[50]
    write_h5(path, features=values[:40], coords=np.zeros((40, 2)))
    with pytest.raises(InputError, match="has changed since it was first read"):
        found[0]


def test_an_h5_is_gone_through_in_parts(tmp_path, monkeypatch):
    values = np.ones((1000, 4), np.float32)
    values[990, 2] = np.nan
    path = write_h5(tmp_path / "s.h5", features=values, coords=np.zeros((1000, 2)))
    monkeypatch.setattr("pathoprog.system.h5_array.CHECKED_BYTES", 1600)
    assert [len(part) for part in H5Array(path, "features").parts()] == [100] * 10
    with pytest.raises(InputError, match="NaN"):
        read_features(path)
