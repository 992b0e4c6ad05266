"""Webhooks: what happens is told to the laboratory's systems, at least once, in order, signed.

Each receiver has a sender with a thread and a cursor of its own, so that none holds up another. A receiver that cannot
be reached, or is busy, is tried without end with growing pauses; an event that it refuses often enough is put aside
(`dead_letters`) and the next one goes. What was put aside is sent again when somebody asks for it, while nothing newer
waits.
"""

import hashlib
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from functools import partial

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.errors import PathoprogError
from pathoprog.inference.service.events import (
    ABOUT,
    ALARM_NAME,
    CODE,
    ENSEMBLE_ID,
    HEAD,
    RISK_CLASS,
    ROUTE,
    SHADOW,
    STATE,
    STATUS,
    TEXT,
    Event,
    event_json,
    line_json,
)
from pathoprog.inference.service.outbound.dead_letters import DeadLetter, DeadLetters, LetterOutcome
from pathoprog.inference.service.outbound.event_source import EventSource
from pathoprog.inference.service.outbound.http_post import Answer, Poster
from pathoprog.inference.service.outbound.log_lines import LogLevel, ServiceLog, why
from pathoprog.inference.service.outbound.outbound_config import OutboundSettings, WebhookSettings
from pathoprog.inference.service.outbound.signatures import (
    DELIVERY,
    EVENT,
    SIGNATURE,
    TIMESTAMP,
    read_secrets,
    signed_with_each,
)

IDLE_S = 5.0
"""Between two looks where nothing is heard of new events."""
RANDOM = random.SystemRandom()
MOST_HELD = 1000
"""Events of one receiver that are held, and counted as waiting, at once."""
SENT_KEYS = (STATUS, ROUTE, ENSEMBLE_ID, CODE, ALARM_NAME, ABOUT, STATE, TEXT, HEAD)
"""What of an event's data is sent, beside a class that viewers may see."""
BUSY = (408, 425, 429)
"""Statuses of 400 to 499 that ask for another try."""
CURSOR = "webhook:"
"""Before a receiver's name, the name of its cursor."""


class DeliveryVerdict(Enum):
    """What a receiver's answer means."""

    DELIVERED = "delivered"
    AGAIN = "again"
    REFUSED = "refused"


@dataclass(frozen=True)
class WebhookStanding:
    """How one receiver stands.

    Attributes:
        name: of the receiver.
        waiting: events that wait for it, counted up to `MOST_HELD`.
        tries: how often the first of them was tried in vain.
        problem: of the last try; empty where it went well.
        delivered: events that were delivered since the service started.
        running: its thread lives.
        again: dead letters that are being sent again.
    """

    name: str
    waiting: int = 0
    tries: int = 0
    problem: str = ""
    delivered: int = 0
    running: bool = False
    again: int = 0


def payload(event: Event) -> bytes:
    """What a receiver is told of an event: canonical JSON with ids, status and, where viewers may see it, the class."""
    told = {
        "seq": event.seq,
        "at": event.at,
        "kind": str(event.kind),
        "submission": event.submission,
        "slide_id": event.slide_id,
        "research_use_only": RESEARCH_USE_ONLY,
        **{key: event.data[key] for key in SENT_KEYS if key in event.data},
    }
    if event.data.get(SHADOW) == "false" and RISK_CLASS in event.data:  # what does not say so is withheld
        told[RISK_CLASS] = event.data[RISK_CLASS]
    return line_json(told).encode("utf-8")


def delivery_id(webhook: str, event: Event) -> str:
    """The same for each try of an event at a receiver, after a restart too; another for any other event.

    It follows from all of the event, since numbers come again where a backup was restored.
    """
    return hashlib.sha256(f"{webhook}\0{event_json(event)}".encode()).hexdigest()[:32]


def verdict_on(answer: Answer) -> DeliveryVerdict:
    """What to do after an answer. Redirects are not followed, and count as refusals."""
    if 200 <= answer.status < 300:
        return DeliveryVerdict.DELIVERED
    if answer.status == 0 or answer.status >= 500 or answer.status in BUSY:
        return DeliveryVerdict.AGAIN
    return DeliveryVerdict.REFUSED


