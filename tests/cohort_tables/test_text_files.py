"""Text files whose encoding or separator is wrong: refused by name, with what to do."""

import zipfile
from pathlib import Path

import openpyxl
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


@pytest.mark.parametrize(
    ("encoding", "text"), [("shift-jis", "患者番号,年齢\nP1,50\n"), ("cp1251", "пациент,возраст\nP1,50\n")]
)
def test_another_script_is_not_called_western(tmp_path: Path, encoding: str, text: str) -> None:
    path = written(tmp_path, text.encode(encoding))
    with pytest.raises(InputError, match=r"line 1.*not in western letters.*cp932.*cp1251"):
        read_sheet_file(path)
    assert list(read_sheet_file(path, encoding=encoding).frame.columns) == text.split("\n")[0].split(",")


@pytest.mark.parametrize("text", ["Pasient;år\nÅse;3\n", "navn;kjønn\nBjørn Øye;k\n", "Straße;Größe\nMüßigäöü;1\n"])
def test_western_letters_are_called_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="probably Windows-1252"):
        read_sheet_file(written(tmp_path, text.replace("äöü", "").encode("cp1252")))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("patient,age\n".encode("utf-32"), "UTF-32, which is not read"),
        (b"Cohort of the north;;\n\npatient;age;days\nP1;50;3\n", "line 1 names 1 of 3 columns"),
        (b"Cohort of the north\n\npatient,age\nP1,50\n", "or the first line is a title"),
    ],
)
def test_what_is_no_header_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_sheet_file(written(tmp_path, data))


def test_odd_headers_and_cells_are_said_or_read(tmp_path: Path) -> None:
    assert "called 'column 2'" in read_sheet_file(written(tmp_path, "a,,b\n1,2,3\n")).notes[0]
    assert "holds numbers, first '50'" in read_sheet_file(written(tmp_path, "P1,50,1\nP2,60,0\n")).notes[0]
    found = read_sheet_file(written(tmp_path, b'\xef\xbb\xbfid,note\n="001","two\nlines"\n="002",ok\n'))
    assert found.frame.to_numpy().tolist() == [["001", "two\nlines"], ["002", "ok"]] and found.lines == [2, 4]


def test_workbooks_say_what_is_hidden_and_what_is_in_percent(tmp_path: Path) -> None:
    path = tmp_path / "sheet.xlsx"
    book = openpyxl.Workbook()
    for row in [("id", "share"), ("a", 0.125), ("b", 0.5)]:
        book.active.append(row)
    book.active.row_dimensions[3].hidden = True
    book.active["B2"].number_format = "0.0%"
    book.save(path)
    found = read_sheet_file(path)
    assert found.frame.to_numpy().tolist() == [["a", "0.125"], ["b", "0.5"]]
    assert [note.split(":")[0] for note in found.notes] == [
        "hidden rows, by a filter perhaps",
        "shown in percent, read as shares of 1",
    ]
    book.active.insert_rows(1)
    book.active["A1"], book.active["C2"], book.active["C3"] = "Clinical", "age", 4
    book.active.merge_cells("A1:C1")
    book.save(path)
    with pytest.raises(
        InputError, match=r"line 1 names 1 of 3 columns \(first 'Clinical'\): a title, or a header in two"
    ):
        read_sheet_file(path)


@pytest.mark.parametrize("name", ["sheet.ods", "sheet.xlsx"])
def test_an_open_document_is_refused_as_such(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    with pytest.raises(InputError, match=r"\.ods\) is not read; save it as \.xlsx or CSV"):
        read_sheet_file(tmp_path / name)
