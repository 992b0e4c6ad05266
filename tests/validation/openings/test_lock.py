"""The lock holds: a change of any part is refused and named, amendments form a chain, and the code's hash is whole."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pathoprog.errors import LockError
from pathoprog.system.files import read_json, sha256_value, write_json
from pathoprog.validation.openings.frozen import freeze, frozen_differences, frozen_texts
from pathoprog.validation.openings.lock import OLDER, PARTS, chain_of, code_version, lock, read_lock, source_files

HASHES = {part: part[0] * 64 for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_a_change_of_any_part_is_refused_and_named(tmp_path: Path, part: str):
    path = tmp_path / "lock.json"
    first = lock(path, HASHES)
    assert lock(path, HASHES) == first
    with pytest.raises(LockError, match=r"changed since the lock: .*amend=") as caught:
        lock(path, HASHES | {part: "f" * 64})
    assert PARTS[part] in str(caught.value)
    assert read_json(path) == first


def test_a_blank_reason_is_none(tmp_path: Path):
    lock(tmp_path / "lock.json", HASHES)
    with pytest.raises(LockError, match="say why"):
        lock(tmp_path / "lock.json", HASHES | {"plan": "f" * 64}, amend="  ")


def test_an_amendment_keeps_what_it_replaces_with_its_date(tmp_path: Path):
    path = tmp_path / "lock.json"
    first = lock(path, HASHES, plan="a: 1\n")
    second = lock(
        path, HASHES | {"plan": "f" * 64}, "a typing error in the plan", "a: 2\n", 1, {"plan": "x", "scores": "y"}
    )
    (amendment,) = second["amendments"]
    assert amendment["replaces"] == first["sha256"] != second["sha256"]
    assert amendment["changed"] == [PARTS["plan"]] and amendment["reason"] == "a typing error in the plan"
    assert amendment["replaced"]["plan"] == "a: 1\n" and second["plan"] == "a: 2\n"
    assert amendment["after_opening"] == 1 and amendment["utc"] == second["utc"] >= first["utc"] > "2026"
    assert amendment["differences"] == {"plan": "x"}  # of what changed alone
    assert chain_of(second) == [first["sha256"], second["sha256"]]


def test_what_is_restored_does_not_restore_the_lock(tmp_path: Path):
    path = tmp_path / "lock.json"
    first = lock(path, HASHES)
    second = lock(path, HASHES | {"scores": "f" * 64}, amend="a score")
    third = lock(path, HASHES, amend="back again")
    assert third["hashes"] == first["hashes"] and third["sha256"] != first["sha256"]
    assert chain_of(third) == [first["sha256"], second["sha256"], third["sha256"]]


def test_an_edited_lock_or_chain_is_found(tmp_path: Path):
    path = tmp_path / "lock.json"
    other = HASHES | {"bundle": "0" * 64}
    lock(path, HASHES)
    lock(path, other, amend="a")
    whole = lock(path, HASHES, amend="b")
    first, last = whole["amendments"]
    resealed = {key: value for key, value in whole.items() if key != "sha256"}
    edits = [
        whole | {"hashes": other},
        whole | {"utc": "2020-01-01T00:00:00+00:00"},
        whole | {"amendments": []},
        whole | {"amendments": [first | {"reason": "none"}, last]},
        resealed | {"amendments": [last]},  # one taken out, and the hash made anew
        resealed | {"amendments": [first | {"reason": "none"}, last]},
    ]
    for edit in edits:
        if "sha256" not in edit:
            edit = edit | {"sha256": sha256_value(edit)}
        write_json(path, edit)
        with pytest.raises(LockError, match="the lock was edited"):
            lock(path, edit["hashes"], amend="c")
    path.write_text("{")
    with pytest.raises(LockError, match="the lock was edited"):
        read_lock(path)


def test_a_lock_of_the_older_format_needs_a_reason_and_stays_in_the_chain(tmp_path: Path):
    path = tmp_path / "lock.json"
    hashes = {part: text for part, text in HASHES.items() if part != "settings"}
    amended = [{"replaces": "9" * 64, "changed": ["the analysis plan"], "reason": "long ago"}]
    old = {"hashes": hashes, "sha256": sha256_value(hashes), "amendments": amended}
    write_json(path, old)
    with pytest.raises(LockError, match="made by an older version, whose hash of the code cannot be compared"):
        lock(path, HASHES)
    new = lock(path, HASHES, amend="a newer version")
    assert new["format"] == 2 and new["amendments"][0] == amended[0]
    assert new["amendments"][1]["changed"] == [OLDER] and new["amendments"][1]["replaces"] == old["sha256"]
    assert lock(path, HASHES) == new
    with pytest.raises(LockError, match="the analysis plan, the code"):
        write_json(path, old)
        lock(path, HASHES | {"plan": "f" * 64})


def test_a_lock_of_a_newer_version_is_refused(tmp_path: Path):
    value = {"format": 3, "hashes": HASHES, "amendments": []}
    write_json(tmp_path / "lock.json", value | {"sha256": sha256_value(value)})
    with pytest.raises(LockError, match="format 3, this version reads 1 and 2"):
        read_lock(tmp_path / "lock.json")


def test_the_code_has_a_version_and_a_hash():
    version = code_version()
    assert set(version) == {"version", "sha256"}
    assert len(version["sha256"]) == 64


def test_the_code_s_hash_covers_whatever_a_validation_loads():
    names = source_files()
    for room in ("validation", "survival", "report", "cohorts"):
        assert any(name.startswith(f"{room}/") for name in names)
    assert {
        "report/templates/document.html.j2",
        "report/templates/document.css",
        "cohort_tables/cohort.py",
    } <= names.keys()
    program = (
        "import sys, pathlib, pathoprog, pathoprog.cohorts.validate\n"
        "root = pathlib.Path(pathoprog.__file__).parent\n"
        "for name, module in sorted(sys.modules.items()):\n"
        "    if name.startswith('pathoprog'): print(name.replace('.', '/'), module.__file__)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = [line.split()[0].removeprefix("pathoprog").lstrip("/") for line in found.stdout.splitlines()]
    assert len(loaded) > 40
    assert [
        name for name in loaded if f"{name}.py" not in names and f"{name}/__init__.py".lstrip("/") not in names
    ] == []


def test_what_scoring_said_of_a_slide_is_frozen(tmp_path: Path):
    nothing = pd.DataFrame({"patient_id": ["P1"]})
    slides = pd.DataFrame(
        {"slide_id": ["S1", "S2"], "score_10x": [0.1, 0.2], "slide_sha256": ["a", "b"], "seconds": "9"}
    )

    def texts(table: pd.DataFrame) -> dict[str, dict[str, str]]:
        return frozen_texts(nothing, None, table, nothing)

    freeze(tmp_path, texts(slides)["scores"], 0)
    for changed in (slides.assign(slide_sha256=["", "b"]), slides.assign(score_10x=[0.1, 0.9])):
        assert frozen_differences(tmp_path, texts(changed)) == {"scores": "slides.csv: 1 of 2 rows"}
    assert not frozen_differences(tmp_path, texts(slides.assign(seconds="10")))
