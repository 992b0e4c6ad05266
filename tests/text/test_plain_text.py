"""Reasons without paths, tracebacks and control characters."""

from pathlib import Path

import pytest

from pathoprog.text.plain_text import defect_text, log_end, plain_reason, printable

TRACEBACK = """Some library: a word before
Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/pathoprog/annotations.py", line 81, in read
    found = list(json.loads(data))
RecursionError: maximum recursion depth exceeded while decoding /data/Nordmann/S1.geojson
"""
CRASH = """Fatal Python error: Segmentation fault

Current thread 0x00007f0 (most recent call first):
  File "/opt/pathoprog/stream_reader.py", line 400 in _read
Extension modules: numpy._core (total: 53)
"""


def test_a_log_ends_in_what_was_said_last_and_no_code():
    assert log_end(TRACEBACK, 400) == (
        "Some library: a word before RecursionError: maximum recursion depth exceeded while decoding …"
    )
    assert log_end(CRASH, 400) == "Fatal Python error: Segmentation fault"
    assert log_end("a\x1b[31m b\n" * 99, 8) == "1b[31m b"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/srv/Nordmann Ola/S1.svs: no such file", "no such file"),
        ("S1: /srv/Nordmann Ola/S1.svs: no um/px in the file", "no um/px in the file"),
        ("cannot open '/srv/Nordmann Ola/S1.svs'", "cannot open 'S1'"),
        ("the index names /srv/Nordmann Ola/other_1900.jpg twice", "the index names … twice"),
        ("/srv/drawn/Hansen.geojson: damaged", "the outline: damaged"),
        ("while reading Hansen.geojson: damaged", "while reading the outline: damaged"),
        ("Couldn't read S1.svs at 4 um/px, 10x/40x", "Couldn't read S1 at 4 um/px, 10x/40x"),
        ("no space on /mnt/share/results/x.json here", "no space on … here"),
        ("C:\\Users\\ola\\S1.svs is open", "… is open"),
        ("a\x1b[2J\nb", "a\\x1b[2J b"),
        (TRACEBACK, "Some library: a word before RecursionError: maximum recursion depth exceeded while decoding …"),
    ],
)
def test_a_reason_names_the_slide_and_no_path(text, reason):
    assert plain_reason(text, "S1", "/srv/Nordmann Ola/S1.svs", "/srv/drawn/Hansen.geojson") == reason


def test_a_folder_of_instances_and_an_id_of_a_table():
    path = "/srv/pacs/1.2.840.113"
    assert plain_reason(f"{path}/IM_0001.dcm: damaged", "P-7", path) == "P-7: damaged".removeprefix("P-7: ")
    assert plain_reason("1.2.840.113 is damaged", "P-7", path) == "P-7 is damaged"
    assert plain_reason("folder H26-0047 is absent", "P-7", "/x/H26-0047.mrxs") == "folder P-7 is absent"
    assert plain_reason("the slide has 0.5 um/px", "P-7", "/x/slide.tif") == "the slide has 0.5 um/px"
    assert plain_reason("a\\b", r"x\1", "/a/b") == "a\\b"


@pytest.mark.parametrize("slide_id", ["H26-47.tif", "H26-47", "H26-47.tif.tif", "H26-47-B1", "the", "H26"])
@pytest.mark.parametrize("said", ["/srv/in/H26-47.tif", "H26-47.tif", "H26-47"])
def test_an_id_that_holds_its_file_name_is_never_doubled(slide_id, said):
    assert plain_reason(f"{said}: damaged", slide_id, "/srv/in/H26-47.tif") == "damaged"
    assert plain_reason(f"in the file {said} a level", slide_id, "/srv/in/H26-47.tif") == (
        f"in the file {slide_id} a level"
    )


def test_an_id_is_not_looked_for_in_what_stands_for_the_outline():
    said = "/srv/in/Hansen.tif and Hansen.geojson, /srv/in/outline.geojson"
    assert plain_reason(said, "outline", "/srv/in/Hansen.tif", "/srv/in/Hansen.geojson") == (
        "outline and the outline, …"
    )
    assert plain_reason("Hansen is cut", "Hansen.tif", "/a/Hansen.tif", "/b/Hansen.geojson") == "Hansen.tif is cut"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("26H04711-A1_1.jpg, which belongs to it, is not there", "S0f_1.jpg, which belongs to it, is not there"),
        ("of 26H04711 there are 26H04711-A1 and 26H04711-A2", "of S0f there are S0f and S0f-A2"),
        ("patient A7 has A77 tiles (A7_2)", "patient A7 has A77 tiles (A7_2)"),
    ],
)
def test_ids_that_pseudonyms_stand_for_are_in_no_reason(text, reason):
    assert plain_reason(text, "S0f", "/srv/in/26H04711-A1.vms", given=("26H04711-A1", "26H04711", "")) == reason


def test_a_short_id_goes_where_it_is_a_word():
    said = "patient A7 has A77 tiles (A7_2)"
    assert plain_reason(said, "S0f", "/srv/in/x.tif", given=("", "A7")) == "patient S0f has A77 tiles (S0f_2)"


def test_a_defect_is_told_without_its_words():
    path = Path("/srv/Nordmann Ola/S1.svs")
    try:
        path.read_bytes()
    except OSError as error:
        said = defect_text(error)
    assert "Nordmann" not in said and "FileNotFoundError" in said and "test_plain_text.py" in said


def test_printable_keeps_lines_where_asked():
    assert printable("a\nb\x9b\u202e") == "a\\x0ab\\x9b\\u202e"
    assert printable("a\nb\x07", lines=True) == "a\nb\\x07"
