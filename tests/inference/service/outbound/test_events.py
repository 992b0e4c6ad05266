"""Events: the kinds that there are, and one spelling in JSON."""

import json

import pytest

from pathoprog.inference.service.events import Event, EventKind, event_json


def test_equal_events_give_equal_bytes_on_one_line():
    one = Event(3, "2026-12-01T08:00:00+00:00", "done", "sub", "Sé\n1", {"b": "2", "a": "1"})
    other = Event(3, "2026-12-01T08:00:00+00:00", EventKind.DONE, "sub", "Sé\n1", {"a": "1", "b": "2"})
    assert one == other and event_json(one) == event_json(other)
    assert "\n" not in event_json(one)
    assert json.loads(event_json(one)) == {
        "seq": 3, "at": "2026-12-01T08:00:00+00:00", "kind": "done", "submission": "sub", "slide_id": "Sé\n1",
        "data": {"a": "1", "b": "2"},
    }  # fmt: skip


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="finished"):
        Event(1, "2026-12-01T08:00:00+00:00", "finished")
