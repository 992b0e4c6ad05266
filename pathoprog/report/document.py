"""A report as data: sections of text, tables and figures, numbered in order and rendered to one HTML file."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.text.plain_text import printable


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
        """What the CSV holds."""
        return self.shown if self.full is None else self.full


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
    document.number()
    template = environment.get_template("document.html.j2")
    return template.render(document=document, research_use_only=RESEARCH_USE_ONLY, version=__version__)
