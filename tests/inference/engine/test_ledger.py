"""The ledger: leases, fencing, retries, and clocks that jump."""

import os
import sqlite3
import stat
from contextlib import closing

import pytest

from pathoprog.errors import InputError
from pathoprog.inference.engine.ledger import LEASE_S, Ledger
from pathoprog.inference.engine.process_identity import is_alive, namespace, this_process
from pathoprog.inference.slides.jobs import DONE, FAILED, WAITING, NewJob

CONFIG = "config"
DEAD = f"999999999@1.00@{namespace()}"


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


OPEN = []


@pytest.fixture(autouse=True)
def close():
    yield
    while OPEN:
        OPEN.pop().close()


def opened(path, clock, names="ABC", owner=None, boot="boot 1", **changes):
    ledger = Ledger(path, clock, boot, owner or this_process())
    OPEN.append(ledger)
    jobs = [new(name, **changes) for name in names]
    ledger.enrol(jobs, CONFIG, ledger.standing(jobs, CONFIG, False, lambda job: True))
    return ledger


def new(name, source="as it was", delay_s=0.0, **request):
    return NewJob(name, f"/slides/{name}.svs", source, request, delay_s)


def done(ledger, job, key="key", result='{"slide_id": "A"}', publish=lambda: None):
    return ledger.commit(job, DONE, key, "", result, publish)


def ids(jobs):
    return [job.slide_id for job in jobs]


def test_it_is_readable_by_its_owner_alone_and_safe_on_disk(path, clock):
    opened(path, clock)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    ledger = opened(path, clock)
    assert ledger.connection.execute("PRAGMA synchronous").fetchone()[0] == 3  # EXTRA


def test_slides_are_leased_in_order_and_once(path, clock):
    ledger = opened(path, clock)
    assert ids(ledger.lease(CONFIG, 2, alone=True)) == ["A", "B"]
    assert ids(ledger.lease(CONFIG, 2, alone=False)) == ["C"]
    assert ledger.lease(CONFIG, 2, alone=True) == []
    assert ledger.unfinished(CONFIG) == 3


def test_two_services_never_hold_one_slide(path, clock):
    one, other = opened(path, clock), opened(path, clock)
    assert ids(one.lease(CONFIG, 2, alone=True)) == ["A", "B"]
    assert ids(other.lease(CONFIG, 3, alone=True)) == ["C"]


def test_a_stale_worker_cannot_commit(path, clock):
    ledger = opened(path, clock, "A")
    (late,) = ledger.lease(CONFIG, 1, alone=True)
    clock.now += LEASE_S + 1
    (taken_over,) = ledger.lease(CONFIG, 1, alone=True)
    assert taken_over.attempt == late.attempt + 1
    published = []
    assert not done(ledger, late, publish=lambda: published.append("late"))
    assert done(ledger, taken_over, publish=lambda: published.append("second"))
    assert not done(ledger, taken_over), "nor does anybody commit twice"
    assert published == ["second"] and ledger.unfinished(CONFIG) == 0


def test_heartbeats_keep_a_lease(path, clock):
    one, other = opened(path, clock, "A"), opened(path, clock, "A")
    one.lease(CONFIG, 1, alone=True)
    for _ in range(5):
        clock.now += LEASE_S / 2
        one.heartbeat()
        assert other.lease(CONFIG, 1, alone=True) == []
    clock.now += LEASE_S + 1
    assert ids(other.lease(CONFIG, 1, alone=True)) == ["A"]


def test_leases_of_a_dead_process_or_of_before_the_last_start_are_free_at_once(path, clock):
    opened(path, clock, "A", owner=DEAD).lease(CONFIG, 1, alone=True)
    assert ids(opened(path, clock, "A").lease(CONFIG, 1, alone=True)) == ["A"]
    clock.now = 5.0  # the monotonic clock began anew
    assert ids(opened(path, clock, "A", boot="boot 2").lease(CONFIG, 1, alone=True)) == ["A"]


@pytest.mark.parametrize("days", [-1, 1])
def test_the_wall_clock_may_jump_by_a_day(path, clock, monkeypatch, days):
    import pathoprog.inference.engine.ledger as module

    one, other = opened(path, clock, "A"), opened(path, clock, "A")
    (job,) = one.lease(CONFIG, 1, alone=True)
    monkeypatch.setattr(module, "_now", lambda: f"2026-11-{22 + days}T00:00:00+00:00")
    assert other.lease(CONFIG, 1, alone=True) == [], "the lease holds whatever the wall clock says"
    assert done(one, job) and not done(one, job)


