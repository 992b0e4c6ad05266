"""Webhooks: at least once, in order, each receiver for itself; what is refused is kept; no path, no hidden class."""

import json
import threading
import time

import pytest
from made_receiver import Receiver, answer, running_receiver
from made_sender import NOW, SECRET, Store, done, letters, seqs

from pathoprog.errors import ConfigError
from pathoprog.inference.service.events import EventKind
from pathoprog.inference.service.outbound.dead_letters import DeadLetters
from pathoprog.inference.service.outbound.log_lines import ServiceLog
from pathoprog.inference.service.outbound.outbound_config import LogSettings, OutboundSettings, WebhookSettings
from pathoprog.inference.service.outbound.signatures import verify_signature
from pathoprog.inference.service.outbound.webhooks import (
    IDLE_S,
    MOST_HELD,
    delivery_id,
    payload,
    senders_of,
)


def test_events_arrive_in_order_signed_and_are_done_with(sender):
    store = Store(done(1), done(2, "failed"), done(3, "not_reportable"), done(7, "withdrawn"))
    with running_receiver(Receiver(default=204)) as receiver:
        one = sender(receiver.url, store)
        assert [one.step() for _ in range(5)] == [0.0] * 4 + [IDLE_S]
    assert seqs(receiver) == [1, 2, 3, 7] and store.cursors == {"webhook:lis": 7}
    for request, event in zip(receiver.received, store.events, strict=True):
        headers = request.headers
        stamp, signature = headers["X-Pathoprog-Timestamp"], headers["X-Pathoprog-Signature"]
        assert verify_signature(request.body, stamp, signature, [SECRET], NOW)
        assert not verify_signature(request.body + b" ", stamp, signature, [SECRET], NOW)
        assert headers["X-Pathoprog-Event"] == event.kind and headers["Content-Type"] == "application/json"
        assert request.body == payload(event)
    assert len({one.headers["X-Pathoprog-Delivery"] for one in receiver.received}) == 4
    assert one.standing().delivered == 4 and one.standing().waiting == 0


def test_only_the_kinds_asked_for_are_sent_and_the_cursor_passes_the_others(sender):
    store = Store(*(done(seq, kind) for seq, kind in enumerate(EventKind, 1)))
    with running_receiver(Receiver()) as receiver:
        one = sender(receiver.url, store, kinds=["failed", "alarm"])
        while one.step() == 0.0:
            pass
        assert [json.loads(got.body)["kind"] for got in receiver.received] == ["failed", "alarm"]
        assert store.cursors == {"webhook:lis": len(EventKind)}
        store.events.append(done(50, "submitted"))
        assert one.step() == IDLE_S and store.cursors == {"webhook:lis": 50}


def test_pauses_double_up_to_a_cap_and_retries_are_the_same_delivery(sender):
    store = Store(done(1))
    with running_receiver(Receiver(answers=[500, 502, 408, 425, 429, 503, 200])) as receiver:
        one = sender(receiver.url, store, first_pause_s=2.0, most_pause_s=20.0)
        assert [one.step() for _ in range(7)] == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 0.0]
    assert seqs(receiver) == [1] * 7
    assert {got.headers["X-Pathoprog-Delivery"] for got in receiver.received} == {delivery_id("lis", store.events[0])}


def test_jitter_shortens_a_pause_by_half_at_most(sender, tmp_path):
    with running_receiver(Receiver(default=500)) as receiver:
        one = sender(receiver.url, Store(done(1)), first_pause_s=2.0)
        one._jitter = lambda: 0.0
        assert one.step() == 1.0


def test_a_receiver_may_ask_for_a_longer_pause_within_a_bound(sender):
    with running_receiver(Receiver()) as receiver:
        for header in ("50", "5000"):
            receiver.answers.append(answer(503, {"Retry-After": header}))
        one = sender(receiver.url, Store(done(1)), first_pause_s=2.0, most_retry_after_s=60.0)
        assert [one.step() for _ in range(3)] == [50.0, 60.0, 0.0]


def test_a_receiver_that_is_away_is_tried_without_end_and_its_backlog_is_counted(sender, tmp_path):
    store = Store(*(done(seq) for seq in range(1, 21)))
    with running_receiver(Receiver()) as receiver:
        pass
    one = sender(receiver.url, store, refusals=1)
    for _ in range(30):
        assert one.step() > 0
    standing = one.standing()
    assert (standing.waiting, standing.tries, standing.problem) == (20, 30, "no connection")
    store.events += [done(seq) for seq in range(21, MOST_HELD + 500)]
    one.step()
    assert one.standing().waiting == MOST_HELD
    assert store.cursors == {} and letters(tmp_path) == []


