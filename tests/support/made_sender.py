"""Events in memory, and senders of webhooks that tell one time and take pauses in full; for tests."""

import json

from pathoprog.inference.service.events import Event
from pathoprog.inference.service.outbound.dead_letters import DeadLetters
from pathoprog.inference.service.outbound.outbound_config import WebhookSettings
from pathoprog.inference.service.outbound.webhooks import WebhookSender

SECRET = b"s" * 32
NOW = 1_800_000_000.0


class Store:
    """Events and cursors in memory; `broken` makes the next uses fail."""

    def __init__(self, *events):
        self.events, self.cursors, self.broken = list(events), {}, []

    def after(self, seq, limit):
        return [event for event in self.events if event.seq > seq][:limit]

    def get(self, name):
        return self.cursors.get(name, 0)

    def put(self, name, seq):
        if self.broken:
            raise self.broken.pop()
        assert seq >= self.get(name), "a cursor goes forward"
        self.cursors[name] = seq


def done(seq, kind="done", **data):
    return Event(seq, "2026-12-01T08:00:00+00:00", kind, f"sub-{seq}", f"S{seq}", {"status": "scored", **data})


def seqs(receiver):
    """Numbers of the events that a receiver was sent."""
    return [json.loads(one.body)["seq"] for one in receiver.received]


def letters(folder):
    """The dead letters, as another start finds them."""
    return list(DeadLetters(folder / "state" / "undelivered.jsonl").letters())


def made_sender(folder, log, url, store, name="lis", secret=None, **more):
    """A sender whose dead letters lie in the folder's state."""
    endpoint = WebhookSettings(**{"name": name, "url": url, "secret_file": "none", "refusals": 3, **more})
    dead = DeadLetters(folder / "state" / "undelivered.jsonl")
    return WebhookSender(endpoint, store, secret or (lambda: (SECRET,)), dead, log, lambda: NOW, lambda: 1.0)
