"""The page of one slide: what its result says, on one self-contained HTML file for a screen or a printer."""

import base64
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.classes import RESOLUTIONS
from pathoprog.heatmap import CAPTION_EQUAL
from pathoprog.outcomes import SlideScore
from pathoprog.slides.mpp import COARSER_ALLOWED
from pathoprog.tiles_config import PREPROCESSING_VERSION, RESOLUTION_MPP

MEANINGS = {
    "good": "Both scores lie below their thresholds.",
    "uncertain": "The two resolutions disagree: one score lies below its threshold, the other at or above it. This is "
    "an intermediate class, and no statement of confidence.",
    "poor": "Both scores lie at or above their thresholds.",
    "not_reportable": "The slide was read, and cannot be judged. There is no class.",
    "failed": "The slide could not be read or scored. There is no class. Once the cause is gone, the same command with "
    "requeue=true tries it again.",
}
FEW_TILES = 10
"""Fewer tiles than this at a resolution are a warning (project default)."""
NOT_CHECKED = ("focus", "pen marks", "folds", "stain", "scanner seen in training")


def slide_page(record: Mapping[str, Any], run: Mapping[str, Any], outcome: SlideScore, heatmap: bytes) -> str:
    """The page as HTML; everything that is shown lies in it.

    Args:
        record: what result.json holds.
        run: what run.json holds.
        outcome: of scoring, for the strongest tiles.
        heatmap: the tile map as PNG, empty where there is none.
    """
    said = record["risk_class"] or record["status"]
    return str(
        _template().render(
            record=record,
            run=run,
            said=said,
            meaning=MEANINGS[said],
            rulers=[_ruler(name, record["scores"][name]) for name in RESOLUTIONS if name in record["scores"]],
            checks=_checks(record),
            heatmap=base64.b64encode(heatmap).decode("ascii"),
            strongest={name: _pictures(score.strongest, outcome, name) for name, score in outcome.resolutions.items()},
            caption=CAPTION_EQUAL,
            preprocessing=PREPROCESSING_VERSION,
            research_use_only=RESEARCH_USE_ONLY,
        )
    )


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "report" / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("slide.html.j2")


def _ruler(resolution: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Places on a ruler from 0 to 1 that is 600 units wide; members at nearly one place are stacked."""
    dots: list[dict[str, Any]] = []
    for name, score in sorted(entry["members"].items(), key=lambda item: item[1]):
        x = 600 * score
        level = 1 + max((dot["level"] for dot in dots if abs(dot["x"] - x) < 11), default=-1)
        dots.append({"name": name, "score": score, "x": x, "level": level})
    return {
        "resolution": resolution,
        "score": entry["score"],
        "threshold": entry["threshold"],
        "distance": entry["distance"],
        "x": 600 * entry["score"],
        "x_threshold": 600 * entry["threshold"],
        "dots": dots,
    }


def _checks(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What is known of the slide's quality: name, value and verdict (``pass``, ``warn``, ``fail``, ``not checked``)."""
    slide = record["slide"]
    if slide is None:
        return []
    checks = []
    area = slide["tumour_area_um2"] / 1e6
    name = "tumour area (outline)" if slide["region_source"] == "outline" else "tissue area (no outline was used)"
    checks.append((name, f"{area:.2f} mm²", "pass" if area > 0 else "fail"))
    for resolution in RESOLUTIONS:
        found = record["scores"].get(resolution)
        n = found["n_tiles"] if found else 0
        chosen = f" of {found['n_tiles_candidates']}" if found and found["n_tiles_candidates"] > n else ""
        checks.append(
            (f"tiles at {resolution}", f"{n}{chosen}", "fail" if not n else "warn" if n < FEW_TILES else "pass")
        )
    given = "slides.mpp" in record["overrides"]
    fine = slide["mpp_x"] <= RESOLUTION_MPP["40x"] * COARSER_ALLOWED
    um_px = f"{slide['mpp_x']:.4g} x {slide['mpp_y']:.4g}{' (given, not the file’s)' if given else ''}"
    checks.append(("um/px", um_px, "warn" if given else "pass" if fine else "fail"))
    checks += [("warning of the reader", text, "warn") for text in slide["warnings"]]
    return checks + [(name, "", "not checked") for name in NOT_CHECKED]


def _pictures(
    strongest: list[tuple[int, NDArray[np.uint8]]], outcome: SlideScore, resolution: str
) -> list[dict[str, Any]]:
    score = outcome.resolutions[resolution]
    pictures = []
    for index, pixels in strongest:
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "JPEG", quality=88)
        pictures.append(
            {
                "jpeg": base64.b64encode(sink.getvalue()).decode("ascii"),
                "score": float(score.tile_scores[index].mean()),
                "x0": int(score.grid.x0[index]),
                "y0": int(score.grid.y0[index]),
            }
        )
    return pictures
