"""The desk without workers: what becomes of submissions in store, ledger and snapshot, also after faults."""

import time
from dataclasses import replace

import pytest
from made_desk import MadeDesk

from pathoprog.inference.engine.ledger import WriteError
from pathoprog.inference.service.work.conductor import Conductor
from pathoprog.inference.service.work.desk import ConflictError
from pathoprog.inference.service.work.preparing import Prepared
from pathoprog.inference.service.work.store import Request
from pathoprog.inference.service.work.submissions import NewSubmission
from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.inference.slides.looks import Look


def test_a_submission_s_way_and_its_events(made):
    one = made.submit("A")
    assert made.state(one) == "received" and made.asked.waiting[0].slide.path == "/scans/A.tif"
    made.admit(one)
    assert made.state(one) == "waiting"
    made.score()
    assert made.state(one) == "failed" and made.desk.of(one).reason == "blank" and made.desk.of(one).ended_at
    assert [event.kind for event in made.store.events(0, 10)] == ["submitted", "started", "failed"]
    assert one in made.asked.gone, "its local copy may go"


def test_priority_decides_who_is_taken_first(made):
    first, second, third = (made.submit(name) for name in "ABC")
    for one in (first, second, third):
        made.admit(one)
    made.orders.set_priority(third, "urgent")
    assert [job.slide_id for job in made.ledger.lease(made.lane.key, 3, alone=True)] == ["C", "A", "B"]
    with pytest.raises(ConflictError, match="being scored"):
        made.orders.cancel(first)


def test_the_same_request_and_the_same_slide_are_one_submission(made):
    new = NewSubmission("colon", "/scans/A.tif", "A", "A", "routine", "me")
    first = made.desk.submit(new, Request("me", "k", "hash"))
    assert first.created
    assert made.desk.submit(new, Request("me", "k", "hash")) == replace(first, created=False)
    assert not made.desk.submit(new).created, "not done yet"
    with pytest.raises(ConflictError, match="used for another request"):
        made.desk.submit(new, Request("me", "k", "another"))
    with pytest.raises(ConflictError, match="another file is known as slide 'A'"):
        made.desk.submit(replace(new, file="/scans/below/A.tif", route="other"))


def test_a_file_with_another_s_id_in_a_watched_folder_fails_under_an_id_of_its_own(made):
    made.submit("A")
    new = NewSubmission("colon", "/scans/below/A.tif", "A", "A", "routine", "watch")
    refused = made.desk.refuse(new, "another file has this id", "signature")
    assert (refused.slide_id, refused.state) == ("A (2)", "failed")
    again = made.desk.refuse(replace(new, file="/scans/c/A.tif"), "another file has this id", "signature")
    assert again.slide_id == "A (3)"
    assert made.store.taken("colon") == {"/scans/below/A.tif": "signature", "/scans/c/A.tif": "signature"}


def test_a_further_slide_of_a_patient_has_the_first_done_anew(made):
    first = made.submit("A", patient="P")
    made.admit(first)
    job = made.ledger.state_of("A", made.lane.key)
    assert job.request["class_level"] == "patient" and not job.request["keep_instances"]
    second = made.submit("B", patient="P")
    made.admit(second)
    assert made.state(first) == "received" and made.asked.waiting[-1].submission == first
    made.admit(first)
    for name in "AB":
        job = made.ledger.state_of(name, made.lane.key)
        assert job.request["class_level"].startswith("slide level") and job.request["keep_instances"]
    other = made.submit("C", patient="P", route="other")
    made.admit(other)
    assert made.state(first) == "waiting", "joined already: nothing is done anew"


def test_called_off_and_tried_again(made):
    one = made.submit("A")
    made.admit(one)
    made.orders.cancel(one)
    assert made.state(one) == "cancelled" and made.ledger.state_of("A", made.lane.key) is None
    made.score()
    assert made.state(one) == "cancelled", "it is in nobody's queue"
    made.orders.requeue(one)
    made.admit(one)
    made.score()
    assert made.state(one) == "failed"
    with pytest.raises(ConflictError, match="no result to withdraw"):
        made.orders.withdraw(one, "why")


def test_after_a_restart_what_was_open_is_taken_up_and_the_ledger_is_right(made, bundle, tmp_path):
    done, waiting = made.submit("A"), made.submit("B")
    made.admit(done)
    made.admit(waiting)
    (job,) = made.ledger.lease(made.lane.key, 1, alone=True)
    made.ledger.commit(job, "failed", "", "blank", "", print)  # and killed before the store knew
    made.close()
    again = MadeDesk(tmp_path / "state", bundle)
    assert {one.submission for one in again.asked.waiting} == {done, waiting}
    again.admit(done)
    again.admit(waiting)
    assert (again.state(done), again.state(waiting)) == ("failed", "waiting")
    again.close()


def test_a_route_that_is_gone_ends_its_open_submissions_in_words(made, bundle, tmp_path):
    one = made.submit("A", route="other")
    made.close()
    again = MadeDesk(tmp_path / "state", bundle)
    del again.desk.routes["other"]
    again.desk.open()
    assert again.state(one) == "cancelled" and "no longer served" in again.desk.of(one).reason
    again.close()


