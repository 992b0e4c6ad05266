"""Counts of a night: bins, reasons, scanners, times."""

from datetime import UTC, datetime, timedelta

from pathoprog.inference.service.page.night import Ended, count_night

END = datetime(2026, 12, 2, 6, 30, tzinfo=UTC)
START = END - timedelta(hours=12)


def one(minutes_before_end, state="done", took_s=60.0, **more):
    at = END - timedelta(minutes=minutes_before_end)
    return Ended(f"s{minutes_before_end}", at - timedelta(seconds=took_s), at, state, **more)


def test_bins_are_hours_of_the_clock_and_hold_everything():
    counts = count_night([one(0), one(29), one(31), one(12 * 60 - 1)], START, END)
    assert counts.bin_hours == 1 and len(counts.bins) == 13
    assert counts.bins[0].start == datetime(2026, 12, 1, 18, tzinfo=UTC)
    found = [bin.counts["done"] for bin in counts.bins]
    assert found[0] == 1 and found[-2:] == [1, 2] and sum(found) == 4


def test_a_long_time_is_counted_by_days():
    start = END - timedelta(days=30)
    counts = count_night([one(0), one(60 * 24 * 30 - 1)], start, END)
    assert counts.bin_hours == 24 and len(counts.bins) == 30
    assert counts.bins[0].counts["done"] == counts.bins[-1].counts["done"] == 1


def test_reasons_are_counted_by_their_code_failures_first():
    ended = [
        one(5, "not_reportable", code="mpp", reason="no 40x score: 0.5"),
        one(9, "not_reportable", code="mpp", reason="no 40x score: 0.6"),
        one(7, "failed", reason="truncated"),
        one(3),
    ]
    counts = count_night(ended, START, END)
    assert [(found.state, found.n, found.reason, found.last) for found in counts.reasons] == [
        ("failed", 1, "truncated", "s7"),
        ("not_reportable", 2, "no 40x score: 0.5", "s5"),
    ]
    assert counts.counts == {"not_reportable": 2, "failed": 1, "done": 1}


def test_scanners_and_classes_are_counted():
    ended = [
        one(1, vendor="aperio", mpp="0.25", risk_class="good"),
        one(2, vendor="aperio", mpp="0.25", risk_class="poor"),
        one(3, "failed"),
    ]
    counts = count_night(ended, START, END)
    assert [(found.vendor, found.mpp, dict(found.counts)) for found in counts.scanners] == [
        ("aperio", "0.25", {"done": 2}),
        ("", "", {"failed": 1}),
    ]
    assert counts.classes == {"good": 1, "poor": 1}


def test_times_are_those_that_a_share_of_the_slides_did_not_exceed():
    counts = count_night([one(place, took_s=10.0 * (place + 1)) for place in range(10)], START, END)
    assert (counts.median_s, counts.p90_s, counts.longest_s) == (50.0, 90.0, 100.0)
    empty = count_night([], START, END)
    assert empty.median_s is None and empty.longest_s is None and len(empty.bins) == 13
