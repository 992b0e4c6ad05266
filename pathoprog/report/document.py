"""A report as data: sections of text, tables and figures, numbered in order and rendered to one HTML file."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from markupsafe import Markup, escape

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.text.numbers import ascii_numbers
from pathoprog.text.plain_text import printable

WIDEST = 98
"""Characters that a table's columns may take at least, side by side, each with its margin; what is wider goes on in a
further panel. It fits a window of 800 px and a sheet of A4."""
MARGIN = 2  # of a column, in characters
LONGEST_WORD = 14  # longer ones may be broken
WHOLE = re.compile(r"(?<!\S)[\d,]+ \([^()]{1,6}\)|\([^()]{1,22}\)")
"""A short bracket, such as a confidence interval, and a count with its bracket: never broken over two lines."""
KEPT_ROWS = 12  # a table of at most so many rows stays on one page with what introduces it
KEPT_LETTERS = 1400  # of texts that stay on one page with the figure that they introduce


@dataclass
class Text:
    """A paragraph. `kind` is ``""``, ``note`` (small) or ``warning`` (framed)."""

    text: str
    kind: str = ""


@dataclass
class Table:
    """A table with its caption above it.

    Attributes:
        name: file name without ending, for the CSV beside the report.
        title: the caption, one sentence.
        shown: what the report prints: formatted text, one row per row; columns are the headings.
        full: what the CSV holds: full precision; the same as `shown` where None.
        note: below the table.
        status: ``primary``, ``planned``, ``exploratory`` or a stamp; printed before the title.
        text_columns: how many columns, from the left, hold text; the others are aligned as numbers.
        wrap: True if these texts may take several lines.
        number: set by `Document.number`.
    """

    name: str
    title: str
    shown: pd.DataFrame
    full: pd.DataFrame | None = None
    note: str = ""
    status: str = ""
    text_columns: int = 1
    wrap: bool = False
    number: int = 0

    @property
    def data(self) -> pd.DataFrame:
        """What the CSV holds: full precision, or the printed text with plain minus signs and dashes."""
        if self.full is not None:
            return self.full
        return self.shown.map(lambda cell: ascii_numbers(str(cell)))

    @property
    def panels(self) -> list[pd.DataFrame]:
        """What is printed, in pieces narrow enough for a sheet of A4; each repeats the text columns."""
        widths = [_narrowest(self.shown.iloc[:, k]) + MARGIN for k in range(self.shown.shape[1])]
        heads, others = list(range(self.text_columns)), list(range(self.text_columns, len(widths)))
        for pieces in range(1, len(others) + 1):
            size = -(-len(others) // pieces)
            parts = [heads + others[at : at + size] for at in range(0, len(others), size)]
            if all(sum(widths[k] for k in part) <= WIDEST for part in parts) or size == 1:
                return [self.shown.iloc[:, part] for part in parts]
        return [self.shown]


def _narrowest(column: pd.Series) -> int:
    """Characters of the longest piece of a column, its heading included, that is never broken."""
    longest = 0
    for cell in (column.name, *column):
        text = str(cell)
        words = [min(len(word), LONGEST_WORD) for word in WHOLE.sub(" ", text).split()]
        longest = max([longest, *words, *(len(whole) for whole in WHOLE.findall(text))])
    return longest


class LinkedText(str):
    """A table's cell that leads to a place of the report."""

    anchor: str

    def __new__(cls, text: str, anchor: str) -> "LinkedText":
        """The text, with the name of the section, table or figure that it leads to."""
        made = super().__new__(cls, text)
        made.anchor = anchor
        return made


@dataclass
class Figure:
    """A figure with its caption below it; `svg` is the picture itself, embedded in the report."""

    name: str
    title: str
    svg: bytes
    note: str = ""
    status: str = ""
    number: int = 0
    width: str = "100%"

    @property
    def source(self) -> Markup:
        """The picture as a data URI: inside an <img> its ids cannot clash with another figure's."""
        return Markup("data:image/svg+xml;base64,") + base64.b64encode(self.svg).decode()


