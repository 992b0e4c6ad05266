"""Routes of the viewer: a slide's picture in tiles, regions of it, and the maps that are laid over it."""

from asyncio import to_thread
from functools import partial
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Depends, Path, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import BaseModel, Field
from starlette.responses import Response

from pathoprog.inference.service.access.principal import Principal
from pathoprog.inference.service.access.roles import Permission
from pathoprog.inference.service.records.audit_lines import Action
from pathoprog.inference.service.viewing.located import place_of
from pathoprog.inference.service.viewing.reader_child import SlidePicture, SlidePlace
from pathoprog.inference.service.viewing.score_maps import MEASURES, SlideMaps, map_png, read_maps
from pathoprog.inference.service.viewing.slide_viewing import ClientGoneError, answered
from pathoprog.inference.service.web.answers import Answered, Given, OpaqueId
from pathoprog.inference.service.web.problems import documented
from pathoprog.inference.service.web.result_routes import shown
from pathoprog.inference.service.web.service import BEARER, Reading, Served, Service, service_of
from pathoprog.inference.service.web.submission_routes import known
from pathoprog.inference.service.work.desk import AbsentError
from pathoprog.inference.service.work.submissions import Submission
from pathoprog.scoring.results import OUTLINE
from pathoprog.slides.resolutions import RESOLUTIONS

router = APIRouter(prefix="/v1/submissions/{submission}/view", tags=["viewer"])
ONE = documented(401, 403, 404, 409, 422, 429, 503)
MOST_TILES = 24
"""Tiles of the coarsest level: of more the page cannot show the whole slide at once."""
Measure = Literal["score", "attention"]
assert get_args(Measure) == MEASURES
Resolution = Annotated[str, Path(pattern=f"^({'|'.join(RESOLUTIONS)})$")]
Bundle = Annotated[Given | None, Query(description="which bundle's; without it the champion's")]
Pixel = Annotated[int, Query(ge=-10_000_000, le=10_000_000, description="level-0 px")]
Extent = Annotated[int, Query(ge=1, le=10_000_000, description="level-0 px")]


def _picture(kind: str, said: str) -> "dict[int | str, dict[str, object]]":
    return {**ONE, 200: {"description": said, "content": {kind: {}}}}


class ViewAnswer(Answered):
    """How a slide is shown: levels and tiles as Deep Zoom counts them.

    Level `max_level` has one pixel for each level-0 pixel, each level below half as many, rounded up; those below
    `min_level` are not given.
    """

    submission: str
    width: int = Field(description="level-0 px")
    height: int = Field(description="level-0 px")
    mpp_x: float | None = Field(description="um per level-0 px; null: the file does not say, or is not believed")
    mpp_y: float | None
    tile_size: int
    overlap: int
    levels: int
    min_level: int
    max_level: int
    format: str
    note: str = Field(description="what whoever looks must know; empty: nothing")


class MapAnswer(BaseModel):
    """A map of tile values: a picture of one pixel for each tile, and where it lies on the slide."""

    resolution: str
    measure: Measure
    columns: int
    rows: int
    x0: float = Field(description="left edge of the first column, level-0 px")
    y0: float = Field(description="top edge of the first row, level-0 px")
    step_x: float = Field(description="width of a column, level-0 px")
    step_y: float = Field(description="height of a row, level-0 px")
    low: str = Field(description="what the lowest colour means")
    high: str = Field(description="what the highest colour means")
    n_tiles: int


class OverlaysAnswer(Answered):
    """What can be laid over a slide: the maps, whether there is an outline, and what must be said of them."""

    submission: str
    bundle: str
    maps: list[MapAnswer]
    caption: str
    outline: bool = Field(description="whether the result has tumour.geojson, level-0 px")


def _looking(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)] = None) -> Principal:
    """Who asks for a part of a picture; these have a bound of their own, in the readers' queue.

    Raises:
        AccessError: nobody that is known, or no right to see results.
    """
    host = request.client.host if request.client is not None else ""
    url = f"{request.url.path}?{request.url.query}"
    gate = service_of(request).gate
    who = gate.authenticate(request.headers, request.cookies, host, request.method, url, counted=False)
    who.demand(Permission.SEE_RESULTS)
    return who


Looking = Annotated[Principal, Depends(_looking)]


async def _place(service: Service, submission: str, who: Principal) -> SlidePlace:
    """Where a slide lies, once it is on record that somebody looks at it."""
    found: Submission = known(service, submission)
    desk, names = service.conductor.desk, service.conductor.names
    asked = partial(place_of, desk, service.settings, names, service.viewing.staging, found)
    place = await service.viewing.place(found, lambda: service.change(asked))
    if service.viewing.unrecorded(who.name, submission):
        try:
            await service.record(who, Action.SLIDE_VIEWED, found.slide_id, submission=submission)
        except BaseException:
            service.viewing.off_record(who.name, submission)
            raise
    return place


