"""Alarms: each is raised once and taken back once, and a value that wavers at its limit raises no second one."""

from dataclasses import replace

import pytest

from pathoprog.inference.service.events import Event
from pathoprog.inference.service.outbound.alarms import (
    ALARMS,
    GIB,
    ServiceState,
    alarm_data,
    judge,
    log_alarm,
    standing_after,
)
from pathoprog.inference.service.outbound.log_lines import ServiceLog
from pathoprog.inference.service.outbound.outbound_config import AlarmSettings, LogSettings

SETTINGS = AlarmSettings(waiting_hours=2.0, disk_free_gib=10.0, worker_deaths=2, webhook_backlog=100, calm_s=60.0)
WELL = ServiceState()
WRONG = {
    ("waiting", ""): ServiceState(oldest_waiting_s=7201),
    ("disk", "out"): ServiceState(out_free_bytes=9 * GIB),
    ("disk", "state"): ServiceState(state_free_bytes=0),
    ("share_lost", "scanner"): ServiceState(shares_lost=("scanner",)),
    ("worker_deaths", ""): ServiceState(worker_deaths_last_hour=3),
    ("webhook_backlog", "lis"): ServiceState(webhook_backlog={"lis": 101, "other": 100}),
    ("webhook_stopped", "lis"): ServiceState(webhooks_stopped=("lis",)),
    ("write_errors", ""): ServiceState(ledger_write_errors=1),
    ("audit_chain", ""): ServiceState(audit_chain_broken=True),
}


def told(states, settings=SETTINGS, every_s=30.0, standing=None):
    """(time, alarm, about, raised) of each change as the states come by."""
    said, standing = [], standing or {}
    for number, state in enumerate(states):
        standing, changes = judge(state, settings, standing, number * every_s)
        said += [(number * every_s, change.alarm, change.about, change.raised) for change in changes]
    return said


def test_each_rule_is_tried_here():
    assert {name for name, _ in WRONG} == set(ALARMS)


@pytest.mark.parametrize("key", list(WRONG))
def test_an_alarm_is_raised_once_and_taken_back_once(key):
    states = [WELL, WRONG[key], WRONG[key], WRONG[key], WELL, WELL, WELL, WELL]
    assert told(states) == [(30.0, *key, True), (180.0, *key, False)]


@pytest.mark.parametrize("key", list(WRONG))
def test_its_words_name_what_it_is_about(key):
    _, (change,) = judge(WRONG[key], SETTINGS, {}, 0.0)
    assert key[1] in change.text and "{" not in change.text and len(change.text) > 20


def test_numbers_are_said_in_the_units_of_the_settings():
    _, (waiting,) = judge(WRONG["waiting", ""], SETTINGS, {}, 0.0)
    _, (disk,) = judge(WRONG["disk", "out"], SETTINGS, {}, 0.0)
    assert "2.0 h (limit 2 h)" in waiting.text and "9.0 GiB left (limit 10 GiB)" in disk.text


def test_the_limits_themselves_raise_nothing():
    at_limit = ServiceState(
        oldest_waiting_s=7200, out_free_bytes=10 * GIB, worker_deaths_last_hour=2, webhook_backlog={"lis": 100}
    )
    assert told([at_limit]) == []


def test_a_value_that_wavers_at_its_limit_raises_one_alarm():
    above, below = ServiceState(oldest_waiting_s=7300), ServiceState(oldest_waiting_s=7100)
    assert told([above, below] * 10) == [(0.0, "waiting", "", True)]
    assert told([above, *[below] * 10]) == [(0.0, "waiting", "", True)], "just within its limit is not well"
    assert told([above, *[ServiceState(oldest_waiting_s=6400)] * 3])[1:] == [(90.0, "waiting", "", False)]
    little, some = ServiceState(out_free_bytes=9 * GIB), ServiceState(out_free_bytes=11 * GIB)
    assert told([little, some] * 10) == [(0.0, "disk", "out", True)]
    assert told([little, *[some] * 10]) == [(0.0, "disk", "out", True)]
    assert told([little, *[ServiceState(out_free_bytes=12 * GIB)] * 3])[1:] == [(90.0, "disk", "out", False)]


def test_a_share_that_comes_and_goes_is_one_alarm():
    lost = WRONG["share_lost", "scanner"]
    assert told([lost, WELL, lost, WELL] * 5) == [(0.0, "share_lost", "scanner", True)]


def test_alarms_of_one_kind_stand_side_by_side():
    both = ServiceState(shares_lost=("a", "b"))
    assert told([both, replace(both, shares_lost=("b",))] + [WELL] * 4) == [
        (0.0, "share_lost", "a", True), (0.0, "share_lost", "b", True),
        (90.0, "share_lost", "a", False), (120.0, "share_lost", "b", False),
    ]  # fmt: skip


def test_an_alarm_that_stood_at_the_end_is_not_raised_again_and_taken_back_once(tmp_path):
    standing, changes = judge(WRONG["share_lost", "scanner"], SETTINGS, {}, 0.0)
    _, over = judge(WELL, replace(SETTINGS, calm_s=0.0), {("waiting", ""): None}, 0.0)
    written = [
        Event(seq, "2026-12-01T08:00:00+00:00", "alarm", data=alarm_data(change))
        for seq, change in enumerate([replace(over[0], raised=True), *changes, *over], 1)
    ]
    assert standing_after([*written, Event(9, "2026-12-01T08:00:00+00:00", "done")]) == standing
    assert told([WRONG["share_lost", "scanner"], WELL, WELL, WELL], standing=standing) == [
        (90.0, "share_lost", "scanner", False)
    ]


def test_an_alarm_is_an_event_and_a_line_of_the_log(tmp_path):
    _, (change,) = judge(WRONG["disk", "out"], SETTINGS, {}, 0.0)
    data = alarm_data(change)
    assert data == {"alarm": "disk", "about": "out", "state": "raised", "text": change.text}
    assert alarm_data(replace(change, raised=False))["state"] == "cleared"
    log = ServiceLog(tmp_path / "service.log", LogSettings())
    log_alarm(log, change)
    log_alarm(log, replace(change, raised=False, text="over"))
    log.close()
    raised, over = (tmp_path / "service.log").read_text().splitlines()
    assert '"level": "error"' in raised and '"alarm": "disk out"' in raised and "9.0 GiB" in raised
    assert '"level": "info"' in over
