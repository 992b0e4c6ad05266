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
    for table in document.tables():
        _add(word, table)
    stream = io.BytesIO()
    word.save(stream)
    with atomic_write(path) as target:
        target.write(stream.getvalue())


def _add(word: Any, table: Table) -> None:
    from docx.shared import Pt

    caption = word.add_paragraph()
    caption.paragraph_format.keep_with_next = True
    caption.add_run(f"Table {table.number}. ").bold = True
    caption.add_run(printable(table.title) + (f" ({table.status})" if table.status else ""))
    panels = table.panels
    for number, panel in enumerate(panels, start=1):
        _grid(word, panel, table.text_columns)
        after = word.add_paragraph()  # two tables without a paragraph between them would be one
        if number == len(panels):
            after.add_run(printable(table.note)).font.size = Pt(FONT_PT)


def _grid(word: Any, panel: pd.DataFrame, text_columns: int) -> None:
    """One panel; Word repeats its head on each page, breaks no row, and keeps a short table on one page."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml import OxmlElement
    from docx.shared import Pt

    rows = [list(panel.columns), *panel.itertuples(index=False, name=None)]
    grid = word.add_table(rows=len(rows), cols=panel.shape[1], style="Light List")
    short = len(rows) <= KEPT_ROWS + 1
    cells = iter(grid._cells)  # the public way searches the whole table for each cell
    for number, row in enumerate(rows, start=1):
        for place, value in enumerate(row):
            paragraph = next(cells).paragraphs[0]
            text = printable(str(value), lines=True)
            run = paragraph.add_run(text.replace("  ", "\u2003", 1) if text.startswith("  ") else text)
            run.font.size = Pt(FONT_PT)
            run.bold = row is rows[0]
            paragraph.paragraph_format.space_after = Pt(0)
            paragraph.paragraph_format.keep_with_next = short and number < len(rows)
            paragraph.alignment = WD_ALIGN_PARAGRAPH.LEFT if place < text_columns else WD_ALIGN_PARAGRAPH.RIGHT
    for line in grid.rows:
        line._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
    grid.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
