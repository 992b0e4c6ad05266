"""One thing does not stop the night: odd names, clashing files, tables that cannot be replaced, places that hang."""

import csv
import errno
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from made_slides import texture, write_pyramid

from pathoprog import cli
from pathoprog.errors import CohortError, InputError
from pathoprog.inference.engine import engine
from pathoprog.inference.result_tables import Tables
from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.inference.slides.looks import Looker, look_at_all
from pathoprog.scoring.results import publish_slide
from pathoprog.slides.config import SlideSettings
from pathoprog.stream.slide_stream import SlideDone, SlideFailed, SlideJob, StreamSettings, TileStream
from pathoprog.system import files
from pathoprog.system.file_names import folder_name
from pathoprog.tiles.grid import standard_spec

STREAM = ["stream.workers=1", "stream.batch_tiles=8", "device=cpu", "threads=1", "settle_s=0", "outputs.pdf=false"]
LONG = "病" * 70  # 210 bytes as a file's name, 630 as its percent-encoded folder


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate("AB"):
        write_pyramid(folder / f"{name}.tif", texture(420, 420, seed=seed, margin=30))
    return folder


def call(bundle, slides, out, *more):
    return ["score", f"slides={slides}", f"ensemble={bundle}", f"out={out}", *STREAM, *more]


def rows(out, name="results.csv"):
    with (out / name).open(encoding="utf-8", newline="") as stream:
        return {row["slide_id"]: row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def scored(bundle, slides, tmp_path_factory):
    """A run to whose slides nothing is left to do: what it says of tables and inputs costs no networks."""
    out = tmp_path_factory.mktemp("scored") / "out"
    assert cli.main(call(bundle, slides, out)) == 0
    return out


def test_a_name_whose_folder_would_be_too_long_is_scored(bundle, slides, tmp_path):
    (tmp_path / "night").mkdir()
    for name in ("A", LONG):
        os.link(slides / "A.tif", tmp_path / "night" / f"{name}.tif")
    os.link(slides / "B.tif", tmp_path / "night" / "B.tif")
    out = tmp_path / "out"
    assert cli.main(call(bundle, tmp_path / "night", out)) == 0
    assert {name: row["status"] for name, row in rows(out).items()} == {"A": "scored", "B": "scored", LONG: "scored"}
    assert json.loads((out / "slides" / folder_name(LONG) / "result.json").read_text())["slide_id"] == LONG
    assert cli.main(call(bundle, tmp_path / "night", out)) == 0, "and holds"


def test_long_names_stay_apart_and_short_ones_are_as_they_were():
    assert folder_name("A b,ä") == "A b,%C3%A4" and folder_name(".x/y") == "%2Ex%2Fy"
    names = [folder_name(LONG + last) for last in "ab"] + [folder_name("x" * 300)]
    assert len(set(names)) == 3 and all(len(name.encode()) <= 255 for name in names)
    assert folder_name("x" * 255) == "x" * 255


def test_a_table_that_cannot_be_replaced_does_not_stop_the_run(bundle, slides, scored, capsys):
    (scored / "results.csv").unlink()
    (scored / "results.csv" / "mine").mkdir(parents=True)
    assert cli.main(call(bundle, slides, scored)) == 1, "nobody takes an old table for the new one"
    said = capsys.readouterr()
    assert "Traceback" not in said.err and "results.csv: cannot be replaced (Is a directory)" in said.err
    assert f"{scored / 'results.csv'} is NOT of this run" in said.out and "close results.csv" in said.out
    assert list(rows(scored, "results.new.csv")) == ["A", "B"] and (scored / "patients.csv").is_file()
    (scored / "results.csv" / "mine").rmdir()
    (scored / "results.csv").rmdir()
    assert cli.main(call(bundle, slides, scored)) == 0
    assert list(rows(scored)) == ["A", "B"] and not (scored / "results.new.csv").exists()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_every_table_may_be_locked(tmp_path, monkeypatch, capsys, number):
    (tmp_path / "summary.json").write_text("old")
    replace, unlink = Path.replace, Path.unlink

    def locked(path, *more, **options):
        target = more[0] if more else path
        if target.name == "summary.json":
            raise OSError(number, os.strerror(number), str(target))
        return (replace if more else unlink)(path, *more, **options)

    monkeypatch.setattr(Path, "replace", locked)
    monkeypatch.setattr(Path, "unlink", locked)
    written = Tables(tmp_path)
    written.remove()
    written.write("summary.json", "new")
    assert written.written == {"summary.json": tmp_path / "summary.new.json"}
    assert (tmp_path / "summary.json").read_text() == "old" and (tmp_path / "summary.new.json").read_text() == "new"
    assert os.strerror(number) in written.said[0] and os.strerror(number) in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"summary.json", "summary.new.json"}, "nothing half-written"
    (tmp_path / "members.csv").mkdir()
    (tmp_path / "members.new.csv").mkdir()
    written.write("members.csv", "x")
    assert written.written["members.csv"] == tmp_path / "members.new2.csv"