def test_a_failing_publication_commits_nothing(path, clock):
    ledger = opened(path, clock, "A")
    (job,) = ledger.lease(CONFIG, 1, alone=True)

    def full():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        done(ledger, job, publish=full)
    assert ledger.unfinished(CONFIG) == 1
    assert done(ledger, job), "the lease is still held"


def test_what_may_pass_is_tried_three_times_with_growing_pauses(path, clock):
    ledger = opened(path, clock, "A")
    pauses = []
    for _ in range(2):
        (job,) = ledger.lease(CONFIG, 1, alone=True)
        assert ledger.retry(job, "the share is gone")
        before = clock.now
        while not (found := ledger.lease(CONFIG, 1, alone=True)):
            clock.now += 1
        pauses.append(clock.now - before)
        ledger.postpone(found[0], "as it was", 0)
    (job,) = ledger.lease(CONFIG, 1, alone=True)
    assert not ledger.retry(job, "the share is gone"), "the third try was the last"
    assert pauses == [2, 8]


def test_a_slide_in_whose_hands_a_worker_died_is_tried_alone_and_last(path, clock):
    ledger = opened(path, clock, "ABC")
    first, second = ledger.lease(CONFIG, 2, alone=True)
    assert ledger.retry(first, "died", died=True) and ledger.retry(second, "died", died=True)
    assert ids(ledger.lease(CONFIG, 3, alone=False)) == ["C"], "the innocent first"
    assert ledger.lease(CONFIG, 3, alone=False) == [], "not beside others"
    (suspect,) = ledger.lease(CONFIG, 3, alone=True)
    assert suspect.slide_id == "A" and suspect.deaths == 1
    assert not ledger.retry(suspect, "died", died=True), "twice is enough"


def test_the_same_content_is_scored_once(path, clock):
    ledger = opened(path, clock, "AB")
    one, twin = ledger.lease(CONFIG, 2, alone=True)
    assert ledger.claim(one, "key", share=True) == "score"
    assert ledger.claim(twin, "key", share=True) == "park"
    assert ledger.lease(CONFIG, 1, alone=True) == []
    assert done(ledger, one)
    (twin,) = ledger.lease(CONFIG, 1, alone=True)
    assert twin.slide_id == "B" and ledger.claim(twin, "key", share=True) == "copy"
    assert ledger.result_of("key") == '{"slide_id": "A"}'
    assert ledger.commit(twin, DONE, "key", "", "", lambda: None)
    assert ledger.result_of("key") == '{"slide_id": "A"}', "a key has one result"


def test_a_kept_result_that_cannot_be_read_is_scored_once_more(path, clock):
    ledger = opened(path, clock, "ABCD")
    first, *others = ledger.lease(CONFIG, 4, alone=True)
    ledger.claim(first, "key", share=True)
    assert done(ledger, first)
    ledger.forget_result("key")
    assert ledger.result_of("key") == ""
    second, third, fourth = others
    assert ledger.claim(second, "key", share=True) == "score", "a twin without its result is none"
    assert ledger.claim(third, "key", share=True) == "park", "but one that is being scored is"
    assert done(ledger, second, result='{"slide_id": "B"}')
    assert ledger.claim(fourth, "key", share=True) == "copy" and ledger.result_of("key") == '{"slide_id": "B"}'


@pytest.mark.parametrize("damage", [b"\xff", "\ud800".encode("utf-8", "surrogatepass")])
def test_what_is_no_text_is_no_result(path, clock, damage):
    ledger = opened(path, clock, "A")
    (job,) = ledger.lease(CONFIG, 1, alone=True)
    done(ledger, job)
    ledger.connection.execute("UPDATE results SET result = CAST(? AS TEXT)", (damage,))
    assert ledger.result_of("key") == ""


def test_slides_refused_before_their_content_was_known_share_no_result(path, clock):
    ledger = opened(path, clock, "AB")
    for job in ledger.lease(CONFIG, 2, alone=True):
        assert done(ledger, job, key="", result='{"reason": "no um/px"}')
    assert ledger.unfinished(CONFIG) == 0
    assert ledger.connection.execute("SELECT count(*) FROM results").fetchone()[0] == 0


