"""Bundles: their cards and validation reports, two of them on the same slides, the class combined with stage."""

from asyncio import to_thread
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response

from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.page.page_answers import (
    BundleCard,
    ComparedSlide,
    Comparison,
    ReleaseRecord,
    StageGroupAnswer,
    ValidationFacts,
)
from pathoprog.inference.service.page.page_data import PageData, PageServed
from pathoprog.inference.service.page.result_facts import ResultFacts
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.web.answers import Given, sees
from pathoprog.inference.service.web.problems import documented
from pathoprog.inference.service.web.result_routes import REPORT_POLICY
from pathoprog.inference.service.web.service import Reading, Served, Service
from pathoprog.inference.service.work.desk import AbsentError, ConflictError
from pathoprog.inference.service.work.lane import LanePlan
from pathoprog.inference.service.work.snapshot import BundleState
from pathoprog.inference.service.work.submissions import DONE, FAILED, NOT_REPORTABLE, Submission

router = APIRouter(prefix="/v1/bundles/{name}", tags=["bundles"])
ONE = documented(401, 403, 404, 409, 422, 429, 503)
CARD, REPORT, STAGE_TABLE = "model_card.md", "report.html", "stage_groups.json"
MOST_CARD_BYTES = 1 << 20
POINTS = 2000
"""Slides that a comparison lists; all are counted."""


def visible(service: Service, name: str, who: Principal) -> tuple[BundleState, LanePlan]:
    """A bundle that whoever asks may see. Of one in shadow others learn no more than of one that there is not.

    Raises:
        AbsentError: there is none by this name, as far as they may know.
    """
    state = service.snapshot.bundles.get(name)
    if state is None or not sees(who, state):
        raise AbsentError(f"no bundle '{name}'")
    return state, service.plans[name]


@router.get("/card", responses=ONE)
async def card(name: Given, who: Reading, service: Served, data: PageServed) -> BundleCard:
    """What a bundle is, and who released it."""
    state, lane = visible(service, name, who)
    return await to_thread(_card, data, state, lane)


def _card(data: PageData, state: BundleState, lane: LanePlan) -> BundleCard:
    data.audit.refresh()
    folder = Path(lane.config.ensemble)
    curves, validation = lane.plan.curves, lane.config.outputs.validation
    facts = None
    if curves is not None:
        facts = ValidationFacts(
            cohort=curves.cohort,
            role=curves.role,
            stamp=curves.stamp,
            n=curves.n,
            classes=curves.counts,
            has_report=(Path(validation) / REPORT).is_file(),
        )
    return BundleCard(
        name=state.name,
        ensemble_id=state.ensemble_id,
        shadow=not state.released_at,
        released_at=state.released_at,
        history=[
            ReleaseRecord(at=one.at, by=one.who, released=one.released) for one in data.audit.releases(state.name)
        ],
        caution=lane.plan.shape.caution,
        thresholds=lane.plan.thresholds,
        aggregation=lane.plan.aggregation,
        tumour_policy=lane.plan.tumour_policy,
        has_stage_groups=has_stage_table(lane),
        clinical="" if lane.plan.covariates is None else lane.plan.covariates.says(),
        model_card=_text(folder / CARD),
        validation=facts,
    )


