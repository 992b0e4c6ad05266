"""Where the slide of a submission lies, for the readers: the one place that the page's pictures ask for a path."""

from pathoprog.inference.service.config import ServiceSettings, staging_folder
from pathoprog.inference.service.intake.path_names import PathNames
from pathoprog.inference.service.intake.staging import StagingCache
from pathoprog.inference.service.viewing.reader_child import SlidePlace
from pathoprog.inference.service.work.desk import AbsentError, ConflictError, Desk
from pathoprog.inference.service.work.submissions import DONE, NOT_REPORTABLE, SUPERSEDED, Submission
from pathoprog.inference.slides import jobs
from pathoprog.slides.config import SlideSettings


def place_of(
    desk: Desk, settings: ServiceSettings, names: PathNames, staging: StagingCache | None, submission: Submission
) -> SlidePlace:
    """Where a submission's slide lies, and what its files looked like when it was scored; in the conductor's thread.

    No share is touched here. What was scored of a route with local copies is the copy: where it has gone, the file on
    the share is shown, and there is nothing that it could be held against.

    Args:
        desk: has the store and the ledger open.
        settings: of the service.
        names: where files lie.
        staging: local copies; None where there are none.
        submission: as it is now.

    Raises:
        AbsentError: where its files lie is not known.
        ConflictError: the slide's file is no longer the one that this submission's result is of.
    """
    work = submission.works[0]
    if work.state == SUPERSEDED:
        raise ConflictError(f"the slide has other content now ({work.reason}); look at that one")
    file = desk.store.slide_file(submission).file
    path, source = names.path(file), ""
    if not path:
        raise AbsentError("where the slide's files lie is not known: the map of pseudonyms does not have it")
    route = desk.routes.get(submission.route)
    staged = route is not None and route.staged
    copy = staging.whole(file) if staged and staging is not None else ""
    if work.state in (DONE, NOT_REPORTABLE):
        job = desk.ledger.state_of(submission.slide_id, work.config)
        if job is None or job.state != jobs.DONE or job.result_key != work.result_key:
            raise ConflictError("the slide is being scored again; look at its newest submission")
        if copy and job.path in ("", copy):
            path, source = copy, job.source
        elif not staged and job.path in ("", path):
            source = job.source
    roots = [root.folder for root in settings.roots]
    if any(one.staged for one in settings.routes):
        roots.append(str(staging_folder(settings)))
    slides = desk.lanes[work.bundle].config.slides if work.bundle in desk.lanes else SlideSettings()
    return SlidePlace(
        path=path,
        source=source,
        roots=tuple(roots),
        backend=slides.backend,
        mpp=slides.mpp,
        key=names.key if names.hides(submission.route) else b"",
    )
