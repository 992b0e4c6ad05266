"""The desk without workers: what becomes of submissions in store, ledger and snapshot, also after faults."""

import time
from dataclasses import replace

import pytest
from made_desk import MadeDesk

from pathoprog.inference.engine.ledger import WriteError
from pathoprog.inference.service.work.conductor import Conductor
from pathoprog.inference.service.work.desk import ConflictError
from pathoprog.inference.service.work.preparing import Prepared
from pathoprog.inference.service.work.store import Request, Store
from pathoprog.inference.service.work.submissions import NewSubmission
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
        made.desk.submit(replace(new, path="/scans/below/A.tif", route="other"))


def test_a_file_with_another_s_id_in_a_watched_folder_fails_under_an_id_of_its_own(made):
    made.submit("A")
    new = NewSubmission("colon", "/scans/below/A.tif", "A", "A", "routine", "watch")
    refused = made.desk.refuse(new, "another file has this id", "signature")
    assert (refused.slide_id, refused.state) == ("A (2)", "failed")
    again = made.desk.refuse(replace(new, path="/scans/c/A.tif"), "another file has this id", "signature")
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
    conductor = Conductor(made.settings, [made.plan], made.snapshot)
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


def test_a_file_of_another_version_is_refused_and_not_touched(made, tmp_path):
    from pathoprog.errors import InputError

    path = tmp_path / "newer.sqlite"
    store = Store(path)
    store.connection.execute("PRAGMA user_version=99")
    store.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="of version 99, this version of the service reads 1"):
        Store(path)
    assert path.read_bytes() == before
