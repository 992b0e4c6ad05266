"""result.json and run.json of a slide: read as they were written; what is damaged or foreign is no result."""

import hashlib
import json
import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from pathoprog.quality.checks import Check
from pathoprog.regions.tissue import RegionMask
from pathoprog.scoring.eligibility import judge
from pathoprog.scoring.results import Context, publish_slide, read_slide, result_record, slide_row, stage_slide
from pathoprog.scoring.slide_outcomes import ResolutionScore, SlideScore
from pathoprog.scoring.slide_result import SlideRun, read_result_text, read_run_text, result_text, run_text
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.stream.events import SlideOpened
from pathoprog.system.files import canonical_json
from pathoprog.system.records import RecordError
from pathoprog.tiles.config import standard_spec
from pathoprog.tiles.grid import TileGrid

RUN = SlideRun(
    software_version="0.1.0",
    device="cpu",
    attempt=1,
    host="h",
    finished_at="2026-01-01T00:00:00+00:00",
    seconds=0.5,
    torch="2",
    runtime={"10x": "torch 2", "40x": "torch 2"},
)
THRESHOLDS = {"10x": 0.5, "40x": 0.25}
CONTEXT = Context(
    "S/1 é", "P", "C", "external", "ab" * 32, "cd" * 32, THRESHOLDS, {"dtype": "fp32", "quality": {"limit": None}},
    {"slides.mpp": 0.25}, "ef" * 32, {"who": "Å", "when": "2026"},
)  # fmt: skip


def scored(**changes):
    """A made slide that was scored."""
    grids, resolutions = {}, {}
    for resolution, score in (("10x", 0.1), ("40x", 1 / 3)):
        x0 = np.arange(3, dtype=np.int64)
        grids[resolution] = TileGrid(standard_spec(resolution, 32), x0, x0, np.ones(3, np.float32), 32.0, 32.0, 7)
        members = [f"{resolution}-{i}" for i in range(5)]
        values = np.full((3, 5), score, np.float32)
        runtime = "torch 2"
        resolutions[resolution] = ResolutionScore(
            grids[resolution], members, [score] * 5, values, None, [], [], runtime=runtime
        )
    facts = SlideFacts("p", "made", "made", 900, 800, (Level(900, 800, 1.0),), 0.25, 0.26, None, ("a warning",))
    mask = RegionMask(np.ones((4, 4), bool), 225.0, 225.0, 8.0)
    picture = np.zeros((9, 9, 3), np.uint8)
    opened = SlideOpened("S/1 é", facts, grids, {}, picture, 100.0, mask, "tissue", None, 2e6, 1e6, "ab" * 32)
    checks = [
        Check("focus", None, "um", "not checked", None, 2.0, "Not measured."),
        Check("ink", 1.5, "%", "warn", 1, None, "Ink."),
    ]
    given = judge({"organ": "colon"}, {"organ": ["colon", "rectum"]})
    made = {"quality": ["a flag"], "checks": checks, "eligibility": given, "opened": opened, "halved": 1}
    return SlideScore("S/1 é", "scored", "good", True, resolutions=resolutions, **(made | changes))


def failed():
    return SlideScore("S/1 é", "failed", reason="truncated", code="format", stage="open")


OUTCOMES = pytest.mark.parametrize("outcome", [scored(), failed()], ids=["scored", "failed"])


def kept(folder, result, run=RUN):
    """Write the result as scoring does; returns the slide's folder."""
    files = {"result.json": result_text(result).encode(), "heatmap.png": b"x"}
    publish_slide(stage_slide(folder, "1-1", files, run), result.slide_id)
    return next(folder.iterdir())


def rewrite(folder, result=None, run=None):
    """Put values, or bytes, in place of both files; the whole ones where None; the hashes are right."""
    said = [KEYS if result is None else result, whole_run() if run is None else run]
    for name, value in zip(("result.json", "run.json"), said, strict=True):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        (folder / name).write_bytes(data)
        if name == "result.json" and run is None:
            said[1]["files"][name] = hashlib.sha256(data).hexdigest()


def whole_run():
    """What run.json holds beside a whole result.json, written in one line."""
    files = {"result.json": json.dumps(KEYS).encode(), "heatmap.png": b"x"}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return json.loads(run_text(replace(RUN, files=digests)))


def put(value, path, item):
    """A copy of nested JSON with one value changed, or taken away (`GONE`)."""
    copy = json.loads(json.dumps(value))
    at = copy
    for name in path[:-1]:
        at = at[name]
    if item is GONE:
        del at[path[-1]]
    else:
        at[path[-1]] = item
    return copy


GONE = object()


@OUTCOMES
def test_what_is_written_is_read_and_written_again_with_the_same_bytes(outcome, tmp_path):
    result = result_record(outcome, CONTEXT)
    text = result_text(result)
    assert text == canonical_json(json.loads(text)) and read_result_text(text) == result
    assert result_text(read_result_text(text)) == text
    folder = kept(tmp_path, result)
    found, run = read_slide(tmp_path, result.slide_id)
    assert found == result and replace(run, files=None) == RUN
    assert set(run.files) == {"result.json", "heatmap.png"}
    assert run_text(run).encode() == (folder / "run.json").read_bytes()
    with pytest.raises(FrozenInstanceError):
        found.status = "scored"


