"""Bundles and their release, look-ups of case numbers, the audit log, metrics."""

from asyncio import to_thread
from dataclasses import asdict
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from pathoprog.inference.service.access.roles import Permission
from pathoprog.inference.service.records.audit_check import newest, verify
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.web.answers import (
    AuditAnswer,
    AuditLineAnswer,
    AuditLines,
    BundleAnswer,
    Bundles,
    ForgetBody,
    ForgottenAnswer,
    Given,
    LookupAnswer,
    LookupBody,
    bundle_answer,
    sees,
    submission_answer,
)
from pathoprog.inference.service.web.problems import documented, with_body
from pathoprog.inference.service.web.service import Auditing, Forgets, LookingUp, Releasing, Served, Viewing
from pathoprog.inference.service.web.submission_routes import rows_of_page

router = APIRouter(prefix="/v1")
ONE = documented(401, 403, 404, 409, 422, 429, 503)
KNOWN = documented(401, 403, 422, 429, 503)


@router.get("/bundles", responses=KNOWN, tags=["bundles"])
async def bundles(who: Viewing, service: Served) -> Bundles:
    """The ensembles that are served; those in shadow only to who evaluates them or looks after the service."""
    return Bundles(
        bundles=[
            bundle_answer(state)
            for state in service.snapshot.bundles.values()
            if sees(who, state) or who.may(Permission.SEE_METRICS)
        ]
    )


@router.post("/bundles/{name}/release", responses=ONE, tags=["bundles"])
async def release(name: Given, who: Releasing, service: Served) -> BundleAnswer:
    """End a bundle's shadow mode: everybody sees its results from now on."""
    await service.record(who, Action.RELEASE, name, shadow=False)
    return bundle_answer(await service.change(partial(service.conductor.orders.release, name, who.name)))


@router.post("/bundles/{name}/withhold", responses=ONE, tags=["bundles"])
async def withhold(name: Given, who: Releasing, service: Served) -> BundleAnswer:
    """Put a bundle back into shadow."""
    await service.record(who, Action.RELEASE, name, shadow=True)
    return bundle_answer(await service.change(partial(service.conductor.orders.withhold, name)))


@router.post("/lookups", responses=with_body(401, 403, 422, 429, 503), tags=["lookups"])
async def look_up(body: LookupBody, who: LookingUp, service: Served) -> LookupAnswer:
    """What a case number leads to. It is put on record who asked and what was found, not the number."""
    slide_ids, patient_ids = await to_thread(service.names.of_case, body.case)
    await service.record(who, Action.LOOKUP, "case", found=", ".join((*slide_ids, *patient_ids)))
    wanted = {*slide_ids}  # with "(2)" where two files have one name
    found = [
        one
        for one in service.snapshot.newest(0)
        if one.slide_id.partition(" (")[0] in wanted or one.patient_id in patient_ids
    ]
    return LookupAnswer(
        slide_ids=slide_ids,
        patient_ids=patient_ids,
        submissions=[submission_answer(one, service.snapshot, who) for one in found],
    )


@router.post("/forget", responses=with_body(401, 403, 404, 409, 422, 429, 503), tags=["patients"])
async def forget(body: ForgetBody, who: Forgets, service: Served) -> ForgottenAnswer:
    """Take a patient's ids, files and results away for good; a record stays that does not say whose they were."""
    done = await service.change(partial(service.forgetting.patient, body.patient))
    await service.record(who, Action.FORGET, done.hashes[0][:16], submissions=done.submissions, folders=done.folders)
    return ForgottenAnswer(submissions=done.submissions, folders=done.folders)


@router.get("/audit", responses=KNOWN, tags=["audit"])
async def audit(who: Auditing, service: Served) -> AuditAnswer:
    """Whether the audit log is whole; keep the head elsewhere, since a log on one disk can be cut."""
    report = await to_thread(verify, service.audit.path)
    return AuditAnswer(
        whole=report.whole, lines=report.lines, head=str(report.head) if report.head else "", fault=report.fault
    )


@router.get("/audit/lines", responses=KNOWN, tags=["audit"])
async def audit_lines(
    who: Auditing,
    service: Served,
    before: Annotated[int, Query(ge=0, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 100,
) -> AuditLines:
    """What was done, by whom, newest first, over all files of the audit log; that it was looked at is put on record."""
    page = await to_thread(newest, service.audit.path, before, rows_of_page(service, limit))
    await service.record(who, Action.AUDIT_VIEWED, "", before=before, lines=len(page.entries))
    last = page.entries[-1].seq if page.entries and not page.fault else 0
    return AuditLines(
        lines=[AuditLineAnswer(**asdict(entry)) for entry in page.entries],
        fault=page.fault,
        next=last if last > 1 else 0,
    )
