"""What the page's routes keep beside the service: the audit log's reader, and facts of results."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.page.audit_reader import AuditReader, Sighting
from pathoprog.inference.service.page.page_answers import SightingAnswer
from pathoprog.inference.service.page.result_facts import FactsOfResults
from pathoprog.inference.service.web.answers import sees
from pathoprog.inference.service.web.service import Service
from pathoprog.inference.service.work.submissions import DONE, FAILED, NOT_REPORTABLE, Submission, Work

SEEABLE = (DONE, NOT_REPORTABLE, FAILED)
"""Ends that somebody should have seen."""
MARK_CHARACTERS = 16


@dataclass(frozen=True)
class PageData:
    """See the module."""

    audit: AuditReader
    facts: FactsOfResults


def page_data(service: Service) -> PageData:
    """Of a service that starts."""
    return PageData(AuditReader(service.audit.path), FactsOfResults())


def _of(request: Request) -> PageData:
    data: PageData = request.app.state.page_data
    return data


PageServed = Annotated[PageData, Depends(_of)]


def mark_of(submission: Submission, work: Work) -> str:
    """Says which result of a work it is: a slide that is scored again has another, which nobody has seen yet."""
    return work.result_key[:MARK_CHARACTERS] or submission.ended_at


def sightings(service: Service, data: PageData, submission: Submission, work: Work, who: Principal) -> list[Sighting]:
    """Who has opened a work's result; nobody, to those who may not see it."""
    bundle = service.snapshot.bundles.get(work.bundle)
    if work.state not in SEEABLE or not sees(who, bundle):
        return []
    shadow = bundle is None or not bundle.released_at
    return data.audit.seen(submission.id, work.bundle, mark_of(submission, work), shadow)


def sighting_answers(found: list[Sighting]) -> list[SightingAnswer]:
    """As they are shown."""
    return [SightingAnswer(who=one.who, role=one.role, at=one.at) for one in found]
