"""Openings by several processes at once, by other libraries, and with frozen files edited by hand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_cohort import MadeCohort
from made_opened import first_page, run

from pathoprog.errors import LockError
from pathoprog.system.files import read_json
from pathoprog.validation.openings import register
from pathoprog.validation.openings.chain import read_log
from pathoprog.validation.openings.register import libraries, state_folder

OPENS = """
import sys, time
from pathlib import Path
from pathoprog.validation.openings.register import Study, look_up, record_opening, turn
folder, number = Path(sys.argv[1]), sys.argv[2]
study = Study("b" * 64, folder / "outcomes.csv", {"cohort": "c", "scores": "s"}, ("l" + number,), folder / number,
              folder / number / "openings.jsonl", True)
(folder / f"ready{number}").touch()
while len(list(folder.glob("ready*"))) < 6:
    time.sleep(0.01)
with turn(study):
    before = look_up(study)
    time.sleep(0.05)
    entry, notes = record_opening(study, before, "", "")
print(entry["opening"], notes)
"""


def test_processes_at_once_get_different_numbers(tmp_path: Path):
    (tmp_path / "outcomes.csv").write_text("patient_id,followup_days,event\nP1,100,1\nP2,200,0\n")
    processes = [
        subprocess.Popen([sys.executable, "-c", OPENS, str(tmp_path), str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(6)
    ]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in processes)
    assert said == [f"{number} []" for number in range(1, 7)]
    lines = read_log(tmp_path / "outcomes.csv.openings.jsonl")
    assert [line["opening"] for line in lines] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_two_validations_at_once_are_two_openings(made: MadeCohort):
    """The command itself takes its turn, in folders of their own, under the same register."""
    program = "import sys; from made_cohort import MadeCohort; from made_opened import run; from pathlib import Path; "
    program += "run(MadeCohort(Path(sys.argv[1])), out=sys.argv[2])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(made.folder), str(made.folder / name)],
            cwd=Path(__file__).parents[1] / "support",
        )
        for name in ("one", "two")
    ]
    assert [process.wait(300) for process in processes] == [0, 0]
    numbers = {read_json(made.folder / name / "statistics.json")["opening"] for name in ("one", "two")}
    assert numbers == {2, 3}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plan.yaml", "frozen/plan.yaml: was edited: it is not the plan that the lock holds"),
        ("patients.csv", "are not the scores that the lock holds: one was edited or is missing"),
        ("slides.csv", "are not the scores that the lock holds"),
        ("exclusions.csv", "are not the exclusions that the lock holds"),
    ],
)
def test_frozen_files_edited_by_hand_are_refused(made: MadeCohort, name: str, words: str):
    path = made.folder / "validation" / "frozen" / name
    before = path.read_bytes()
    path.write_bytes(before + b"\n# and more\n")
    with pytest.raises(LockError, match=re.escape(words)):
        run(made)
    with pytest.raises(LockError, match=re.escape(words)):
        run(made, amend="a reason does not help")
    path.unlink()
    with pytest.raises(LockError, match="missing"):
        run(made)
    path.write_bytes(before)
    assert "Openings 1" in first_page(made)
    assert len(read_log(made.folder / "validation" / "openings.jsonl")) == 1, "a refusal opens nothing"


def test_other_libraries_stand_in_the_report(made: MadeCohort, monkeypatch: pytest.MonkeyPatch):
    first = read_log(made.folder / "outcomes.csv.openings.jsonl")[0]
    assert first["libraries"] == libraries() and {"python", "numpy", "scipy", "pandas"} <= libraries().keys()
    other = {**libraries(), "scipy": "0.0.1"}
    monkeypatch.setattr(register, "libraries", lambda: other)
    run(made)
    then = libraries()["scipy"]
    assert f"Opening 2 was computed with scipy 0.0.1, opening 1 with scipy {then}." in first_page(made)
    shutil.rmtree(state_folder())
