"""The same scan under two ids is found wherever roles meet; a bundle knows its own slides without naming them."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_cohort import make_cohort
from made_slides import texture, write_pyramid

from pathoprog.cohort_tables import same_scan
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.same_scan import (
    FILE,
    development_file,
    development_set,
    development_slides_among,
    read_development,
    same_scans,
    slide_sha256,
)
from pathoprog.cohorts.config import ValidateConfig
from pathoprog.cohorts.validate import run
from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.errors import BundleError, CohortError, InputError
from pathoprog.slides.identity import content_sha256
from pathoprog.system.files import read_json, write_json, write_text

HEADER = "patient_id,slide_id,slide_path,cohort,role\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pathoprog" / "slide_hashes"


def table(folder: Path, *rows: str) -> Path:
    path = folder / "cohort.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return path


def scan(path: Path, seed: int = 0) -> Path:
    return write_pyramid(path, texture(300, 300, seed=seed))


@pytest.mark.parametrize("how", ["copy", "link", "hard link", "same path"])
def test_a_scan_in_two_roles_is_refused_whatever_it_is_called(tmp_path: Path, how: str):
    first, second = scan(tmp_path / "a.tif"), tmp_path / "sub" / "b.tif"
    second.parent.mkdir()
    if how == "copy":
        shutil.copyfile(first, second)
    elif how == "link":
        second.symlink_to(first)
    elif how == "hard link":
        os.link(first, second)
    path = "sub/../a.tif" if how == "same path" else "sub/b.tif"
    rows = ("P1,S1,a.tif,north,training", f"P2,S2,{path},south,external")
    with pytest.raises(CohortError, match="the same scan in several roles") as caught:
        read_cohort(table(tmp_path, *rows))
    assert "S1 of P1 in training, S2 of P2 in external" in str(caught.value)
    assert "line 2" in str(caught.value) and "line 3" in str(caught.value)


def test_a_folder_of_files_that_was_copied_is_the_same_scan(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.dcm").write_bytes(bytes([number]) * 100)
    rows = ("P1,S1,one,north,tuning", "P2,S2,two,south,external")
    with pytest.raises(CohortError, match="the same scan in several roles"):
        read_cohort(table(tmp_path, *rows))


def test_slides_of_equal_size_but_other_content_pass(tmp_path: Path):
    for name, byte in (("a", b"1"), ("b", b"2")):
        (tmp_path / f"{name}.svs").write_bytes(byte * 1000)
    rows = ("P1,S1,a.svs,north,training", "P2,S2,b.svs,south,external", "P3,S3,absent.svs,south,external")
    assert len(read_cohort(table(tmp_path, *rows))) == 3


def test_a_scan_sent_twice_in_one_role_is_scoring_s_to_name(tmp_path: Path):
    scan(tmp_path / "a.tif")
    shutil.copyfile(tmp_path / "a.tif", tmp_path / "b.tif")
    rows = ("P1,S1,a.tif,x,external", "P2,S2,b.tif,x,external", "P3,S3,c.tif,y,training")
    assert len(read_cohort(table(tmp_path, *rows))) == 3


def test_slides_are_read_only_where_sizes_agree_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []

    def counted(path: str, *more: object) -> str:
        read.append(Path(path).name)
        return content_sha256(path)

    monkeypatch.setattr("pathoprog.cohort_tables.same_scan.content_sha256", counted)
    for name, size in (("a", 10), ("b", 10), ("c", 11)):
        (tmp_path / name).write_bytes(name.encode() * size)
    paths = {name: str(tmp_path / name) for name in "abc"}
    assert same_scans(paths) == [] and sorted(read) == ["a", "b"]
    assert same_scans(paths) == [] and len(read) == 2
    (tmp_path / "b").write_bytes(b"a" * 10)
    assert same_scans(paths) == [["a", "b"]] and read[2:] == ["b"]


def test_a_cache_that_is_damaged_or_cannot_be_written_changes_nothing(tmp_path: Path, cache: Path):
    path = tmp_path / "a.svs"
    path.write_bytes(b"slide")
    digest = slide_sha256(path)
    (entry,) = cache.glob("*.json")
    for damage in ("{", "[]", '{"stamp": 1}'):
        entry.write_text(damage)
        assert slide_sha256(path) == digest
    shutil.rmtree(cache)
    cache.write_text("no folder")
    assert slide_sha256(path) == digest


def test_a_set_names_no_slide_and_is_the_same_for_the_same_slides():
    hashes = [f"{number:064x}" for number in range(5)]
    one = development_set(hashes)
    assert one == development_set([*reversed(hashes), hashes[0]]) and len(one["sha256"]) == 5
    assert not set(one["sha256"]) & set(hashes)
    assert one["salt"] != development_set(hashes[:4])["salt"]
    assert not set(one["sha256"]) & set(development_set(hashes[:4])["sha256"])


def test_a_bundle_knows_its_slides_and_those_of_its_parent(tmp_path: Path):
    own, parent = (f"{1:064x}", f"{2:064x}"), (f"{3:064X}",)
    write_text(tmp_path / FILE, development_file([development_set(own), development_set(parent)], 0))
    asked = {"a": f"{9:064x}", "b": own[1], "c": "", "d": parent[0].lower()}
    assert development_slides_among(tmp_path, asked) == ["b", "d"]
    assert development_slides_among(tmp_path / "none", asked) == [] and read_development(tmp_path / "none") is None
    for damage in ({"format": 2, "sets": [], "unknown": 0}, {"format": 1, "sets": [{}], "unknown": 0}, []):
        write_json(tmp_path / FILE, damage)
        with pytest.raises(BundleError, match="no list of development slides"):
            read_development(tmp_path)


def test_validate_refuses_an_external_slide_of_the_development_without_its_cohort(tmp_path: Path):
    made = make_cohort(tmp_path / "made", development=0, test=0, external=(40,))
    results = pd.read_csv(made.folder / "scored" / "results.csv", dtype=str)
    manifest = read_json(made.folder / "bundle" / "manifest.json")
    text = development_file([development_set([results["slide_sha256"][3], "f" * 64])], 0)
    write_text(made.folder / "bundle" / FILE, text)
    manifest["files"][FILE] = same_scan.hashlib.sha256(text.encode()).hexdigest()
    write_json(made.folder / "bundle" / "manifest.json", manifest)
    results["ensemble_id"] = ensemble_id(made.folder / "bundle")
    results.to_csv(made.folder / "scored" / "results.csv", index=False)
    with pytest.raises(InputError, match="content of slides that the ensemble was developed on") as caught:
        run(ValidateConfig(**made.settings(permutations=100)))
    assert f"slide {results['slide_id'][3]} of" in str(caught.value) and "\n" in str(caught.value)
    assert not (made.folder / "validation").exists()  # before the opening


def test_an_older_bundle_is_said_to_keep_no_hashes(tmp_path: Path):
    made = make_cohort(tmp_path / "made", development=0, test=0, external=(40,))
    run(ValidateConfig(**made.settings(permutations=100)))
    report = (made.folder / "validation" / "report.html").read_text()
    assert "keeps no hashes of the slides that it was developed on" in report
