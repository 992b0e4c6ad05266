"""Ids and cohorts that a spreadsheet or a terminal would run: written so that neither does, and read back unchanged."""

import json

import pytest
from made_bundle import made_bundle
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.system.csv_files import csv_text, read_frame
from pathoprog.system.file_names import folder_name
from pathoprog.validation.score_tables import read_results

STREAM = ["stream.workers=1", "stream.batch_tiles=16", "device=cpu", "settle_s=0"]
COHORT = "-2+3+cmd|' /C calc'!A0"
GOOD, BAD = '=HYPERLINK("http:x",1)', "@S\x1b[31m\x07\u202e"
PATIENTS = {GOOD: "+P\x9b1", BAD: "=P2\r"}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    bundle = made_bundle(folder / "bundle", 64)
    write_pyramid(folder / "good.tif", texture(700, 600, margin=60))
    (folder / "bad.tif").write_bytes(b"")
    rows = [
        {"patient_id": PATIENTS[name], "slide_id": name, "slide_path": file, "cohort": COHORT, "role": "external"}
        for name, file in ((GOOD, "good.tif"), (BAD, "bad.tif"))
    ]
    (folder / "cohort.csv").write_text(csv_text(rows), encoding="utf-8", newline="")
    return folder, bundle, folder / "out"


def test_nothing_is_written_raw_and_all_is_read_back(scored, capfd):
    folder, bundle, out = scored
    patients = {name: patient.strip() for name, patient in PATIENTS.items()}  # spaces around a cell never count
    cohort = read_cohort(folder / "cohort.csv")
    assert dict(zip(cohort["slide_id"], cohort["patient_id"], strict=True)) == patients
    assert cli.main(["score", f"cohort={folder / 'cohort.csv'}", f"ensemble={bundle}", f"out={out}", *STREAM]) == 1
    said = capfd.readouterr()
    for text in (said.out, said.err):
        assert not [letter for letter in text if not letter.isprintable() and letter != "\n"], repr(text)
    assert "@S\\x1b[31m\\x07\\u202e" in said.out + said.err

    for name in ("results.csv", "patients.csv", "members.csv"):
        raw = (out / name).read_bytes().decode("utf-8")
        assert not [letter for letter in raw if not letter.isprintable() and letter != "\n"], name
        for line in raw.splitlines()[1:]:
            assert line.lstrip('"')[0] == "'", line
        assert f"'{COHORT}" in raw or name != "patients.csv"
    results = read_results(out / "results.csv", [ensemble_id(bundle)])
    assert dict(zip(results["slide_id"], results["patient_id"], strict=True)) == patients
    assert set(read_frame(out / "patients.csv")["cohort"]) == {COHORT}
    assert {path.name for path in (out / "slides").iterdir()} == {folder_name(name) for name in PATIENTS}
    record = json.loads((out / "slides" / folder_name(BAD) / "result.json").read_text(encoding="utf-8"))
    assert record["slide_id"] == BAD and record["reason"].startswith("an empty file (0 bytes)")
    assert b"\x1b" not in (out / "slides" / folder_name(BAD) / "report.html").read_bytes()