def test_the_keys_of_a_result_are_those_of_format_2():
    said = json.loads(result_text(result_record(scored(), CONTEXT)))
    assert list(said) == [
        "batches_halved", "borderline", "checks", "class_level", "code", "development_slide", "duplicate_of",
        "eligibility", "ensemble_id", "format", "outline_sha256", "outline_when", "outline_who", "overrides", "quality",
        "reason", "research_use_only", "result_key", "risk_class", "scores", "settings", "slide", "slide_id", "stage",
        "status",
    ]  # fmt: skip
    assert said["format"] == 2 and said["quality"] == ["a flag", "override: slides.mpp=0.25"]
    assert said["settings"]["quality"] == {"limit": None} and said["slide"]["objective"] is None
    assert said["checks"][0]["value"] is None and said["checks"][1]["fail"] is None
    assert said["eligibility"]["made_for"]["organ"] == ["colon", "rectum"]
    assert said["scores"]["40x"] == {
        "distance": 1 / 3 - 0.25, "members": {f"40x-{i}": 1 / 3 for i in range(5)}, "n_tiles": 3,
        "n_tiles_candidates": 7, "runtime": "torch 2", "score": 1 / 3, "threshold": 0.25,
        "tile_spec": {"max_per_slide": 0, "min_coverage": 0.5, "mpp": 0.25, "resolution": "40x", "size_px": 32},
    }  # fmt: skip
    said = json.loads(result_text(result_record(failed(), CONTEXT)))
    assert (said["slide"], said["eligibility"], said["scores"], said["checks"]) == (None, None, {}, [])


def test_a_row_follows_from_the_result():
    row = slide_row(result_record(scored(), CONTEXT), RUN, CONTEXT)
    assert (row["borderline"], row["seconds"], row["score_40x"], row["n_tiles_10x"]) == (
        "true",
        "0.500",
        repr(1 / 3),
        3,
    )
    row = slide_row(result_record(failed(), CONTEXT), RUN, CONTEXT)
    assert (row["borderline"], row["slide_sha256"], row["score_40x"], row["n_tiles_10x"]) == ("", "", "", "")


KEYS = json.loads(result_text(result_record(scored(), CONTEXT)))
EVERY_KEY = [
    *[(name,) for name in KEYS],
    *[("scores", "10x", name) for name in KEYS["scores"]["10x"] if name != "tile_spec"],
    *[("slide", name) for name in KEYS["slide"]],
    *[("checks", 0, name) for name in KEYS["checks"][0]],
    *[("eligibility", name) for name in KEYS["eligibility"]],
]
MAY_BE_NULL = {"slide", "eligibility", "objective", "value", "warn", "fail"}


