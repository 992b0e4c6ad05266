"""The Word file of a validation: its Methods and Results paragraphs and every table, as an author edits them."""

import io
from pathlib import Path
from typing import Any

import pandas as pd

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.report.document import KEPT_ROWS, Document, Table, Text
from pathoprog.system.files import atomic_write
from pathoprog.text.plain_text import printable

FILE = "manuscript.docx"
FONT_PT = 8  # of a table's cells


def write_word(path: Path, document: Document) -> None:
    """Write title, paragraphs to be pasted, and all tables with their captions, numbers, labels and notes.

    Args:
        path: of the ``.docx``.
        document: the whole report.
    """
    import docx
    from docx.shared import Mm

    word = docx.Document()
    page = word.sections[0]
    page.page_width, page.page_height = Mm(210), Mm(297)
    page.left_margin = page.right_margin = Mm(18)
    page.footer.paragraphs[0].text = f"{RESEARCH_USE_ONLY} Made by pathoprog {__version__}."
    word.add_heading(printable(document.title), 0)
    word.add_paragraph(printable(document.subtitle))
    section = next((one for one in document.sections if one.name == "manuscript"), None)
    texts = [] if section is None else [b for b in section.blocks if isinstance(b, Text) and b.kind == "paste"]
    for heading, text in zip(("Methods", "Results"), texts, strict=False):
        word.add_heading(heading, 1)
        word.add_paragraph(printable(text.text))
    word.add_heading("Tables", 1)
    document.number()
    styles = _cell_styles(word)
    for table in document.tables():
        _add(word, table, styles)
    stream = io.BytesIO()
    word.save(stream)
    with atomic_write(path) as target:
        target.write(stream.getvalue())


def _add(word: Any, table: Table, styles: dict[tuple[bool, bool], str]) -> None:
    from docx.shared import Pt

    caption = word.add_paragraph()
    caption.paragraph_format.keep_with_next = True
    caption.add_run(f"Table {table.number}. ").bold = True
    caption.add_run(printable(table.title) + (f" ({table.status})" if table.status else ""))
    panels = table.panels
    for number, panel in enumerate(panels, start=1):
        _grid(word, panel, table.text_columns, styles)
        after = word.add_paragraph()  # two tables without a paragraph between them would be one
        if number == len(panels):
            after.add_run(printable(table.note)).font.size = Pt(FONT_PT)


def _cell_styles(word: Any) -> dict[tuple[bool, bool], str]:
    """Styles of a cell's paragraph, by whether it is a number and whether it keeps with the next row; their ids.

    Said once each rather than in every cell: an author changes all tables at once, and thousands of cells are written
    in half the time.
    """
    from docx.enum.style import WD_STYLE_TYPE
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Pt

    made: dict[tuple[bool, bool], str] = {}
    for number in (False, True):
        for kept in (False, True):
            name = f"Table {'number' if number else 'text'}{' kept with next' if kept else ''}"
            style = word.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
            style.base_style = word.styles["Normal"]
            style.font.size = Pt(FONT_PT)
            style.paragraph_format.space_after = Pt(0)
            style.paragraph_format.keep_with_next = kept
            style.paragraph_format.alignment = WD_ALIGN_PARAGRAPH.RIGHT if number else WD_ALIGN_PARAGRAPH.LEFT
            made[number, kept] = style.style_id
    return made


def _grid(word: Any, panel: pd.DataFrame, text_columns: int, styles: dict[tuple[bool, bool], str]) -> None:
    """One panel; Word repeats its head on each page, breaks no row, and keeps a short table on one page."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    rows = [list(panel.columns), *panel.itertuples(index=False, name=None)]
    grid = word.add_table(rows=len(rows), cols=panel.shape[1], style="Light List")
    look = grid._tbl.tblPr.find(qn("w:tblLook"))
    look.set(qn("w:val"), "0420")  # a head and no bands: the style would make the first column bold
    look.set(qn("w:firstColumn"), "0")
    short = len(rows) <= KEPT_ROWS + 1
    cells = iter(grid._cells)  # the public way searches the whole table for each cell
    for number, row in enumerate(rows, start=1):
        kept = short and number < len(rows)
        for place, value in enumerate(row):
            paragraph = next(cells).paragraphs[0]
            paragraph._p.style = styles[place >= text_columns, kept]
            text = printable(str(value), lines=True)
            run = paragraph.add_run(text.replace("  ", "\u2003", 1) if text.startswith("  ") else text)
            if row is rows[0]:
                run.bold = True
    for line in grid.rows:
        line._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
    grid.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
