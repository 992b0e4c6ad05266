"""The page of one slide as one self-contained HTML file, for a screen or a printer."""

import base64
from functools import cache
from pathlib import Path
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.slide_report.cohort_curves import CURVE_NOTE
from pathoprog.slide_report.content import COLOURS, COORDINATES_NOTE, SlidePage
from pathoprog.text.plain_text import printable

RULER_WIDTH = 600
"""Of a ruler from 0 to 1, in the drawing's units."""


def slide_html(page: SlidePage) -> str:
    """The page as HTML; everything that is shown lies in it."""
    return str(
        _template().render(
            page=page,
            colours=COLOURS,
            width=RULER_WIDTH,
            last_year=page.curves.last_year if page.curves is not None else 0,
            curve_note=CURVE_NOTE,
            coordinates_note=COORDINATES_NOTE,
            research_use_only=RESEARCH_USE_ONLY,
        )
    )


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "report" / "templates"),
        autoescape=True,
        finalize=lambda value: printable(value, lines=True) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    return environment.get_template("slide.html.j2")
