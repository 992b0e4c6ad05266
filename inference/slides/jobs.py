"""A slide as the ledger knows it, and the states of its work."""

from dataclasses import dataclass
from typing import Any

WAITING, LEASED, PARKED, DONE, FAILED = "waiting", "leased", "parked", "done", "failed"
"""States of a job. Parked: its content is being scored as another slide; that one's end decides."""


@dataclass(frozen=True)
class NewJob:
    """A slide to enrol.

    `request` says whose it is, `source` what its files look like; it waits `delay_s` seconds before its first try.
    """

    slide_id: str
    path: str
    source: str
    request: dict[str, Any]
    delay_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """A row of the ledger."""

    job_id: int
    slide_id: str
    config: str
    path: str
    source: str
    request: dict[str, Any]
    state: str
    attempt: int
    tries: int
    deaths: int
    result_key: str
    reason: str
