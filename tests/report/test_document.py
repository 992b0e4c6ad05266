"""The report as a file: numbered, whole in itself, with text that cannot become markup."""

import re

import pandas as pd

from pathoprog.report.checklists import REMARK, TRIPOD_AI, checklist
from pathoprog.report.document import Document, Figure, Section, Table, Text, render


def document() -> Document:
    table = Table("one", "First table.", pd.DataFrame({"a": ["<b>1</b>"], "b": ["2"]}), status="exploratory")
    figure = Figure("curve", "A curve.", b"<svg/>", status="same patients, other blocks")
    sections = [
        Section("first", "First", [Text("Look & see", "warning"), table]),
        Section("second", "Second", [figure, Table("two", "Second table.", pd.DataFrame({"c": [1]}))]),
    ]
    return Document("Title", "Subtitle", [("Lock", "abc")], [Text("In short.")], sections)


def test_tables_and_figures_are_numbered_in_order():
    html = render(document())
    assert re.findall(r"<b>(Table \d|Figure \d)\.</b>", html) == ["Table 1", "Figure 1", "Table 2"]
    assert re.findall(r'<section id="(\w+)"', html) == ["summary", "first", "second"]
    assert html.count('<a href="#') == 2


def test_text_is_never_markup_and_nothing_is_loaded_from_elsewhere():
    html = render(document())
    assert "&lt;b&gt;1&lt;/b&gt;" in html and "Look &amp; see" in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in html
    assert html.count("For research use only") == 2


def test_labels_have_their_colours():
    html = render(document())
    assert 'class="status exploratory">exploratory<' in html
    assert 'class="status same">same patients, other blocks<' in html


def test_the_csv_may_hold_more_than_is_shown():
    full = pd.DataFrame({"x": [0.123456789]})
    assert Table("t", "T.", pd.DataFrame({"x": ["0.12"]}), full).data is full


def test_checklists_have_every_item_and_point_to_sections_or_to_the_authors():
    def numbers(items: tuple[tuple[str, str, str, str], ...]) -> list[int]:
        return sorted({int(re.match(r"\d+", item[0])[0]) for item in items})  # type: ignore[index]  # all start so

    assert numbers(TRIPOD_AI) == list(range(1, 28))
    assert numbers(REMARK) == list(range(1, 21))
    table = checklist(REMARK, {"plan": "1. Plan"})
    assert table.loc[table["Item"] == "7", "Where"].item() == "1. Plan"
    assert table.loc[table["Item"] == "3", "Remark"].item() == "to be written by the authors"
    missing = table[table["Where"] == "not in this report"]
    assert len(missing) and (missing["Remark"] != "").all()