def has_stage_table(lane: LanePlan) -> bool:
    """Whether a bundle has a table of class and stage."""
    return (Path(lane.config.ensemble) / STAGE_TABLE).is_file()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(MOST_CARD_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


@router.get(
    "/validation",
    responses={**ONE, 200: {"description": "The report", "content": {"text/html": {}}}},
    response_class=Response,
)
async def validation(name: Given, who: Reading, service: Served) -> Response:
    """The report of the validation that the settings name for the bundle."""
    _, lane = visible(service, name, who)
    folder = lane.config.outputs.validation
    path = Path(folder) / REPORT
    if not folder or not path.is_file():
        raise AbsentError("the settings name no validation with a report for this bundle")
    return FileResponse(path, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/comparison", responses=ONE)
async def comparison(name: Given, other: Given, who: Reading, service: Served, data: PageServed) -> Comparison:
    """Two bundles on the slides that both have ended."""
    (_, first), (_, second) = visible(service, name, who), visible(service, other, who)
    if name == other:
        raise ConflictError("name two bundles")
    found = await to_thread(_compared, service, data, first, second)
    await service.record(who, Action.EXPORT, "comparison", bundle=name, other=other, n=found.n)
    return found


def _compared(service: Service, data: PageData, first: LanePlan, second: LanePlan) -> Comparison:
    table: dict[str, Counter[str]] = {}
    slides: list[ComparedSlide] = []
    known: set[str] = set()
    for one in service.snapshot.newest(0):
        mine, its = (_facts(service, data, one, lane.name) for lane in (first, second))
        if mine is None or its is None or one.slide_id in known:
            continue
        known.add(one.slide_id)
        table.setdefault(mine.said, Counter())[its.said] += 1
        if len(slides) < POINTS:
            slides.append(
                ComparedSlide(
                    submission=one.id,
                    slide_id=one.slide_id,
                    said=mine.said,
                    other_said=its.said,
                    scores=dict(mine.scores),
                    other_scores=dict(its.scores),
                )
            )
    return Comparison(
        bundle=first.name,
        other=second.name,
        n=len(known),
        agree=sum(row[said] for said, row in table.items()),
        table={said: dict(row) for said, row in table.items()},
        thresholds=first.plan.thresholds,
        other_thresholds=second.plan.thresholds,
        slides=slides,
    )


def _facts(service: Service, data: PageData, one: Submission, bundle: str) -> ResultFacts | None:
    """What a bundle said of a submission's slide; None where it has not ended, or has no files any more."""
    work = one.work_of(bundle)
    if work is None or work.state not in (DONE, NOT_REPORTABLE, FAILED):
        return None
    facts = data.facts.of(service.slides_folder(bundle), one.slide_id, work)
    if facts is None and work.state == FAILED:
        return ResultFacts(status=FAILED, risk_class="", code="", scores={}, vendor="", mpp="")
    return facts


@router.get("/stage_group", responses=ONE)
async def stage_group(
    name: Given,
    who: Reading,
    service: Served,
    risk_class: Literal["good", "uncertain", "poor"],
    pT: Annotated[Literal["1", "2", "3", "4"], Query(description="of the primary tumour")],
    pN: Annotated[Literal["0", "1", "2"], Query(description="of the lymph nodes")],
    nodes: Annotated[int | None, Query(ge=0, le=1000, description="nodes sampled; not needed with pN2")] = None,
) -> StageGroupAnswer:
    """A class combined with stage by the bundle's own table. Nothing of the question is kept."""
    _, lane = visible(service, name, who)
    return await to_thread(_stage_group, lane, risk_class, pT, pN, nodes)


def _stage_group(lane: LanePlan, risk_class: str, pt: str, pn: str, nodes: int | None) -> StageGroupAnswer:
    from pathoprog.ensemble.stage_groups import read_stage_groups, stage_cell  # brings pandas

    table = read_stage_groups(lane.config.ensemble)
    if table is None:
        raise AbsentError("the bundle has no table of class and stage")
    cell = stage_cell(pt, pn, nodes, risk_class)
    if cell is None:
        raise ConflictError("with pN0 and pN1 the number of nodes sampled is needed")
    if cell not in table.groups:
        raise ConflictError(f"the bundle has one resolution, and never gives the class {risk_class}")
    return StageGroupAnswer(
        bundle=lane.name,
        risk_group=table.groups[cell],
        pt_level=cell[0],
        nodal_level=cell[1],
        rule=str(table.record.get("rule", "")),
        in_sample=bool(table.record.get("in_sample", False)),
    )
