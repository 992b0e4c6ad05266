"""What becomes of a corrected outline: a submission of its own, beside the first; all in the conductor's thread."""

from dataclasses import dataclass

from pathoprog.inference.service.events import ROUTE, Event, EventKind
from pathoprog.inference.service.viewing.outline_files import corrected_folder, forget_outline, keep_outline
from pathoprog.inference.service.viewing.outlines import CorrectedOutline
from pathoprog.inference.service.work.desk import Accepted, ConflictError, Desk
from pathoprog.inference.service.work.submissions import (
    CANCELLED,
    DONE,
    FAILED,
    NOT_REPORTABLE,
    Correction,
    NewSubmission,
    Submission,
    Work,
)

BY = "by"
"""Key of an event's data: who accepted an outline."""


@dataclass(frozen=True)
class OutlineHistory:
    """What was said of a submission's outline.

    Attributes:
        accepted: events, oldest first.
        corrections: of the slide's first result, oldest first.
    """

    accepted: tuple[Event, ...]
    corrections: tuple[Submission, ...]


class Corrections:
    """Corrections of outlines.

    Args:
        desk: that takes submissions in.
    """

    def __init__(self, desk: Desk):
        self._desk = desk

    def history(self, submission_id: str) -> OutlineHistory:
        """What was said of a submission's outline.

        Raises:
            AbsentError: no such submission.
        """
        submission = self._desk.of(submission_id)
        accepted = self._desk.store.told(submission, EventKind.OUTLINE_ACCEPTED)
        names = self._desk.store.corrections(submission.corrects or submission_id)
        return OutlineHistory(tuple(accepted), tuple(self._desk.of(name) for name in names))

    def accept(self, submission_id: str, by: str) -> Submission:
        """Keep that somebody looked at the outline and let it stand.

        Raises:
            AbsentError: no such submission.
            ConflictError: it has no result.
        """
        submission = self._scored(submission_id)
        data = {ROUTE: submission.route, BY: by}
        self._desk.put(submission, submission.works[0], EventKind.OUTLINE_ACCEPTED, data)
        return self._desk.again(submission)

    def correct(self, submission_id: str, outline: CorrectedOutline, by: str) -> Accepted:
        """Have the slide scored with a corrected outline, as a submission of its own; the first result stays.

        The same outline once more is the same submission. A correction that is corrected again leads to the first too.

        Raises:
            AbsentError: no such submission, or its route is no longer served.
            ConflictError: it has no result, or was of other content.
            WriteError: the disk is full or fails; nothing was taken in.
        """
        desk, submission = self._desk, self._scored(submission_id)
        first = submission.corrects or submission_id
        for name, digest in desk.store.corrections(first).items():
            known = desk.of(name)
            if digest == outline.sha256 and known.state not in (FAILED, CANCELLED):
                return Accepted(known, created=False)
        route = desk.routes.get(submission.route)
        bundle = submission.works[0].bundle
        if route is None or bundle not in desk.lanes:
            raise ConflictError("its route or bundle is no longer served; nothing can be scored again")
        number = 1
        while desk.store.of_slide(slide_id := f"{submission.slide} (outline {number})"):
            number += 1
        file = desk.store.slide_file(submission)
        new = NewSubmission(
            route=submission.route,
            file=file.file,
            slide_id=slide_id,
            patient_id=submission.patient_id,
            priority=submission.priority,
            by=by,
            source=file.source,
            files=file.files,
            traits=file.traits,
        )
        folder = corrected_folder(desk.settings)
        keep_outline(folder, slide_id, outline.geojson)
        correction = Correction(first, submission.slide, outline.geojson, outline.sha256)
        try:
            added, event = desk.store.add(new, [Work(bundle, desk.lanes[bundle].key)], None, correction=correction)
        except BaseException:
            forget_outline(folder, slide_id)
            raise
        desk.show(added, [event])
        desk.prepare(added, requeue=False)
        return Accepted(added, created=True)

    def _scored(self, submission_id: str) -> Submission:
        submission = self._desk.of(submission_id)
        if submission.state not in (DONE, NOT_REPORTABLE):
            raise ConflictError(f"it is {submission.state}; there is no outline to say anything of")
        return submission
