"""The page of one slide as a PDF of A4 sheets. Equal content gives equal bytes: no time but the result's is in it."""

import importlib.util
import io
import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.slide_report.cohort_curves import CURVE_NOTE, CohortCurves
from pathoprog.slide_report.content import (
    COLOURS,
    COORDINATES_NOTE,
    CheckRow,
    Ruler,
    SlidePage,
    TilePicture,
)

WIDTH, HEIGHT = 595.0, 842.0
MARGIN = 42.0
TEXT_WIDTH = WIDTH - 2 * MARGIN
INK, SOFT, LINE = "#1A1A1A", "#5A5A5A", "#C9C9C9"
ALARM, ALARM_GROUND, BAND = "#B3261E", "#FBEEEC", "#7A1F1F"
RULER_WIDTH = 370.0
MAP_HEIGHT = 330.0
MAP_SCALE = 0.6
"""Points per pixel of the map, at most."""
TILE_SIDE = 92.0


def slide_pdf(page: SlidePage) -> bytes:
    """The page as PDF."""
    sheet = _Sheet(page)
    sheet.text(page.slide_id, size=14, bold=True, after=8)
    _class(sheet, page)
    for flag in page.flags:
        _flag(sheet, f"{flag.title} {flag.text}".strip())
    if page.rulers:
        sheet.heading("Scores", 76)
        for ruler in page.rulers:
            _ruler(sheet, ruler)
        sheet.note(page.ruler_note)
    if page.curves is not None:
        _curve(sheet, page.curves, page.said)
    if page.checks:
        sheet.heading("Quality", 60)
        for check in page.checks:
            _check(sheet, check)
        sheet.note(page.eligibility)
    if page.map_jpeg:
        _map(sheet, page.map_jpeg)
    for resolution, pictures in page.strongest.items():
        _tiles(sheet, resolution, pictures)
    if any(page.strongest.values()):
        sheet.note(f"{page.caption} {COORDINATES_NOTE}")
    _foot(sheet, page.foot)
    return sheet.done()


class _Sheet:
    """Sheets of paper and the place where writing goes on: `y` points above the lower edge."""

    def __init__(self, page: SlidePage):
        from reportlab import rl_config
        from reportlab.pdfgen import canvas

        rl_config.useA85 = 0  # pictures as bytes; as text they are a quarter larger
        self.sink = io.BytesIO()
        self.canvas = canvas.Canvas(self.sink, pagesize=(WIDTH, HEIGHT), pageCompression=1, invariant=1)
        self.canvas.setTitle(page.slide_id)
        self.canvas.setSubject(RESEARCH_USE_ONLY)
        self.page, self.number = page, 0
        self.y = 0.0
        self._begin()

    def _begin(self) -> None:
        self.number += 1
        self.canvas.setFillColor(_colour(BAND))
        self.canvas.rect(0, HEIGHT - 26, WIDTH, 26, stroke=0, fill=1)
        self.draw(RESEARCH_USE_ONLY, MARGIN, HEIGHT - 17, 9, bold=True, colour="#FFFFFF")
        result = next(value for name, value in self.page.foot if name == "result")
        self.draw(f"{self.page.slide_id} · result {result[:16]} · sheet {self.number}", MARGIN, 24, 7, colour=SOFT)
        self.y = HEIGHT - 52

    def room(self, height: float) -> None:
        """Make sure that `height` points are left, on a new sheet if need be."""
        if self.y - height < 40:
            self.canvas.showPage()
            self._begin()

    def draw(self, text: str, x: float, y: float, size: float, bold: bool = False, colour: str = INK) -> float:
        """Write one line that begins at x; returns where it ends."""
        font = _font(text, bold)
        self.canvas.setFont(font, size)
        self.canvas.setFillColor(_colour(colour))
        self.canvas.drawString(x, y, text)
        return x + _text_width(text, font, size)

    def text(
        self,
        text: str,
        size: float = 9.5,
        bold: bool = False,
        colour: str = INK,
        x: float = MARGIN,
        width: float = TEXT_WIDTH,
        after: float = 4,
    ) -> None:
        """Write a paragraph, broken to `width`."""
        for line in _lines(text, size, bold, width):
            self.room(size * 1.3)
            self.y -= size * 1.3
            self.draw(line, x, self.y, size, bold, colour)
        self.y -= after

    def note(self, text: str) -> None:
        self.text(text, size=7.5, colour=SOFT)

    def heading(self, text: str, with_next: float) -> None:
        """Write a heading; `with_next` points must fit below it on the same sheet."""
        self.room(28 + with_next)
        self.y -= 20
        self.draw(text, MARGIN, self.y, 11, bold=True)
        self.line(MARGIN, self.y - 4, WIDTH - MARGIN, self.y - 4, LINE, 0.7)
        self.y -= 8

    def line(
        self, x: float, y: float, x_end: float, y_end: float, colour: str, width: float, dash: Sequence[float] = ()
    ) -> None:
        self.canvas.setStrokeColor(_colour(colour))
        self.canvas.setLineWidth(width)
        self.canvas.setDash(*([list(dash)] if dash else []))
        self.canvas.line(x, y, x_end, y_end)
        self.canvas.setDash()

    def picture(self, jpeg: bytes, x: float, y: float, width: float, height: float) -> None:
        self.canvas.drawImage(_image(jpeg), x, y, width, height)

    def done(self) -> bytes:
        self.canvas.showPage()
        self.canvas.save()
        return self.sink.getvalue()