@router.get("", responses=ONE)
async def view(submission: OpaqueId, request: Request, who: Looking, service: Served) -> ViewAnswer:
    """How a slide is shown. One whose file has changed since it was scored is not."""
    place = await _place(service, submission, who)
    readers = service.viewing.readers
    try:
        picture: SlidePicture = await answered(request, readers, partial(readers.picture, place, who.name))
    except ClientGoneError:
        return _gone()  # type: ignore[return-value]
    pyramid = picture.pyramid
    columns, rows = pyramid.tiles(picture.min_level)
    note = ""
    if columns * rows > MOST_TILES:
        note = "The slide's file has no coarser levels: it can be shown only from near, and parts come slowly."
    return ViewAnswer(
        submission=submission,
        width=pyramid.width,
        height=pyramid.height,
        mpp_x=picture.mpp_x,
        mpp_y=picture.mpp_y,
        tile_size=pyramid.tile_px,
        overlap=0,
        levels=pyramid.max_level + 1,
        min_level=picture.min_level,
        max_level=pyramid.max_level,
        format="jpg",
        note=note,
    )


@router.get("/{level}/{column}_{row}.jpg", responses=_picture("image/jpeg", "The tile"), response_class=Response)
async def tile(
    submission: OpaqueId,
    level: Annotated[int, Path(ge=0, le=32)],
    column: Annotated[int, Path(ge=0, le=1_000_000)],
    row: Annotated[int, Path(ge=0, le=1_000_000)],
    request: Request,
    who: Looking,
    service: Served,
) -> Response:
    """One tile of a slide's picture. A label or macro image is no part of it."""
    place = await _place(service, submission, who)
    readers = service.viewing.readers
    try:
        data = await answered(request, readers, partial(readers.tile, place, (level, column, row), who.name))
    except ClientGoneError:
        return _gone()
    return Response(data, media_type="image/jpeg")


@router.get("/region", responses=_picture("image/jpeg", "The rectangle"), response_class=Response)
async def region(
    submission: OpaqueId,
    request: Request,
    who: Looking,
    service: Served,
    x0: Pixel,
    y0: Pixel,
    width: Extent,
    height: Extent,
    px: Annotated[int, Query(ge=16, le=1024, description="most pixels of the longer side")] = 256,
) -> Response:
    """A rectangle of a slide; what lies beyond the slide is left out."""
    place = await _place(service, submission, who)
    readers = service.viewing.readers
    box = (x0, y0, width, height)
    try:
        data = await answered(request, readers, partial(readers.region, place, box, px, who.name))
    except ClientGoneError:
        return _gone()
    return Response(data, media_type="image/jpeg")


def _gone() -> Response:
    """For a client that does not wait for it."""
    return Response(status_code=204)


@router.get("/overlays", responses=ONE)
async def overlays(submission: OpaqueId, who: Reading, service: Served, bundle: Bundle = None) -> OverlaysAnswer:
    """What can be laid over a slide; of a bundle in shadow to those alone who may see its results."""
    maps, name, outline = await _maps(service, submission, bundle, who)
    return OverlaysAnswer(
        submission=submission,
        bundle=name,
        maps=[
            MapAnswer(
                resolution=one.resolution,
                measure=one.measure,  # type: ignore[arg-type]  # pydantic checks it
                columns=one.levels.shape[1],
                rows=one.levels.shape[0],
                x0=one.x0,
                y0=one.y0,
                step_x=one.step_x,
                step_y=one.step_y,
                low=one.low,
                high=one.high,
                n_tiles=one.n_tiles,
            )
            for one in maps.maps
        ],
        caption=maps.caption,
        outline=outline,
    )


@router.get("/maps/{resolution}/{measure}.png", responses=_picture("image/png", "The map"), response_class=Response)
async def score_map(
    submission: OpaqueId,
    resolution: Resolution,
    measure: Measure,
    who: Reading,
    service: Served,
    bundle: Bundle = None,
) -> Response:
    """A map of tile values as a picture: one pixel for each tile, none where there is no tile."""
    maps, _, _ = await _maps(service, submission, bundle, who)
    found = next((one for one in maps.maps if (one.resolution, one.measure) == (resolution, measure)), None)
    if found is None:
        raise AbsentError(f"the result has no map of {measure} at {resolution}")
    return Response(await to_thread(map_png, found), media_type="image/png")


async def _maps(service: Service, submission: str, bundle: str | None, who: Principal) -> tuple[SlideMaps, str, bool]:
    """A result's maps, its bundle, and whether it has an outline; put on record."""
    found = known(service, submission)
    _, run, folder = await to_thread(shown, service, found, bundle or "", who)
    name = bundle or found.works[0].bundle
    await service.record(who, Action.RESULT_VIEWED, found.slide_id, submission=submission, bundle=name, file="maps")
    return await to_thread(read_maps, folder, service.caption(name)), name, OUTLINE in (run.files or {})
