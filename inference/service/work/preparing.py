"""Makes submissions ready for a worker, in a thread of each root: a share that hangs holds up its own alone.

What names a person is looked for, where the route asks for it; slides of slow shares are copied to the local disk; the
files are looked at, as `score` does.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from pathoprog.errors import PathoprogError, SlideError
from pathoprog.inference.service.intake.identity_check import IdentityReader, identity_verdict
from pathoprog.inference.service.intake.intake_config import IdentitySettings
from pathoprog.inference.service.intake.staging import StagingCache
from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.inference.slides.looks import Look, Looker


@dataclass(frozen=True)
class ToPrepare:
    """A submission whose files are to be looked at.

    Attributes:
        submission: its id.
        slide: what is known of the slide; its outline by bundle.
        outlines: by bundle, the outline's file or empty.
        policies: by bundle, the tumour policy in force.
        settle_s: a file that changed in the last seconds is recent.
        requeue: it is to be tried again if it failed.
        file: what the slide's file is called (`PathNames`), and its local copy known by.
        files: paths of all of the slide's, where a watched folder has told them.
        identity: what is done if the slide could name a person.
        staged: it is copied to the local disk first.
    """

    submission: str
    slide: SlideInput
    outlines: dict[str, str]
    policies: dict[str, str]
    settle_s: float
    requeue: bool = False
    file: str = ""
    files: tuple[str, ...] = ()
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    staged: bool = False


@dataclass(frozen=True)
class Prepared:
    """What came of it.

    Attributes:
        asked: what was asked for; its slide's path is that of the local copy, where there is one.
        looks: what the files look like, by bundle.
        refused: why the slide may not be scored, or empty.
        warning: what is to be said of it, or empty.
    """

    asked: ToPrepare
    looks: dict[str, Look]
    refused: str = ""
    warning: str = ""


class RootPreparer:
    """One root's thread and its child processes.

    Args:
        name: of the root.
        folder: of the root.
        timeout_s: how long a place may be silent.
        staging: where copies go; None: nothing is copied.
        done: told of each, in this thread.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        timeout_s: float,
        staging: StagingCache | None,
        done: Callable[[Prepared], None],
    ):
        self._waiting: queue.SimpleQueue[ToPrepare | None] = queue.SimpleQueue()
        self._folder, self._timeout_s, self._staging, self._done = folder, timeout_s, staging, done
        self._held: dict[str, ExitStack] = {}
        self._thread = threading.Thread(target=self._run, name=f"looks at {name}", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def put(self, asked: ToPrepare) -> None:
        """Look at a slide's files when its turn comes."""
        self._waiting.put(asked)

    def stop(self) -> None:
        """Take no more; a look that hangs is left behind with its child."""
        self._waiting.put(None)

    def let_go(self, submission: str) -> None:
        """The slide is done with: its local copy may go when room is needed."""
        held = self._held.pop(submission, None)
        if held is not None:
            held.close()

    def _run(self) -> None:
        with Looker(self._timeout_s, one_place=True) as looker, IdentityReader(self._timeout_s) as reader:
            while (asked := self._waiting.get()) is not None:
                self._done(self._prepared(asked, looker, reader))

    def _prepared(self, asked: ToPrepare, looker: Looker, reader: IdentityReader) -> Prepared:
        warning = ""
        if asked.identity.identity != "off":
            with contextlib.suppress(SlideError):  # the reader that scores it says the same, of this slide alone
                verdict = identity_verdict(reader.findings(asked.slide.path, self._folder), asked.identity)
                if verdict.refused:
                    return Prepared(asked, {}, refused=verdict.warning)
                warning = verdict.warning
        if asked.staged and self._staging is not None:
            asked = self._copied(asked, self._staging)
        looks: dict[str, Look] = {}
        alike: dict[tuple[str, str], Look] = {}  # bundles with one outline and policy have one look
        for bundle, policy in asked.policies.items():
            outline = asked.outlines[bundle]
            if (outline, policy) not in alike:
                slide = replace(asked.slide, outline_path=outline)
                alike[outline, policy] = looker.look(slide, policy, asked.settle_s)
            looks[bundle] = alike[outline, policy]
        return Prepared(asked, looks, warning=warning)

    def _copied(self, asked: ToPrepare, staging: StagingCache) -> ToPrepare:
        """The same with the local copy's path, which is held until the slide is done with."""
        self.let_go(asked.submission)
        held, hidden = ExitStack(), bool(asked.slide.given_id)
        try:
            staged = held.enter_context(staging.use(asked.slide.path, asked.files, known_as=asked.file, neutral=hidden))
        except PathoprogError:
            held.close()
            return asked  # it is read where it lies, and what is wrong is said there
        self._held[asked.submission] = held
        return replace(asked, slide=replace(asked.slide, path=staged.path, names=dict(staged.names)))


class Preparers:
    """The threads of all roots."""

    def __init__(self, roots: Mapping[str, RootPreparer]):
        self._roots = dict(roots)

    def prepare(self, root: str, asked: ToPrepare) -> None:
        """Have a submission's files looked at; the answer comes to the desk."""
        self._roots[root].put(asked)

    def let_go(self, submission: str) -> None:
        """The slide is done with."""
        for root in self._roots.values():
            root.let_go(submission)
