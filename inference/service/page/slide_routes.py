"""What the page of one slide shows: its report as data, its highest tiles, a script for QuPath."""

from asyncio import to_thread
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.page.page_answers import (
    CheckAnswer,
    CurvePointAnswer,
    CurvesAnswer,
    DotAnswer,
    FlagAnswer,
    FootAnswer,
    RulerAnswer,
    SlidePageAnswer,
    StrongestTiles,
    StrongTile,
)
from pathoprog.inference.service.page.qupath_script import qupath_script
from pathoprog.inference.service.page.tile_files import ResolutionTiles, read_tiles
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.web.answers import OpaqueId
from pathoprog.inference.service.web.problems import documented
from pathoprog.inference.service.web.result_routes import Bundle, shown
from pathoprog.inference.service.web.service import Reading, Served, Service
from pathoprog.inference.service.web.submission_routes import known
from pathoprog.inference.service.work.desk import AbsentError
from pathoprog.scoring.results import read_slide
from pathoprog.scoring.slide_result import SlideResult
from pathoprog.slide_report.cohort_curves import CURVE_NOTE, CohortCurves
from pathoprog.slide_report.content import COORDINATES_NOTE, Ruler, written_content
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.system.file_names import folder_name

router = APIRouter(prefix="/v1/submissions/{submission}", tags=["page"])
ONE = documented(401, 403, 404, 409, 422, 429, 503)
ResolutionName = Annotated[
    str,
    Query(pattern=f"^({'|'.join(RESOLUTIONS)})?$", description="whose scores give the colours; empty: the coarsest"),
]


@router.get("/page", responses=ONE)
async def page(submission: OpaqueId, who: Reading, service: Served, bundle: Bundle = None) -> SlidePageAnswer:
    """What the slide's report says, as data."""
    found = known(service, submission)
    name = bundle or found.works[0].bundle
    result, run, _ = await to_thread(shown, service, found, name, who)
    await service.record(who, Action.REPORT_VIEWED, found.slide_id, submission=submission, bundle=name)
    lane, state = service.plans.get(name), service.snapshot.bundles.get(name)  # it may be served no longer
    says = written_content(result, run, service.caption(name), lane.plan.curves if lane is not None else None)
    return SlidePageAnswer(
        submission=found.id,
        bundle=name,
        shadow=state is None or not state.released_at,
        slide_id=found.slide_id,
        patient_id=found.patient_id,
        said=says.said,
        meaning=says.meaning,
        flags=[FlagAnswer(title=one.title, text=one.text) for one in says.flags],
        rulers=[_ruler(one) for one in says.rulers],
        ruler_note=says.ruler_note,
        curves=_curves(says.curves, says.said) if says.curves is not None else None,
        checks=[CheckAnswer(name=one.name, value=one.value, verdict=one.verdict, says=one.says) for one in says.checks],
        eligibility=says.eligibility,
        caption=says.caption,
        coordinates_note=COORDINATES_NOTE,
        foot=[
            *(FootAnswer(name=name, value=value) for name, value in says.foot),
            FootAnswer(name="seconds", value=f"{run.seconds:.1f}"),
        ],
        files=sorted(run.files or {}),
    )


def _ruler(ruler: Ruler) -> RulerAnswer:
    return RulerAnswer(
        resolution=ruler.resolution,
        score=ruler.score,
        threshold=ruler.threshold,
        distance=ruler.distance,
        dots=[DotAnswer(name=dot.name, score=dot.score, level=dot.level) for dot in ruler.dots],
    )


def _curves(curves: CohortCurves, said: str) -> CurvesAnswer:
    return CurvesAnswer(
        title=curves.title(said),
        last_year=curves.last_year,
        points={
            name: [
                CurvePointAnswer(
                    year=one.year, survival=one.survival, lower=one.lower, upper=one.upper, n_risk=one.n_risk
                )
                for one in points
            ]
            for name, points in curves.points.items()
        },
        note=CURVE_NOTE,
    )


@router.get("/strongest", responses=ONE)
async def strongest(
    submission: OpaqueId,
    who: Reading,
    service: Served,
    n: Annotated[int, Query(ge=1, le=100, description="of each resolution")] = 6,
    bundle: Bundle = None,
) -> StrongestTiles:
    """The tiles of the highest scores at each resolution."""
    served, of_slide = await _tiles(service, submission, bundle, who)
    return StrongestTiles(
        tiles=[
            StrongTile(
                resolution=name,
                x0=int(found.x0[index]),
                y0=int(found.y0[index]),
                width0=found.width0,
                height0=found.height0,
                score=float(found.score[index]),
                attention=float(found.attention[index]) if found.attention is not None else None,
            )
            for name, found in of_slide.items()
            for index in found.highest(n)
        ],
        caption=service.caption(served),
    )


async def _tiles(
    service: Service, submission: str, bundle: str | None, who: Principal
) -> tuple[str, dict[str, ResolutionTiles]]:
    """Whose result it is and its tiles, put on record."""
    found = known(service, submission)
    name = bundle or found.works[0].bundle
    result, _, folder = await to_thread(shown, service, found, name, who)
    of_slide = dict(await to_thread(_read, service, name, result, folder))
    await service.record(who, Action.RESULT_VIEWED, found.slide_id, submission=submission, bundle=name, file="tiles")
    return name, of_slide


def _read(service: Service, bundle: str, result: SlideResult, folder: Path) -> Mapping[str, ResolutionTiles]:
    """A result's tiles; of a copy of another slide they lie with that one, as long as it is the same work still."""
    if not result.duplicate_of:
        return read_tiles(folder)
    slides = service.slides_folder(bundle)
    other = read_slide(slides, result.duplicate_of, verify=False)
    same = other is not None and other[0].slide == result.slide and other[0].scores == result.scores
    return read_tiles(slides / folder_name(result.duplicate_of)) if same else {}


@router.get(
    "/qupath",
    responses={**ONE, 200: {"description": "The script", "content": {"text/plain": {}}}},
    response_class=Response,
)
async def qupath(
    submission: OpaqueId,
    who: Reading,
    service: Served,
    resolution: ResolutionName = "",
    bundle: Bundle = None,
) -> Response:
    """A script for QuPath that opens the slide with its tiles and outline. It names no path."""
    found = known(service, submission)
    name = bundle or found.works[0].bundle
    result, run, _ = await to_thread(shown, service, found, name, who)
    if result.slide is None or "tiles.geojson" not in (run.files or {}):
        raise AbsentError("the result has no tiles to show in QuPath")
    await service.record(who, Action.RESULT_VIEWED, found.slide_id, submission=submission, bundle=name, file="qupath")
    text = qupath_script(found.slide_id, result.slide, resolution or result.resolutions[0], service.caption(name))
    headers = {"Content-Disposition": 'attachment; filename="open_in_qupath.groovy"'}
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)
