"""What happens in the service, as one frozen record: the event that is kept, listened to and sent out."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """What may happen; the one list of kinds."""

    SUBMITTED = "submitted"
    STARTED = "started"
    DONE = "done"
    NOT_REPORTABLE = "not_reportable"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"
    ALARM = "alarm"
    WATCH = "watch"
    AUDIT_HEAD = "audit_head"
    OUTLINE_ACCEPTED = "outline_accepted"


SENT_KINDS = (
    EventKind.DONE,
    EventKind.NOT_REPORTABLE,
    EventKind.FAILED,
    EventKind.WITHDRAWN,
    EventKind.ALARM,
)
"""What a webhook is told unless its settings say otherwise."""
SHADOW, STATUS, RISK_CLASS, ROUTE, ENSEMBLE_ID, CODE = (
    "shadow", "status", "risk_class", "route", "ensemble_id", "code",
)  # fmt: skip
"""Keys of an event's data that others than its writer read. `SHADOW` is ``false`` for a result that viewers may see,
and ``true`` for one that is withheld."""
ALARM_NAME, ABOUT, STATE, TEXT = "alarm", "about", "state", "text"
"""Keys of an alarm's data: which it is; the share or webhook that it is about, if any; raised or cleared; in words."""
HEAD = "head"
"""Key of the audit log's head, ``seq:hash``."""


@dataclass(frozen=True)
class Event:
    """One thing that happened. No path is ever in it, and where a route asks for pseudonyms no given id.

    Attributes:
        seq: its number, from 1 up without repeats; the order of all events.
        at: UTC, ISO 8601, to the second.
        kind: one of `EventKind`.
        submission: the submission's id; empty where it is about none.
        slide_id: of the slide, a pseudonym where the route asks for it; empty where it is about none.
        data: more by name, see `SHADOW` and its neighbours.

    Raises:
        ValueError: a kind that there is not.
    """

    seq: int
    at: str
    kind: str
    submission: str = ""
    slide_id: str = ""
    data: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        EventKind(self.kind)


def event_json(event: Event) -> str:
    """Canonical JSON of an event, on one line: equal events give equal bytes."""
    return line_json(asdict(event))


def line_json(value: Mapping[str, Any]) -> str:
    """JSON on one line with sorted keys and no spaces; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
