"""One slide's files, from the task that names all they depend on."""

import dataclasses
from pathlib import Path
from typing import Any

import shapely

from pathoprog.regions.annotations import write_outline
from pathoprog.simulate.morphology import draw_morphology
from pathoprog.simulate.pyramid import write_pyramid
from pathoprog.simulate.rendering import SCANNERS, draw_stain, render
from pathoprog.simulate.seeds import generator
from pathoprog.system.files import sha256_file, sha256_value

CODE = ("banks.py", "drawing.py", "morphology.py", "pyramid.py", "rendering.py", "seeds.py")  # what slides depend on


@dataclasses.dataclass(frozen=True)
class SlideTask:
    """All that one slide's files depend on."""

    slide_id: str
    seed: int
    key: tuple[int, ...]
    architecture: float
    nuclei: float
    laboratory: str
    scanner: str
    field_um: float
    jpeg_quality: int


def draw_slide(task: SlideTask, out: str) -> tuple[str, dict[str, Any]]:
    """Draw one slide and its tumour's outline (level-0 px); its id and what `simulate.json` records."""
    rng = generator(task.seed, *task.key)
    scanner = SCANNERS[task.scanner]
    morphology = draw_morphology(rng, task.field_um, task.architecture, task.nuclei)
    stain = draw_stain(rng, task.laboratory)
    picture = render(rng, morphology, task.field_um, stain, scanner)
    slide_path, outline_path = slide_files(Path(out), task.slide_id)
    write_pyramid(slide_path, picture, scanner.mpp, task.jpeg_quality)
    outline = shapely.Polygon((morphology.outline_um / scanner.mpp).round(1))
    write_outline(outline_path, outline, name=task.slide_id)
    return task.slide_id, {
        "sha256": sha256_file(slide_path),
        "outline_sha256": sha256_file(outline_path),
        "mpp": scanner.mpp,
        "tumour_area_um2": round(morphology.tumour_area_um2, 1),
        "tissue_area_um2": round(morphology.tissue_area_um2, 1),
        "haematoxylin_amount": round(stain.haematoxylin_amount, 4),
        "eosin_amount": round(stain.eosin_amount, 4),
    }


def slide_files(out: Path, slide_id: str) -> tuple[Path, Path]:
    """Paths of a slide and of its tumour's outline."""
    return out / "slides" / f"{slide_id}.tif", out / "outlines" / f"{slide_id}.geojson"


def code_hash() -> str:
    """Hash of the code that draws: slides of another version are drawn again."""
    return sha256_value({name: sha256_file(Path(__file__).with_name(name)) for name in CODE})
