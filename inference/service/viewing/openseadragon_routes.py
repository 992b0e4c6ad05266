"""OpenSeadragon, the viewer's script, from the installed package: nothing is loaded from elsewhere."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from pathoprog.inference.service.work.desk import AbsentError

router = APIRouter()
FOLDER = Path(__file__).resolve().parents[1] / "page" / "openseadragon"
MEDIA = {".js": "text/javascript; charset=utf-8", ".png": "image/png", ".txt": "text/plain; charset=utf-8"}


def files_of_viewer(folder: Path = FOLDER) -> dict[str, Path]:
    """The viewer's files by their name in addresses; none where it was not set up."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in MEDIA)
    return {path.relative_to(folder).as_posix(): path for path in found}


FILES = files_of_viewer()


@router.get("/page/openseadragon/{name:path}", include_in_schema=False)
def openseadragon(name: str) -> Response:
    """A file of the viewer; public code, so that nobody need be logged in.

    Raises:
        AbsentError: no such file, or the viewer was not set up.
    """
    path = FILES.get(name)
    if path is None:
        raise AbsentError("the slide viewer (OpenSeadragon) is not installed here; docs/service.md says how it is")
    return FileResponse(path, media_type=MEDIA[path.suffix], headers={"Cache-Control": "public, max-age=86400"})
