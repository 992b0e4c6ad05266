"""Looks at what a call names in a child process: a share that hangs, or a file that kills, ends that child alone.

The child finds the slides of folders, globs, lists and cohort tables, and says what each slide's files look like. It
answers one question after the other; while it searches it gives signs of life.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pathoprog.errors import InputError
from pathoprog.inference.slides.asked_child import AskedChild, Beat, NoAnswerError, answer_questions
from pathoprog.inference.slides.inputs import Found, SlideInput, slides_from_cohort, slides_from_paths, within_roots
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.identity import is_recent, source_sha256
from pathoprog.system.fault_points import point
from pathoprog.system.files import sha256_file

WAIT_S = 3600.0  # one wait; what ends it is `timeout_s`


@dataclass(frozen=True, slots=True)
class Look:
    """What a slide's files look like.

    Attributes:
        source: `identity.source_sha256`; empty where it could not be looked at.
        recent: it may still be being copied.
        outline_sha256: of the outline's file that counts under the policy in force; empty where there is none.
        outline_author: who corrected the outline and when, as far as its file says.
        trouble: why it was not looked at: its place does not answer, or the child died with it.
        silent: its place does not answer.
    """

    source: str = ""
    recent: bool = False
    outline_sha256: str = ""
    outline_author: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    silent: bool = False


def look_at(path: str, outline_path: str, policy: str, settle_s: float) -> Look:
    """Look at one slide's files and at its outline; nothing here is an error: the reader says it, of this slide alone.

    Args:
        path: of the slide.
        outline_path: of its outline, or empty.
        policy: the tumour policy in force.
        settle_s: see `ScoreConfig`.
    """
    point("look")
    sha256, author = "", {}
    if outline_path and policy != "tissue" and Path(outline_path).is_file():
        with contextlib.suppress(OSError):
            sha256 = sha256_file(outline_path)
        if policy == "network":
            from pathoprog.regions.annotations import read_author

            with contextlib.suppress(InputError, RecursionError, OSError):
                author = read_author(outline_path)
    return Look(source_sha256(path), is_recent(path, settle_s), sha256, author)


def main(socket_fd: int) -> None:
    """Answer one parent until it closes the socket."""
    answer_questions(socket_fd, _answer)


def _answer(question: str, arguments: list[Any], beat: Beat) -> Found | Look:
    if question == "look":
        return look_at(*arguments)
    if question == "cohort":
        table, overlap, roles, roots = arguments
        return within_roots(slides_from_cohort(table, overlap, roles, beat), table, roots)
    paths, outlines, out, settings = arguments
    return slides_from_paths(paths, outlines, out, beat, settings)


class Looker:
    """The child; a context manager. It is started with the first question, and anew after one that it did not answer.

    Args:
        timeout_s: how long it may be silent.
        one_place: see `AskedChild`.
    """

    def __init__(self, timeout_s: float, one_place: bool = False):
        self._child = AskedChild(__name__, timeout_s, start_s=0.0, one_place=one_place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.end()

    def find(self, paths: list[str], outlines: str, out: str, settings: SlideSettings) -> Found:
        """`inputs.slides_from_paths`.

        Raises:
            InputError: also where a place does not answer.
        """
        try:
            found: Found = self._ask("find", paths, outlines, out, settings)
            return found
        except NoAnswerError as error:
            where = ", ".join(paths[:3]) + (" …" if len(paths) > 3 else "")
            raise InputError(f"{where}: {error} while the slides were looked for; is the share there?") from error

    def cohort(self, table: str, overlap: str, roles: list[str], roots: list[str]) -> Found:
        """`inputs.slides_from_cohort`, within the roots.

        Raises:
            CohortError: the table breaks its rules.
            InputError: also where a place that it names does not answer.
        """
        try:
            found: Found = self._ask("cohort", table, overlap, roles, roots)
            return found
        except NoAnswerError as error:
            raise InputError(
                f"{table}: {error} while it and the files that it names were looked at; is the share there?"
            ) from error

    def look(self, slide: SlideInput, policy: str, settle_s: float) -> Look:
        """`look_at`, or what kept it from being looked at."""
        try:
            found: Look = self._ask("look", slide.path, slide.outline_path, policy, settle_s)
            return found
        except NoAnswerError as error:
            return Look(trouble=str(error), silent=error.silent)

    def _ask(self, question: str, *arguments: Any) -> Any:
        self._child.ask(question, *arguments)
        done, found = False, None
        while not done:
            done, found = self._child.answer(WAIT_S)
        return found


def look_at_all(
    slides: list[SlideInput], policy: str, settle_s: float, timeout_s: float, warn: Callable[[str], None]
) -> dict[str, Look]:
    """What the files of a run's slides look like, by slide id.

    Where a place does not answer, the other slides there are not asked: each would take as long.

    Args:
        slides: of the run.
        policy: the tumour policy in force.
        settle_s: see `ScoreConfig`.
        timeout_s: how long to wait for one slide.
        warn: told of each place that does not answer.
    """
    looks: dict[str, Look] = {}
    silent: dict[str, str] = {}
    with Looker(timeout_s) as looker:
        for slide in slides:
            trouble = next((why for place, why in silent.items() if slide.path.startswith(place)), "")
            look = Look(trouble=trouble) if trouble else looker.look(slide, policy, settle_s)
            looks[slide.slide_id] = look
            if look.silent:
                place = _place(slide.path)
                silent[place] = look.trouble
                warn(f"{slide.slide_id}: {look.trouble}; the slides of {place} are tried when their turn comes")
    return looks


def _place(path: str) -> str:
    """What a slide stands and falls with: the mount that it lies on, on the root's file system its folder."""
    import psutil

    mounts = [f"{part.mountpoint.rstrip('/')}/" for part in psutil.disk_partitions(all=True)]
    mount = max((mount for mount in mounts if path.startswith(mount)), key=len, default="/")
    return mount if mount != "/" else f"{Path(path).parent}/"
