"""What the engine and its workers tell each other."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pathoprog import __version__
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.engine.scoring_plan import ScoringPlan, ScoringTask
from pathoprog.scoring.slide_result import SlideRun


@dataclass(frozen=True)
class Start:
    """What a worker is told first: `device` is its own, `readers` and `threads` its share of the machine."""

    config: ScoreConfig
    plan: ScoringPlan
    device: str
    readers: int
    threads: int


@dataclass(frozen=True)
class Assignment:
    """One attempt at one slide, whose files looked like `source` (`identity.source_sha256`)."""

    job_id: int
    attempt: int
    task: ScoringTask
    source: str

    @property
    def name(self) -> str:
        """Name of what this attempt stages."""
        return f"{self.job_id}-{self.attempt}"


@dataclass(frozen=True)
class Staged:
    """A result that waits to be published: `folder` holds its files, `result` is its result.json."""

    folder: Path
    key: str
    result: str


def run_record(
    device: str, attempt: int, seconds: float, torch: str | None = None, runtime: Mapping[str, str] | None = None
) -> SlideRun:
    """What run.json says: when, where, with what."""
    return SlideRun(
        software_version=__version__,
        device=device,
        attempt=attempt,
        host=platform.node(),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        torch=torch,
        runtime=runtime,
    )
