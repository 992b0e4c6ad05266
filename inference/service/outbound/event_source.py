"""What the outbound parts ask of the service's store: events in order, and cursors that say how far each has come."""

from typing import Protocol

from pathoprog.inference.service.events import Event


class Cursors(Protocol):
    """Numbers by name, kept over restarts."""

    def get(self, name: str) -> int:
        """A cursor; 0 where it was never put."""

    def put(self, name: str, seq: int) -> None:
        """Keep a cursor, durably."""


class EventSource(Cursors, Protocol):
    """Events and cursors; called from the senders' threads."""

    def after(self, seq: int, limit: int) -> list[Event]:
        """The events with a greater number, in order, at most `limit` of them."""
