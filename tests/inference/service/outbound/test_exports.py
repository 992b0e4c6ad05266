"""Exports: rows since a number or a time, without what is withheld, safe in a spreadsheet, whole or seen to be cut."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from pathoprog.errors import InputError
from pathoprog.inference.service.outbound.exports import (
    ExportRow,
    Since,
    export_columns,
    export_csv,
    export_json_lines,
    since_of,
)
from pathoprog.scoring.results import RESULT_COLUMNS
from pathoprog.system.csv_files import unquoted


def row(seq, slide_id="", withheld=False, **values):
    """The result of slide `seq`, done at `seq` minutes past eight."""
    given = {
        "slide_id": slide_id or f"S{seq}", "patient_id": f"P{seq}", "status": "scored", "risk_class": "poor",
        "borderline": "false", "score_10x": "0.75", "score_40x": "0.5", "n_tiles_10x": 12, "n_tiles_40x": 99,
        "seconds": "3.250", **values,
    }  # fmt: skip
    return ExportRow(seq, f"2026-12-01T08:{seq:02}:00+00:00", withheld, {**dict.fromkeys(RESULT_COLUMNS, ""), **given})


ALL = Since()
ROWS = [row(1), row(2, withheld=True), row(4), row(9, withheld=True), row(12)]


def table(since=ALL, rows=ROWS):
    return list(csv.DictReader(io.StringIO("".join(export_csv(rows, since)))))


def records(since=ALL, rows=ROWS):
    return [json.loads(line) for line in "".join(export_json_lines(rows, since)).splitlines()]


def test_withheld_results_are_left_out_and_counted():
    *results, end = records()
    assert [one["slide_id"] for one in results] == ["S1", "S4", "S12"]
    assert (end["record"], end["results"], end["withheld"], end["next_since"]) == ("end", 3, 2, 12)
    assert "research use only" in end["research_use_only"]
    text = "".join(export_csv(ROWS, ALL)) + "".join(export_json_lines(ROWS, ALL))
    assert not any(name in text for name in ("S2", "S9", "P2", "P9"))


def test_a_table_has_the_columns_of_results_csv_and_says_its_end():
    *results, end = table()
    assert tuple(results[0]) == export_columns() and export_columns()[3:] == RESULT_COLUMNS
    assert [(one["record"], one["seq"], one["slide_id"]) for one in results] == [
        ("result", "1", "S1"), ("result", "4", "S4"), ("result", "12", "S12"),
    ]  # fmt: skip
    assert (end["record"], end["seq"], end["slide_id"], end["status"]) == ("end", "12", "", "")
    assert end["reason"].startswith("3 results; 2 withheld; go on with since=12. For research use only")


@pytest.mark.parametrize("cut", range(13))
def test_going_on_from_the_cursor_gives_each_result_once(cut):
    first = [one for one in ROWS if one.seq <= cut]
    *before, end = records(rows=first)
    assert end["next_since"] == max([one.seq for one in first], default=0), "what is withheld is not counted again"
    *after, last = records(since_of(str(end["next_since"])))
    assert [one["seq"] for one in before + after] == [1, 4, 12] and last["next_since"] == 12
    again = records(since_of("12"))
    assert len(again) == 1 and again[0]["next_since"] == 12


@pytest.mark.parametrize(
    ("since", "seqs"),
    [
        ("", [1, 4, 12]),
        ("0", [1, 4, 12]),
        ("4", [12]),
        ("2026-12-01T08:04:00Z", [4, 12]),
        ("2026-12-01T08:04:01", [12]),
        ("2026-12-01T09:04:00+01:00", [4, 12]),
        ("2026-12-01", [1, 4, 12]),
        ("2026-12-02", []),
    ],
)
def test_an_export_begins_at_a_number_or_a_time(since, seqs):
    *results, end = records(since_of(since))
    assert [one["seq"] for one in results] == seqs and end["next_since"] == 12


def test_a_time_without_a_zone_is_utc():
    assert since_of(" 2026-12-01T08:00 ").at == datetime(2026, 12, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "٣", "2026-12-01T08:00:00 01:00", "9" * 30, "2026-13-01"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(InputError, match="must be an event's number or a time"):
        since_of(text)


def test_a_spreadsheet_runs_nothing_and_reads_back_what_was():
    odd = ["=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)", "-x", "a\x1b[31m", 'two\n"lines", one', "'=quoted"]
    found = table(rows=[row(k, name) for k, name in enumerate(odd, 1)])
    for one, name in zip(found, odd, strict=False):
        assert one["slide_id"][0] not in "=+@-" and "\x1b" not in one["slide_id"] and "\n" not in one["slide_id"]
        assert unquoted(one["slide_id"]) == name
    assert [one["slide_id"] for one in records(rows=[row(k, name) for k, name in enumerate(odd, 1)])[:-1]] == odd


def test_json_has_numbers_and_null():
    (one, _) = records(rows=[row(1)])
    assert (one["score_10x"], one["n_tiles_40x"], one["seconds"], one["borderline"]) == (0.75, 99, 3.25, False)
    empty = {"status": "failed", "risk_class": "", "borderline": "", "score_10x": "", "n_tiles_10x": ""}
    (one, _) = records(rows=[row(1, **empty)])
    assert (one["score_10x"], one["n_tiles_10x"], one["borderline"], one["risk_class"]) == (None, None, None, "")


@pytest.mark.parametrize("export", [export_csv, export_json_lines])
def test_rows_are_given_out_as_they_come(export):
    taken = []

    def rows():
        for one in ROWS:
            taken.append(one.seq)
            yield one

    given = export(rows(), ALL)
    next(given)
    assert taken == [1]
    next(given)
    assert taken == [1, 2, 4]


def test_an_export_without_results_has_its_header_and_its_end():
    (end,) = table(rows=[])
    assert end["record"] == "end" and end["seq"] == "0"
    assert len(records(rows=[])) == 1
