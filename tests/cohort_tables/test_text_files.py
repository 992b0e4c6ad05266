"""Text files whose encoding or separator is wrong: refused by name, with what to do."""

from pathlib import Path

import pytest

from pathoprog.cohort_tables.sheets import read_sheet_file
from pathoprog.errors import InputError

TEXT = "pasient;dager\nØye;3\nÅse;4\n"


def written(folder: Path, data: str | bytes) -> Path:
    path = folder / "sheet.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_an_encoding_that_is_given_for_utf8_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    with pytest.raises(
        InputError, match=r"encoding=latin-1 was given, but the file is in UTF-8 \('Øye;3' would become"
    ):
        read_sheet_file(path, encoding="latin-1")
    assert read_sheet_file(path).frame["pasient"].tolist() == ["Øye", "Åse"]
    for name in ("cp1252", "latin-1"):
        assert read_sheet_file(written(tmp_path, TEXT.encode(name)), encoding=name).frame["pasient"][0] == "Øye"
    assert read_sheet_file(written(tmp_path, "a;b\n1;2\n"), encoding="cp1252").frame["a"].tolist() == ["1"]


def test_letters_that_were_lost_before_are_noted(tmp_path: Path) -> None:
    found = read_sheet_file(written(tmp_path, "pasient;dager\nA;3\n\ufffdse;4\n"))
    assert found.notes == (
        "line 3 holds the mark for a lost letter (\ufffd): the file was once saved in a wrong encoding",
    )
    assert read_sheet_file(written(tmp_path, TEXT)).notes == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("id:days:dead\nP1:3:1\nP2:4:0\n", "colons"),
        ("id^days\nP1^3\n", "carets"),
        ("id~days\nP1~3\n", "tildes"),
        ("id   days  dead\nP1   3     1\nP2   14    0\n", "spaces"),
        ("id days dead\nP1 3 1\nP2 4 0\n", "single spaces"),
    ],
)
def test_a_separator_that_is_not_read_is_named(tmp_path: Path, text: str, name: str) -> None:
    said = rf"one column only, 'id.*': its cells seem to be parted by {name}; save the table with"
    with pytest.raises(InputError, match=said):
        read_sheet_file(written(tmp_path, text))


@pytest.mark.parametrize(
    "text", ["patient id\nP 01\nP 02\n", "id\nP1\nP2\n", "id;when\nP1;12:30:01\n", "a b c;d\n1;2\n"]
)
def test_a_column_of_its_own_is_no_wrong_separator(tmp_path: Path, text: str) -> None:
    assert len(read_sheet_file(written(tmp_path, text)).frame)
