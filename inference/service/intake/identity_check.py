"""Whether a slide may come in, by what in it could name a person; it is looked at in a process of its own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pathoprog.errors import SlideError
from pathoprog.inference.service.intake.intake_config import IdentitySettings
from pathoprog.inference.slides.asked_child import AskedChild, Beat, NoAnswerError, answer_questions
from pathoprog.slides.identifying.kinds import Finding
from pathoprog.slides.identifying.reading import identifying_in
from pathoprog.system.fault_points import point
from pathoprog.text.wording import count

MOST_NAMED = 8
WAIT_S = 3600.0  # one wait; what ends it is `silence_s`


@dataclass(frozen=True, slots=True)
class IdentityVerdict:
    """What the policy says of a slide.

    Attributes:
        refused: it may not come in.
        warning: what was found, by kind and field, never a value; "" for nothing.
    """

    refused: bool = False
    warning: str = ""


def identity_verdict(findings: Sequence[Finding], policy: IdentitySettings) -> IdentityVerdict:
    """What is to be done with a slide.

    Args:
        findings: of `IdentityReader`, or of `slides.identifying.reading`.
        policy: which kinds count, and what follows.
    """
    counted = [finding for finding in findings if finding.kind in policy.kinds]
    if policy.identity == "off" or not counted:
        return IdentityVerdict()
    kinds = Counter(finding.kind for finding in counted)
    fields = list(dict.fromkeys(finding.where for finding in counted))
    named = ", ".join(fields[:MOST_NAMED]) + (" …" if len(fields) > MOST_NAMED else "")
    said = ", ".join(f"{kind} {n}" for kind, n in kinds.items())
    return IdentityVerdict(
        policy.identity == "refuse",
        f"it holds what could name a person: {count(len(counted), 'finding')} ({said}): {named}",
    )


class IdentityReader:
    """Looks into slides, one after the other; a context manager.

    Args:
        silence_s: how long it may give no sign of life; one file's tags are read within it.
    """

    def __init__(self, silence_s: float):
        self._child = AskedChild(__name__, silence_s)

    def __enter__(self) -> "IdentityReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

    def findings(self, path: str, root: str = "") -> tuple[Finding, ...]:
        """What in a slide could name a person; see `identifying_in`.

        Raises:
            SlideError: code ``missing`` or ``io``; ``hung`` where its place does not answer, ``crashed`` where the
                process ended.
        """
        try:
            self._child.ask("identify", path, root)
            done = False
            while not done:
                done, found = self._child.answer(WAIT_S)
        except NoAnswerError as error:
            raise SlideError(
                f"{path}: {error} while it was looked into", "hung" if error.silent else "crashed"
            ) from error
        assert isinstance(found, tuple)
        return found


def _answer(question: str, arguments: list[Any], beat: Beat) -> tuple[Finding, ...]:
    assert question == "identify"
    point("identify")
    path, root = arguments
    return identifying_in(path, root, beat)


def main(socket_fd: int) -> None:
    """Answer one parent until it closes the socket."""
    answer_questions(socket_fd, _answer)
