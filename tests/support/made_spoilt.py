"""A made-up H&E slide and spoilt copies of it, for tests of quality."""

from pathlib import Path

from pathoprog.quality.look import QualityLook, look_at
from pathoprog.regions.annotations import read_outline
from pathoprog.regions.tissue import tissue_and_view
from pathoprog.simulate.drawing import SlideTask, draw_slide, slide_files
from pathoprog.simulate.spoil import spoil_slide
from pathoprog.slides import open_slide

GOOD = "S1"


def made_good(folder: Path, name: str = GOOD, laboratory: str = "lab_7", scanner: str = "scanner_C") -> Path:
    """Draw a slide of 480 um, with its outline, into `folder`; returns the folder."""
    for part in ("slides", "outlines"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    key = tuple(name.encode())
    draw_slide(SlideTask(name, 11, key, 0.0, 0.0, laboratory, scanner, field_um=480.0, jpeg_quality=80), str(folder))
    return folder


def looked_at(folder: Path, name: str, policy: str = "outline") -> QualityLook:
    """What is measured of a slide of such a folder."""
    path, outline = slide_files(folder, name)
    with open_slide(str(path)) as slide:
        tissue, view = tissue_and_view(slide)
        return look_at(slide, view, tissue, read_outline(outline) if policy == "outline" else tissue)


def spoilt(folder: Path, kind: str, seed: int = 3) -> QualityLook:
    """Spoil the good slide, and measure it."""
    spoil_slide(folder, GOOD, kind, seed, folder)
    return looked_at(folder, f"{GOOD}-{kind}")
