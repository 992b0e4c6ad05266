"""Corrections at the desk: a submission of its own beside the first, whose outline outlives a restart."""

import stat
from dataclasses import replace

import pytest
from made_desk import MadeDesk

from pathoprog.inference.service.viewing.corrections import Corrections
from pathoprog.inference.service.viewing.outline_files import corrected_folder
from pathoprog.inference.service.viewing.outlines import CorrectedOutline
from pathoprog.inference.service.work.desk import ConflictError
from pathoprog.inference.service.work.forgetting import Forgetting, Holdings
from pathoprog.inference.service.work.submissions import DONE, FAILED, counting
from pathoprog.scoring.results import PATIENT_LEVEL

OUTLINE = CorrectedOutline('{"type": "FeatureCollection", "features": []}\n', "a" * 64, 1.0)


@pytest.fixture
def made(bundle, tmp_path):
    one = MadeDesk(tmp_path / "state", bundle)
    yield one
    one.close()


def end(made, submission, state=DONE):
    """As if it had been scored."""
    one = made.desk.of(submission)
    made.desk.put(one, replace(one.works[0], state=state, result_key=f"key of {one.slide_id}"), state)


@pytest.fixture
def scored(made):
    one = made.submit("A")
    made.admit(one)
    made.score()
    end(made, one)
    return one


def test_a_correction_is_a_submission_of_its_own_beside_the_first(made, scored):
    corrections = Corrections(made.desk)
    accepted = corrections.correct(scored, OUTLINE, "dr-lind")
    new = accepted.submission
    assert accepted.created and (new.slide_id, new.slide, new.corrects) == ("A (outline 1)", "A", scored)
    assert (new.patient_id, new.route, new.by) == ("A", "colon", "dr-lind")
    asked = made.asked.waiting[-1]
    (file,) = corrected_folder(made.settings).iterdir()
    assert asked.outlines == {"colon": str(file)} and asked.slide.path == "/scans/A.tif"
    assert file.read_text() == OUTLINE.geojson and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made.state(scored) == DONE, "the first result stays"
    again = corrections.correct(scored, OUTLINE, "dr-berg")
    assert not again.created and again.submission.id == new.id
    other = corrections.correct(scored, replace(OUTLINE, sha256="b" * 64), "dr-lind").submission
    assert other.slide_id == "A (outline 2)"
    assert [one.id for one in corrections.history(scored).corrections] == [new.id, other.id]
    end(made, new.id)
    third = corrections.correct(new.id, replace(OUTLINE, sha256="c" * 64), "dr-lind").submission
    assert (third.slide_id, third.corrects) == ("A (outline 3)", scored), "one line of corrections, to the first"
    assert [one.id for one in corrections.history(third.id).corrections] == [new.id, other.id, third.id]


def test_it_is_no_further_slide_of_the_patient(made, scored):
    new = Corrections(made.desk).correct(scored, OUTLINE, "me").submission
    made.admit(new.id)
    job = made.ledger.state_of("A (outline 1)", made.lane.key)
    assert job.request["class_level"] == PATIENT_LEVEL and made.state(scored) == DONE
    end(made, new.id)
    second = made.submit("B", patient="A")
    made.admit(second)
    assert made.state(scored) == made.state(new.id) == "received", "now the patient has two slides"


def test_the_same_slide_submitted_meanwhile_is_not_taken_for_the_correction(made, scored):
    new = Corrections(made.desk).correct(scored, OUTLINE, "me").submission
    again = made.submit("A")
    assert again not in (new.id, scored) and not made.desk.of(again).corrects


def test_a_restart_knows_what_is_corrected_and_writes_the_outline_again(made, scored, bundle, tmp_path):
    new = Corrections(made.desk).correct(scored, OUTLINE, "me").submission
    (file,) = corrected_folder(made.settings).iterdir()
    file.unlink()
    made.close()
    later = MadeDesk(tmp_path / "state", bundle)
    try:
        found = later.desk.of(new.id)
        assert (found.corrects, found.slide) == (scored, "A") and file.read_text() == OUTLINE.geojson
        assert later.asked.waiting[-1].outlines == {"colon": str(file)}
    finally:
        later.close()


def test_a_correction_of_a_slide_with_a_pseudonym_holds_no_path(made):
    one = made.submit_hidden("/scans/Nordmann_Ola.tif")
    end(made, one)
    new = Corrections(made.desk).correct(one, OUTLINE, "me").submission
    assert made.asked.waiting[-1].slide.path == "/scans/Nordmann_Ola.tif"
    assert made.store.slide_file(new).file == made.store.slide_file(made.desk.of(one)).file
    assert all("Nordmann" not in str(row[:]) for row in made.store.connection.execute("SELECT * FROM submissions"))


def test_an_accepted_outline_is_kept_as_an_event(made, scored):
    corrections = Corrections(made.desk)
    corrections.accept(scored, "dr-lind")
    (event,) = corrections.history(scored).accepted
    assert event.data["by"] == "dr-lind" and made.state(scored) == DONE and event.submission == scored


def test_only_what_has_a_result_is_corrected(made):
    waits = made.submit("A")
    for ask in (lambda: Corrections(made.desk).accept(waits, "me"),
                lambda: Corrections(made.desk).correct(waits, OUTLINE, "me")):  # fmt: skip
        with pytest.raises(ConflictError, match="it is received"):
            ask()
    assert not corrected_folder(made.settings).exists()


def test_a_failed_correction_may_be_sent_again(made, scored):
    corrections = Corrections(made.desk)
    first = corrections.correct(scored, OUTLINE, "me").submission
    end(made, first.id, FAILED)
    assert corrections.correct(scored, OUTLINE, "me").created


def test_of_each_slide_one_counts_for_its_patient(made, scored):
    corrections = Corrections(made.desk)
    new = corrections.correct(scored, OUTLINE, "me").submission.id
    assert [one.id for one in counting(made.snapshot.of_patient("A"))] == [scored], "no result yet"
    end(made, new)
    assert [one.id for one in counting(made.snapshot.of_patient("A"))] == [new]
    later = made.submit("A")
    assert [one.id for one in counting(made.snapshot.of_patient("A"))] == [later], "of other content"


def test_who_is_forgotten_leaves_no_outline(made, scored, tmp_path):
    new = Corrections(made.desk).correct(scored, OUTLINE, "me").submission
    end(made, new.id)
    holdings = Holdings(made.store, made.ledger, made.snapshot, [], made.names, None)
    done = Forgetting(holdings, tmp_path / "forgotten.jsonl", b"key").patient("A")
    assert done.submissions == 2 and not list(corrected_folder(made.settings).iterdir())
    assert made.store.connection.execute("SELECT count(*) FROM corrections").fetchone()[0] == 0