class WebhookSender:
    """Sends events to one receiver.

    Args:
        endpoint: the receiver.
        source: events and its cursor.
        secret: gives the secrets to sign with, the newest first; asked at each try, so that a new one counts at once.
        clock: Unix time, seconds.
        dead_letters: takes what is refused for good.
        log: of the service.
        jitter: a random number in [0, 1], so that many senders do not come at the same moment.

    Raises:
        ConfigError: the address or the certificates are none.
    """

    def __init__(
        self,
        endpoint: WebhookSettings,
        source: EventSource,
        secret: Callable[[], tuple[bytes, ...]],
        dead_letters: DeadLetters,
        log: ServiceLog,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = RANDOM.random,
    ):
        self.name = endpoint.name
        self._endpoint, self._source, self._secret, self._clock, self._jitter = endpoint, source, secret, clock, jitter
        self._poster, self._dead_letters, self._log = Poster(endpoint), dead_letters, log
        self._pending: deque[Event] = deque()
        self._reached: int | None = None  # number of the last event that was looked at
        self._tries = self._refusals = self._delivered = 0
        self._again: list[DeadLetter] = []  # to be sent again, in the order of their events
        self._again_tries = 0
        self._asking = threading.Lock()
        self._standing = WebhookStanding(self.name)
        self._stopped, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"webhook {self.name}", daemon=True)

    def start(self) -> None:
        """Send from now on, in a thread."""
        self._thread.start()

    def notify(self) -> None:
        """Say that there are new events; a pause after a failure is kept."""
        self._woken.set()

    def send_again(self, letters: Sequence[DeadLetter]) -> None:
        """Send letters again, in the order of their events, each under its delivery's id; from any thread.

        What waits newly goes first. One that is refused again stays a dead letter, and the next one goes; where the
        receiver cannot be reached, or is busy, as many times as it may refuse one event, all the others stay too.
        """
        with self._asking:
            known = {one.delivery: one for one in (*self._again, *letters)}
            self._again = sorted(known.values(), key=lambda one: one.seq)
        self._woken.set()

    def stop(self, timeout_s: float) -> bool:
        """Stop after the try that is under way; False if that takes longer than `timeout_s`: it dies with the process.

        An event whose delivery was not noted is sent again by the next start.
        """
        self._stopped.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def standing(self) -> WebhookStanding:
        """How it stands; from any thread."""
        return replace(self._standing, running=self._thread.is_alive(), again=len(self._again))

    def _run(self) -> None:
        while not self._stopped.is_set():
            pause_s = self.step()
            if self._tries or self._again_tries:
                self._stopped.wait(pause_s)
            elif pause_s:
                self._woken.wait(pause_s)
                self._woken.clear()

    def step(self) -> float:
        """Try one event once; returns the seconds to wait before the next step."""
        try:
            pause_s, problem = self._step()
        except (PathoprogError, sqlite3.Error, OSError) as error:  # of the store, or of the dead letters' file
            problem = f"events cannot be read, or what is done with them cannot be kept ({why(error)})"
            pause_s = self._failed(problem)
        self._standing = WebhookStanding(self.name, len(self._pending), self._tries, problem, self._delivered)
        return pause_s

    def _step(self) -> tuple[float, str]:
        self._look()
        if not self._pending:
            self._tries = 0
            return self._step_again() if self._again else (IDLE_S, "")
        event = self._pending[0]
        answer = self._post(event)
        verdict = verdict_on(answer)
        if verdict is DeliveryVerdict.DELIVERED:
            self._delivered += 1
            self._go_on(event)
            return 0.0, ""
        problem = answer.problem or f"HTTP status {answer.status}"
        self._refusals += verdict is DeliveryVerdict.REFUSED
        if self._refusals >= self._endpoint.refusals:
            self._put_aside(event, answer)
            return 0.0, problem
        return max(self._failed(problem, event), answer.retry_after_s), problem

    def _step_again(self) -> tuple[float, str]:
        """Try one dead letter once."""
        letter = self._again[0]
        found = self._source.after(letter.seq - 1, 1)
        event = found[0] if found and delivery_id(self.name, found[0]) == letter.delivery else None
        if event is None:
            self._end(letter, LetterOutcome.GONE)
            return 0.0, ""
        answer = self._post(event)
        verdict = verdict_on(answer)
        if verdict is DeliveryVerdict.DELIVERED:
            self._delivered += 1
            self._end(letter, LetterOutcome.DELIVERED)
            return 0.0, ""
        problem = answer.problem or f"HTTP status {answer.status}"
        self._log.write(LogLevel.WARNING, f"sent again, and not delivered: {problem}", webhook=self.name, seq=event.seq)
        self._again_tries += 1
        if verdict is DeliveryVerdict.REFUSED:
            self._leave([letter])
        elif self._again_tries >= self._endpoint.refusals:
            self._leave(list(self._again))
        else:
            return max(self._pause(self._again_tries), answer.retry_after_s), problem
        return 0.0, problem

    def _end(self, letter: DeadLetter, outcome: LetterOutcome) -> None:
        """Keep what became of a letter, then take it off: if keeping fails it is sent again."""
        self._dead_letters.end(letter, self._at(), outcome)
        self._leave([letter])

    def _leave(self, letters: Sequence[DeadLetter]) -> None:
        """Send these no more."""
        gone = {one.delivery for one in letters}
        with self._asking:
            self._again = [one for one in self._again if one.delivery not in gone]
        self._again_tries = 0

    def _look(self) -> None:
        """Fetch events where none are held; after a failure also the newer ones, so that what waits is counted."""
        if self._reached is None:
            self._reached = self._source.get(f"{CURSOR}{self.name}")
        room = MOST_HELD - len(self._pending)
        if (self._pending and not self._tries) or not room:
            return
        found = self._source.after(self._reached, room)
        if found:
            self._pending.extend(event for event in found if event.kind in self._endpoint.kinds)
            if not self._pending:
                self._source.put(f"{CURSOR}{self.name}", found[-1].seq)
            self._reached = found[-1].seq

    def _post(self, event: Event) -> Answer:
        body, timestamp = payload(event), int(self._clock())
        try:
            secrets = self._secret()
        except PathoprogError:
            return Answer(0, "its secret cannot be read or is none; a check of the settings says why")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"pathoprog/{__version__}",
            EVENT: str(event.kind),
            DELIVERY: delivery_id(self.name, event),
            TIMESTAMP: str(timestamp),
            SIGNATURE: signed_with_each(secrets, timestamp, body),
        }
        return self._poster.post(body, headers)

    def _go_on(self, event: Event) -> None:
        """Keep that an event is done with, then take it off: if keeping fails it is sent again."""
        assert self._reached is not None
        last = len(self._pending) == 1
        self._source.put(f"{CURSOR}{self.name}", self._reached if last else event.seq)
        self._pending.popleft()
        self._tries = self._refusals = 0

    def _put_aside(self, event: Event, answer: Answer) -> None:
        delivery, tries = delivery_id(self.name, event), self._tries + 1
        letter = DeadLetter(self._at(), self.name, delivery, event.seq, str(event.kind), tries, answer.status)
        self._dead_letters.add(letter)
        self._log.write(
            LogLevel.ERROR,
            "the receiver refuses an event, which is put aside as undelivered; mend the receiver, then have it sent "
            "again",
            webhook=self.name,
            seq=event.seq,
            status=answer.status,
        )
        self._go_on(event)

    def _failed(self, problem: str, event: Event | None = None) -> float:
        """Count and log a try in vain; returns the pause."""
        self._tries += 1
        seq = {} if event is None else {"seq": event.seq}
        self._log.write(LogLevel.WARNING, f"not delivered: {problem}", webhook=self.name, n=self._tries, **seq)
        return self._pause(self._tries)

    def _at(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")

    def _pause(self, tries: int) -> float:
        """Between half and all of what has doubled with each try, seconds."""
        doubled = self._endpoint.first_pause_s * 2.0 ** min(tries - 1, 60)
        return min(doubled, self._endpoint.most_pause_s) * (1 + self._jitter()) / 2


def senders_of(
    settings: OutboundSettings, source: EventSource, dead_letters: DeadLetters, log: ServiceLog
) -> list[WebhookSender]:
    """A sender for each webhook of the settings, not started yet.

    Raises:
        ConfigError: an address, the certificates or a secret cannot be used.
    """
    senders = []
    for webhook in settings.webhooks:
        read_secrets(webhook.secret_file)  # so that a wrong one is said at the start
        secret = partial(read_secrets, webhook.secret_file)
        senders.append(WebhookSender(webhook, source, secret, dead_letters, log))
    return senders
