"""Results: of a submission, of a patient, of all since a time; their files and reports."""

import json
from asyncio import to_thread
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response

from pathoprog.inference.service.access.principal import Principal, forbidden
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.web.answers import (
    PATIENT_STATUS,
    FileAnswer,
    Files,
    Given,
    OpaqueId,
    PatientAnswer,
    PatientSlideAnswer,
    ResultAnswer,
    sees,
    veiled_state,
)
from pathoprog.inference.service.web.problems import documented
from pathoprog.inference.service.web.service import Reading, Served, Service
from pathoprog.inference.service.web.submission_routes import known
from pathoprog.inference.service.work.desk import GONE, AbsentError, ConflictError
from pathoprog.inference.service.work.submissions import DONE, FAILED, NOT_REPORTABLE, Submission, counting
from pathoprog.scoring.results import read_slide
from pathoprog.scoring.slide_result import SlideResult, SlideRun, result_text, run_text
from pathoprog.system.file_names import folder_name

router = APIRouter(prefix="/v1", tags=["results"])
ONE = documented(401, 403, 404, 409, 422, 429, 503)
REPORT_POLICY = "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; form-action 'none'"
"""A report is a page of its own bytes: it runs nothing, and loads nothing from elsewhere."""
MEDIA = {
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
    ".html": "text/html; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/octet-stream",
}
RUN_FILE = "run.json"


def shown(service: Service, submission: Submission, bundle: str, who: Principal) -> tuple[SlideResult, SlideRun, Path]:
    """A result that somebody may see, and the folder of its files.

    Raises:
        AbsentError: no such bundle, or the files are gone.
        ConflictError: there is no result (yet).
        AccessError: 403; it is withheld.
    """
    name = bundle or submission.works[0].bundle
    work = submission.work_of(name)
    if work is None:
        raise AbsentError(f"bundle '{name}' does not score this submission")
    if not sees(who, service.snapshot.bundles.get(name)):
        raise forbidden(f"the results of bundle '{name}' are withheld until an admin releases them (shadow mode)")
    if work.state not in (DONE, NOT_REPORTABLE, FAILED):
        raise ConflictError(f"there is no result: it is {work.state}{f' ({work.reason})' if work.reason else ''}")
    folder = service.slides_folder(name)
    found = read_slide(folder, submission.slide_id, verify=False)
    if found is None or found[0].result_key != work.result_key:
        raise AbsentError("the files of this result are not there (any more); requeue it to have them again")
    return *found, folder / folder_name(submission.slide_id)


Bundle = Annotated[Given | None, Query(description="which bundle's; without it the champion's")]


@router.get("/submissions/{submission}/result", responses=ONE)
async def result(submission: OpaqueId, who: Reading, service: Served, bundle: Bundle = None) -> ResultAnswer:
    """What came of a slide."""
    found = known(service, submission)
    of_slide, run, _ = await to_thread(shown, service, found, bundle or "", who)
    name = bundle or found.works[0].bundle
    await service.record(who, Action.RESULT_VIEWED, found.slide_id, submission=submission, bundle=name)
    state = service.snapshot.bundles.get(name)  # it may be served no longer
    return ResultAnswer(
        submission=found.id,
        bundle=name,
        patient_id=found.patient_id,
        shadow=state is None or not state.released_at,
        result=json.loads(result_text(of_slide)),
        run=json.loads(run_text(run)),
    )


@router.get("/submissions/{submission}/files", responses=ONE)
async def files(submission: OpaqueId, who: Reading, service: Served, bundle: Bundle = None) -> Files:
    """The files of a result, with their hashes."""
    _, run, _ = await to_thread(shown, service, known(service, submission), bundle or "", who)
    return Files(files=[FileAnswer(name=name, sha256=digest) for name, digest in sorted((run.files or {}).items())])


@router.get(
    "/submissions/{submission}/files/{name}",
    responses={**ONE, 200: {"description": "The file", "content": {"application/octet-stream": {}}}},
    response_class=Response,
)
async def file(submission: OpaqueId, name: Given, who: Reading, service: Served, bundle: Bundle = None) -> Response:
    """One file of a result: only those that its run.json names."""
    found = known(service, submission)
    _, run, folder = await to_thread(shown, service, found, bundle or "", who)
    if name != RUN_FILE and name not in (run.files or {}):
        raise AbsentError("the result has no such file")
    shown_as = bundle or found.works[0].bundle
    action = Action.REPORT_VIEWED if name.startswith("report.") else Action.RESULT_VIEWED
    await service.record(who, action, found.slide_id, submission=submission, bundle=shown_as, file=name)
    path = folder / name
    headers = {"Content-Security-Policy": REPORT_POLICY} if path.suffix == ".html" else {}
    return FileResponse(path, media_type=MEDIA.get(path.suffix, "application/octet-stream"), headers=headers)


@router.get(
    "/submissions/{submission}/report",
    responses={**ONE, 200: {"description": "The page", "content": {"text/html": {}}}},
    response_class=Response,
)
async def report(submission: OpaqueId, who: Reading, service: Served, bundle: Bundle = None) -> Response:
    """The slide's page."""
    return await file(submission, "report.html", who, service, bundle)


@router.get("/patients/{patient}", responses=ONE)
async def patient(
    patient: Given,
    who: Reading,
    service: Served,
    bundle: Given,
    role: Annotated[Given | None, Query(description="of the routes whose slides are joined")] = None,
) -> PatientAnswer:
    """A patient's slides, and what they come to by the bundle's rule, once all are done."""
    state = service.snapshot.bundles.get(bundle)
    if state is None:
        raise AbsentError(f"no bundle '{bundle}'")
    if not sees(who, state):
        raise forbidden(f"the results of bundle '{bundle}' are withheld until an admin releases them (shadow mode)")
    answer = await to_thread(_patient, service, patient, bundle, role or "", who)
    await service.record(who, Action.RESULT_VIEWED, patient, bundle=bundle)
    return answer


def _patient(service: Service, patient: str, bundle: str, role: str, who: Principal) -> PatientAnswer:
    of_role = {name for name, route in service.routes.items() if route.role == role}
    submissions = [
        one
        for one in service.snapshot.of_patient(patient)
        if one.route in of_role and one.work_of(bundle) is not None and one.state not in GONE
    ]
    if not submissions:
        raise AbsentError("no slide of such a patient")
    state = service.snapshot.bundles[bundle]
    latest = counting(submissions)
    together = service.joiner.joined(latest, service.plans[bundle], role)
    slides, score = together.slides, together.score
    waits = f"{len(together.open)} of {len(latest)} slides have not ended: {', '.join(together.open)}"
    model = service.plans[bundle].plan.covariates
    return PatientAnswer(
        patient_id=patient,
        bundle=bundle,
        shadow=not state.released_at,
        role=role,
        status=PATIENT_STATUS.validate_python("waiting" if together.open else score.status),
        risk_class=score.risk_class,
        borderline=score.borderline,
        scores=dict(score.scores),
        rule=score.rule,
        reason=waits if together.open else score.reason,
        clinical="" if model is None else model.is_not_given(),
        slides=[
            PatientSlideAnswer(
                submission=one.id,
                slide_id=one.slide_id,
                state=veiled_state(work.state, state, who),
                status=slides[one.slide_id].status if one.slide_id in slides else "",
                risk_class=slides[one.slide_id].risk_class if one.slide_id in slides else "",
            )
            for one in latest
            if (work := one.work_of(bundle)) is not None
        ],
    )
