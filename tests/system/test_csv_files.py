"""Tables that no spreadsheet and no terminal runs, and that are read back as they were."""

import math

import numpy as np
import pandas as pd
import pytest

from pathoprog.system.csv_files import csv_text, quoted, read_frame, unquoted, unquoted_frame, write_frame

DANGEROUS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\uff1d1+1",
    "S\x1b[31mred\x1b[0m",
    "bell\x07",
    "nul\x00",
    "\x9b2J",
    "right\u202eleft",
    "line\u2028end",
]
HARMLESS = [
    "S1",
    "",
    "Ålesund",
    "a-b",
    "5=5",
    "'quoted'",
    "O'Neil",
    "C:\\data\\new",
    "a,b;c",
    'say "so"',
    "1e5",
    "-1.5",
    "+3",
]
ODD = ["'=1", "''=1", "'", "\\x1b", "\\\\x1b", "\\x5cx1b", "\\u202e", "'-1", "--", "-", "=", "- inf", "caf\udce9"]


@pytest.mark.parametrize("text", [*DANGEROUS, *HARMLESS, *ODD])
def test_a_cell_is_read_back_as_it_was(text):
    written = quoted(text)
    assert unquoted(written) == text
    assert written.isprintable(), "no control character is written"
    if text in HARMLESS:
        assert written == text, "plain text is written as it is"
    if text in DANGEROUS:
        assert written[0] not in "=+-@\t\r\n\uff1d"


def test_any_text_is_read_back():
    letters = list("'=+-@\\x1bu0cab \t\r\n\x1b\x00a;,\"\u202e")
    rng = np.random.default_rng(0)
    for _ in range(20_000):
        text = "".join(rng.choice(letters, rng.integers(0, 9)))
        assert unquoted(quoted(text)) == text, repr(text)


def test_a_table_of_rows_and_a_frame_come_back_from_a_file(tmp_path):
    texts = [*DANGEROUS, *HARMLESS, *ODD]
    frame = pd.DataFrame({"=id": texts, "score": np.arange(len(texts)) / -7, "n": range(len(texts))})
    frame.loc[3, "score"] = math.nan
    write_frame(tmp_path / "a.csv", frame)
    raw = (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert raw.count("\n") == len(texts) + 1, "a row is a line, whatever it holds"
    assert raw.startswith("'=id,") and "\n-0.14" not in raw and ",-0.14285714285714285," in raw
    again = read_frame(tmp_path / "a.csv")
    assert list(again.columns) == ["=id", "score", "n"] and list(again["=id"]) == texts
    assert list(map(float, again["score"][:3])) == list(frame["score"][:3]) and again["score"][3] == ""

    (tmp_path / "b.csv").write_text(csv_text([{"id": text, "x": -0.5} for text in texts]), encoding="utf-8")
    assert list(read_frame(tmp_path / "b.csv")["id"]) == texts and set(read_frame(tmp_path / "b.csv")["x"]) == {"-0.5"}
    assert csv_text([{"a": "-inf", "b": None}, {"a": "=b"}], ["a", "b"]) == "a,b\n-inf,\n'=b,\n"
    assert csv_text([], ["=a", "b"]) == "'=a,b\n"


def test_categories_and_mixed_columns_are_quoted_too(tmp_path):
    frame = pd.DataFrame({"class": pd.Categorical(["=a", "b", "=a"]), "any": ["@x", 1, None]})
    write_frame(tmp_path / "a.csv", frame)
    assert (tmp_path / "a.csv").read_text() == "class,any\n'=a,'@x\nb,1\n'=a,\n"
    assert list(unquoted_frame(pd.read_csv(tmp_path / "a.csv"))["class"]) == ["=a", "b", "=a"]
