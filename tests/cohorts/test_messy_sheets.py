"""Messy sheets through the real commands; docs/messy_sheets.md holds each answer, and is held to it.

`python tests/cohorts/test_messy_sheets.py` writes the document anew.
"""

import contextlib
import io
import re
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from made_messy import QUICK, Case
from messy_cases import CASES

from pathoprog.cli import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "messy_sheets.md"
EACH = [(section, place) for section, cases in CASES.items() for place in range(len(cases))]
HEAD = """# Messy sheets, and what each gives

Tables as hospitals send them, built by a test (`tests/cohorts/test_messy_sheets.py`) that runs the command on each and
holds this page to its answers: the exit code (0 done, 1 rows rejected under `strict=true`, 2 nothing done) and the line
that matters. All `survival` sheets are one small table of 60 patients; where it is only written otherwise the figures
are those of the first row. The rules behind it: [statistics](statistics.md#what-is-a-number-a-category-a-date) and
[cohorts](validation.md#from-a-clinical-sheet-to-a-cohort).
"""


@cache
def answer(section: str, place: int) -> tuple[int, list[str]]:
    """Exit code and lines of a case's command, the folder's name taken out."""
    case = CASES[section][place]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = case.build(folder)
        arguments = [case.command, str(path), *case.call, f"out={folder / 'out'}"]
        if case.command == "survival":
            arguments += QUICK
        else:
            (folder / "mapping.yaml").write_text(case.mapping, encoding="utf-8")
            arguments.append(f"mapping={folder / 'mapping.yaml'}")
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(arguments)
        lines = said.getvalue().replace(f"{folder}/", "").replace(str(folder.resolve()), "").splitlines()
    return code, [" ".join(line.split()) for line in lines]


def line_of(case: Case, lines: list[str]) -> str:
    """The line that the document prints."""
    return next((line for line in lines if case.says in line), "")


@pytest.mark.parametrize(("section", "place"), EACH)
def test_each_sheet_gets_its_answer(section: str, place: int) -> None:
    case = CASES[section][place]
    code, lines = answer(section, place)
    assert code == case.code and line_of(case, lines), "\n".join(lines)
    assert not any("Traceback" in line for line in lines)
    if code == 2 and case.command == "survival":
        assert len(lines) == 1, "a refusal is one sentence"
    if case.same:
        first = CASES["Separators and decimals"][0]
        assert line_of(case, lines) == line_of(first, answer("Separators and decimals", 0)[1])


def document() -> str:
    """The page, from the answers."""
    parts = [HEAD]
    for section, cases in CASES.items():
        parts.append(f"## {section}\n\n| sheet | exit | what it says |\n|---|---|---|")
        for place, case in enumerate(cases):
            code, lines = answer(section, place)
            text = re.sub(r"^pathoprog \w+: |^note: |^warning: ", "", line_of(case, lines)).replace("|", "\\|")
            parts[-1] += f"\n| {case.what} | {code} | {text} |"
        parts[-1] += "\n"
    return "\n".join(parts)


def test_the_document_holds_every_answer() -> None:
    assert len(EACH) >= 30
    assert DOCUMENT.read_text(encoding="utf-8") == document(), (
        "python tests/cohorts/test_messy_sheets.py writes it anew"
    )


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