def test_a_refused_event_is_put_aside_and_the_next_goes(sender, tmp_path):
    store = Store(done(1), done(2), done(3))
    with running_receiver(Receiver(answers=[410, 503, 302, 400, 200, 200])) as receiver:
        one = sender(receiver.url, store, refusals=3)
        pauses = [one.step() for _ in range(6)]
    assert [pause > 0 for pause in pauses] == [True, True, True, False, False, False]
    assert seqs(receiver) == [1, 1, 1, 1, 2, 3] and store.cursors == {"webhook:lis": 3}
    (letter,) = letters(tmp_path)
    assert (letter.webhook, letter.seq, letter.kind, letter.tries, letter.status) == ("lis", 1, "done", 4, 400)
    assert letter.delivery == receiver.received[0].headers["X-Pathoprog-Delivery"]
    file = tmp_path / "state" / "undelivered.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "S1" not in file.read_text(), "a slide's id stands in the event alone"
    assert "put aside" in (tmp_path / "state" / "service.log").read_text()


def test_refusals_are_counted_of_each_event_alone(sender, tmp_path):
    with running_receiver(Receiver(answers=[400, 400, 200] * 3)) as receiver:
        one = sender(receiver.url, Store(done(1), done(2), done(3)), refusals=3)
        for _ in range(9):
            one.step()
    assert seqs(receiver) == [1] * 3 + [2] * 3 + [3] * 3 and letters(tmp_path) == []


def test_a_restart_goes_on_behind_the_cursor(sender):
    store = Store(done(1), done(2))
    with running_receiver(Receiver()) as receiver:
        sender(receiver.url, store).step()
        assert store.cursors == {"webhook:lis": 1}
        again = sender(receiver.url, store)
        again.step()
        assert again.step() == IDLE_S
    assert seqs(receiver) == [1, 2]


def test_a_delivery_that_could_not_be_noted_comes_again_under_its_id(sender, tmp_path):
    """As after a crash between the answer and the cursor."""
    store = Store(done(1), done(2))
    store.broken = [OSError(28, "No space left on device")]
    with running_receiver(Receiver()) as receiver:
        one = sender(receiver.url, store, first_pause_s=2.0)
        assert one.step() == 2.0 and "No space left" in one.standing().problem
        assert one.step() == 0.0 and one.standing().problem == ""
        one.step()
    assert seqs(receiver) == [1, 1, 2]
    first, second, third = (got.headers["X-Pathoprog-Delivery"] for got in receiver.received)
    assert first == second != third


def test_a_dead_letter_is_kept_before_the_cursor_moves(sender, tmp_path):
    store = Store(done(1))
    store.broken = [OSError(28, "No space left on device")]
    with running_receiver(Receiver(default=404)) as receiver:
        one = sender(receiver.url, store, refusals=1)
        one.step()
        assert len(letters(tmp_path)) == 1 and store.cursors == {}
        one.step()
    assert store.cursors == {"webhook:lis": 1}
    assert len((tmp_path / "state" / "undelivered.jsonl").read_text().splitlines()) == 2
    assert len(letters(tmp_path)) == 1, "what was put aside twice is shown once"


def test_ids_of_deliveries_differ_by_receiver_and_by_event_of_one_number():
    assert delivery_id("lis", done(1)) != delivery_id("other", done(1))
    assert delivery_id("lis", done(1)) != delivery_id("lis", done(1, "failed")), "numbers come again after a restore"


def test_both_secrets_sign_while_they_are_changed_and_the_file_counts_at_once(sender):
    secrets = [(SECRET,), (b"n" * 32, SECRET)]
    with running_receiver(Receiver()) as receiver:
        one = sender(receiver.url, Store(done(1), done(2)), secret=lambda: secrets.pop(0))
        one.step()
        one.step()
    first, second = (
        [
            verify_signature(
                got.body, got.headers["X-Pathoprog-Timestamp"], got.headers["X-Pathoprog-Signature"], [key], NOW
            )
            for key in (SECRET, b"n" * 32)
        ]
        for got in receiver.received
    )
    assert first == [True, False] and second == [True, True]


def test_without_a_secret_nothing_is_sent_and_nothing_lost(sender):
    def gone():
        raise ConfigError("/srv/secrets/lis: others may read it")

    store = Store(done(1))
    with running_receiver(Receiver()) as receiver:
        one = sender(receiver.url, store, secret=gone)
        assert one.step() > 0
    standing = one.standing()
    assert not receiver.received and store.cursors == {} and standing.waiting == 1
    assert "secret" in standing.problem and "/srv" not in standing.problem


