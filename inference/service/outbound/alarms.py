"""Alarms: pure rules over how the service stands; each is raised once and taken back once."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pathoprog.inference.service.events import ABOUT, ALARM_NAME, STATE, TEXT, Event, EventKind
from pathoprog.inference.service.outbound.log_lines import LogLevel, ServiceLog
from pathoprog.inference.service.outbound.outbound_config import AlarmSettings

RAISED, CLEARED = "raised", "cleared"
GIB = 1 << 30
EASED = 0.9
"""Share of its limit below which a value that raised an alarm counts as fine again; for disks its inverse."""

AlarmKey: TypeAlias = tuple[str, str]
"""Which alarm, and what it is about (empty where there is one of its kind)."""
Standing: TypeAlias = Mapping[AlarmKey, float | None]
"""Raised alarms, each with the time since when its cause is gone, s; None while the cause is there."""


@dataclass(frozen=True)
class ServiceState:
    """How the service stands, as far as alarms go. Names are those of the settings, never of files or people.

    Attributes:
        oldest_waiting_s: how long the slide that has waited longest has waited; 0 where none waits.
        out_free_bytes: room on the disk of the results.
        state_free_bytes: room on the disk of the state.
        shares_lost: names of watched routes whose folder cannot be reached.
        worker_deaths_last_hour: workers that died.
        webhook_backlog: events that wait for each webhook, by its name.
        webhooks_stopped: names of webhooks whose thread has ended.
        ledger_write_errors: failed writes of the ledger or the store since the last that went well.
        audit_chain_broken: the audit log is not what its chain of hashes says.
    """

    oldest_waiting_s: float = 0.0
    out_free_bytes: int = 1 << 60
    state_free_bytes: int = 1 << 60
    shares_lost: tuple[str, ...] = ()
    worker_deaths_last_hour: int = 0
    webhook_backlog: Mapping[str, int] = field(default_factory=dict)
    webhooks_stopped: tuple[str, ...] = ()
    ledger_write_errors: int = 0
    audit_chain_broken: bool = False


@dataclass(frozen=True)
class AlarmChange:
    """An alarm that is raised or taken back.

    Attributes:
        alarm: its name in `ALARMS`.
        about: the share or webhook that it is about, or empty.
        raised: False where it is taken back.
        text: what is wrong and what to do, or that it is over.
    """

    alarm: str
    about: str
    raised: bool
    text: str


@dataclass(frozen=True)
class AlarmRule:
    """When one kind of alarm is raised.

    Attributes:
        measured: the values that it judges, by what they are about.
        limit: beyond it a value raises the alarm.
        too_little: values below the limit raise it, not those above.
        unit: of a value, in the text; how many of the measured unit it is.
        text: what is wrong and what to do; ``{about}``, ``{value}`` and ``{limit}`` are filled in.
    """

    measured: Callable[[ServiceState], Mapping[str, float]]
    limit: Callable[[AlarmSettings], float]
    text: str
    too_little: bool = False
    unit: float = 1.0


def _waiting(state: ServiceState) -> Mapping[str, float]:
    return {"": state.oldest_waiting_s}


def _waiting_limit(settings: AlarmSettings) -> float:
    return settings.waiting_hours * 3600


def _free(state: ServiceState) -> Mapping[str, float]:
    return {"out": state.out_free_bytes, "state": state.state_free_bytes}


def _free_limit(settings: AlarmSettings) -> float:
    return settings.disk_free_gib * GIB


def _shares(state: ServiceState) -> Mapping[str, float]:
    return dict.fromkeys(state.shares_lost, 1.0)


def _deaths(state: ServiceState) -> Mapping[str, float]:
    return {"": state.worker_deaths_last_hour}


def _deaths_limit(settings: AlarmSettings) -> float:
    return settings.worker_deaths


def _backlog(state: ServiceState) -> Mapping[str, float]:
    return state.webhook_backlog


def _backlog_limit(settings: AlarmSettings) -> float:
    return settings.webhook_backlog


def _stopped(state: ServiceState) -> Mapping[str, float]:
    return dict.fromkeys(state.webhooks_stopped, 1.0)


def _write_errors(state: ServiceState) -> Mapping[str, float]:
    return {"": state.ledger_write_errors}


def _broken(state: ServiceState) -> Mapping[str, float]:
    return {"": float(state.audit_chain_broken)}


def _any(settings: AlarmSettings) -> float:
    return 0.0


ALARMS: Mapping[str, AlarmRule] = {
    "waiting": AlarmRule(
        _waiting,
        _waiting_limit,
        "a slide has waited for {value:.1f} h (limit {limit:g} h); see whether workers run and what they work on",
        unit=3600,
    ),
    "disk": AlarmRule(
        _free,
        _free_limit,
        "the disk of {about} has {value:.1f} GiB left (limit {limit:g} GiB); make room before it is full",
        too_little=True,
        unit=GIB,
    ),
    "share_lost": AlarmRule(
        _shares, _any, "the folder of route {about} cannot be reached; see whether the share is mounted"
    ),
    "worker_deaths": AlarmRule(
        _deaths,
        _deaths_limit,
        "{value:.0f} workers died within an hour (limit {limit:g}); the failed slides' reasons and `pathoprog doctor` "
        "say more",
    ),
    "webhook_backlog": AlarmRule(
        _backlog,
        _backlog_limit,
        "{value:.0f} events wait for webhook {about} (limit {limit:g}); see whether its receiver runs and answers 200",
    ),
    "webhook_stopped": AlarmRule(_stopped, _any, "webhook {about} sends no more, by a defect; start the service again"),
    "write_errors": AlarmRule(
        _write_errors,
        _any,
        "the ledger or the service's store cannot be written ({value:.0f} times in a row); see the disk of state",
    ),
    "audit_chain": AlarmRule(
        _broken,
        _any,
        "the audit log was changed or cut; keep the disk as it is, and compare `pathoprog audit verify` with the heads "
        "that went out",
    ),
}
"""What may be wrong; a new kind is a line."""


def judge(
    state: ServiceState, settings: AlarmSettings, standing: Standing, now_s: float
) -> tuple[dict[AlarmKey, float | None], list[AlarmChange]]:
    """Which alarms stand now, and which of them are new or over.

    Args:
        state: how the service stands.
        settings: the limits.
        standing: what the last call gave, or `standing_after` a start.
        now_s: seconds of a clock that does not run backwards.

    Returns:
        What to give to the next call, and the changes.
    """
    next_standing: dict[AlarmKey, float | None] = {}
    changes: list[AlarmChange] = []
    wrong = dict(_causes(state, settings, standing))
    for key, text in wrong.items():
        next_standing[key] = None
        if key not in standing:
            changes.append(AlarmChange(*key, True, text))
    for key, fine_since_s in standing.items():
        if key in wrong:
            continue
        since_s = now_s if fine_since_s is None else fine_since_s
        if now_s - since_s >= settings.calm_s:
            changes.append(AlarmChange(*key, False, "over"))
        else:
            next_standing[key] = since_s
    return next_standing, changes


def _causes(state: ServiceState, settings: AlarmSettings, standing: Standing) -> Iterable[tuple[AlarmKey, str]]:
    """What is wrong, with its text. An alarm that stands keeps its cause until the value is well within its limit."""
    for name, rule in ALARMS.items():
        limit = rule.limit(settings)
        for about, value in rule.measured(state).items():
            ease = EASED if (name, about) in standing else 1.0
            if value < limit / ease if rule.too_little else value > limit * ease:
                text = rule.text.format(about=about, value=value / rule.unit, limit=limit / rule.unit)
                yield (name, about), text


def alarm_data(change: AlarmChange) -> dict[str, str]:
    """The data of an event of kind `alarm`."""
    state = RAISED if change.raised else CLEARED
    return {ALARM_NAME: change.alarm, ABOUT: change.about, STATE: state, TEXT: change.text}


def log_alarm(log: ServiceLog, change: AlarmChange) -> None:
    """One line in the log."""
    name = f"{change.alarm} {change.about}".strip()
    log.write(LogLevel.ERROR if change.raised else LogLevel.INFO, change.text, alarm=name)


def standing_after(events: Iterable[Event]) -> dict[AlarmKey, float | None]:
    """The alarms that stood when the service ended, from its events in order: so that they are taken back once too."""
    standing: dict[AlarmKey, float | None] = {}
    for event in events:
        if event.kind == EventKind.ALARM:
            key = event.data.get(ALARM_NAME, ""), event.data.get(ABOUT, "")
            if event.data.get(STATE) == RAISED:
                standing[key] = None
            else:
                standing.pop(key, None)
    return standing
