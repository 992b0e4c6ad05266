"""Whose a slide is: tables that change, patterns that are tried, pseudonyms and their map."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from house import ROOT

from pathoprog.errors import ConfigError
from pathoprog.inference.service.intake.intake_config import PatientRule
from pathoprog.inference.service.intake.name_pattern import checked_pattern
from pathoprog.inference.service.intake.patients import PatientOf, PatientReader, Refused, Waits
from pathoprog.inference.service.intake.pseudonym_map import PseudonymMap
from pathoprog.inference.slides.inputs import Found, SlideInput
from pathoprog.inference.slides.pseudonyms import COLUMNS, pseudonym, read_key, with_pseudonyms
from pathoprog.system.csv_files import csv_text, read_frame

TABLE = "file,patient_id,block_id,organ\nH26-1_A.svs,P1,A,colon\nH26-2_B,P1,B,rectum\n"


def given(table="", **more):
    return PatientRule(table=str(table), ids="given", **more)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_names_patient_block_and_traits_by_file_or_by_slide(tmp_path):
    reader = PatientReader(given(write(tmp_path / "t.csv", TABLE)))
    assert reader.of("/scans/H26-1_A.svs") == PatientOf("H26-1_A", "P1", "A", {"organ": "colon"})
    assert reader.of("/scans/h26-2_b.ndpi").traits == {"organ": "rectum"}, "spelling of file systems that know no case"
    assert isinstance(reader.of("/scans/H26-3.svs"), Waits)


def test_a_table_may_name_the_slide_and_a_cohort_table_will_do(tmp_path):
    reader = PatientReader(given(write(tmp_path / "t.csv", "file,slide_id,patient_id\nx.svs,S1,P1\n")))
    assert reader.of("/x.svs") == PatientOf("S1", "P1")
    reader = PatientReader(given(write(tmp_path / "c.csv", "patient_id,slide_id,slide_path\nP9,D1,/x/D1.svs\n")))
    assert reader.of("/x/D1.svs").patient_id == "P9"


@pytest.mark.parametrize(("unknown", "kind"), [("wait", Waits), ("fail", Refused), ("own", PatientOf)])
def test_a_slide_that_the_table_does_not_know(tmp_path, unknown, kind):
    reader = PatientReader(given(write(tmp_path / "t.csv", TABLE), unknown_patient=unknown))
    found = reader.of("/scans/Nordmann.svs")
    assert isinstance(found, kind)
    if unknown == "own":
        assert found == PatientOf("Nordmann", "Nordmann")
    else:
        assert "Nordmann" not in found.reason and "/" not in found.reason


def test_a_changed_table_is_read_when_it_stands_still(tmp_path):
    now = [0.0]
    table = write(tmp_path / "t.csv", TABLE)
    reader = PatientReader(given(table, unknown_patient="own", settle_s=5), clock=lambda: now[0])
    write(table, TABLE + "H26-3.svs,P3,C,colon\n")
    found = reader.of("/H26-3.svs")
    assert isinstance(found, Waits), "its own patient for want of a row that is being written would be wrong"
    assert reader.of("/H26-1_A.svs").patient_id == "P1", "what is known goes on"
    now[0] = 4.9
    assert isinstance(reader.of("/H26-3.svs"), Waits)
    now[0] = 5.1
    assert reader.of("/H26-3.svs").patient_id == "P3"
    assert reader.of("/H26-4.svs").patient_id == "H26-4"


def test_a_table_that_is_damaged_later_keeps_new_slides_waiting(tmp_path):
    now = [0.0]
    table = write(tmp_path / "t.csv", TABLE)
    reader = PatientReader(given(table, unknown_patient="fail", settle_s=1), clock=lambda: now[0])
    table.write_bytes(b"file,patient_id\nx\n")
    reader.of("/new.svs")
    now[0] = 2.0
    found = reader.of("/new.svs")
    assert isinstance(found, Waits) and "row 2: 1 cells, the header has 2" in found.reason
    assert str(tmp_path) not in found.reason
    table.unlink()
    reader.of("/new.svs")
    now[0] = 9.0
    assert "No such file" in reader.of("/new.svs").reason
    write(table, TABLE + "new.svs,P7,,\n")
    reader.of("/new.svs")
    now[0] = 20.0
    assert reader.of("/new.svs").patient_id == "P7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have each of the columns"),
        ("file;patient_id\nx;P\n", "not parted by commas"),
        ("file,patient_id\nx,\n", "row 2: file and patient_id must not be empty"),
        ("file,patient_id\nx,P1\nX,P2\n", "row 3: this file stands in an earlier row too"),
        ("file,patient_id,file\nx,P1,y\n", "once"),
    ],
)
def test_a_table_that_is_wrong_at_the_start_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        PatientReader(given(write(tmp_path / "t.csv", text)))


def test_other_encodings_and_both_rules_at_once_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes("file,patient_id\nMüller,P\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not in UTF-8"):
        PatientReader(given(tmp_path / "t.csv"))
    with pytest.raises(ConfigError, match="not both"):
        PatientReader(PatientRule(table="t.csv", pattern="(?P<patient>.*)"))


def test_a_pattern_takes_the_whole_name_and_names_patient_and_block():
    rule = PatientRule(pattern=r"(?P<patient>[A-Z]\d{2}-\d+)(_(?P<block>[A-Z]\d?))?", ids="given")
    reader = PatientReader(rule)
    assert reader.of("/in/H26-004711_A1.svs") == PatientOf("H26-004711_A1", "H26-004711", "A1")
    assert reader.of("/in/H26-004711.ome.tiff") == PatientOf("H26-004711", "H26-004711")
    assert isinstance(reader.of("/in/H26-004711_A1 copy.svs"), Waits)
    assert isinstance(reader.of(f"/in/{'ä' * 200}.svs"), Refused)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not a regular expression"),
        (r"(\d+)", "lacks the group"),
        (r"(?P<patient>\d+)(?P<name>\w+)", "groups name are not known"),
        (r"(?P<patient>(a+)+)$", "a group that is repeated"),
        (r"(?P<patient>(a|a)*)b", "a group that is repeated"),
        (r"(?P<patient>(?:a?a?)*)b", "a group that is repeated"),
        (r"(?P<patient>([a-z]+)*)b", "a group that is repeated"),
        (r"(?P<patient>(\w*){20})b", "a group that is repeated"),
        ("(?P<patient>x)" + "y" * 500, "at most 500"),
    ],
)
def test_a_pattern_that_is_unsound_is_refused_in_words(pattern, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        checked_pattern(pattern)


def test_a_pattern_of_many_repeats_is_tried_and_refused(monkeypatch):
    monkeypatch.setattr("pathoprog.inference.service.intake.name_pattern.TRIAL_S", 1.0)
    began = time.monotonic()
    with pytest.raises(ConfigError, match="takes more than"):
        checked_pattern(r"H(?P<patient>\d*\d*\d*\d*\d*\d*\d*)X")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?P<patient>[A-Z]+\d+-\d+)_(?P<block>[A-Z]+\d*)(_HE)?",
        r"(?P<patient>[^_]+)(_.*)?",
        r"(?P<patient>(?:H|B|PD)\d{2}-\d{3,6})[ _-](?P<block>[A-Z0-9]{1,3}).*",
        r"[\])](?P<patient>[^\]]{4})+",
    ],
)
def test_patterns_as_laboratories_write_them_are_taken(pattern):
    assert checked_pattern(pattern).pattern == pattern


def pseudonymous(tmp_path, **rule):
    people = PseudonymMap(tmp_path / "pseudonyms.csv")
    return PatientReader(PatientRule(**rule), tmp_path / "pseudonyms.key", people), people


def test_ids_are_those_of_the_command_and_the_map_is_read_by_it(tmp_path):
    reader, _ = pseudonymous(tmp_path, pattern=r"(?P<patient>\w+-\d+)_(?P<block>.*)")
    found = reader.of("/in/H26-4711_A1.svs")
    assert "4711" not in repr(found) and found.given_id == "H26-4711_A1" and found.given_patient_id == "H26-4711"
    key = read_key(tmp_path / "pseudonyms.key")
    assert found.slide_id == pseudonym(key, "slide", "H26-4711_A1") and found.block_id == ""
    assert found.patient_id == pseudonym(key, "patient", "H26-4711")
    table = read_frame(tmp_path / "pseudonyms.csv")
    assert list(table.columns) == list(COLUMNS)
    assert set(table["id"]) == {"H26-4711_A1", "H26-4711"} and set(table["path"]) == {"/in/H26-4711_A1.svs", ""}
    assert (tmp_path / "pseudonyms.csv").stat().st_mode & 0o777 == 0o600
    slides = [SlideInput("H26-4711_A1", "/in/H26-4711_A1.svs", "H26-4711"), SlideInput("B", "/in/B.svs", "P")]
    with_pseudonyms(Found(slides), tmp_path / "pseudonyms.key", tmp_path / "pseudonyms.csv")
    assert len(read_frame(tmp_path / "pseudonyms.csv")) == 4, "the command goes on with the service's map"
    reader.of("/in/C-1_x.svs")
    assert len(read_frame(tmp_path / "pseudonyms.csv")) == 6, "and the service with the command's"


def test_a_slide_without_a_patient_has_one_name(tmp_path):
    reader, _ = pseudonymous(tmp_path)
    found = reader.of("/in/Nordmann.svs")
    assert found.slide_id == found.patient_id and found.given_patient_id == "Nordmann"
    assert reader.of("/in/Nordmann.svs") == found
    assert len(read_frame(tmp_path / "pseudonyms.csv")) == 1


HOSTILE = ("=cmd|calc", "a,b", 'q"uote', "new\nline", "\x1b[2J", "back\\x41", "Ærlig Ødegård", "'-x", " x ")


def test_hostile_ids_come_back_unchanged_by_both_readers(tmp_path):
    people = PseudonymMap(tmp_path / "m.csv")
    rows = [(f"S{n}", "slide", text, f"/p/{text}") for n, text in enumerate(HOSTILE)]
    for row in rows:
        people.add([row])
    assert PseudonymMap(tmp_path / "m.csv").rows == {row[0]: row for row in rows}
    table = read_frame(tmp_path / "m.csv")
    assert list(table["id"]) == list(HOSTILE) and list(table["path"]) == [f"/p/{text}" for text in HOSTILE]


def test_a_line_cut_at_any_byte_is_left_out_and_written_again(tmp_path):
    rows = [(f"S{n}", "slide", text, f"/p/{text}") for n, text in enumerate(HOSTILE)]
    people = PseudonymMap(tmp_path / "whole.csv")
    people.add(rows)
    data = (tmp_path / "whole.csv").read_bytes()
    file = tmp_path / "cut.csv"
    for cut in range(len(data)):
        file.write_bytes(data[:cut])
        file.chmod(0o600)
        again = PseudonymMap(file)
        kept = again.rows
        assert all(kept[name] == row for name, row in zip(kept, rows, strict=False)), cut
        assert len(read_frame(file)) == len(kept), "the command reads it too"
        again.add(rows)
        assert file.read_bytes() == data, cut


def test_rows_that_were_said_to_be_written_outlive_a_kill(tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from pathoprog.inference.service.intake.pseudonym_map import PseudonymMap\n"
        "people = PseudonymMap(Path(sys.argv[1]))\n"
        "for n in range(100_000):\n"
        "    people.add([(f'S{sys.argv[2]}-{n}', 'slide', f'id {n}', '/p')])\n"
        "    print(n, flush=True)\n"
    )
    file = tmp_path / "m.csv"
    said = 0
    for attempt in range(4):
        command = [sys.executable, "-c", program, str(file), str(attempt)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if len(lines) == 50 + 37 * attempt:
                    os.kill(process.pid, signal.SIGKILL)
        said += len([line for line in lines if line.endswith("\n")])
        rows = PseudonymMap(file).rows
        assert said <= len(rows) <= said + attempt + 1, "at most the row on its way is there unsaid"
        assert len(read_frame(file)) == len(rows)


def test_a_row_that_another_program_s_writing_lost_is_written_again(tmp_path):
    file = tmp_path / "m.csv"
    people = PseudonymMap(file)
    people.add([("S1", "slide", "one", "/1"), ("S2", "slide", "two", "/2")])
    (tmp_path / "new").write_text(csv_text([dict(zip(COLUMNS, ("S9", "slide", "nine", "/9"), strict=True))], COLUMNS))
    (tmp_path / "new").chmod(0o600)
    (tmp_path / "new").replace(file)
    people.add([("S3", "slide", "three", "/3")])
    assert set(read_frame(file)["id"]) == {"one", "two", "three", "nine"} == {row[2] for row in people.rows.values()}


def test_a_map_that_others_may_read_or_that_is_none_is_refused(tmp_path):
    file = tmp_path / "m.csv"
    PseudonymMap(file)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        PseudonymMap(file)
    for text in ("a,b\n1,2\n", "pseudonym,kind,id,path\nS1,slide,x\n", 'pseudonym,kind,id,path\n"S1\n'):
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(ConfigError, match="not a map of pseudonyms"):
            PseudonymMap(file)
        assert file.read_text() == text, "what is not ours stays as it is"


def test_a_thousand_rows_are_no_thousand_files(tmp_path):
    people = PseudonymMap(tmp_path / "m.csv")
    written = []
    write = os.write

    def counting(handle, data):
        written.append(len(data))
        return write(handle, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", counting)
        for n in range(1000):
            people.add([(f"S{n}", "slide", f"id{n}", "/p")])
    assert len(written) == 1000 and max(written) < 100, "each row is one write of its own line"
