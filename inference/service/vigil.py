"""What the service looks after by itself: alarms, webhooks, the audit log's daily head, and figures for metrics."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from pathoprog.errors import PathoprogError
from pathoprog.inference.service.config import ServiceSettings
from pathoprog.inference.service.events import RISK_CLASS, SHADOW, STATUS, Event, EventKind
from pathoprog.inference.service.outbound.alarms import ServiceState, alarm_data, judge, log_alarm, standing_after
from pathoprog.inference.service.outbound.audit_head import send_head_if_due
from pathoprog.inference.service.outbound.dead_letters import DEAD_LETTERS, DeadLetter, DeadLetters
from pathoprog.inference.service.outbound.log_lines import LOG_NAME, LogLevel, ServiceLog, why
from pathoprog.inference.service.outbound.metrics import Latency, ResultCount, ServiceFigures
from pathoprog.inference.service.outbound.webhooks import WebhookStanding, senders_of
from pathoprog.inference.service.records.audit_check import verify
from pathoprog.inference.service.records.audit_log import head
from pathoprog.inference.service.work.conductor import Conductor
from pathoprog.inference.service.work.desk import AbsentError
from pathoprog.inference.service.work.forgetting import Forgetting
from pathoprog.inference.service.work.submissions import DONE, OPEN
from pathoprog.inference.service.work.watching import WatchedFolder

LOOK_S = 5.0
AUDIT_S = 3600.0
"""So often the whole audit log is verified."""
HOUR_S = 3600.0
ENDS = (EventKind.DONE, EventKind.NOT_REPORTABLE, EventKind.FAILED)
STATUS_OF = {DONE: "scored"}
"""What a submission's end is called in metrics, where it is another word."""


class KeptEvents:
    """Events for webhooks, from memory or from the file, and how far each has come."""

    def __init__(self, conductor: Conductor):
        self._conductor = conductor

    def after(self, seq: int, limit: int) -> list[Event]:
        """See `EventSource`."""
        found = self._conductor.snapshot.events_after(seq)
        if found is None:
            found = self._conductor.ask(partial(self._conductor.desk.store.events, seq, limit)).result()
        return found[:limit]

    def get(self, name: str) -> int:
        """See `EventSource`."""
        return self._conductor.ask(partial(self._conductor.desk.store.cursor, name)).result()

    def put(self, name: str, seq: int) -> None:
        """See `EventSource`."""
        self._conductor.ask(partial(self._conductor.desk.store.put_cursor, name, seq)).result()


