"""What leaves in bulk or by itself: results since a time, metrics, backups."""

from asyncio import to_thread
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from pathoprog.errors import InputError
from pathoprog.inference.engine.exchange import run_record
from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.events import Event, EventKind
from pathoprog.inference.service.outbound.exports import ExportRow, Since, export_csv, export_json_lines, since_of
from pathoprog.inference.service.outbound.metrics import METRICS_TYPE, ServiceMetrics
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.records.backup import backup_databases, write_backup
from pathoprog.inference.service.web.answers import BackupAnswer, sees
from pathoprog.inference.service.web.problems import documented
from pathoprog.inference.service.web.service import Auditing, Measuring, Reading, Served, Service
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
from pathoprog.inference.service.work.snapshot import BundleState
from pathoprog.inference.service.work.state_files import LEDGER, STORE
from pathoprog.inference.service.work.submissions import DONE, FAILED, NOT_REPORTABLE, Submission, Work
from pathoprog.scoring.results import Context, read_slide, result_record, slide_row
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.slides.resolutions import in_order

router = APIRouter()
KNOWN = documented(401, 403, 404, 409, 422, 429, 503)
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@router.get(
    "/v1/results",
    responses={
        **KNOWN,
        200: {"description": "Results", "content": {"text/csv": {}, "application/x-ndjson": {}}},
    },
    response_class=Response,
    tags=["results"],
)
async def results(
    who: Reading,
    service: Served,
    since: Annotated[
        str, Query(max_length=40, description="`next_since` of the last export, or a time (ISO 8601); empty: all")
    ] = "",
    format: Annotated[Literal["csv", "jsonl"], Query()] = "csv",
) -> Response:
    """Results of the champions since a time; the last record says where the next export begins."""
    try:
        start = since_of(since) if since else Since()
    except InputError as error:
        raise ConflictError(str(error)) from error
    endings = await service.change(partial(service.conductor.desk.store.endings, start.seq))
    await service.record(who, Action.EXPORT, "results", since=since, format=format)
    export = export_csv if format == "csv" else export_json_lines
    lines = (line.encode() for line in export(_rows(service, endings, who), start, _resolutions(service)))
    return StreamingResponse(lines, media_type=FORMATS[format])


def _resolutions(service: Service) -> tuple[str, ...]:
    """Those of the bundles that are served."""
    return in_order({name for lane in service.plans.values() for name in lane.plan.shape.resolutions})


def _rows(service: Service, endings: list[Event], who: Principal) -> Iterator[ExportRow]:
    """Rows in the order of their numbers: of its end, or of the release that showed it first."""
    released = {event.data["ensemble_id"]: event for event in endings if event.kind == EventKind.RELEASED}
    ends: list[tuple[Event, str]] = []
    for event in endings:
        submission = service.snapshot.get(event.submission) if event.submission else None
        if submission is None or submission.state not in (DONE, NOT_REPORTABLE, FAILED):
            continue
        bundle = service.snapshot.bundles.get(submission.works[0].bundle)
        release = released.get(bundle.ensemble_id) if bundle is not None else None
        ends.append((release if release is not None and release.seq > event.seq else event, submission.id))
    for event, name in sorted(ends, key=_number):
        submission = service.snapshot.get(name)
        if submission is None:
            continue
        work = submission.works[0]
        bundle = service.snapshot.bundles.get(work.bundle)
        withheld = not sees(who, bundle)
        yield ExportRow(event.seq, event.at, withheld, _row(service, submission, work, bundle))


def _row(service: Service, submission: Submission, work: Work, bundle: BundleState | None) -> dict[str, Any]:
    """A submission's row; of one that has no files (it was refused, or they are gone) what is known of it."""
    route = service.routes.get(submission.route)
    context = Context(
        slide_id=submission.slide_id,
        patient_id=submission.patient_id,
        cohort=route.cohort if route is not None else "",
        role=route.role if route is not None else "",
        key=work.result_key,
        ensemble_id=bundle.ensemble_id if bundle is not None else "",
        thresholds={},
        settings={},
    )
    found = read_slide(service.slides_folder(work.bundle), submission.slide_id, verify=False)
    if found is None or found[0].result_key != work.result_key:
        reason = work.reason if work.state == FAILED else "its files are no longer there; requeue it"
        outcome = SlideScore(submission.slide_id, "failed", reason=reason, code="input", stage="open")
        found = result_record(outcome, context), run_record("", 0, 0.0)
    return slide_row(*found, replace(context, duplicate_of=found[0].duplicate_of))


def _number(end: tuple[Event, str]) -> tuple[int, str]:
    return end[0].seq, end[1]


@router.get(
    "/metrics",
    responses={**KNOWN, 200: {"description": "Metrics", "content": {"text/plain": {}}}},
    response_class=Response,
    tags=["service"],
)
def metrics(who: Measuring, service: Served) -> Response:
    """Figures for Prometheus; no id and no name of a file is in them."""
    return Response(ServiceMetrics(service.vigil.figures).text(), media_type=METRICS_TYPE)


@router.post("/v1/backups", status_code=201, responses=KNOWN, tags=["service"])
async def back_up(
    who: Auditing,
    service: Served,
    pseudonyms: Annotated[bool, Query(description="also the key and the map of the pseudonyms")] = False,
) -> BackupAnswer:
    """Back the state up, while work goes on, into the folder that the settings name."""
    if not service.settings.backups:
        raise AbsentError("the settings name no folder for backups")
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder = Path(service.settings.backups) / name
    await service.record(who, Action.BACKUP, name, pseudonyms=pseudonyms)

    def copy(into: Path) -> None:
        desk = service.conductor.desk
        connections = {STORE: desk.store.connection, LEDGER: desk.ledger.connection}
        service.conductor.ask(partial(backup_databases, connections, into)).result()

    manifest = await to_thread(write_backup, Path(service.settings.state), copy, folder, pseudonyms)
    return BackupAnswer(name=name, files=sorted(manifest.files), audit_head=manifest.audit_head)
