"""The report as a file: numbered, whole in itself, with text that cannot become markup."""

import re

import pandas as pd

from pathoprog.report.document import Document, Figure, LinkedText, Section, Table, Text, render, unbroken


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


def test_a_wide_table_goes_on_in_panels_that_repeat_its_text():
    names = [f"external cohort {k}" for k in range(12)]
    shown = pd.DataFrame([["a", "b", *("12.3 (10.0–15.0)" for _ in names)]], columns=["By", "Class", *names])
    table = Table("t", "T.", shown, text_columns=2)
    panels = table.panels
    assert len(panels) > 1 and all(list(panel.columns[:2]) == ["By", "Class"] for panel in panels)
    assert [name for panel in panels for name in panel.columns[2:]] == names
    assert len(Table("t", "T.", shown.iloc[:, :5], text_columns=2).panels) == 1
    assert table.data.columns.tolist() == shown.columns.tolist()
    assert set(table.data.iloc[0, 2:]) == {"12.3 (10.0-15.0)"}  # a file for any program
    assert Table("t", "T.", shown, full := shown.iloc[:1]).data is full


def test_short_brackets_stay_whole_and_long_words_may_break():
    assert unbroken("1.9 (1.1–3.1) <b>") == '1.9 <span class="whole">(1.1–3.1)</span> &lt;b&gt;'
    assert unbroken("x" * 30) == f"{'x' * 14}<wbr>{'x' * 14}<wbr>xx"
    assert unbroken("") == ""


def test_a_cell_may_lead_to_a_place():
    table = Table("t", "T.", pd.DataFrame({"Where": [LinkedText("2. There", "second"), "not reported"]}))
    html = render(Document("T", "S", [], [], [Section("one", "One", [table])]))
    assert '<a href="#second">2. There</a>' in html and "<em>not reported</em>" in html


def test_what_a_page_keeps_together():
    text, figure = Text("t"), Figure("f", "F.", b"<svg/>")
    short, long = (Table("t", "T.", pd.DataFrame({"a": range(n)})) for n in (3, 40))
    section = Section("s", "S", [text, figure, text, long, Text("x" * 2000), figure, short, text])
    assert [how for how, _ in section.groups] == ["kept", "leads", "long", "leads", "kept", "kept", "long"]
    assert [block for _, group in section.groups for block in group] == section.blocks
