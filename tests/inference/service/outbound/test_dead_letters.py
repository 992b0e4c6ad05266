"""Dead letters are sent again in order, each as the delivery that it was, behind what is new; none is lost."""

import json

import pytest
from made_receiver import Receiver, answer, running_receiver
from made_sender import NOW, SECRET, Store, done, letters, seqs

from pathoprog.inference.service.outbound.dead_letters import DeadLetter, DeadLetters, LetterOutcome
from pathoprog.inference.service.outbound.signatures import verify_signature
from pathoprog.inference.service.outbound.webhooks import IDLE_S, delivery_id, payload


def letter(seq, webhook="lis", delivery=""):
    return DeadLetter(f"2026-12-01T08:00:{seq:02d}+00:00", webhook, delivery or f"d{seq}", seq, "done", 3, 404)


@pytest.fixture
def refused(sender):
    """A sender whose receiver has refused events 1 to 4, of which it then got the fifth; and the receiver."""
    store = Store(*(done(seq) for seq in range(1, 6)))
    with running_receiver(Receiver(answers=[404] * 4)) as receiver:
        one = sender(receiver.url, store, refusals=1)
        while one.step() == 0.0:
            pass
        assert seqs(receiver) == [1, 2, 3, 4, 5] and store.cursors == {"webhook:lis": 5}
        receiver.received.clear()
        yield one, store, receiver


def test_all_go_again_in_order_each_under_its_delivery_and_signed(refused, tmp_path):
    one, store, receiver = refused
    dead = letters(tmp_path)
    assert [each.seq for each in dead] == [1, 2, 3, 4]
    one.send_again(dead[::-1])
    assert one.standing().again == 4
    one.send_again(dead[:2])
    assert one.standing().again == 4, "asked for twice, sent once"
    assert [one.step() for _ in range(5)] == [0.0] * 4 + [IDLE_S]
    assert seqs(receiver) == [1, 2, 3, 4] and one.standing().again == 0
    for got, each, event in zip(receiver.received, dead, store.events, strict=False):
        assert got.headers["X-Pathoprog-Delivery"] == each.delivery == delivery_id("lis", event)
        assert got.body == payload(event)
        stamp, signature = got.headers["X-Pathoprog-Timestamp"], got.headers["X-Pathoprog-Signature"]
        assert verify_signature(got.body, stamp, signature, [SECRET], NOW)
    assert letters(tmp_path) == [] and store.cursors == {"webhook:lis": 5}, "the cursor is where it was"
    outcomes = [json.loads(line) for line in (tmp_path / "state" / "undelivered.jsonl").read_text().splitlines()[4:]]
    assert [(one["delivery"], one["outcome"]) for one in outcomes] == [(each.delivery, "delivered") for each in dead]


def test_one_alone_goes_again(refused, tmp_path):
    one, _, receiver = refused
    one.send_again(letters(tmp_path)[2:3])
    assert [one.step(), one.step()] == [0.0, IDLE_S]
    assert seqs(receiver) == [3] and [each.seq for each in letters(tmp_path)] == [1, 2, 4]


def test_what_is_refused_again_stays_and_the_next_one_goes(refused, tmp_path):
    one, _, receiver = refused
    receiver.answers = [200, 410, 200, 302]
    one.send_again(letters(tmp_path))
    while one.step() == 0.0:
        pass
    assert seqs(receiver) == [1, 2, 3, 4] and [each.seq for each in letters(tmp_path)] == [2, 4]
    assert one.standing().again == 0 and "sent again, and not delivered" in (tmp_path / "state/service.log").read_text()
    one.send_again(letters(tmp_path))
    while one.step() == 0.0:
        pass
    assert letters(tmp_path) == []


def test_what_is_new_goes_first(refused, tmp_path):
    one, store, receiver = refused
    store.events += [done(6), done(7)]
    one.send_again(letters(tmp_path))
    while one.step() == 0.0:
        pass
    assert seqs(receiver) == [6, 7, 1, 2, 3, 4]


def test_a_busy_receiver_is_waited_for_and_one_that_is_away_for_long_keeps_its_letters(sender, tmp_path):
    store = Store(*(done(seq) for seq in range(1, 4)))
    with running_receiver(Receiver(answers=[404] * 9)) as receiver:
        one = sender(receiver.url, store, refusals=3, first_pause_s=2.0)
        for _ in range(9):
            one.step()
        assert len(letters(tmp_path)) == 3
        receiver.received.clear()
        receiver.answers = [503, answer(429, {"Retry-After": "50"}), 200, 500, 500, 500]
        one.send_again(letters(tmp_path))
        assert [one.step() for _ in range(3)] == [2.0, 50.0, 0.0]
        assert [one.step() for _ in range(4)] == [2.0, 4.0, 0.0, IDLE_S]
    assert seqs(receiver) == [1, 1, 1, 2, 2, 2] and [each.seq for each in letters(tmp_path)] == [2, 3]
    assert one.standing().again == 0 and one.standing().tries == 0


def test_one_whose_event_was_forgotten_or_is_another_now_is_none_any_more(refused, tmp_path):
    one, store, receiver = refused
    dead = letters(tmp_path)
    store.events = [event for event in store.events if event.seq != 2]
    store.events[1] = done(3, "failed")  # after a restore numbers come again
    one.send_again(dead)
    while one.step() == 0.0:
        pass
    assert seqs(receiver) == [1, 4] and letters(tmp_path) == []
    said = (tmp_path / "state" / "undelivered.jsonl").read_text()
    assert said.count('"outcome":"gone"') == 2 and said.count('"outcome":"delivered"') == 2


def test_a_delivery_whose_end_could_not_be_kept_comes_again_under_its_id(refused, tmp_path, monkeypatch):
    one, _, receiver = refused

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(DeadLetters, "_write", full)
        one.send_again(letters(tmp_path)[:1])
        assert one.step() > 0 and "No space left" in one.standing().problem
    while one.step() == 0.0:
        pass
    assert seqs(receiver) == [1, 1] and len({got.headers["X-Pathoprog-Delivery"] for got in receiver.received}) == 1
    assert [each.seq for each in letters(tmp_path)] == [2, 3, 4]


def test_the_file_is_read_as_it_was_left_torn_lines_and_all(tmp_path):
    path = tmp_path / "undelivered.jsonl"
    dead = DeadLetters(path)
    for one in (letter(3), letter(1), letter(2, "other"), letter(1)):
        dead.add(one)
    assert dead.counts() == {"lis": 2, "other": 1} and [one.seq for one in dead.letters()] == [1, 2, 3]
    dead.end(letter(1), "2026-12-01T09:00:00+00:00", LetterOutcome.DELIVERED)
    path.write_bytes(path.read_bytes()[:-5])  # a crash within the last line: it is sent once more
    assert [one.seq for one in DeadLetters(path).letters("lis")] == [1, 3]
    again = DeadLetters(path)
    again.end(letter(1), "2026-12-01T09:00:00+00:00", LetterOutcome.DELIVERED)
    assert [one.seq for one in DeadLetters(path).letters("lis")] == [3] == [one.seq for one in again.letters("lis")]
    again.add(letter(1))  # put aside once more
    assert DeadLetters(path).counts() == {"lis": 2, "other": 1}
    assert path.stat().st_mode & 0o777 == 0o600
