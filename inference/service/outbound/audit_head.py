"""The audit log's head, once a day, to where a chain that was cut on this disk does not reach."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pathoprog.inference.service.events import HEAD
from pathoprog.inference.service.outbound.event_source import Cursors
from pathoprog.inference.service.outbound.outbound_config import AuditHeadSettings

FILE_CURSOR, EVENT_CURSOR = "audit_head:file", "audit_head:event"
"""Names of the cursors that keep the day (`head_day`) of the last head that went to the file, and to the webhooks."""


def head_day(now: datetime, hour_utc: int) -> int:
    """The last day on which a head was due, as its number (`datetime.date.toordinal`).

    A head is due where the day that was kept with the last one is smaller. After a pause over several days one goes
    out, and a clock that is set back sends none twice.

    Args:
        now: with its zone.
        hour_utc: hour of the day, UTC, from which on it is due.
    """
    return (now.astimezone(UTC) - timedelta(hours=hour_utc)).toordinal()


def head_is_due(kept_day: int, now: datetime, hour_utc: int) -> bool:
    """Whether a head goes out now.

    Args:
        kept_day: `head_day` of the last one; 0 where there was none.
        now: with its zone.
        hour_utc: see `head_day`.
    """
    return kept_day < head_day(now, hour_utc)


def head_data(head: str) -> Mapping[str, str]:
    """The data of an event of kind `audit_head`.

    Args:
        head: ``seq:hash`` of the log's last line.
    """
    return {HEAD: head}


def append_head(path: str | Path, head: str, now: datetime) -> None:
    """Add a line ``time seq:hash`` to a file, synced.

    Args:
        path: of the file; its folder is there.
        head: ``seq:hash`` of the log's last line.
        now: with its zone.

    Raises:
        OSError: it cannot be written; the head stays due.
    """
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(f"{at} {head}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())


def send_head_if_due(
    settings: AuditHeadSettings,
    cursors: Cursors,
    head: Callable[[], str],
    tell: Callable[[Mapping[str, str]], None],
    now: datetime,
) -> bool:
    """Send the head to where the settings say, once a day; called every minute or so.

    Args:
        settings: where it goes.
        cursors: keep the days on which it went out.
        head: gives ``seq:hash`` of the log's last line; asked only where a head is due.
        tell: adds an event of kind `audit_head` with these data.
        now: with its zone.

    Returns:
        Whether one went out.

    Raises:
        OSError: the file cannot be written; the webhooks were told nevertheless, and the file has its turn with the
            next call.
    """
    due = [
        name
        for name, wanted in ((EVENT_CURSOR, settings.event), (FILE_CURSOR, bool(settings.file)))
        if wanted and head_is_due(cursors.get(name), now, settings.hour_utc)
    ]
    if not due:
        return False
    text, day = head(), head_day(now, settings.hour_utc)
    for name in due:
        if name == EVENT_CURSOR:
            tell(head_data(text))
        else:
            append_head(settings.file, text, now)
        cursors.put(name, day)
    return True
