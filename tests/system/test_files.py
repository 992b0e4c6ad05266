"""Files are whole or absent, JSON is canonical, hashes are SHA-256."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from pathoprog.system import files


def test_a_written_file_is_whole_readable_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / ("ø" * 120 + ".json")  # 245 bytes: a temporary name must not be longer than allowed
    files.write_text(path, "æ\n")
    assert path.read_bytes() == "æ\n".encode()
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~files.UMASK


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_failing_disk_leaves_the_old_file_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    files.write_text(path, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        if call == "fsync":
            monkeypatch.setattr(os, "fsync", full)
            files.write_text(path, "new")
        else:
            with files.atomic_write(path) as stream:
                stream.write(b"ne")
                full()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_equal_values_give_equal_bytes() -> None:
    assert files.canonical_json({"b": 0.1, "a": [1, None]}) == files.canonical_json({"a": [1, None], "b": 0.1})
    assert files.sha256_value({"b": 1, "a": 2}) == files.sha256_value({"a": 2, "b": 1}) != files.sha256_value({"a": 2})
    with pytest.raises(ValueError, match="Out of range float"):
        files.canonical_json(float("nan"))


def test_numpy_and_missing_numbers_become_json(tmp_path: Path) -> None:
    value = {1: np.float64(0.5), "nan": float("nan"), "array": np.array([1, 2]), "nested": ({"x": np.inf},), "b": True}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == {
        "1": 0.5,
        "nan": None,
        "array": [1, 2],
        "nested": [{"x": None}],
        "b": True,
    }
    assert json.loads((tmp_path / "x.json").read_text())["array"] == [1, 2]


def test_sha256_of_a_file_is_the_known_one(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert files.sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_what_is_not_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    with files.FileInWriting(tmp_path / "table.csv") as file:
        file.stream.write(b"half")
    with pytest.raises(ZeroDivisionError), files.FileInWriting(tmp_path / "table.csv") as file:
        file.stream.write(b"half")
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_a_file_goes_beside_what_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "table.csv").mkdir()
    with files.FileInWriting(tmp_path / "table.csv") as file:
        file.stream.write(b"x\n")
        assert file.put_or_beside() == (tmp_path / "table.new.csv", os.strerror(errno.EISDIR))
    assert (tmp_path / "table.new.csv").read_bytes() == b"x\n"
    assert (tmp_path / "table.new.csv").stat().st_mode & 0o777 == 0o666 & ~files.UMASK
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "table.new.csv"}
