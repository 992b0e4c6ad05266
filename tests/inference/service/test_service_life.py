"""The service's own life: one at a time, killed and started again, stopped with work in hand, backed up under load."""

import importlib.util
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_bundle import made_bundle
from made_old_state import old_ledger, old_store
from made_service import PROGRAM, MadeService
from made_slides import texture, write_pyramid

from pathoprog.inference.service.records.audit_check import verify
from pathoprog.inference.service.records.backup import restore, verify_backup
from pathoprog.inference.slides.pseudonyms import pseudonym, read_key

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def made(bundle, tmp_path):
    one = MadeService(tmp_path / "service", bundle)
    one.settings["backups"] = str(tmp_path / "backups")
    yield one
    if one.process is not None and one.process.poll() is None:
        one.stop(signal.SIGKILL)


def many(made, n):
    """So many slides of different bytes."""
    first = write_pyramid(made.folder / "one.tif", texture(420, 340, margin=20), levels=1).read_bytes()
    for number in range(n):
        (made.slides / f"S{number:02d}.tif").write_bytes(first + bytes([number]))


def test_one_service_at_a_time_and_the_queue_outlives_it(made):
    """Submitted, called off, put first, killed; the next start goes on, and each slide has one result."""
    many(made, 8)
    made.start()
    second = subprocess.run(
        [sys.executable, "-c", PROGRAM, "serve", str(made.file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert second.returncode == 2 and "another service works on this state folder" in second.stderr
    ids = made.listed()
    known = {name: made.submit(slide).json["id"] for name, slide in sorted(ids.items())}
    called_off = made.ask("POST", f"/v1/submissions/{known['S07.tif']}/cancel")
    assert called_off.status == 200 and called_off.json["state"] == "cancelled"
    first = made.ask("PUT", f"/v1/submissions/{known['S06.tif']}/priority", {"priority": "urgent"})
    assert first.status == 200 and first.json["priority"] == "urgent"
    made.stop(signal.SIGKILL)
    made.start()
    ended = {name: made.ended(one) for name, one in known.items()}
    assert {name: one["state"] for name, one in ended.items()} == {
        **dict.fromkeys(known, "done"), "S07.tif": "cancelled"
    }  # fmt: skip
    ledger = sqlite3.connect(made.state / "ledger.sqlite")
    assert ledger.execute("SELECT count(*), count(DISTINCT slide_id) FROM results").fetchone() == (7, 7)
    again = made.ask("POST", f"/v1/submissions/{known['S07.tif']}/requeue")
    assert again.status == 200 and made.ended(known["S07.tif"])["state"] == "done"
    assert made.stop() == 0, "an orderly stop"
    assert verify(made.state / "audit.jsonl").whole


@pytest.mark.slow
def test_another_content_under_the_same_name_is_another_result(made):
    write_pyramid(made.slides / "A.tif", texture(500, 400, seed=1, margin=40))
    made.start()
    slide = made.listed()["A.tif"]
    first = made.submit(slide).json["id"]
    made.ended(first)
    before = made.ask("GET", f"/v1/submissions/{first}/result", role="admin").json["result"]
    same = made.submit(slide).json["id"]
    assert made.ended(same)["state"] == "done"
    assert made.ask("GET", f"/v1/submissions/{same}/result", role="admin").json["result"] == before
    write_pyramid(made.slides / "A.tif", texture(500, 400, seed=2, margin=40))
    second = made.submit(slide).json["id"]
    assert made.ended(second)["state"] == "done"
    after = made.ask("GET", f"/v1/submissions/{second}/result", role="admin").json["result"]
    assert after["result_key"] != before["result_key"]
    old = made.ended(first)
    assert old["state"] == "superseded" and second in old["reason"]
    gone = made.ask("POST", f"/v1/submissions/{second}/withdraw", {"reason": "the wrong block"}, role="admin")
    assert gone.status == 200 and gone.json["state"] == "withdrawn"
    refused = made.ask("GET", f"/v1/submissions/{second}/result", role="admin")
    assert refused.status == 409 and "withdrawn" in refused.json["detail"]


@pytest.mark.slow
def test_a_backup_under_load_restores_to_a_service_that_goes_on(made, tmp_path):
    many(made, 12)
    made.start()
    known = [made.submit(slide).json["id"] for slide in made.listed().values()]
    taken = made.ask("POST", "/v1/backups?pseudonyms=true", role="admin")
    assert taken.status == 201, taken.body
    for one in known:
        assert made.ended(one)["state"] == "done"
    assert made.stop() == 0
    backup = tmp_path / "backups" / taken.json["name"]
    assert verify_backup(backup).audit_head == taken.json["audit_head"]
    shutil.rmtree(made.state)
    restore(backup, made.state)
    made.start()
    for one in known:  # results that are on the disk hold, what the backup did not know is scored again
        assert made.ended(one)["state"] == "done"
    made.stop()
    assert verify(made.state / "audit.jsonl").whole
    ledger = sqlite3.connect(made.state / "ledger.sqlite")
    assert ledger.execute("SELECT count(*), count(DISTINCT slide_id) FROM results").fetchone() == (12, 12)


@pytest.mark.slow
def test_nothing_is_lost_while_everything_is_killed(tmp_path, monkeypatch):
    """The benchmark at a small size: readers, workers and the service itself get SIGKILL under load."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("service_load", BENCHMARKS / "service_load.py")
    load = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "service_load", load)
    spec.loader.exec_module(load)
    faults, lines = load.run(tmp_path, n_slides=60, n_clients=6, n_kills=5)
    assert faults == [], lines


@pytest.mark.slow
def test_what_was_forgotten_stays_forgotten_after_a_restore(made, tmp_path):
    """Every byte of state and results is searched; the backup, which still knows, is restored and forgets again."""
    many(made, 3)
    made.settings["routes"][0]["patients"] = {"ids": "pseudonym", "pattern": r"(?P<patient>S\d\d)"}
    made.settings["routes"][0]["staged"] = True
    made.start()
    ids = [slide["id"] for slide in made.ask("GET", "/v1/slides?root=scans").json["slides"]]
    known = [made.ended(made.submit(one).json["id"]) for one in ids]
    assert [one["state"] for one in known] == ["done"] * 3
    copies = sorted(path.name for path in (made.state / "staging").rglob("*") if path.is_file())
    assert len(copies) > 3 and not [name for name in copies if "S0" in name], "local copies, under neutral names"
    backup = tmp_path / "backups" / made.ask("POST", "/v1/backups?pseudonyms=true", role="admin").json["name"]
    gone, kept = known[0], known[1]
    refused = made.ask("POST", "/v1/forget", {"patient": gone["patient_id"]}, role="operator")
    assert refused.status == 403
    done = made.ask("POST", "/v1/forget", {"patient": gone["patient_id"]}, role="admin")
    assert done.status == 200 and done.json["submissions"] == 1 and done.json["folders"] == 1
    assert made.ask("GET", f"/v1/submissions/{gone['id']}", role="admin").status == 404
    assert made.stop() == 0
    assert_absent(made, gone)
    shutil.rmtree(made.state)
    restored = subprocess.run(
        [sys.executable, "-c", PROGRAM, "restore", str(made.file), f"backup={backup}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert "forgotten again: 1 submission" in restored.stdout
    assert_absent(made, gone)
    made.start()
    assert made.ended(kept["id"])["state"] == "done"
    assert made.ask("GET", f"/v1/submissions/{gone['id']}", role="admin").status == 404
    made.stop()
    by_command = subprocess.run(
        [sys.executable, "-c", PROGRAM, "forget", str(made.file), f"patient={kept['patient_id']}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert by_command.returncode == 0, by_command.stderr
    assert_absent(made, kept)
    assert verify(made.state / "audit.jsonl").whole


@pytest.mark.slow
def test_a_backup_without_its_map_names_nobody_and_its_service_goes_on(made, tmp_path):
    """What is done stays; what waits fails in words; with the map of that time it is tried again."""
    many(made, 2)
    made.settings["routes"][0]["patients"] = {"ids": "pseudonym"}
    made.start()
    ids = [slide["id"] for slide in made.ask("GET", "/v1/slides?root=scans").json["slides"]]
    done = made.ended(made.submit(ids[0]).json["id"])
    assert done["state"] == "done"
    called_off = made.submit(ids[1]).json["id"]
    made.ask("POST", f"/v1/submissions/{called_off}/cancel")
    backup = tmp_path / "backups" / made.ask("POST", "/v1/backups", role="admin").json["name"]
    assert made.stop() == 0
    assert not [path for path in backup.iterdir() if b"S0" in path.read_bytes() or b"scans" in path.read_bytes()]
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o700)
    for name in ("pseudonyms.key", "pseudonyms.csv"):
        shutil.copy(made.state / name, kept)
    shutil.rmtree(made.state)
    restored = subprocess.run(
        [sys.executable, "-c", PROGRAM, "restore", str(made.file), f"backup={backup}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    late = "1 results on the disk that the ledger does not know" in restored.stdout  # scored as it was called off
    assert restored.returncode == int(late), restored.stdout + restored.stderr
    assert "does not know where 2 slides of service.sqlite lie" in restored.stderr
    made.start()
    assert made.ask("GET", f"/v1/submissions/{done['id']}/result", role="admin").status == 200
    made.ask("POST", f"/v1/submissions/{called_off}/requeue")
    failed = made.ended(called_off)
    assert failed["state"] == "failed" and "map of pseudonyms does not have it" in failed["reason"]
    assert made.stop() == 0
    for path in kept.iterdir():
        shutil.copy(path, made.state)
    made.start()
    made.ask("POST", f"/v1/submissions/{called_off}/requeue")
    assert made.ended(called_off)["state"] == "done"
    assert made.stop() == 0


@pytest.mark.slow
def test_work_that_waited_in_version_1_is_scored_and_its_names_are_wiped(made):
    many(made, 1)
    made.settings["routes"][0]["patients"] = {"ids": "pseudonym"}
    key = read_key(made.state / "pseudonyms.key")
    path, slide_id = str(made.slides / "S00.tif"), pseudonym(key, "slide", "S00")
    row = ("colon", slide_id, path, [path], "waiting", "")
    old_store(made.state / "service.sqlite", [row], "colon", "of another version")
    old_ledger(made.state / "ledger.sqlite", [(slide_id, path)], "of another version")
    made.start()
    assert made.ended("id1")["state"] == "done"
    assert made.stop() == 0
    for name in ("service.sqlite", "ledger.sqlite"):
        assert path.encode() not in (made.state / name).read_bytes() and b"S00" not in (made.state / name).read_bytes()
    assert path in (made.state / "pseudonyms.csv").read_text()


def assert_absent(made, submission):
    """Neither ids of the slide nor of its patient are in any file but the audit log, which holds what was done."""
    audit = made.state / "audit.jsonl"
    for path in (*made.state.rglob("*"), *made.out.rglob("*")):
        for name in (submission["slide_id"], submission["patient_id"]):
            assert name not in str(path)
            assert path == audit or not path.is_file() or name.encode() not in path.read_bytes(), (path, name)


@pytest.mark.slow
def test_the_demo_of_the_service_scores_what_is_copied_into_its_folder(tmp_path):
    """`pathoprog serve demo=…`, which `make serve-demo` calls: settings, tokens and a watched folder are made."""
    demo = tmp_path / "runs" / "demo"
    bundle = made_bundle(demo / "ensemble", 64, tumour_policy="outline")  # as the demo's own
    (demo / "cohort" / "slides").mkdir(parents=True)
    (demo / "cohort" / "outlines").mkdir()
    slide = write_pyramid(demo / "cohort" / "slides" / "D0001-B1.tif", texture(500, 400, seed=1, margin=40))
    square = {"type": "Polygon", "coordinates": [[[40, 40], [460, 40], [460, 360], [40, 360], [40, 40]]]}
    outline = {"type": "Feature", "properties": {}, "geometry": square}
    (demo / "cohort" / "outlines" / "D0001-B1.geojson").write_text(json.dumps(outline))
    made = MadeService(tmp_path / "unused", bundle)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made.command = ["serve", f"demo={demo}", f"demo_port={port}"]
    made.start()
    try:
        folder = tmp_path / "runs" / "service"
        made.tokens = json.loads((folder / "demo_tokens.json").read_text())
        shutil.copy(slide, folder / "scans")
        end = time.monotonic() + 60
        while not (found := made.ask("GET", "/v1/submissions", role="admin").json["submissions"]):
            assert time.monotonic() < end
            time.sleep(0.3)
        ended = made.ended(found[0]["id"])
        assert (ended["slide_id"], ended["patient_id"]) == ("D0001-B1", "D0001")
        assert ended["state"] in ("done", "not_reportable"), ended["reason"]
        assert "cp " in made.said() and "demo_tokens.json" in made.said()
    finally:
        made.stop()
