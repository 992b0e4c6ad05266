"""Openings stay on record: what takes a lock, a log, or a line of one away is refused or said."""

import re
import shutil
from datetime import UTC, datetime

import pytest
from made_cohort import MadeCohort
from made_opened import first_page, run

from pathoprog.errors import LockError
from pathoprog.system.files import read_json, sha256_value, write_json
from pathoprog.validation.openings.chain import read_log
from pathoprog.validation.openings.register import state_folder

TODAY = datetime.now(UTC).strftime("%Y-%m-%d")
DATE = rf"{TODAY[:8]}\d\d \d\d:\d\d UTC"


def test_a_lock_or_log_taken_away_is_refused(made: MadeCohort):
    out = made.folder / "validation"
    for name, match in (("lock.json", "missing, though"), ("openings.jsonl", "missing, though the folder holds")):
        (out / name).rename(out / "aside")
        with pytest.raises(LockError, match=match):
            run(made)
        (out / "aside").rename(out / name)
    locked = read_json(out / "lock.json")
    forged = {key: value for key, value in locked.items() if key != "sha256"} | {"utc": "2020-01-01T00:00:00+00:00"}
    write_json(out / "lock.json", forged | {"sha256": sha256_value(forged)})
    with pytest.raises(LockError, match="another lock than that of opening 1"):
        run(made)


def test_a_folder_wiped_is_opening_2_all_the_same(made: MadeCohort):
    shutil.rmtree(made.folder / "validation")
    run(made)
    assert re.search(rf"Openings 2: the first {DATE}, this one {DATE}", first_page(made))


@pytest.mark.parametrize("lost", ["the register", "the log beside"])
def test_a_lost_record_is_said_and_the_other_still_counts(made: MadeCohort, lost: str):
    shutil.rmtree(made.folder / "validation")
    beside = made.folder / "outcomes.csv.openings.jsonl"
    if lost == "the register":
        (state_folder() / "openings.jsonl").unlink()
    else:
        beside.unlink()
    run(made)
    page = first_page(made)
    assert "Openings 2" in page
    name = "The register in the user's state folder" if lost == "the register" else "The log beside the outcomes"
    assert f"{name} is missing, and with it 1 of the 1 earlier openings" in page
    assert len(read_log(beside)) == (4 if lost == "the register" else 2)


def test_a_record_that_cannot_be_written_is_said(made: MadeCohort, monkeypatch: pytest.MonkeyPatch):
    (made.folder / "no_folder").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(made.folder / "no_folder"))
    (made.folder / "outcomes.csv.openings.jsonl").unlink()
    (made.folder / "outcomes.csv.openings.jsonl").mkdir()
    run(made)
    page = first_page(made)
    assert "The register in the user's state folder could not be written (Not a directory)." in page
    assert "The log beside the outcomes could not be written (Is a directory)." in page
    assert "Openings 2" in page  # the folder's own log knows


def test_a_record_with_a_line_taken_out_stops(made: MadeCohort):
    run(made)
    register = state_folder() / "openings.jsonl"
    lines = register.read_text().splitlines()
    register.write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(LockError, match="line 1 was changed, or a line before it taken out"):
        run(made)


def test_a_report_whose_opening_left_the_log_is_refused(made: MadeCohort):
    run(made)
    log = made.folder / "validation" / "openings.jsonl"
    log.write_text(log.read_text().splitlines()[0] + "\n")  # the chain alone does not show its end cut off
    with pytest.raises(LockError, match="has lost the opening whose report lies beside it"):
        run(made)
