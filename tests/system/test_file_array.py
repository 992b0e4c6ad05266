"""Arrays that stay in their files: the values of a memory map, no descriptor, and never those of another file."""

from pathlib import Path

import numpy as np
import pytest

from pathoprog.errors import InputError
from pathoprog.system.file_array import FileArray

VALUES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    return tmp_path / "a.npy"


@pytest.mark.parametrize("index", [2, slice(1, 4), [4, 0], np.array([3]), (slice(None), 1, 2), ..., slice(0, 0)])
def test_rows_are_those_of_the_array(path, index):
    found = FileArray.npy(path)
    assert found.shape == VALUES.shape and len(found) == 5 and found.dtype == np.uint8 and found.ndim == 3
    assert np.array_equal(found[index], VALUES[index]) and type(found[index]) is not np.memmap
    assert np.array_equal(np.asarray(found), VALUES)


def test_nothing_stays_open(tmp_path):
    for number in range(30):
        np.save(tmp_path / f"{number}.npy", VALUES)
    before = len(list(Path("/proc/self/fd").iterdir()))
    arrays = [FileArray.npy(tmp_path / f"{number}.npy") for number in range(30)]
    kept = [array[1:3] for array in arrays]
    assert len(list(Path("/proc/self/fd").iterdir())) == before and len(kept) == 30


def test_a_file_that_is_replaced_is_not_read_on(path, tmp_path):
    found = FileArray.npy(path)
    np.save(tmp_path / "b.npy", VALUES + 1)
    (tmp_path / "b.npy").replace(path)
    with pytest.raises(InputError, match=r"a\.npy: has changed since it was first read"):
        found[0]
    path.unlink()
    with pytest.raises(InputError, match=r"a\.npy: No such file"):
        found[0]


def test_what_is_no_whole_array_is_named(path, tmp_path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(InputError, match="is cut short"):
        FileArray.npy(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not an array's file"):
        FileArray.npy(path)
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match="not plain values"):
        FileArray.npy(path)
    np.save(path, np.zeros((0, 8, 8, 3), np.uint8))
    assert FileArray.npy(path)[...].shape == (0, 8, 8, 3)