def test_a_twin_of_a_failed_slide_is_tried_itself(path, clock):
    ledger = opened(path, clock, "AB")
    one, twin = ledger.lease(CONFIG, 2, alone=True)
    ledger.claim(one, "key", share=True)
    ledger.claim(twin, "key", share=True)
    ledger.commit(one, FAILED, "key", "NaN", "", lambda: None)
    (twin,) = ledger.lease(CONFIG, 1, alone=True)
    assert ledger.claim(twin, "key", share=True) == "score"


def test_a_twin_of_a_slide_whose_process_was_killed_is_freed(path, clock):
    dead = opened(path, clock, "AB", owner=DEAD)
    one, twin = dead.lease(CONFIG, 2, alone=True)
    dead.claim(one, "key", share=True)
    dead.claim(twin, "key", share=True)
    ledger = opened(path, clock, "AB")
    assert ids(ledger.lease(CONFIG, 2, alone=True)) == ["A"]
    ledger.free_parked(CONFIG)
    assert ids(ledger.lease(CONFIG, 2, alone=True)) == ["B"]


def test_a_lost_lease_is_told_when_the_slide_is_open(path, clock):
    ledger = opened(path, clock, "A")
    (late,) = ledger.lease(CONFIG, 1, alone=True)
    clock.now += LEASE_S + 1
    ledger.lease(CONFIG, 1, alone=True)
    assert ledger.claim(late, "key", share=True) == "stale"


def test_an_orderly_stop_gives_everything_back(path, clock):
    ledger = opened(path, clock, "AB")
    one, twin = ledger.lease(CONFIG, 2, alone=True)
    ledger.claim(one, "key", share=True)
    ledger.claim(twin, "key", share=True)
    ledger.release()
    assert ids(opened(path, clock, "AB").lease(CONFIG, 2, alone=True)) == ["A", "B"]


def test_done_work_stands_until_slide_request_or_result_change(path, clock):
    ledger = opened(path, clock, "ABC")
    first, second, _ = ledger.lease(CONFIG, 3, alone=True)
    done(ledger, first, "key A")
    ledger.commit(second, FAILED, "", "truncated", "", lambda: None)

    def standing(requeue=False, holds=True, **changes):
        jobs = [new(name, **changes) for name in "ABC"]
        return sorted(ledger.standing(jobs, CONFIG, requeue, lambda job: holds))

    assert standing() == ["A", "B", "C"], "done, failed for good, and in work"
    assert standing(requeue=True) == ["A", "C"]
    assert standing(holds=False) == ["B", "C"]
    assert standing(source="newer") == [] and standing(role="external") == []
    assert standing(source="") == [], "a slide that cannot be looked at is no slide that is unchanged"


def test_new_work_fences_out_the_attempt_that_is_under_way(path, clock):
    ledger = opened(path, clock, "A")
    (late,) = ledger.lease(CONFIG, 1, alone=True)
    opened(path, clock, "A", source="copied anew")
    assert not done(ledger, late)
    assert ledger.job(late.job_id).state == WAITING


def test_a_file_being_copied_waits_without_losing_a_try(path, clock):
    ledger = opened(path, clock, "A", delay_s=10)
    assert ledger.lease(CONFIG, 1, alone=True) == []
    clock.now += 10
    (job,) = ledger.lease(CONFIG, 1, alone=True)
    ledger.postpone(job, "larger", 10)
    assert ledger.lease(CONFIG, 1, alone=True) == []
    clock.now += 10
    (job,) = ledger.lease(CONFIG, 1, alone=True)
    assert (job.source, job.tries) == ("larger", 0)


def test_something_else_is_no_ledger(path, clock):
    path.write_bytes(b"no database, and long enough to be looked at as one" * 20)
    with pytest.raises(InputError, match="cannot be used as a ledger"):
        Ledger(path, clock)
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(InputError, match="version 99"):
        Ledger(path, clock)


def test_who_is_alive():
    assert is_alive(this_process())
    assert not is_alive(f"{os.getpid()}@1.00@{namespace()}"), "a number given to another process"
    assert not is_alive(DEAD)
    assert is_alive("7@1.00@pid:[1]"), "of another container: it cannot be seen from here"
    assert not is_alive("") and not is_alive("no process")