class Vigil:
    """Runs beside the conductor.

    Args:
        settings: of the service.
        state: its folder.
        conductor: started.
        watched: the watched folders.
        audit: file of the audit log.
        forgetting: takes away what is kept no longer.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        state: Path,
        conductor: Conductor,
        watched: list[WatchedFolder],
        audit: Path,
        forgetting: Forgetting,
    ):
        self._settings, self._state, self._conductor, self._watched = settings, state, conductor, watched
        self._audit, self._snapshot, self._forgetting = audit, conductor.snapshot, forgetting
        outbound = settings.outbound
        self.log = ServiceLog(state / LOG_NAME, outbound.log)
        self._dead = DeadLetters(state / DEAD_LETTERS)
        self._kept = KeptEvents(conductor)
        self._senders = senders_of(outbound, self._kept, self._dead, self.log)
        self._latency, self._results = Latency(), Counter[tuple[str, str, bool]]()
        self._standing = standing_after(self._snapshot.recent())
        self._chain_broken, self._chain_at = False, 0.0
        self._write_errors = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vigil", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._snapshot.listen(self._hear)
        for sender in self._senders:
            sender.start()
        self._thread.start()

    def stop(self) -> None:
        """End; what was not delivered goes out after the next start."""
        self._stop.set()
        for sender in self._senders:
            sender.stop(5.0)
        self.log.close()

    def figures(self) -> ServiceFigures:
        """For metrics."""
        queue = {(state, route): n for (route, state), n in self._snapshot.counts().items() if state in OPEN}
        results = tuple(ResultCount(*key, n=n) for key, n in sorted(self._results.items()))
        standing = self.webhooks()
        return ServiceFigures(
            queue=queue,
            results=results,
            latency=self._latency,
            oldest_waiting_s=self._oldest_waiting_s(),
            tiles=self._snapshot.tiles,
            worker_restarts=self._snapshot.worker_deaths,
            webhook_waiting={one.name: one.waiting for one in standing},
            webhook_undelivered=self._dead.counts(),
            disk_free_bytes=self._free(),
        )

    def webhooks(self) -> list[WebhookStanding]:
        """How each receiver of the settings stands."""
        return [sender.standing() for sender in self._senders]

    def undelivered(self, webhook: str = "") -> list[DeadLetter]:
        """What a receiver (without a name: each) refused and has not got since, the oldest first."""
        return self._dead.letters(webhook)

    def send_again(self, webhook: str, delivery: str) -> int:
        """Have dead letters of a receiver sent again.

        Args:
            webhook: its name.
            delivery: of one letter; empty: all of them.

        Returns:
            How many.

        Raises:
            AbsentError: no such receiver in the settings, or no such letter of it.
        """
        senders = [sender for sender in self._senders if sender.name == webhook]
        if not senders:
            raise AbsentError(f"the settings have no webhook '{webhook}'")
        letters = [one for one in self.undelivered(webhook) if delivery in ("", one.delivery)]
        if delivery and not letters:
            raise AbsentError("no such delivery is undelivered")
        senders[0].send_again(letters)
        return len(letters)

    def _hear(self, event: Event) -> None:
        """Called in the conductor's thread: count, write a line, wake the senders."""
        for sender in self._senders:
            sender.notify()
        self.log.write(LogLevel.INFO, str(event.kind), submission=event.submission, seq=event.seq)
        submission = self._snapshot.get(event.submission)
        if event.kind not in ENDS or submission is None:
            return
        shadow = event.data.get(SHADOW) != "false"
        status = STATUS_OF.get(event.data.get(STATUS, ""), event.data.get(STATUS, ""))
        self._results[status, event.data.get(RISK_CLASS, ""), shadow] += 1
        took = datetime.fromisoformat(event.at) - datetime.fromisoformat(submission.submitted_at)
        self._latency = self._latency.with_one(max(took.total_seconds(), 0.0))

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self._look()
            except (PathoprogError, OSError) as error:
                self.log.write(LogLevel.ERROR, f"the service could not look after itself: {why(error)}")

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._chain_at > AUDIT_S or not self._chain_at:
            self._chain_at, self._chain_broken = now, not verify(self._audit).whole
            self._expire()
        self._write_errors = self._write_errors + 1 if self._snapshot.health.trouble else 0
        standing = self.webhooks()
        free = self._free()
        state = ServiceState(
            oldest_waiting_s=self._oldest_waiting_s(),
            out_free_bytes=free["out"],
            state_free_bytes=free["state"],
            shares_lost=tuple(one.route.name for one in self._watched if one.lost),
            worker_deaths_last_hour=sum(now - at < HOUR_S for at in list(self._snapshot.deaths)),
            webhook_backlog={one.name: one.waiting for one in standing},
            webhooks_stopped=tuple(one.name for one in standing if not one.running),
            ledger_write_errors=self._write_errors,
            audit_chain_broken=self._chain_broken,
        )
        self._standing, changes = judge(state, self._settings.outbound.alarms, self._standing, now)
        for change in changes:
            log_alarm(self.log, change)
            self._conductor.ask(partial(self._conductor.desk.alarm, alarm_data(change))).result()
        head_settings = self._settings.outbound.audit_head
        send_head_if_due(head_settings, self._kept, self._head, self._tell_head, datetime.now(UTC))

    def _expire(self) -> None:
        """Forget what its route keeps no longer."""
        for route in self._settings.routes:
            if route.retention_days:
                before = datetime.now(UTC) - timedelta(days=route.retention_days)
                self._conductor.ask(partial(self._forgetting.expire, route.name, before)).result()

    def _head(self) -> str:
        return str(head(self._audit))

    def _tell_head(self, data: Mapping[str, str]) -> None:
        self._conductor.ask(partial(self._conductor.desk.audit_head, data)).result()

    def _oldest_waiting_s(self) -> float:
        oldest = self._snapshot.oldest_waiting()
        if oldest is None:
            return 0.0
        return max((datetime.now(UTC) - datetime.fromisoformat(oldest.submitted_at)).total_seconds(), 0.0)

    def _free(self) -> dict[str, int]:
        out = Path(self._settings.out)
        return {
            "out": shutil.disk_usage(out if out.exists() else out.parent).free,
            "state": shutil.disk_usage(self._state).free,
        }
