"""The audit's daily head: once a day, after pauses too, and never twice where a clock is set back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pathoprog.inference.service.events import Event
from pathoprog.inference.service.outbound.audit_head import (
    append_head,
    head_data,
    head_day,
    head_is_due,
    send_head_if_due,
)
from pathoprog.inference.service.outbound.outbound_config import AuditHeadSettings
from pathoprog.inference.service.outbound.webhooks import payload

HOUR = 3
NIGHT = datetime(2026, 12, 1, 2, 59, 59, tzinfo=UTC)


def sent_days(times):
    """The times at which a head goes out, of a service that looks at each of them."""
    kept, sent = 0, []
    for now in times:
        if head_is_due(kept, now, HOUR):
            kept = head_day(now, HOUR)
            sent.append(now)
    return sent


def test_one_goes_out_each_day_at_its_hour():
    looks = [NIGHT + timedelta(minutes=10 * k) for k in range(6 * 24 * 3)]
    first, *others = sent_days(looks)
    assert first == NIGHT, "the first of all goes at once"
    assert others == [NIGHT + timedelta(minutes=10, days=day) for day in range(3)]


def test_after_a_pause_of_days_one_goes_out():
    before, after = NIGHT + timedelta(hours=1), NIGHT + timedelta(days=5, hours=1)
    assert sent_days([before, after, after + timedelta(minutes=1), after + timedelta(hours=22)]) == [before, after]


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=1), timedelta(days=400)])
def test_a_clock_that_is_set_back_sends_none_twice(back):
    now = NIGHT + timedelta(hours=1)
    assert sent_days([now, now - back, now]) == [now]


def test_the_zone_of_the_clock_does_not_matter():
    oslo = timezone(timedelta(hours=1))
    assert head_day(NIGHT.astimezone(oslo), HOUR) == head_day(NIGHT, HOUR)


def test_a_line_is_added_for_its_owner_alone(tmp_path):
    path = tmp_path / "heads.txt"
    append_head(path, "17:ab12", NIGHT)
    append_head(path, "29:cd34", NIGHT + timedelta(days=1))
    assert path.read_text() == "2026-12-01T02:59:59+00:00 17:ab12\n2026-12-02T02:59:59+00:00 29:cd34\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="No such file"):
        append_head(tmp_path / "gone" / "heads.txt", "17:ab12", NIGHT)


def test_a_webhook_is_told_the_head():
    event = Event(5, "2026-12-01T03:00:00+00:00", "audit_head", data=head_data("17:ab12"))
    assert b'"head":"17:ab12"' in payload(event)


class Days:
    """Cursors in memory."""

    def __init__(self):
        self.kept = {}

    def get(self, name):
        return self.kept.get(name, 0)

    def put(self, name, seq):
        self.kept[name] = seq


def send(settings, days, told, now, head="17:ab12"):
    return send_head_if_due(settings, days, lambda: head, told.append, now)


def test_it_goes_to_file_and_webhooks_once_a_day(tmp_path):
    settings, days, told = AuditHeadSettings(str(tmp_path / "heads.txt"), True, HOUR), Days(), []
    noon = NIGHT + timedelta(hours=9)
    sent = [send(settings, days, told, noon + timedelta(hours=6 * k), f"{k + 1}:ab12") for k in range(8)]
    assert sent == [True, False, False, True, False, False, False, True]
    assert told == [{"head": "1:ab12"}, {"head": "4:ab12"}, {"head": "8:ab12"}]
    lines = (tmp_path / "heads.txt").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["1:ab12", "4:ab12", "8:ab12"]


def test_where_nothing_is_asked_for_the_log_is_not_even_read():
    days = Days()
    assert not send_head_if_due(AuditHeadSettings(), days, pytest.fail, pytest.fail, NIGHT) and days.kept == {}


def test_a_file_that_cannot_be_written_stays_due_and_holds_up_no_webhook(tmp_path):
    settings, days, told = AuditHeadSettings(str(tmp_path / "gone" / "heads.txt"), True, HOUR), Days(), []
    for _ in range(3):
        with pytest.raises(OSError, match="No such file"):
            send(settings, days, told, NIGHT)
    assert told == [{"head": "17:ab12"}]
    (tmp_path / "gone").mkdir()
    assert send(settings, days, told, NIGHT) and not send(settings, days, told, NIGHT)
    assert told == [{"head": "17:ab12"}]
    assert (tmp_path / "gone" / "heads.txt").read_text().count("\n") == 1