def test_a_defect_ends_one_submission_and_a_full_disk_is_waited_for(made, monkeypatch, capsys):
    """By the conductor's own hand-over, without its thread."""
    one, other = made.submit("A"), made.submit("B")
    conductor = Conductor(made.settings, [made.plan], made.snapshot, made.names)
    conductor.desk = made.desk
    prepared = [Prepared(asked, {"colon": Look(source="seen")}) for asked in made.asked.waiting]
    real = made.lane.admit

    def breaks(task, look, place, requeue):
        if task.slide.slide_id == "A":
            raise KeyError("a defect")
        raise WriteError("the disk is full")

    monkeypatch.setattr(made.lane, "admit", breaks)
    conductor._admit(prepared[0])
    assert made.state(one) == "failed" and "defect" in made.desk.of(one).reason
    with pytest.raises(WriteError):
        conductor._admit(prepared[1])
    assert made.state(other) == "received" and conductor._late[0][0] > time.monotonic()
    monkeypatch.setattr(made.lane, "admit", real)
    conductor._late = [(0.0, late) for _, late in conductor._late]
    conductor._turn({})
    conductor._answer()
    assert made.state(other) == "waiting"
    assert "KeyError" in capsys.readouterr().err


HIDDEN = "/scans/LINDQVIST/26H04711-A1.svs"


def test_hidden_slides_are_found_again_after_a_restart_by_the_map(made, bundle, tmp_path):
    parts = (HIDDEN, "/scans/LINDQVIST/more/26H04711-A1.dcm")
    one = made.submit_hidden(HIDDEN, files=parts)
    asked = made.asked.waiting[-1]
    assert (asked.slide.path, asked.files, asked.slide.given_id) == (HIDDEN, parts, "26H04711-A1")
    made.admit(one)
    made.close()
    state = tmp_path / "state"
    for name in ("service.sqlite", "ledger.sqlite"):
        assert b"LINDQVIST" not in (state / name).read_bytes() and b"26H04711" not in (state / name).read_bytes()
    again = MadeDesk(state, bundle)
    assert (again.asked.waiting[-1].slide.path, again.asked.waiting[-1].files) == (HIDDEN, parts)
    again.admit(one)
    again.score()
    assert again.state(one) == "failed" and again.desk.of(one).reason == "blank"
    again.close()


def test_what_the_map_does_not_know_fails_in_words_and_others_go_on(made, bundle, tmp_path, capsys):
    lost, kept = made.submit_hidden(HIDDEN), made.submit_hidden("/scans/B.svs")
    made.names.pseudonyms.forget([made.names.name("hidden", HIDDEN)])
    made.close()
    again = MadeDesk(tmp_path / "state", bundle)
    said = capsys.readouterr().err
    assert "does not know where 1 slide of service.sqlite lie" in said and "LINDQVIST" not in said
    assert again.state(lost) == "failed" and "map of pseudonyms does not have it" in again.desk.of(lost).reason
    assert [one.submission for one in again.asked.waiting] == [kept]
    again.names.kept("hidden", [HIDDEN])  # the map of that time is back
    again.orders.requeue(lost)
    assert again.asked.waiting[-1].slide.path == HIDDEN and again.state(lost) == "received"
    again.close()


def test_parts_that_the_map_does_not_know_are_looked_for_anew(made, bundle, tmp_path):
    made.submit_hidden(HIDDEN, files=(HIDDEN, "/scans/LINDQVIST/x.dcm"))
    made.names.pseudonyms.forget([made.names.name("hidden", "/scans/LINDQVIST/x.dcm")])
    made.close()
    again = MadeDesk(tmp_path / "state", bundle)
    assert (again.asked.waiting[-1].slide.path, again.asked.waiting[-1].files) == (HIDDEN, ())
    again.close()


def test_one_file_name_in_two_hidden_folders_is_refused_as_before(made):
    made.submit_hidden(HIDDEN)
    with pytest.raises(ConflictError, match="another file is known as slide 'S"):
        made.submit_hidden("/scans/other/26H04711-A1.svs")
    assert not made.desk.submit(made_again(made, HIDDEN)).created, "the same file is the same submission"


def made_again(made, path):
    """What `submit_hidden` asks for."""
    slide_id = made.names.slide_row(path)[0]
    return NewSubmission("hidden", made.names.name("hidden", path), slide_id, slide_id, "routine", "me")


def test_what_a_copy_s_files_are_called_goes_to_the_reader(made):
    """And what pseudonyms stand for stays in memory: the ledger's request has none of it."""
    slide = SlideInput("S1", "/copies/00000.dcm", "P", names={"00000.dcm": "26H04711.dcm"}, given_id="26H04711")
    task = made.lane.task(slide, Look(source="seen"), several=False)
    assert made.plan.plan.job(task, made.plan.config, "seen").names == slide.names
    assert "26H04711" not in str(task.request())