Block = Text | Table | Figure


@dataclass
class Section:
    """A numbered section; `name` is its anchor, by which checklists and texts point to it."""

    name: str
    title: str
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block | None) -> None:
        """Append what is there; None is skipped."""
        self.blocks += [block for block in blocks if block is not None]

    @property
    def plain_text(self) -> str:
        """All that the section prints, title first, without markup; of figures their captions."""
        parts = [self.title]
        for block in self.blocks:
            if isinstance(block, Text):
                parts.append(block.text)
                continue
            parts += [block.status, block.title, block.note]
            if isinstance(block, Table):
                parts += [str(cell) for cell in (*block.shown.columns, *block.shown.to_numpy().ravel())]
        return " ".join(" ".join(parts).split())

    @property
    def groups(self) -> list[tuple[str, list[Block]]]:
        """The blocks in groups, each with how a page break is to treat it.

        ``kept``: on one page, texts with the figure or the short table after them; ``leads``: on one page with the
        beginning of the next group; ``long``: may be parted.
        """
        groups: list[tuple[str, list[Block]]] = []
        texts: list[Block] = []
        for block in self.blocks:
            if isinstance(block, Text):
                texts.append(block)
                continue
            letters = sum(len(text.text) for text in texts if isinstance(text, Text))
            short = isinstance(block, Figure) or len(block.shown) <= KEPT_ROWS
            if short and letters <= KEPT_LETTERS:
                groups.append(("kept", [*texts, block]))
            else:
                groups += [("leads", texts)] if texts else []
                groups.append(("kept" if short else "long", [block]))
            texts = []
        return [*groups, ("long", texts)] if texts else groups


@dataclass
class Document:
    """A whole report.

    `facts` are the lines of the box under the title (name, value); `summary` the sentences above the sections.
    """

    title: str
    subtitle: str
    facts: list[tuple[str, str]]
    summary: list[Text]
    sections: list[Section]

    def tables(self) -> Iterator[Table]:
        """All tables in order."""
        yield from (block for section in self.sections for block in section.blocks if isinstance(block, Table))

    def figures(self) -> Iterator[Figure]:
        """All figures in order."""
        yield from (block for section in self.sections for block in section.blocks if isinstance(block, Figure))

    def number(self) -> None:
        """Give tables and figures their numbers, in order of appearance."""
        for count, table in enumerate(self.tables(), start=1):
            table.number = count
        for count, figure in enumerate(self.figures(), start=1):
            figure.number = count


def render(document: Document) -> str:
    """The report as one HTML file without references to other files."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=lambda value: printable(value, lines=True) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.tests["text"] = lambda block: isinstance(block, Text)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["linked"] = lambda cell: isinstance(cell, LinkedText)
    environment.filters["unbroken"] = unbroken
    document.number()
    template = environment.get_template("document.html.j2")
    return template.render(document=document, research_use_only=RESEARCH_USE_ONLY, version=__version__)


def unbroken(cell: object) -> Markup:
    """A cell as markup in which short brackets stay whole, and long words may be broken."""
    text, done = printable(str(cell), lines=True), 0
    parts: list[Markup] = []
    for match in WHOLE.finditer(text):
        parts += [_breakable(text[done : match.start()]), Markup('<span class="whole">{}</span>').format(match[0])]
        done = match.end()
    return Markup("").join([*parts, _breakable(text[done:])])


def _breakable(text: str) -> Markup:
    """A text as markup, with a place to break after every `LONGEST_WORD` characters of a word."""
    marked = re.sub(rf"(\S{{{LONGEST_WORD}}})(?=\S)", "\\1\u200b", text)
    return Markup("<wbr>").join(escape(piece) for piece in marked.split("\u200b"))
