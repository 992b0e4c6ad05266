"""What the engine tells of the slides, while it happens, to whoever runs it."""

from typing import Protocol


class EngineListener(Protocol):
    """Whoever wants to know what becomes of slides, while it happens; called within a step, so it must be quick."""

    def given(self, slide_id: str) -> None:
        """A worker has it in hand."""

    def put_back(self, slide_id: str, reason: str) -> None:
        """It waits again."""

    def done(self, slide_id: str, state: str) -> None:
        """Its result is committed; `state` is `DONE` or `FAILED`."""

    def tiles(self, n: int) -> None:
        """So many tiles went through the networks."""

    def worker_died(self) -> None:
        """A worker ended that should not have."""
