"""What the service shows, in memory: the conductor writes it, whoever asks reads it, and no file is touched for it."""

import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from pathoprog.inference.service.events import Event
from pathoprog.inference.service.work.submissions import OPEN, Submission

EVENTS_KEPT = 10_000
"""Last events that are at hand at once; older ones are read from the file when somebody asks."""


@dataclass(frozen=True)
class BundleState:
    """One bundle as the service holds it.

    Attributes:
        name: in the settings.
        ensemble_id: of the locked ensemble.
        config: hash of the scoring configuration.
        routes: by name, those that it is champion of; `beside` those that it scores beside the champion of.
        released_at: since when everybody sees its results; empty: it is in shadow.
        workers: that were asked for, and `ready` how many have loaded the networks.
        trouble: why it does not go on, or empty.
    """

    name: str
    ensemble_id: str
    config: str
    routes: tuple[str, ...]
    beside: tuple[str, ...]
    released_at: str = ""
    workers: int = 0
    ready: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class Health:
    """How the service itself fares.

    Attributes:
        alive_at: monotonic clock of the conductor's last turn.
        trouble: what keeps it from going on (a full disk, a ledger that cannot be written), or empty.
        stopping: it takes nothing new.
    """

    alive_at: float = 0.0
    trouble: str = ""
    stopping: bool = False


@dataclass
class Snapshot:
    """The state of the service. One thread writes; records are replaced, never changed, so that readers need no lock.

    Attributes:
        health: of the service.
        bundles: by name.
        tiles: scored since the start.
        deaths: times of a monotonic clock at which workers died, the last ones; `worker_deaths` counts them all.
    """

    health: Health = field(default_factory=Health)
    bundles: dict[str, BundleState] = field(default_factory=dict)
    tiles: int = 0
    deaths: deque[float] = field(default_factory=partial(deque, maxlen=1000))
    worker_deaths: int = 0

    def __post_init__(self) -> None:
        self._by_id: dict[str, Submission] = {}
        self._by_patient: dict[str, dict[str, None]] = {}
        self._order: list[tuple[int, str]] = []  # (seq, id): grows at the end alone
        self._open: dict[str, None] = {}
        self._states: Counter[tuple[str, str]] = Counter()
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._listeners: list[Callable[[Event], None]] = []
        self._listening = threading.Lock()

    def put(self, submission: Submission) -> None:
        """Take a submission in, or its new state."""
        old = self._by_id.get(submission.id)
        self._by_id[submission.id] = submission
        if old is None:
            self._order.append((submission.seq, submission.id))
            self._by_patient.setdefault(submission.patient_id, {})[submission.id] = None
        else:
            self._states[old.route, old.state] -= 1
        self._states[submission.route, submission.state] += 1
        if submission.state in OPEN:
            self._open[submission.id] = None
        else:
            self._open.pop(submission.id, None)

    def remove(self, submission: Submission) -> None:
        """Take a submission out, and the events that tell of it."""
        known = self._by_id.pop(submission.id, None)
        if known is None:
            return
        self._states[known.route, known.state] -= 1
        self._open.pop(known.id, None)
        self._by_patient.get(known.patient_id, {}).pop(known.id, None)
        self._order = [one for one in self._order if one[1] != known.id]
        left = [event for event in self._events if known.id != event.submission and known.slide_id != event.slide_id]
        self._events = deque(left, maxlen=EVENTS_KEPT)

    def get(self, submission_id: str) -> Submission | None:
        """One by its id."""
        return self._by_id.get(submission_id)

    def open(self) -> list[Submission]:
        """Those that are not done."""
        found = (self._by_id.get(name) for name in list(self._open))
        return [one for one in found if one is not None]

    def of_patient(self, patient_id: str) -> list[Submission]:
        """All of a patient, in the order of submission."""
        found = (self._by_id.get(name) for name in list(self._by_patient.get(patient_id, {})))
        return [one for one in found if one is not None]

    def newest(self, before: int) -> Iterator[Submission]:
        """From the newest to the oldest, those with a lower number than `before` (0: all)."""
        order = self._order  # a removal puts another list in its place
        end = bisect_left(order, (before, "")) if before else len(order)
        for place in range(end - 1, -1, -1):
            found = self._by_id.get(order[place][1])
            if found is not None:
                yield found

    def worker_died(self, at: float) -> None:
        """Count a worker's death, at a time of a monotonic clock."""
        self.deaths.append(at)
        self.worker_deaths += 1

    def counts(self) -> dict[tuple[str, str], int]:
        """How many submissions there are of each route and state."""
        return {key: n for key, n in list(self._states.items()) if n}

    def oldest_waiting(self) -> Submission | None:
        """The open submission that came first."""
        return min(self.open(), key=lambda one: one.seq, default=None)

    def add_events(self, events: list[Event]) -> None:
        """Take events in, and tell whoever listens."""
        self._events.extend(events)
        with self._listening:
            listeners = list(self._listeners)
        for listener in listeners:
            for event in events:
                listener(event)

    def events_after(self, seq: int) -> list[Event] | None:
        """Events after a number; None where some of them are no longer at hand."""
        kept = list(self._events)
        if kept and seq + 1 < kept[0].seq:
            return None
        return [event for event in kept if event.seq > seq]

    def recent(self) -> list[Event]:
        """The events at hand, in their order."""
        return list(self._events)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Have each new event told, in the conductor's thread; returns what ends it."""
        with self._listening:
            self._listeners.append(listener)

        def end() -> None:
            with self._listening:
                self._listeners.remove(listener)

        return end
