"""The paragraphs to be pasted say the report's own figures; abbreviations are spelled once; Word has every table."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pathoprog.report.document import KEPT_ROWS, Document, render
from pathoprog.report.manuscript.abbreviations import ABBREVIATIONS, abbreviations_in, abbreviations_section
from pathoprog.report.manuscript.paragraphs import methods_paragraph, results_paragraph
from pathoprog.report.manuscript.word import write_word
from pathoprog.report.validation.findings import Findings, c_text
from pathoprog.text.numbers import format_p, format_ratio

NAMES = {"AT2", "XR", "II", "III", "Fine-Gray"}
"""Capitals of the made cohort that are names, scanners' and stages'."""


def test_results_are_the_figures_of_the_report(findings: Findings) -> None:
    text, primary = results_paragraph(findings), findings.statistics["primary"]
    numbers = findings.of(findings.primary)
    people = sum(flow.patients["all"] for flow in findings.flows)
    assert text.startswith(f"Of {people} patients of all external cohorts together,")
    assert f"{numbers['n']} were analysed, with {numbers['events']} events and" in text
    ratio = format_ratio(primary["hr"], primary["lower"], primary["upper"])
    assert f"was {ratio} ({primary['n']} patients, {primary['events']} events; log-rank test" in text
    assert format_p(primary["p"]) in text and c_text(numbers["concordance"][0]) in text
    (incidence,) = [
        row
        for row in findings.statistics["competing_deaths"]["incidence"]
        if (row["risk_class"], row["cause"], row["years"]) == ("poor", "event", 3.0)
    ]
    assert f"had come to {100 * incidence['incidence']:.1f}% (" in text
    (row,) = [
        row
        for row in findings.statistics["horizon_values"]
        if (row["grouping"], row["years"], row["estimator"]) == ("poor against the rest", 3.0, "Aalen-Johansen")
    ]
    assert f"positive predictive value at 3 years was {100 * row['ppv']:.1f}% (" in text


def test_a_model_of_all_classes_is_told_only_where_there_are_more_than_two(findings: Findings) -> None:
    assert "against good in a model of all classes was" in results_paragraph(findings)
    patients = findings.primary.patients
    two = replace(findings.primary, patients=patients[patients["risk_class"] != "uncertain"])
    text = results_paragraph(replace(findings, primary=two))
    assert "of poor against good was" in text.split("Adjusted for")[1] and "all classes" not in text


def test_absolute_risks_of_every_cohort_are_by_aalen_johansen_where_deaths_compete(document: Document) -> None:
    tables = {table.name: table for table in document.tables()}
    for name in ("incidence", "incidence_external_trial_1", "incidence_external_trial_2"):
        assert list(tables[name].shown["Cause"].unique()) == ["event", "other death"], name
    names = list(tables)
    assert names.index("incidence_external_trial_1") < names.index("survival_external_trial_1")
    assert all("Fewer than 10" in t.note for t in tables.values() if "†" in t.shown.to_string())


def test_the_primary_cohort_leads_the_cohorts_side_by_side(document: Document, findings: Findings) -> None:
    (table,) = [one for one in document.tables() if one.name == "cohorts"]
    assert table.shown["Cohort"][0] == findings.primary.name == table.data["cohort"][0]


def test_the_ratio_on_the_primary_curves_is_the_primary_one(findings: Findings) -> None:
    two, primary = findings.of(findings.primary)["contrast"], findings.statistics["primary"]
    assert [two[key] for key in ("hr", "lower", "upper", "logrank_p")] == [
        primary[key] for key in ("hr", "lower", "upper", "p")
    ]


def test_methods_name_plan_lock_model_and_software(findings: Findings) -> None:
    text = methods_paragraph(findings)
    for words in (
        findings.ensemble,
        findings.lock["sha256"],
        "10 networks (5 at 10x and 5 at 40x)",
        "named poor against good in all external cohorts together as the primary contrast, by log-rank test,",
        "Deaths of other causes competed: absolute risks were estimated by Aalen-Johansen",
        "imputed 20 times",
        "AT2",
        "lifelines",
    ):
        assert words in text, words
    alive = findings.primary.patients.assign(event=findings.primary.patients["event"].replace(2, 0))
    alone = replace(findings, primary=replace(findings.primary, patients=alive))
    assert "Survival was estimated by Kaplan-Meier" in methods_paragraph(alone)
    assert "Without the event by 3 years were, by Kaplan-Meier," in results_paragraph(alone)


def unknown_capitals(document: Document) -> set[str]:
    """Words with two capitals and more that the report's list does not spell out."""
    html = re.sub(r"<style>.*?</style>|data:image[^\"]+", " ", render(document), flags=re.S)
    text = re.sub(r"<[^>]+>", " ", html).replace("&amp;", "&")
    words = set(re.findall(r"(?<![\w&-])[A-Z][A-Za-z0-9&]*[A-Z0-9](?:/[A-Z]|-\d+)?(?!\w)", text))
    return {word for word in words if word not in ABBREVIATIONS} - NAMES