@cache
def _colour(code: str) -> Any:
    from reportlab.lib.colors import HexColor

    return HexColor(code)


@cache
def _reader() -> type:
    from reportlab.lib.utils import ImageReader

    class JpegReader(ImageReader):  # type: ignore[misc]  # reportlab has no types
        """A JPEG that is taken over as it is: reportlab would decode it to give it a name."""

        def __init__(self, jpeg: bytes):
            super().__init__(io.BytesIO(jpeg))
            self.jpeg, self._dataA = jpeg, None

        def getRGBData(self) -> bytes:  # noqa: N802 - reportlab's name
            return self.jpeg

    return JpegReader


def _image(jpeg: bytes) -> Any:
    return _reader()(jpeg)


def _font(text: str, bold: bool) -> str:
    """One of the PDF's own fonts where it has the letters; else one that is embedded."""
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return _embedded(bold)
    return "Helvetica-Bold" if bold else "Helvetica"


@cache
def _embedded(bold: bool) -> str:
    """DejaVu Sans, which matplotlib brings along (not imported for it)."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    found = importlib.util.find_spec("matplotlib")
    assert found is not None and found.origin is not None
    name = "DejaVuSans-Bold" if bold else "DejaVuSans"
    pdfmetrics.registerFont(TTFont(name, Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"))
    return name


def _text_width(text: str, font: str, size: float) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    return float(stringWidth(text, font, size))


def _lines(text: str, size: float, bold: bool, width: float) -> list[str]:
    """Break a text at spaces, and words that are wider than a line anywhere."""
    font = _font(text, bold)
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if _text_width(joined, font, size) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if _text_width(lines[-1] + letter, font, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _class(sheet: _Sheet, page: SlidePage) -> None:
    said = page.said.replace("_", " ")
    width = _text_width(said, "Helvetica-Bold", 17) + 24
    lines = _lines(page.meaning, 9.5, False, TEXT_WIDTH - width - 12)
    sheet.y -= 28
    sheet.canvas.setFillColor(_colour(COLOURS[page.said]))
    sheet.canvas.roundRect(MARGIN, sheet.y, width, 28, 5, stroke=0, fill=1)
    sheet.draw(said, MARGIN + 12, sheet.y + 8.5, 17, bold=True, colour="#FFFFFF")
    top = sheet.y + 10.5 + 6.2 * (len(lines) - 1)
    for index, line in enumerate(lines):
        sheet.draw(line, MARGIN + width + 12, top - 12.4 * index, 9.5)
    sheet.y -= 8 + max(0.0, 6.2 * (len(lines) - 2))


def _flag(sheet: _Sheet, text: str) -> None:
    lines = _lines(text, 9, False, TEXT_WIDTH - 20)
    height = 12 * len(lines) + 7
    sheet.room(height + 5)
    sheet.y -= height + 5
    sheet.canvas.setFillColor(_colour(ALARM_GROUND))
    sheet.canvas.rect(MARGIN, sheet.y, TEXT_WIDTH, height, stroke=0, fill=1)
    sheet.canvas.setFillColor(_colour(ALARM))
    sheet.canvas.rect(MARGIN, sheet.y, 3, height, stroke=0, fill=1)
    for index, line in enumerate(lines):
        sheet.draw(line, MARGIN + 11, sheet.y + height - 12.5 - 12 * index, 9)


def _ruler(sheet: _Sheet, ruler: Ruler) -> None:
    stacked = 7.0 * max((dot.level for dot in ruler.dots), default=0)
    sheet.room(52 + stacked)
    sheet.y -= 52 + stacked
    left, base = MARGIN + 34, sheet.y + 18
    threshold = left + RULER_WIDTH * ruler.threshold
    canvas = sheet.canvas
    sheet.draw(ruler.resolution, MARGIN, base - 1, 10, bold=True)
    for x, width, colour in (
        (left, threshold - left, COLOURS["good"]),
        (threshold, left + RULER_WIDTH - threshold, COLOURS["poor"]),
    ):
        canvas.setFillColor(_colour(colour), alpha=0.35)
        canvas.rect(x, base, width, 4, stroke=0, fill=1)
    canvas.setFillAlpha(1)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + RULER_WIDTH * tick
        sheet.line(x, base, x, base - 3, SOFT, 0.7)
        label = f"{tick:g}"
        sheet.draw(label, x - _text_width(label, "Helvetica", 7) / 2, base - 11, 7, colour=SOFT)
    sheet.line(threshold, base - 3, threshold, base + 28 + stacked, "#000000", 0.8, (3, 2))
    canvas.setStrokeColor(_colour("#333333"))
    canvas.setLineWidth(1)
    canvas.setFillColor(_colour("#FFFFFF"))
    for dot in ruler.dots:
        canvas.circle(left + RULER_WIDTH * dot.score, base + 10 + 7 * dot.level, 3.1, stroke=1, fill=1)
    x = left + RULER_WIDTH * ruler.score
    diamond = canvas.beginPath()
    diamond.moveTo(x, base + 7)
    for corner in ((x + 5, base + 2), (x, base - 3), (x - 5, base + 2)):
        diamond.lineTo(*corner)
    diamond.close()
    canvas.setFillColor(_colour("#000000"))
    canvas.drawPath(diamond, stroke=0, fill=1)
    beside = left + RULER_WIDTH + 18
    sheet.draw(f"score {ruler.score:.3f}", beside, base + 10, 9, bold=True)
    sheet.draw(f"threshold {ruler.threshold:.3f}", beside, base - 1, 8.5)
    sheet.draw(f"distance {ruler.distance:+.3f}", beside, base - 12, 8.5)


def _curve(sheet: _Sheet, curves: CohortCurves, risk_class: str) -> None:
    sheet.heading("What became of patients of this class", 190)
    sheet.text(curves.title(risk_class))
    width, height = 400.0, 110.0
    left, bottom = MARGIN + 34, sheet.y - height - 4

    def x_of(year: float) -> float:
        return left + width * year / curves.last_year

    for share in (0, 25, 50, 75, 100):
        y = bottom + height * share / 100
        sheet.line(left, y, left + width, y, "#DDDDDD", 0.6)
        label = f"{share} %"
        sheet.draw(label, left - 6 - _text_width(label, "Helvetica", 7), y - 2.5, 7, colour=SOFT)
    for name, points in curves.points.items():
        own = name == risk_class
        colour = COLOURS[risk_class] if own else "#999999"
        thickness, dash = (1.6, ()) if own else (0.9, (4, 3))
        for before, after in itertools.pairwise(points):
            y, y_end = bottom + height * before.survival, bottom + height * after.survival
            sheet.line(x_of(before.year), y, x_of(after.year), y_end, colour, thickness, dash)
        if points and not own:
            y = bottom + height * points[-1].survival - 2.5
            sheet.draw(name, x_of(points[-1].year) + 4, y, 7, colour="#777777")
    for point in curves.points[risk_class]:
        x = x_of(point.year)
        sheet.line(x, bottom + height * point.lower, x, bottom + height * point.upper, COLOURS[risk_class], 0.9)
        sheet.canvas.setFillColor(_colour(COLOURS[risk_class]))
        sheet.canvas.circle(x, bottom + height * point.survival, 2.1, stroke=0, fill=1)
        for label, y, colour in ((f"{point.year:g}", bottom - 10, SOFT), (str(point.n_risk), bottom - 32, INK)):
            sheet.draw(label, x - _text_width(label, "Helvetica", 7.5) / 2, y, 7.5, colour=colour)
    sheet.draw("years; below: patients of the class still at risk", left, bottom - 21, 7, colour=SOFT)
    sheet.y = bottom - 38
    sheet.note(CURVE_NOTE)


def _check(sheet: _Sheet, check: CheckRow) -> None:
    columns = ((check.name, 0.0, 124.0), (check.value, 130.0, 84.0), (check.says, 274.0, TEXT_WIDTH - 274.0))
    cells = [(_lines(text, 7.5, False, width), x) for text, x, width in columns]
    height = 9.5 * max(len(lines) for lines, _ in cells) + 1.5
    sheet.room(height)
    for lines, x in cells:
        for index, line in enumerate(lines):
            sheet.draw(line, MARGIN + x, sheet.y - 9 - 9.5 * index, 7.5)
    sheet.draw(check.verdict, MARGIN + 220, sheet.y - 9, 7.5, bold=True, colour=COLOURS[check.verdict])
    sheet.y -= height


def _map(sheet: _Sheet, jpeg: bytes) -> None:
    width, height = _image(jpeg).getSize()
    scale = min(TEXT_WIDTH / width, MAP_HEIGHT / height, MAP_SCALE)
    sheet.heading("Analysed area and tile map", height * scale + 8)
    sheet.y -= height * scale + 4
    sheet.picture(jpeg, MARGIN, sheet.y, width * scale, height * scale)


def _tiles(sheet: _Sheet, resolution: str, pictures: tuple[TilePicture, ...]) -> None:
    sheet.heading(f"Tiles of the highest scores at {resolution}", TILE_SIDE + 28)
    sheet.y -= TILE_SIDE + 4
    for index, tile in enumerate(pictures):
        x = MARGIN + index * (TILE_SIDE + 12)
        sheet.picture(tile.jpeg, x, sheet.y, TILE_SIDE, TILE_SIDE)
        sheet.draw(f"tile score {tile.score:.3f}", x, sheet.y - 10, 7.5, colour=SOFT)
        sheet.draw(f"x0 {tile.x0}, y0 {tile.y0}", x, sheet.y - 19, 7.5, colour=SOFT)
    sheet.y -= 24


def _foot(sheet: _Sheet, rows: Sequence[tuple[str, str]]) -> None:
    broken = [(name, _lines(value, 7.5, False, TEXT_WIDTH - 90)) for name, value in rows]
    sheet.room(12 + 10 * sum(len(lines) for _, lines in broken))
    sheet.y -= 12
    for name, lines in broken:
        sheet.draw(name, MARGIN, sheet.y, 7.5, colour=SOFT)
        for line in lines:
            sheet.draw(line, MARGIN + 90, sheet.y, 7.5, colour=SOFT)
            sheet.y -= 10
