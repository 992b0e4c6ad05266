"""Slides under names that say nothing, and the way back in one private file."""

import csv
import json

import pytest
from made_bundle import made_bundle
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.errors import ConfigError
from pathoprog.inference.slides.inputs import Fault, Found, SlideInput
from pathoprog.inference.slides.pseudonyms import pseudonym, read_key, with_pseudonyms
from pathoprog.system.csv_files import read_frame

SIZE = 64
STREAM = ["stream.workers=1", "stream.batch_tiles=16", "device=cpu", "settle_s=0"]
ACCESSION = "H26-004711_Nordmann"


def score(folder, bundle, out, *more):
    return cli.main(["score", f"slides={folder}", f"ensemble={bundle}", f"out={out}", "ids=pseudonym", *STREAM, *more])


def table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_accession_numbers_leave_in_no_file_but_the_map(tmp_path, capsys):
    bundle, out = made_bundle(tmp_path / "bundle", SIZE), tmp_path / "out"
    folder = tmp_path / "slides"
    folder.mkdir()
    write_pyramid(folder / f"{ACCESSION}.tif", texture(700, 600, margin=60))
    (folder / f"{ACCESSION}_2.tif").write_bytes((folder / f"{ACCESSION}.tif").read_bytes()[:9000])
    (folder / f"{ACCESSION}.docx").write_bytes(b"x")
    assert score(folder, bundle, out, "dry_run=true") == 0
    assert ACCESSION not in capsys.readouterr().out
    assert score(folder, bundle, out) == 1
    known = read_frame(out / "pseudonyms.csv")
    assert set(known["id"]) == {ACCESSION, f"{ACCESSION}_2"} and set(known["kind"]) == {"slide"}
    assert all(path.startswith(str(folder)) for path in known["path"])
    rows = table(out / "results.csv")
    assert {row["slide_id"] for row in rows} == set(known["pseudonym"]) == {row["patient_id"] for row in rows}
    for path in out.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if path.name in ("pseudonyms.csv", "pseudonyms.key", "ledger.sqlite", "not_taken.csv"):
            assert path.stat().st_mode & 0o777 == 0o600, path
        else:
            assert b"4711" not in data and b"Nordmann" not in data and ACCESSION not in path.name, path
    summary = json.loads((out / "summary.json").read_text())
    assert summary["not_taken"] == {"other files": 1}
    before = {path.name: path.read_bytes() for path in (out / "slides").glob("*/result.json")}
    assert score(folder, bundle, out) == 1, "the same key gives the same names: nothing is done twice"
    assert {path.name: path.read_bytes() for path in (out / "slides").glob("*/result.json")} == before
    assert len(table(out / "results.csv")) == 2


def test_names_follow_from_key_and_id_and_patients_stay_together(tmp_path):
    slides = [
        SlideInput("A", "/x/A.tif", "A"),
        SlideInput("B", "/x/B.tif", "A"),
        SlideInput("=C", "/x/=C.tif", "P-2", given_id=""),
    ]
    fault = Fault("D", "/x/D.tif: no such file", "D is not there")
    first = with_pseudonyms(Found(slides, [fault]), tmp_path / "key", tmp_path / "map.csv")
    assert first.slides[0].patient_id == first.slides[1].patient_id != first.slides[0].slide_id
    assert first.slides[2].given_id == "=C" and first.slides[2].given_patient_id == "P-2"
    assert first.faults[0].slide_id not in "D" and first.faults[0].reason == f"{first.faults[0].slide_id} is not there"
    assert set(read_frame(tmp_path / "map.csv")["id"]) == {"A", "B", "=C", "P-2", "D"}
    again = with_pseudonyms(Found(slides[:1]), tmp_path / "key", tmp_path / "map.csv")
    assert again.slides[0].slide_id == first.slides[0].slide_id
    assert set(read_frame(tmp_path / "map.csv")["id"]) == {"A", "B", "=C", "P-2", "D"}, "the map only grows"
    other = with_pseudonyms(Found(slides), tmp_path / "other", tmp_path / "other.csv")
    assert not {slide.slide_id for slide in other.slides} & {slide.slide_id for slide in first.slides}
    key = bytes(range(32))
    assert pseudonym(key, "slide", "A") == "S085499de958b28fb5175"  # RFC 2104 by the standard library, once


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path):
    path = tmp_path / "key"
    assert len(read_key(path)) == 32 and read_key(path) == read_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others may read the key.*chmod 600"):
        read_key(path)
    path.write_text("secret")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a key for pseudonyms"):
        read_key(path)
    with pytest.raises(ConfigError, match="cannot be read or made"):
        read_key(path / "below")
    (tmp_path / "map.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="not a map of pseudonyms; move it away"):
        with_pseudonyms(Found([]), tmp_path / "new", tmp_path / "map.csv")
