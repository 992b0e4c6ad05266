"""Counts over a stretch of time: throughput, failures by reason, what was not reportable, by scanner."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pathoprog.inference.service.work.submissions import DONE, FAILED, NOT_REPORTABLE

KINDS = (DONE, NOT_REPORTABLE, FAILED)
HOURLY_UP_TO_H = 72


@dataclass(frozen=True, slots=True)
class Ended:
    """A submission that ended, as whoever asks may see it.

    Attributes:
        submission: its id.
        submitted_at: when it came.
        ended_at: when it ended.
        state: one of `KINDS`.
        reason: why it has no class.
        code: the reason's short name, where there is a result.
        vendor: of its file; empty where it is not known.
        mpp: um per level-0 px as text, likewise.
        risk_class: where there is one that may be seen.
    """

    submission: str
    submitted_at: datetime
    ended_at: datetime
    state: str
    reason: str = ""
    code: str = ""
    vendor: str = ""
    mpp: str = ""
    risk_class: str = ""


@dataclass(frozen=True, slots=True)
class TimeBin:
    """What ended in one stretch; `counts` by kind."""

    start: datetime
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How many ended so for one reason; `reason` and `last` are those of the last of them."""

    state: str
    code: str
    reason: str
    n: int
    last: str


@dataclass(frozen=True, slots=True)
class ScannerCount:
    """How many of one kind of scanner ended how; `counts` by kind."""

    vendor: str
    mpp: str
    counts: Counter[str]


@dataclass(frozen=True)
class NightCounts:
    """See the module; seconds are from submission to end, None where nothing ended."""

    counts: Counter[str]
    classes: Counter[str]
    bin_hours: int
    bins: list[TimeBin]
    reasons: list[ReasonCount]
    scanners: list[ScannerCount]
    median_s: float | None
    p90_s: float | None
    longest_s: float | None


def count_night(ended: Sequence[Ended], start: datetime, end: datetime) -> NightCounts:
    """Count what ended between two times.

    Args:
        ended: all of them, each after `start` and not after `end`.
        start: of the stretch.
        end: of the stretch; bins are the hours of the clock (the first and the last may be parts), or days from the
            start where it is long.
    """
    hourly = end - start <= timedelta(hours=HOURLY_UP_TO_H)
    width = timedelta(hours=1 if hourly else 24)
    first = start.replace(minute=0, second=0, microsecond=0) if hourly else start
    bins = [TimeBin(first + place * width, Counter()) for place in range(math.ceil((end - first) / width))]
    reasons: dict[tuple[str, str], list[Ended]] = {}
    scanners: dict[tuple[str, str], Counter[str]] = {}
    for one in sorted(ended, key=lambda one: one.ended_at):
        bins[min(int((one.ended_at - first) / width), len(bins) - 1)].counts[one.state] += 1
        scanners.setdefault((one.vendor, one.mpp), Counter())[one.state] += 1
        if one.state != DONE:
            reasons.setdefault((one.state, one.code or one.reason), []).append(one)
    seconds = sorted(max((one.ended_at - one.submitted_at).total_seconds(), 0.0) for one in ended)
    return NightCounts(
        counts=Counter(one.state for one in ended),
        classes=Counter(one.risk_class for one in ended if one.risk_class),
        bin_hours=1 if hourly else 24,
        bins=bins,
        reasons=sorted(
            (
                ReasonCount(state, same[-1].code, same[-1].reason, len(same), same[-1].submission)
                for (state, _), same in reasons.items()
            ),
            key=lambda one: (one.state != FAILED, -one.n),
        ),
        scanners=[
            ScannerCount(*name, counts) for name, counts in sorted(scanners.items(), key=lambda item: -item[1].total())
        ],
        median_s=_quantile(seconds, 0.5),
        p90_s=_quantile(seconds, 0.9),
        longest_s=seconds[-1] if seconds else None,
    )


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of them does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None
