"""Watched folders at work: a thread of each folder, that has what has come submitted, once."""

import threading
from functools import partial

from pathoprog.errors import PathoprogError
from pathoprog.inference.service.config import RouteSettings
from pathoprog.inference.service.events import ROUTE
from pathoprog.inference.service.intake.intake_config import WatchSettings
from pathoprog.inference.service.intake.patients import Refused, Waits
from pathoprog.inference.service.intake.watch import FolderWatch
from pathoprog.inference.service.intake.watch_records import SeenSlide, WatchFault, WatchRound
from pathoprog.inference.service.names import Named, Names
from pathoprog.inference.service.work.asked_slides import traits_of
from pathoprog.inference.service.work.conductor import Conductor
from pathoprog.inference.service.work.desk import ConflictError
from pathoprog.inference.service.work.submissions import NewSubmission
from pathoprog.slides.config import SlideSettings
from pathoprog.system.console import warn

WATCH = "watch"
"""Who submits what comes into a watched folder."""
WAIT_S = 0.5


class WatchedFolder:
    """One watched folder of a route.

    Args:
        settings: of the folder.
        route: that its slides take.
        slides: where links may lead.
        conductor: takes the submissions.
        names: the ids of slides and patients.
    """

    def __init__(
        self, settings: WatchSettings, route: RouteSettings, slides: SlideSettings, conductor: Conductor, names: Names
    ):
        self.settings, self.route = settings, route
        self.lost = False  # as its last look found it
        self._slides, self._conductor, self._names = slides, conductor, names
        self._waiting: dict[str, SeenSlide] = {}  # their patient is not known yet
        self._taken: dict[str, str] = {}  # what a slide's file is called -> signature
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watches for {route.name}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        try:
            self._taken = self._conductor.ask(partial(self._conductor.desk.store.taken, self.route.name)).result()
            paths = self._names.paths
            known = {paths.path(file): signature for file, signature in self._taken.items()}
            with FolderWatch(self.settings, known, slides=self._slides) as watch:
                while not self._stop.is_set():
                    found = watch.start()
                    while found is None and not self._stop.is_set():
                        found = watch.poll(WAIT_S)
                    if found is not None:
                        self._take(found)
                    if found is None or not found.more:
                        self._stop.wait(self.settings.poll_s)
        except PathoprogError as error:  # the service stops
            if not self._stop.is_set():
                warn(f"the watched folder of {self.route.name} is no longer looked at: {error}")

    def _take(self, found: WatchRound) -> None:
        self.lost = found.lost
        for event in found.events:
            self._tell("", event.kind, event.reason)
        for fault in found.faults:
            self._tell_fault(fault)
        waiting, self._waiting = self._waiting, {}
        new = {slide.path: slide for slide in (*found.ready, *found.changed)}
        for slide in {**waiting, **new}.values():
            try:
                self._take_in(slide)
            except PathoprogError as error:  # a full disk: it is tried again with the next look
                name = self._names.plain(self.route, slide.path)
                warn(f"{name} could not be taken in yet: {error}")
                self._waiting[slide.path] = slide

    def _take_in(self, slide: SeenSlide) -> None:
        """Submit it, unless it was; without its patient it waits.

        Raises:
            PathoprogError: it could not be written down.
        """
        files = (slide.path, *slide.files)
        file = self._names.paths.name(self.route.name, slide.path)
        if self._taken.get(file) == slide.signature:  # a share lost it and has it again, or the map where it lies
            self._names.paths.kept(self.route.name, files)
            return
        named = self._names.of_watched(self.route, slide.path)
        if isinstance(named, Waits):
            self._waiting[slide.path] = slide
            return
        reason = ""
        if isinstance(named, Refused):
            reason, slide_id = named.reason, self._names.of_refused(self.route, slide.path)
            named = Named(slide_id, slide_id)
        if slide.scattered and not self.route.staged:
            reason = "its DICOM files lie in several folders: give the route staged: true, or put them into one"
        file, *parts = self._names.paths.kept(self.route.name, files)
        new = NewSubmission(
            route=self.route.name,
            file=file,
            slide_id=named.slide_id,
            patient_id=named.patient_id,
            priority=self.route.priority,
            by=WATCH,
            source=slide.signature,
            files=tuple(parts),
            traits=traits_of(self.route, named.traits),
        )
        desk = self._conductor.desk
        if not reason:
            try:
                self._conductor.ask(partial(desk.submit, new, None, slide.signature)).result()
            except ConflictError as error:
                reason = str(error)
        if reason:
            self._conductor.ask(partial(desk.refuse, new, reason, slide.signature)).result()
        self._taken[file] = slide.signature

    def _tell_fault(self, fault: WatchFault) -> None:
        try:
            slide_id = self._names.of_refused(self.route, fault.path)
        except PathoprogError as error:
            warn(f"the watched folder of {self.route.name}: {error}")
            slide_id = self._names.plain(self.route, fault.path)
        self._tell(slide_id, "fault", fault.reason)

    def _tell(self, slide_id: str, what: str, reason: str) -> None:
        data = {ROUTE: self.route.name, "what": what, "reason": reason}
        try:
            self._conductor.ask(partial(self._conductor.desk.tell, slide_id, data)).result()
        except PathoprogError as error:
            warn(f"the watched folder of {self.route.name}: {what} {reason} ({error})")