def named(path):
    return ".".join(map(str, path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A slide's folder whose two files each test puts other ones in place of."""
    return kept(tmp_path_factory.mktemp("slides"), result_record(scored(), CONTEXT))


def no_result(folder):
    return [read_slide(folder.parent, CONTEXT.slide_id, verify) for verify in (True, False)] == [None, None]


@pytest.mark.parametrize("path", EVERY_KEY, ids=named)
def test_a_result_that_lacks_a_key_or_has_another_kind_of_value_is_none(folder, path):
    wrong = [GONE, ["x"], {"x": None}, *([] if path[-1] in MAY_BE_NULL else [None])]
    value = KEYS
    for name in path:
        value = value[name]
    wrong += ["text"] if not isinstance(value, str) and path[-1] != "value" else []
    wrong += [5] if isinstance(value, str | list | dict | bool) else [True]
    for item in wrong:
        if path in (("settings",), ("overrides",)) and isinstance(item, dict):
            continue  # what they hold is told, and of any kind
        if path[-1] in ("quality", "warnings") and item == ["x"]:
            continue
        rewrite(folder, put(KEYS, path, item))
        assert no_result(folder), (path, item)
    rewrite(folder)
    assert read_slide(folder.parent, CONTEXT.slide_id) is not None


@pytest.mark.parametrize(
    ("path", "item"),
    [
        (("format",), 1),
        (("format",), 3),
        (("format",), 2.0),
        (("format",), True),
        (("status",), "perhaps"),
        (("scores", "40x"), GONE),
        (("scores", "10x", "members", "10x-0"), None),
        (("scores", "10x", "members"), ["10x-0"]),
        (("scores", "10x", "n_tiles"), 2.5),
        (("scores", "10x", "tile_spec", "mpp"), "1"),
        (("scores", "10x", "tile_spec"), None),
        (("scores", "10x", "score"), math.nan),
        (("scores", "10x", "score"), math.inf),
        (("settings", "dtype"), math.nan),
        (("slide", "mpp_x"), 10**400),
        (("slide", "warnings"), [1]),
        (("checks", 0, "value"), -math.inf),
        (("checks", 1), None),
        (("eligibility", "slide"), {"organ": None}),
        (("eligibility", "made_for"), {"organ": "colon"}),
        (("quality",), "a flag"),
        (("borderline",), 0),
    ],
    ids=lambda item: named(item) if isinstance(item, tuple) else None,
)
def test_a_foreign_value_makes_it_none(folder, path, item):
    rewrite(folder, put(KEYS, path, item))
    assert no_result(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"null", b"[]", b'"text"', b"3", b"NaN", b"{}", b"\xff\xfe", b"\x00", b"[" * 100_000,
        b'{"format": 2}', b'{"format": "2"}', b'{"format": null}', b'{"format": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
@pytest.mark.parametrize("file", ["result", "run"])
def test_what_is_no_record_at_all_is_none(folder, file, data):
    rewrite(folder, **{file: data})
    assert no_result(folder)


RUN_KEYS = json.loads(run_text(RUN))


@pytest.mark.parametrize("name", RUN_KEYS)
def test_a_run_that_lacks_a_key_or_has_another_kind_of_value_is_none(folder, name):
    before = whole_run()
    for item in [GONE, None, [], {"x": 1}, True, math.nan]:
        if item is GONE and name in ("torch", "runtime"):
            continue
        rewrite(folder, run=put(before, (name,), item))
        assert no_result(folder), item
    rewrite(folder, run=put(put(before, ("torch",), GONE), ("runtime",), GONE))
    assert read_slide(folder.parent, CONTEXT.slide_id)[1].torch is None, "no network was needed"


@pytest.mark.parametrize(
    "files", [None, [], "x", {"result.json": 5}, {"result.json": None}, {"\0": "ab"}, {"..": "ab"}, {"gone": "ab"}]
)
def test_hashes_that_say_nothing_are_none(folder, files):
    before = whole_run()
    rewrite(folder, run={**before, "files": files})
    assert read_slide(folder.parent, CONTEXT.slide_id) is None
    rewrite(folder, run=put(before, ("files",), GONE))
    assert read_slide(folder.parent, CONTEXT.slide_id) is None
    assert read_slide(folder.parent, CONTEXT.slide_id, verify=False) is not None, "nobody asked for them"


def test_a_changed_or_absent_file_is_none(tmp_path):
    folder = kept(tmp_path, result_record(scored(), CONTEXT))
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        path.unlink()
        assert read_slide(tmp_path, CONTEXT.slide_id) is None, path.name
        path.mkdir()
        assert read_slide(tmp_path, CONTEXT.slide_id) is None, path.name
        path.rmdir()
        if path.name != "run.json":
            path.write_bytes(data + b" ")
            assert read_slide(tmp_path, CONTEXT.slide_id) is None, path.name
        path.write_bytes(data)
    assert read_slide(tmp_path, CONTEXT.slide_id) is not None and read_slide(tmp_path, "other") is None


@pytest.mark.parametrize(
    "path",
    [(), ("scores", "10x"), ("scores", "10x", "tile_spec"), ("slide",), ("checks", 0), ("eligibility",), ("settings",)],
    ids=named,
)
def test_keys_that_this_version_does_not_know_are_kept(folder, path):
    said = put(KEYS, (*path, "later"), {"a": [None, 1.5]})
    rewrite(folder, said)
    found, _ = read_slide(folder.parent, CONTEXT.slide_id)
    assert result_text(found) == canonical_json(said)
    copy = json.loads(result_text(replace(found, slide_id="T", duplicate_of=found.slide_id)))
    assert copy == {**said, "slide_id": "T", "duplicate_of": said["slide_id"]}, "a copy for a slide of equal content"


def test_keys_of_a_run_that_this_version_does_not_know_are_kept(folder):
    rewrite(folder, run={**whole_run(), "later": [1]})
    _, run = read_slide(folder.parent, CONTEXT.slide_id)
    assert run.unknown == {"later": [1]} and json.loads(run_text(run))["later"] == [1]


def test_the_place_of_what_is_wrong_is_said():
    with pytest.raises(RecordError, match=r"^scores\.10x\.members\.10x-1: \"a\", must be a finite number$"):
        read_result_text(json.dumps(put(KEYS, ("scores", "10x", "members", "10x-1"), "a")))
    with pytest.raises(RecordError, match=r"^checks\[1\]: lacks says$"):
        read_result_text(json.dumps(put(KEYS, ("checks", 1, "says"), GONE)))
    with pytest.raises(RecordError, match=r"^format 1, this version reads 2$"):
        read_result_text('{"format": 1}')
    with pytest.raises(RecordError, match=r"^no JSON: "):
        read_run_text("{")
    with pytest.raises(RecordError, match=r"^scores: lacks 40x$"):
        read_result_text(json.dumps(put(KEYS, ("scores", "40x"), GONE)))
