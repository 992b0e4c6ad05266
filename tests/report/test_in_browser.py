"""The report in a browser: no table is cut off at any width or in print, and pages keep heading and figure together."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_browser import opened_browser
from made_report import make_reported

from pathoprog.report.curves import kaplan_meier_figure
from pathoprog.report.document import Document, Figure, Section, Table, Text, render
from pathoprog.report.style import save_figure

pytestmark = pytest.mark.slow

A4_WITHIN_MARGINS = 680  # px of 180 mm
MM = 96 / 25.4
CLIPPED = """() => [...document.querySelectorAll('table')].flatMap(table => {
  const frame = table.parentElement, box = table.getBoundingClientRect(), edge = frame.getBoundingClientRect();
  const fits = frame.scrollWidth <= frame.clientWidth && box.right <= edge.right + 0.5;
  const whole = [...table.querySelectorAll('th, td')].every(cell => cell.scrollWidth <= cell.clientWidth + 1);
  return fits && whole ? [] : [frame.id];
})"""
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, _ = make_reported(tmp_path_factory.mktemp("report") / "made", full=True)
    return made.folder / "validation" / "report.html"


def wide() -> Document:
    """Tables with long names, many columns and long words."""
    names = [f"external: a hospital of some length {k}" for k in range(9)] + ["external_without_any_space_in_its_name"]
    rows = [
        ["age at diagnosis, median (IQR)", *("70.8 (61.7–77.7)" for _ in names)],
        ["  female", *("1,219 (54%)",) * 10],
    ]
    first = Table("wide", "Wide.", pd.DataFrame(rows, columns=["", *names]))
    words = [["a" * 60, "some text that goes on for a while", "12.34 (95% CI 11.11–13.22)", "p<0.0001"]]
    second = Table("words", "Words.", pd.DataFrame(words, columns=["Column", "What it is", "HR", "p"]), text_columns=2)
    return Document("T", "S", [("Lock", "f" * 64)], [Text("In short.")], [Section("one", "One", [first, second])])


def opened(browser: Any, path: Path, width: int, media: str) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.emulate_media(media=media)
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize(
    ("width", "media"), [(1280, "screen"), (1024, "screen"), (800, "screen"), (A4_WITHIN_MARGINS, "print")]
)
def test_no_table_is_cut_off(browser: Any, report: Path, tmp_path: Path, width: int, media: str) -> None:
    made = tmp_path / "wide.html"
    made.write_text(render(wide()))
    for path in (report, made):
        page = opened(browser, path, width, media)
        assert page.locator("table").count() >= 2
        assert (page.evaluate(CLIPPED), page.evaluate(SIDEWAYS)) == ([], 0), path
        external = page.locator("#table-table_one th, #table-wide th", has_text="external").first
        assert external.bounding_box()["x"] + external.bounding_box()["width"] <= width
        page.close()


def test_the_check_sees_a_table_that_is_cut_off(browser: Any, tmp_path: Path) -> None:
    made = tmp_path / "cut.html"
    made.write_text(render(wide()).replace("</style>", "td { min-width: 20rem; } figure { overflow: hidden; }</style>"))
    page = opened(browser, made, 800, "screen")
    assert "table-wide" in page.evaluate(CLIPPED)


def pages_of(browser: Any, path: Path) -> list[str]:
    """The text of each page of A4."""
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext here")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.pdf(path=path.with_suffix(".pdf"), prefer_css_page_size=True)
    page.close()
    call = ["pdftotext", "-layout", str(path.with_suffix(".pdf")), "-"]
    text = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return text.split("\f")[:-1]


def test_pages_keep_heading_and_figure_together(browser: Any, tmp_path: Path) -> None:
    drawn = kaplan_meier_figure([1, 2, 3, 4], [1, 0, 1, 0])
    svg = save_figure(drawn, tmp_path / "curve")[1].read_bytes()
    path = tmp_path / "paged.html"
    for lines in range(0, 46, 5):  # so that the section begins at ten places of a page
        filler = [Text("Filler.")] * lines
        figure = Figure("curve", "Caption of the curve.", svg)
        table = Table("long", "Caption of a long table.", pd.DataFrame({"a": range(80), "b": range(80)}))
        sections = [
            Section("filler", "Before", filler),
            Section("curve", "Heading of the curve", [Text("Leading to the curve."), figure]),
            Section("table", "Heading of the table", [Text("Leading to the table."), table]),
        ]
        path.write_text(render(Document("T", "S", [], [Text("In short.")], [s for s in sections if s.blocks])))
        pages = pages_of(browser, path)
        for parts in (
            ("Heading of the curve", "Leading to the curve.", "Caption of the curve."),
            ("Heading of the table", "Leading to the table.", "Caption of a long table."),
        ):
            found = [[k for k, text in enumerate(pages) if re.search(re.escape(part), text)] for part in parts]
            assert found[0] == found[1] == found[2] and len(found[0]) == 1, (lines, parts, found)


def test_curves_leave_room_on_a_page_for_what_follows(browser: Any, tmp_path: Path) -> None:
    drawn = kaplan_meier_figure([1, 2, 3, 4], [1, 0, 1, 0])
    svg = save_figure(drawn, tmp_path / "curve")[1].read_bytes()
    path = tmp_path / "curve.html"
    section = Section("curve", "Heading", [Text("Leading to the curve."), Figure("curve", "Curve.", svg)])
    path.write_text(render(Document("T", "S", [], [Text("In short.")], [section])))
    page = opened(browser, path, A4_WITHIN_MARGINS, "print")
    picture, whole = (page.locator(where).bounding_box() for where in ("figure img", "#curve .kept"))
    assert 300 < picture["height"] < 112 * MM and whole["height"] < 0.55 * 267 * MM  # of a page without its margins
    page.close()


def test_no_page_of_the_report_ends_in_a_heading(browser: Any, report: Path) -> None:
    titles = re.findall(r'<h2><span class="number">(\d+)</span> ([^<]+)</h2>', report.read_text())
    assert len(titles) > 15
    for page in pages_of(browser, report):
        last = [line.strip() for line in page.splitlines() if line.strip()][-1]
        assert not any(re.fullmatch(rf"{number}\s+{re.escape(title)}", last) for number, title in titles), last
