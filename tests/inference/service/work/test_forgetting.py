"""What is forgotten is gone from store, ledger, map and disk; what is not asked for stays; the record comes first."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pathoprog.errors import InputError
from pathoprog.inference.service.intake.staging import StagingCache
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
from pathoprog.inference.service.work.forgetting import Forgetting, Holdings


@pytest.fixture
def forgetting(made, tmp_path):
    """A, B of one patient and C of another are done; each has a folder of results and a row in the map."""
    pseudonyms = made.names.pseudonyms
    for name, patient in (("A", "P"), ("B", "P"), ("C", "Q")):
        made.admit(made.submit(name, patient=patient))
        folder = made.lane.slides_folder / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
        pseudonyms.add([(name, "slide", f"case {name}", ""), (patient, "patient", f"case {patient}", "")])
    for one in list(made.asked.waiting):  # A and B are joined once both are there
        made.admit(one.submission)
    made.score(3)
    folders = [made.lane.slides_folder]
    holdings = Holdings(made.store, made.ledger, made.snapshot, folders, made.names, None)
    return Forgetting(holdings, tmp_path / "record" / "forgotten.jsonl", b"key")


def names(made, forgetting):
    """Slide ids that are known anywhere."""
    found = {one.slide_id for one in made.store.submissions()} | {one.slide_id for one in made.snapshot.newest(0)}
    found |= {row[0] for row in made.ledger.connection.execute("SELECT slide_id FROM jobs")}
    found |= {row[0] for row in made.store.connection.execute("SELECT slide_id FROM events")}
    found |= {path.name for path in made.lane.slides_folder.iterdir()}
    return found | set(forgetting.holdings.names.pseudonyms.rows)


def test_a_patient_goes_with_all_slides_and_others_stay(made, forgetting):
    assert names(made, forgetting) == {"A", "B", "C", "P", "Q"}
    done = forgetting.patient("P")
    assert (done.submissions, done.folders) == (2, 2)
    assert names(made, forgetting) == {"C", "Q"}
    assert made.snapshot.counts() == {("colon", "failed"): 1}
    record = forgetting.record.read_text()
    assert "P" not in record.replace("hashes", "") and len(done.hashes) == 3
    with pytest.raises(AbsentError):
        forgetting.patient("P")


def test_what_is_scored_now_is_not_forgotten(made, forgetting):
    one = made.submit("D", patient="R")
    made.admit(one)
    made.ledger.lease(made.lane.key, 1, alone=True)
    made.desk.given("colon", "D")
    with pytest.raises(ConflictError, match="being scored"):
        forgetting.patient("R")
    assert "D" in names(made, forgetting)


def test_without_a_record_nothing_is_forgotten(made, forgetting):
    forgetting.record.parent.write_text("in the way")
    with pytest.raises(InputError, match="nothing was forgotten"):
        forgetting.patient("P")
    assert names(made, forgetting) == {"A", "B", "C", "P", "Q"}


def test_what_a_route_keeps_no_longer_goes_and_an_older_submission_of_a_slide_takes_no_files(made, forgetting):
    again = made.submit("C", patient="Q")
    now = datetime.now(UTC)
    assert forgetting.expire("colon", now - timedelta(days=1)).submissions == 0
    assert forgetting.expire("other", now + timedelta(days=1)).submissions == 0
    done = forgetting.expire("colon", now + timedelta(days=1))
    assert (done.submissions, done.folders) == (3, 2), "C itself is open again: its folder and ids stay"
    assert made.snapshot.get(again) is not None and {"C", "Q"} <= names(made, forgetting)


def test_the_record_forgets_again_what_a_backup_brought_back(made, forgetting, tmp_path):
    forgetting.patient("Q")
    made.submit("C", patient="Q")  # as a restored file has it
    assert forgetting.again().submissions == 1
    assert "C" not in names(made, forgetting)
    forgetting.record.write_text("no record")
    with pytest.raises(InputError, match="cannot be read"):
        forgetting.again()


def test_the_paths_of_a_hidden_slide_go_from_the_map_and_those_that_others_have_stay(made, tmp_path):
    path, part = "/scans/LINDQVIST/26H04711.mrxs", "/scans/LINDQVIST/26H04711/Data0.dat"
    made.submit_hidden(path, files=(path, part))
    other = made.submit_hidden("/scans/B.svs")
    staging = StagingCache(tmp_path / "staging", 1 << 20)
    holdings = Holdings(made.store, made.ledger, made.snapshot, [], made.names, staging)
    forgetting = Forgetting(holdings, tmp_path / "forgotten.jsonl", b"key")
    source = tmp_path / "x.svs"
    source.write_bytes(b"slide")
    with staging.use(str(source), known_as=made.names.name("hidden", path)) as staged:
        assert staged.is_copy
    rows = made.names.pseudonyms.rows
    assert {row[3] for row in rows.values()} == {path, part, "/scans/B.svs"} and len(rows) == 5
    forgetting.patient(made.names.slide_row(path)[0])
    assert {row[3] for row in made.names.pseudonyms.rows.values()} == {"/scans/B.svs"}
    assert not Path(staged.path).exists(), "the local copy is known by the same name"
    assert b"LINDQVIST" not in made.names.pseudonyms.file.read_bytes() and made.state(other) == "received"
    assert made.store.taken("hidden") == {}


def test_an_older_submission_of_a_hidden_file_that_is_there_again_takes_no_path(made, tmp_path):
    path = "/scans/26H04711.svs"
    made.admit(made.submit_hidden(path))
    made.score()
    again = made.submit_hidden(path)
    holdings = Holdings(made.store, made.ledger, made.snapshot, [], made.names, None)
    now = datetime.now(UTC)
    done = Forgetting(holdings, tmp_path / "forgotten.jsonl", b"key").expire("hidden", now + timedelta(days=1))
    assert done.submissions == 1 and made.state(again) == "received"
    assert made.names.path(made.names.name("hidden", path)) == path
