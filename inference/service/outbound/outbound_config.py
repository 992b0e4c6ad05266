"""Settings of what leaves the service by itself (light)."""

from dataclasses import dataclass

from pathoprog.errors import ConfigError
from pathoprog.inference.service.events import SENT_KINDS, EventKind
from pathoprog.settings import check, setting

MOST_NAME = 64
"""Characters of a webhook's name."""


@dataclass
class WebhookSettings:
    """One address that is told what happens."""

    name: str = setting("", "name of the receiver in logs, metrics and its cursor; keep it", required=True)
    url: str = setting("", "address that events are posted to, https://…", required=True)
    plain_http: bool = setting(
        False, "allow http:// to another machine: ids and classes then cross the network unencrypted"
    )
    secret_file: str = setting(
        "",
        "file (mode 0600) with the secret that signs, one a line: the new one first, the old one below it as long as "
        "the receiver may still know no other",
        kind="path",
        required=True,
    )
    ca_file: str = setting(
        "", "certificates (PEM) that the receiver's is checked against (default: the system's)", kind="path"
    )
    kinds: list[str] = setting([*map(str, SENT_KINDS)], "kinds of events that are sent", choices=tuple(EventKind))
    connect_timeout_s: float = setting(5.0, "give up connecting after this many seconds", low=0.1, high=120)
    read_timeout_s: float = setting(10.0, "give up waiting for an answer after this many seconds", low=0.1, high=300)
    total_timeout_s: float = setting(30.0, "cut one delivery off after this many seconds", low=0.1, high=600)
    first_pause_s: float = setting(2.0, "pause after the first failed try; it doubles with each", low=0.1, high=3600)
    most_pause_s: float = setting(600.0, "longest pause between two tries, seconds", low=0.1, high=86400)
    most_retry_after_s: float = setting(
        3600.0, "longest pause that the receiver may ask for (Retry-After), seconds", low=0.0, high=86400
    )
    refusals: int = setting(
        8,
        "an event that the receiver refuses this many times (4xx, a redirect) is put aside as undelivered; a receiver "
        "that cannot be reached is tried without end",
        low=1,
        high=1000,
    )


@dataclass
class AlarmSettings:
    """When the service calls for help."""

    waiting_hours: float = setting(
        12.0, "alarm if a slide has waited for longer than this, hours", low=0.0, open_low=True
    )
    disk_free_gib: float = setting(
        20.0, "alarm if the disk of the results or of the state has less room than this, GiB", low=0.0
    )
    worker_deaths: int = setting(2, "alarm if more workers than this died within an hour", low=0)
    webhook_backlog: int = setting(100, "alarm if more events than this wait for one webhook", low=0, high=900)
    calm_s: float = setting(
        60.0, "an alarm is taken back when its cause has been gone for this many seconds", low=0.0, high=86400
    )


@dataclass
class LogSettings:
    """The service's log, one JSON record a line."""

    most_mib: float = setting(20.0, "size at which a log file is closed and the next begins, MiB", low=0.01)
    kept_files: int = setting(10, "closed log files that are kept", low=1, high=1000)


@dataclass
class AuditHeadSettings:
    """Where the head of the audit log goes once a day, since a chain on one disk can be cut."""

    file: str = setting(
        "", "file that a line with the head is added to each day, on another disk or machine", kind="path"
    )
    event: bool = setting(False, "send the head each day to the webhooks that take `audit_head`")
    hour_utc: int = setting(3, "hour of the day, UTC", low=0, high=23)


@dataclass
class OutboundSettings:
    """Webhooks, alarms, the log and the audit's daily head."""

    webhooks: list[WebhookSettings] = setting([], "addresses that are told what happens")
    alarms: AlarmSettings = setting(AlarmSettings(), "when the service calls for help")
    log: LogSettings = setting(LogSettings(), "the service's log")
    audit_head: AuditHeadSettings = setting(AuditHeadSettings(), "where the audit log's head goes each day")


def check_outbound(settings: OutboundSettings, prefix: str = "outbound.") -> None:
    """Check the ranges of all settings, those of each webhook too, and that no two webhooks share a name.

    Raises:
        ConfigError: names the full key.
    """
    check(settings, prefix)
    taken: set[str] = set()
    for number, webhook in enumerate(settings.webhooks, 1):
        key = f"{prefix}webhooks[{number}]."
        check(webhook, key)
        name = webhook.name
        if len(name) > MOST_NAME or not name.isprintable() or "/" in name or "\\" in name:
            raise ConfigError(f"{key}name={name!r}: cannot be a name: it is part of an address and of records")
        if name in taken:
            raise ConfigError(f"{key}name={name!r}: another webhook has this name, and its cursor goes by it")
        taken.add(name)
    head = settings.audit_head
    sends = any(EventKind.AUDIT_HEAD in webhook.kinds for webhook in settings.webhooks)
    if head.event and not sends:
        raise ConfigError(
            f"{prefix}audit_head.event=true: no webhook takes it; put audit_head into the kinds of one of them"
        )
