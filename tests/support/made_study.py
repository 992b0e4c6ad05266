"""A small study with slides behind it: a cohort with outlines and outcomes, a bundle, and scores that it gave."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import shapely
from made_bundle import made_bundle
from made_slides import texture, write_pyramid

from pathoprog.regions.annotations import write_outline

SIZE = 64


def make_study(folder: Path, n: int = 12, seed: int = 0) -> Path:
    """Write `cohort/`, `ensemble/` and `scores/`, as `pathoprog demo` lays them out; returns the folder.

    Args:
        folder: where to write.
        n: patients of the external cohort, a slide each.
        seed: of their follow-up.
    """
    cohort = folder / "cohort"
    cohort.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    slides, outcomes = ["patient_id,slide_id,slide_path,outline_path,cohort,role"], ["patient_id,followup_days,event"]
    for index in range(n):
        name = f"E{index:02d}"
        write_pyramid(cohort / f"{name}.tif", texture(600, 560, seed=index), levels=2)
        write_outline(cohort / f"{name}.geojson", shapely.MultiPolygon([shapely.box(20, 20, 580, 540)]), name)
        slides.append(f"{name},{name},{name}.tif,{name}.geojson,trial,external")
        outcomes.append(f"{name},{rng.integers(200, 2500)},{int(index % 3 == 0)}")
    (cohort / "cohort.csv").write_text("\n".join(slides) + "\n")
    (cohort / "outcomes.csv").write_text("\n".join(outcomes) + "\n")
    made_bundle(folder / "ensemble", SIZE, tumour_policy="outline")
    command = [sys.executable, "-m", "pathoprog.cli", "score", f"cohort={cohort / 'cohort.csv'}", "settle_s=0"]
    more = [f"ensemble={folder / 'ensemble'}", f"out={folder / 'scores'}", "device=cpu", "outputs.pdf=false"]
    subprocess.run([*command, *more], check=True, capture_output=True)
    return folder