@pytest.mark.parametrize(("shadow", "shown"), [("false", True), ("true", False), ("", False), (None, False)])
def test_a_class_is_told_only_where_viewers_may_see_it(shadow, shown):
    data = {"risk_class": "poor"} | ({} if shadow is None else {"shadow": shadow})
    told = json.loads(payload(done(1, **data)))
    assert ("risk_class" in told, b"poor" in payload(done(1, **data))) == (shown, shown)


def test_nothing_else_of_an_event_is_told():
    event = done(1, path="/scans/B23-12345.svs", reason="B23-12345.svs: truncated", patient="Kari Nordmann")
    told = payload(event).decode()
    assert not any(word in told for word in ("B23", "Kari", "scans", "truncated"))
    assert json.loads(told) == {
        "at": "2026-12-01T08:00:00+00:00", "kind": "done", "seq": 1, "slide_id": "S1", "submission": "sub-1",
        "status": "scored", "research_use_only": "For research use only. Not for diagnosis or treatment decisions.",
    }  # fmt: skip


def until(true):
    """Wait for what another thread does; the limit is only there so that a defect ends."""
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to be")


def test_one_receiver_holds_up_no_other(sender, tmp_path):
    store = Store(*(done(seq) for seq in range(1, 11)))
    stuck = threading.Event()
    with (
        running_receiver(Receiver(default=lambda handler: stuck.wait(60))) as slow,
        running_receiver(Receiver()) as quick,
    ):
        senders = [sender(slow.url, store, "slow"), sender(quick.url, store, "quick")]
        for one in senders:
            one.start()
        until(lambda: len(quick.received) == 10)
        until(lambda: slow.received)
        assert senders[1].stop(10) and store.cursors == {"webhook:quick": 10}
        stuck.set()
        assert senders[0].stop(30)
    assert seqs(quick) == list(range(1, 11))


def test_a_thread_that_idles_is_woken_and_stops(sender):
    store = Store()
    with running_receiver(Receiver()) as receiver:
        one = sender(receiver.url, store)
        assert not one.standing().running
        one.start()
        until(lambda: one.standing().running)
        store.events.append(done(1))
        one.notify()
        until(lambda: receiver.received)
        assert one.stop(10) and not one.standing().running


def test_a_pause_after_a_failure_is_not_shortened_by_new_events(sender):
    store = Store(done(1))
    with running_receiver(Receiver(default=500)) as receiver:
        one = sender(receiver.url, store, first_pause_s=3600.0, most_pause_s=3600.0)
        one.start()
        until(lambda: one.standing().tries == 1)
        for _ in range(20):
            one.notify()
            time.sleep(0.005)
        assert one.stop(10) and len(receiver.received) == 1


def test_stopping_what_never_started_is_no_error(sender):
    assert sender("http://localhost:1/", Store()).stop(1)


def test_no_file_but_the_log_and_the_dead_letters_is_written(sender, tmp_path):
    with running_receiver(Receiver(answers=[404] * 3)) as receiver:
        one = sender(receiver.url, Store(done(1), done(2)))
        for _ in range(5):
            one.step()
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["state/service.log", "state/undelivered.jsonl"]


def test_a_torn_dead_letter_spoils_no_other(sender, tmp_path):
    file = tmp_path / "state" / "undelivered.jsonl"
    file.write_text('{"at": "2026-')
    with running_receiver(Receiver(answers=[404])) as receiver:
        one = sender(receiver.url, Store(done(1)), refusals=1)
        one.step()
    assert [letter.seq for letter in letters(tmp_path)] == [1]
    assert DeadLetters(file).counts() == {"lis": 1}


def test_each_webhook_of_the_settings_has_a_sender_that_signs_with_its_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    log, store = ServiceLog(tmp_path / "service.log", LogSettings()), Store(done(1))
    dead = DeadLetters(tmp_path / "undelivered.jsonl")
    with running_receiver(Receiver()) as receiver:
        settings = OutboundSettings([WebhookSettings(name, receiver.url, False, str(secret)) for name in ("a", "b")])
        senders = senders_of(settings, store, dead, log)
        assert [sender.name for sender in senders] == ["a", "b"] and [sender.step() for sender in senders] == [0, 0]
        secret.chmod(0o644)
        with pytest.raises(ConfigError, match="others may read"):
            senders_of(settings, store, dead, log)
    for got in receiver.received:
        stamp, signature = got.headers["X-Pathoprog-Timestamp"], got.headers["X-Pathoprog-Signature"]
        assert verify_signature(got.body, stamp, signature, [SECRET], int(stamp))
    assert store.cursors == {"webhook:a": 1, "webhook:b": 1}
    log.close()