def test_each_abbreviation_is_spelled_once(document: Document) -> None:
    assert not unknown_capitals(document)
    spelled = document.sections[-1].plain_text.removeprefix("Abbreviations ").rstrip(".").split("; ")
    names = [text.split(": ")[0] for text in spelled]
    assert len(set(names)) == len(names) and {"CI", "HR", "PPV", "IQR", "TRIPOD"} <= set(names)
    assert "AUC" not in names and "ICI" not in names  # this report does not use them


@pytest.mark.slow
def test_each_abbreviation_of_a_whole_study_is_spelled_once(full_document: Document) -> None:
    assert not unknown_capitals(full_document)


def test_abbreviations_are_words_of_their_own() -> None:
    assert abbreviations_in("HR 1.2 (95% CI 1–2), I² 3%, pT") == ["CI", "HR", "I2", "pT"]
    assert abbreviations_in("CHR, decide, SHA-2560, a/c, ppT") == []
    assert abbreviations_section("PPV", "HR").plain_text == (
        "Abbreviations HR: hazard ratio; PPV: positive predictive value."
    )


def test_word_has_the_paragraphs_and_every_table(findings: Findings, document: Document, tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    qn = pytest.importorskip("docx.oxml.ns").qn
    write_word(tmp_path / "manuscript.docx", document)
    word = docx.Document(str(tmp_path / "manuscript.docx"))
    texts = [paragraph.text for paragraph in word.paragraphs]
    assert methods_paragraph(findings) in texts and results_paragraph(findings) in texts
    assert "For research use only" in word.sections[0].footer.paragraphs[0].text
    tables = list(document.tables())
    captions = [text for text in texts if re.match(r"Table \d+\. ", text)]
    assert len(captions) == len(tables) and all(t.title in c for t, c in zip(tables, captions, strict=True))
    panels = [panel for table in tables for panel in table.panels]
    for panel, grid in zip(panels, word.tables, strict=True):
        assert all(row._tr.trPr.find(qn("w:cantSplit")) is not None for row in grid.rows)
        assert grid.rows[0]._tr.trPr.find(qn("w:tblHeader")) is not None
        look = grid._tbl.tblPr.find(qn("w:tblLook"))
        assert (look.get(qn("w:firstRow")), look.get(qn("w:firstColumn"))) == ("1", "0")
        kept = [row.cells[0].paragraphs[0].style.paragraph_format.keep_with_next for row in grid.rows]
        assert kept == [len(panel) <= KEPT_ROWS] * (len(kept) - 1) + [False]
    notes = [table.note for table in tables if table.note]
    assert all(note in texts for note in notes)
    assert len(word.tables) == len(panels)
    ratios = next(k for k, panel in enumerate(panels) if "Hazard ratio (95% CI)" in panel)
    written = [[cell.text for cell in row.cells] for row in word.tables[ratios].rows]
    assert written == [list(panels[ratios].columns), *map(list, panels[ratios].itertuples(index=False, name=None))]