@pytest.mark.parametrize("refused", ["mkstemp", "replace"])
def test_a_folder_that_takes_no_table_says_so_and_the_slides_are_kept(
    bundle, slides, scored, monkeypatch, capsys, refused
):
    def refuse(real):
        def through(*given, **options):
            place = options.get("dir") or given[-1].parent
            if place == scored:
                raise OSError(errno.EACCES, "Permission denied", str(place))
            return real(*given, **options)

        return through

    owner = files.tempfile if refused == "mkstemp" else Path
    monkeypatch.setattr(owner, refused, refuse(getattr(owner, refused)))
    assert cli.main(call(bundle, slides, scored)) == 1
    said = capsys.readouterr().out
    assert "results.csv: cannot be written (Permission denied), nor beside it" in said or refused == "mkstemp"
    assert "cannot be written (Permission denied), nor beside it" in said and "the slides are done and kept" in said
    assert not list(scored.glob("*.csv")) and not list(scored.glob(".*.tmp"))
    monkeypatch.undo()
    assert cli.main(call(bundle, slides, scored)) == 0 and list(rows(scored)) == ["A", "B"]


def test_a_full_disk_is_no_locked_table(tmp_path, monkeypatch):
    def full(path, text, private):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(files, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        Tables(tmp_path).write("results.csv", "x")


@pytest.mark.parametrize("what", ["file", "slides", "ledger"])
def test_a_place_that_takes_no_results_is_refused_before_the_work(bundle, slides, tmp_path, capsys, what):
    out = tmp_path / "out"
    if what == "file":
        out.write_text("no folder")
    elif what == "slides":
        out.mkdir()
        (out / "slides").write_text("no folder")
    more = [f"ledger={slides / 'A.tif' / 'ledger'}"] if what == "ledger" else []
    assert cli.main(call(bundle, slides, out, *more)) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err and "scoring:" not in said.out
    assert ("cannot be used as a ledger" if what == "ledger" else "results cannot be written there") in said.err


def test_all_faults_of_the_input_are_named_and_nothing_is_done(bundle, slides, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    for name in ("A", "B"):
        os.link(slides / f"{name}.tif", tmp_path / "more" / f"{name}.svs")
    listed = tmp_path / "night.txt"
    listed.write_text(f"{slides}\nmore\nmissing.svs\nalso missing.svs\n", encoding="utf-8")
    out = tmp_path / "out"
    assert cli.main(call(bundle, listed, out)) == 2
    said = capsys.readouterr().err
    assert not out.exists() and "4 faults in the input, nothing was done" in said
    for part in ("line 3: ", "also missing.svs: no such file", "would both be slide 'A'", "would both be slide 'B'"):
        assert part in said


def test_with_go_on_they_are_failed_rows_and_the_rest_is_scored(bundle, slides, scored, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    for name in ("A.svs", "new.tif"):
        os.link(slides / "A.tif", tmp_path / "more" / name)
    listed = tmp_path / "night.txt"
    listed.write_text(f"{slides}\nmore\nmissing.svs\nmissing.tif\n", encoding="utf-8")
    out = tmp_path / "out"
    assert cli.main(call(bundle, listed, out, "go_on=true")) == 1
    table = rows(out)
    status = {name: row["status"] for name, row in table.items()}
    assert status == {
        "B": "scored", "new": "scored", "A": "failed", "A (2)": "failed", "missing": "failed", "missing (2)": "failed"
    }  # fmt: skip
    assert table["missing"]["reason"] == "no such file" and "have this id" in table["A (2)"]["reason"]
    assert (
        str(tmp_path) not in (out / "results.csv").read_text() and str(slides) not in (out / "results.csv").read_text()
    )
    patients = (out / "patients.csv").read_text()
    assert "missing (2)" in patients
    assert "4 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_slide_whose_folder_cannot_be_replaced_fails_alone(bundle, slides, tmp_path, monkeypatch, capsys):
    def publish(staging, slide_id):
        if slide_id == "A":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        publish_slide(staging, slide_id)

    out = tmp_path / "out"
    (out / "slides" / "A").mkdir(parents=True)
    monkeypatch.setattr(engine, "publish_slide", publish)
    assert cli.main(call(bundle, slides, out)) == 1
    found = rows(out)
    assert (found["A"]["status"], found["B"]["status"]) == ("failed", "scored")
    assert "cannot be replaced (Operation not permitted): remove slides/A" in found["A"]["reason"]
    assert not list((out / "slides").glob(".*")), "nothing half-written"
    monkeypatch.undo()
    assert cli.main(call(bundle, slides, out)) == 1, "it stands"
    said = capsys.readouterr().out
    assert "1 of them failed; requeue=true tries them again" in said and "requeue=true tries all of them" in said
    assert cli.main(call(bundle, slides, out, "requeue=true")) == 0


@pytest.mark.slow
def test_something_else_in_a_slide_s_place_is_moved_away(bundle, slides, tmp_path):
    out = tmp_path / "out"
    (out / "slides").mkdir(parents=True)
    (out / "slides" / "A").write_text("a file")
    (out / "slides" / "B").symlink_to(tmp_path / "nowhere")
    assert cli.main(call(bundle, slides, out)) == 0
    assert (out / "slides" / "A" / "result.json").is_file() and not (out / "slides" / "B").is_symlink()


def test_the_summary_names_what_the_folder_holds_beside(bundle, slides, scored, capsys):
    (slides / "notes.docx").write_bytes(b"x")
    os.mkfifo(slides / "pipe.svs")
    (slides / "gone.svs").symlink_to(slides / "nowhere.svs")
    try:
        assert cli.main(call(bundle, slides, scored)) == 0
    finally:
        for name in ("notes.docx", "pipe.svs", "gone.svs"):
            (slides / name).unlink()
    said = capsys.readouterr().out
    assert "other files: 1 (notes.docx)" in said and "pipes, sockets and devices: 1 (pipe.svs)" in said
    assert "links that lead nowhere: 1 (gone.svs)" in said
    counts = json.loads((scored / "summary.json").read_text())["not_taken"]
    assert counts == {"other files": 1, "pipes, sockets and devices": 1, "links that lead nowhere": 1}
    assert "links that lead nowhere,gone.svs" in (scored / "not_taken.csv").read_text()
    assert (scored / "not_taken.csv").stat().st_mode & 0o777 == 0o600
    assert cli.main(call(bundle, slides, scored)) == 0 and not (scored / "not_taken.csv").exists()


def test_the_process_with_the_leases_looks_at_no_slide(bundle, slides, tmp_path, monkeypatch):
    looked = []

    def watch(name):
        real = getattr(os, name)

        def through(path, *arguments, **options):
            if str(path).endswith(".tif"):
                looked.append((name, str(path)))
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, name, through)

    for name in ("stat", "lstat", "open", "listdir", "scandir", "access"):
        watch(name)
    assert cli.main(call(bundle, slides, tmp_path / "out")) == 0
    assert looked == [], "on a share that hangs it would stop the heartbeats"


def with_cohort(folder, slides):
    """A table of two roles, and slides of equal sizes, whose contents are compared; with stages for the risk groups."""
    table = folder / "cohort.csv"
    rows = [
        f"P{name},{name},{slides / name}.tif,North,{role},3,0,20" for name, role in (("A", "external"), ("B", "test"))
    ]
    table.write_text("\n".join(["patient_id,slide_id,slide_path,cohort,role,pT,pN,nodes_sampled", *rows]) + "\n")
    return table


@pytest.mark.parametrize("part", [pytest.param("no roots", marks=pytest.mark.slow), "roots"])
def test_nor_at_one_that_a_cohort_names(bundle, slides, tmp_path, monkeypatch, part):
    looked = []
    for name in ("stat", "lstat", "open", "readlink", "access"):
        real = getattr(os, name)

        def through(path, *arguments, real=real, name=name, **options):
            if str(path).endswith(".tif"):
                looked.append((name, str(path)))
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, name, through)
    table = with_cohort(tmp_path, slides)
    roots = [f"slides.roots=[{slides}]"] if part == "roots" else []
    out = tmp_path / "out"
    assert cli.main(["score", f"cohort={table}", f"ensemble={bundle}", f"out={out}", *STREAM, *roots]) == 0
    assert looked == []


def test_a_cohort_that_hangs_is_one_sentence(tmp_path):
    (tmp_path / "cohort.csv").write_text("patient_id,slide_id,slide_path,cohort,role\n")
    with (
        Looker(0.0) as looker,
        pytest.raises(InputError, match=r"cohort.csv: no answer for 0 s while it and the files"),
    ):
        looker.cohort(str(tmp_path / "cohort.csv"), "", [], [])


def test_what_is_wrong_with_a_cohort_is_said_through_the_child(tmp_path):
    (tmp_path / "cohort.csv").write_text("patient_id,slide_id,slide_path,cohort,role\nP,S,a.tif,North,nowhere\n")
    with Looker(60.0) as looker, pytest.raises(CohortError, match="must be one of training"):
        looker.cohort(str(tmp_path / "cohort.csv"), "", [], [])


@pytest.mark.slow
def test_a_place_that_hangs_is_left_and_the_rest_scored(bundle, slides, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATHOPROG_FAULT", f"look:1:hang:{tmp_path / 'happened'}")
    assert cli.main(call(bundle, slides, tmp_path / "out", "stream.timeout_s=15")) == 0
    assert (tmp_path / "happened").exists()
    assert "A: no answer for 15 s" in capsys.readouterr().err
    assert {row["status"] for row in rows(tmp_path / "out").values()} == {"scored"}


def test_one_silent_place_is_asked_once(slides, tmp_path, monkeypatch):
    monkeypatch.setenv("PATHOPROG_FAULT", f"look:2:hang:{tmp_path / 'happened'}")
    inputs = [SlideInput(name, str(slides / f"{name}.tif"), name) for name in "AB"]
    inputs += [SlideInput(str(n), str(slides / f"{n}.tif"), str(n)) for n in range(50)]
    said = []
    looks = look_at_all(inputs, "tissue", 0.0, 3.0, said.append)
    assert looks["A"].source and not looks["B"].source and looks["49"].silent is False and looks["49"].trouble
    assert len(said) == 1, "not each slide of the place waits for itself"


def test_a_look_that_dies_costs_that_slide_alone(slides, tmp_path, monkeypatch):
    monkeypatch.setenv("PATHOPROG_FAULT", f"look:1:kill:{tmp_path / 'happened'}")
    inputs = [SlideInput(name, str(slides / f"{name}.tif"), name) for name in "AB"]
    looks = look_at_all(inputs, "tissue", 0.0, 30.0, lambda text: None)
    assert not looks["A"].source and "ended" in looks["A"].trouble and looks["B"].source


def test_a_search_that_hangs_is_one_sentence(tmp_path):
    os.mkfifo(tmp_path / "list")
    with Looker(0.0) as looker, pytest.raises(InputError, match="no answer for 0 s while the slides were looked for"):
        looker.find([str(tmp_path)], "", "", SlideSettings())


def test_the_reader_sees_that_files_are_not_what_was_meant(slides, tmp_path):
    path = tmp_path / "A.tif"
    path.write_bytes((slides / "A.tif").read_bytes())
    (tmp_path / "A.geojson").write_text("{}")
    (tmp_path / "C.mrxs").write_bytes(b"x")
    spec = standard_spec("10x", 64)
    jobs = [
        SlideJob("other", str(path), [spec], source="of another time"),
        SlideJob("gone", str(tmp_path / "B.tif"), [spec], source="of another time"),
        SlideJob("never", str(tmp_path / "B.tif"), [spec], source=""),
        SlideJob("part", str(tmp_path / "C.mrxs"), [spec]),
        SlideJob(
            "outline", str(path), [spec], tumour_policy="outline", outline_path=str(tmp_path / "A.geojson"),
            outline_sha256="of another time",
        ),
        SlideJob("any", str(path), [spec]),
    ]  # fmt: skip
    with TileStream(StreamSettings(workers=1)) as stream:
        ends = {event.slide_id: event for event in stream.read(jobs) if isinstance(event, SlideDone | SlideFailed)}
    assert isinstance(ends["any"], SlideDone)
    codes = {name: end.error.code for name, end in ends.items() if isinstance(end, SlideFailed)}
    assert codes == {
        "other": "changing", "gone": "missing", "never": "missing", "part": "missing", "outline": "changed"
    }  # fmt: skip
    assert "C, which belongs to it, is not there" in str(ends["part"].error)
    assert ends["other"].source and ends["gone"].source == "" and ends["part"].source is None


def test_a_slide_that_changes_while_it_is_read_has_no_result(slides, tmp_path):
    from pathoprog.slides.identity import source_sha256

    path = tmp_path / "A.tif"
    path.write_bytes((slides / "A.tif").read_bytes())
    job = SlideJob("A", str(path), [standard_spec("40x", 64)], source=source_sha256(str(path)))
    events = []
    with TileStream(StreamSettings(workers=1, batch_tiles=1, buffer_mib=1)) as stream:
        for event in stream.read([job]):
            events.append(event)
            if len(events) == 2:
                os.utime(path, (1, 1))
    assert isinstance(events[-1], SlideFailed) and events[-1].error.code == "changed"
    assert events[-1].source == source_sha256(str(path))


def test_ledgers_of_the_version_before_hold(bundle, slides, scored, capsys):
    """Its word for a slide of one file is what it was: an update scores nothing again."""
    from pathoprog.system.files import sha256_value

    with closing(sqlite3.connect(scored / "ledger.sqlite")) as db:
        kept = dict(db.execute("SELECT slide_id, source FROM jobs"))
    for name, source in kept.items():
        path = slides / f"{name}.tif"
        assert source == sha256_value([str(path), [(path.name, path.stat().st_size, path.stat().st_mtime_ns)]])
