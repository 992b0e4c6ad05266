"""The service's ledger of slides that are hidden: no path and no hash that tells one, and the readers are told all."""

import pytest

from pathoprog.inference.slides.jobs import FAILED, NewJob

SEEN, LATER = "ab" * 32, "cd" * 32
PATH = "/scans/LINDQVIST/26H04711-A1.svs"


@pytest.fixture
def ledger(made):
    made.ledger.admit(NewJob("S1", "", SEEN, {"outline_path": "/outlines/LINDQVIST/S1.geojson"}), "c", 0, anew=True)
    return made.ledger


def kept(ledger, name="S1"):
    """Source and request as the file has them."""
    job = ledger.state_of(name, "c")
    return job.source, job.request


def stands(ledger, source, name="S1", outline="/outlines/LINDQVIST/S1.geojson"):
    new = NewJob(name, "", source, {"outline_path": outline})
    return ledger.standing([new], "c", False, lambda job: True)


def test_the_file_has_a_keyed_hash_and_the_readers_what_was_seen(made, ledger):
    assert kept(ledger) == (made.names.hashed("source", SEEN), {"outline_path": "S1.geojson"})
    (job,) = ledger.lease("c", 1, alone=True)
    assert job.source == SEEN and stands(ledger, SEEN) == {"S1": "leased"} and stands(ledger, LATER) == {}


def test_files_that_change_are_hashed_too(made, ledger):
    (job,) = ledger.lease("c", 1, alone=True)
    ledger.postpone(job, LATER, 0.0)
    assert kept(ledger)[0] == made.names.hashed("source", LATER)
    (job,) = ledger.lease("c", 1, alone=True)
    assert job.source == LATER
    assert ledger.retry(job, "died", died=True)
    assert kept(ledger)[0] == made.names.hashed("source", LATER)
    (job,) = ledger.lease("c", 1, alone=True)
    assert job.source == LATER
    assert ledger.commit(job, FAILED, "", "blank", "", print)
    ledger.leave("S1", "c")
    assert stands(ledger, LATER) == {"S1": FAILED}


def test_a_slide_that_could_not_be_looked_at_has_no_hash(ledger):
    ledger.admit(NewJob("S2", "", "", {}), "c", 1, anew=True)
    assert kept(ledger, "S2")[0] == ""
    assert {job.slide_id: job.source for job in ledger.lease("c", 2, alone=True)} == {"S1": SEEN, "S2": ""}


def test_slides_whose_ids_are_given_are_kept_as_score_keeps_them(ledger):
    request = {"outline_path": "/outlines/A.geojson"}
    ledger.admit(NewJob("A", "/scans/A.svs", SEEN, request), "c", 1, anew=True)
    assert kept(ledger, "A") == (SEEN, request) and ledger.state_of("A", "c").path == "/scans/A.svs"


def test_what_an_older_version_wrote_is_taken_out_once(made, ledger, monkeypatch, capsys):
    ledger.connection.execute("PRAGMA synchronous=OFF")
    for n in range(600):
        request = {"outline_path": f"/outlines/LINDQVIST/{n}.geojson"}
        ledger.admit(NewJob(f"T{n}", f"{PATH}{n}", SEEN, request), "c", n, anew=True)
    ledger.admit(NewJob("A", "/scans/A.svs", SEEN, {}), "c", 1, anew=True)
    assert b"LINDQVIST" in ledger.path.read_bytes()
    ledger.hide_known(lambda: {"A"})
    assert b"LINDQVIST" not in ledger.path.read_bytes()
    assert kept(ledger, "T7") == (made.names.hashed("source", SEEN), {"outline_path": "7.geojson"})
    assert ledger.state_of("A", "c").path == "/scans/A.svs" and ledger.state_of("T7", "c").path == ""
    ledger.admit(NewJob("T0", f"{PATH}0", SEEN, {}), "c", 0, anew=True)
    ledger.connection.execute("PRAGMA max_page_count=1")  # so that it cannot be written anew, as on a full disk
    ledger.hide_known(lambda: {"A"})
    assert ledger.state_of("T0", "c").path in ("", " ")
    ledger.connection.execute("PRAGMA max_page_count=1000000")
    ledger.hide_known(set)
    assert {row[0] for row in ledger.connection.execute("SELECT path FROM jobs")} == {""}
