"""The checklists: every item has its facts; each fact that is taken out of the report is *not reported*."""

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from made_cohort import make_cohort
from made_opened import without_rendering

from pathoprog.cohorts import validate
from pathoprog.report.document import Document, LinkedText
from pathoprog.report.manuscript.checklists import REMARK, TRIPOD_AI, ChecklistItem, checklist, places_of
from pathoprog.report.manuscript.facts import FACTS, reported
from pathoprog.report.manuscript.stated import NOT_REPORTED
from pathoprog.report.validation.findings import Findings
from pathoprog.report.validation.report import document_of
from pathoprog.validation.openings.lock import PARTS
from pathoprog.validation.study_facts import STUDY_FACTS

ABSENT_WITHOUT_DEVELOPMENT = {"development", "calibration"}
"""Facts that the small report cannot hold."""


def test_every_item_is_there_and_every_fact_is_asked_for() -> None:
    def numbers(items: tuple[ChecklistItem, ...]) -> list[int]:
        return sorted({int(re.match(r"\d+", item.number)[0]) for item in items})  # type: ignore[index]  # all start so

    assert numbers(TRIPOD_AI) == list(range(1, 28)) and len(TRIPOD_AI) == 52
    assert numbers(REMARK) == list(range(1, 21)) == [int(item.number) for item in REMARK]
    asked = {name for item in (*TRIPOD_AI, *REMARK) for name in item.facts}
    assert asked == set(FACTS)
    assert set(STUDY_FACTS) < asked


def rows_of(findings: Findings, places: Mapping[str, str]) -> dict[str, set[str]]:
    """What both checklists say of each fact."""
    names = dict.fromkeys(places, "here")
    said: dict[str, set[str]] = {}
    for items in (TRIPOD_AI, REMARK):
        table = checklist(items, findings, places, names)
        order = [name for item in items for name in item.facts]
        for name, words, where in zip(order, table["The report says"], table["Where"], strict=True):
            assert (words == NOT_REPORTED) == (where == "")
            said.setdefault(name, set()).add(words)
    return said


def take_each_away(findings: Findings, document: Document, absent: set[str]) -> None:
    """Each fact's words are cut out of the places that may print it: then it is not reported, wherever it is asked."""
    own = [section for section in document.sections if section.name not in ("checklists", "abbreviations")]
    places = places_of(replace(document, sections=own))
    before = rows_of(findings, places)
    assert {name for name, words in before.items() if NOT_REPORTED in words} == absent
    for name, fact in FACTS.items():
        if name in absent:
            continue
        words, place = reported(fact, findings, places)
        assert words in places[place]
        cut = {key: text.replace(words, "…") if key in fact.places else text for key, text in places.items()}
        after = rows_of(findings, cut)
        assert after[name] == {NOT_REPORTED}, name
        others = {other for other in after if after[other] != before[other]} - {name}
        for other in others:  # only what says the same words, or part of them
            theirs = " ".join(FACTS[other].words(findings).split())
            assert theirs in words or words in theirs, (name, other)


def test_each_fact_taken_away_is_not_reported(findings: Findings, document: Document) -> None:
    take_each_away(findings, document, ABSENT_WITHOUT_DEVELOPMENT)


@pytest.mark.slow
def test_a_whole_study_lacks_nothing(full_findings: Findings, full_document: Document) -> None:
    take_each_away(full_findings, full_document, set())
    tables = {table.name: table.title for table in full_document.tables()}
    assert "52 of 52 items" in tables["tripod_ai"] and "20 of 20 items" in tables["remark"]


def test_what_the_study_lacks_the_finished_report_says(findings: Findings, tmp_path: Path) -> None:
    cohort = findings.cohort.assign(scanner="")
    with pytest.MonkeyPatch.context() as patch:
        without_rendering(patch)
        document = document_of(replace(findings, stated={"funding": "A grant."}, cohort=cohort), tmp_path)
    tables = {table.name: table.shown for table in document.tables()}
    stated = dict(tables["stated"].itertuples(index=False))
    assert stated[STUDY_FACTS["funding"]] == "A grant." and stated[STUDY_FACTS["ethics"]] == NOT_REPORTED
    for name in ("tripod_ai", "remark"):
        table = tables[name]
        scanners = table[table["Fact"] == "scanners"]
        assert len(scanners) == 1 and scanners["The report says"].item() == NOT_REPORTED
    (material,) = [section for section in document.sections if section.name == "material"]
    assert material.plain_text.startswith("Slides, resolutions and software Scanners: not reported.")
    ids = {section.name for section in document.sections} | {"top", "summary"}
    links = [cell for name in ("tripod_ai", "remark") for cell in tables[name]["Where"] if cell]
    assert len(links) > 50 and all(isinstance(cell, LinkedText) and cell.anchor in ids for cell in links)


def said_of(findings: Findings, folder: Path) -> dict[str, set[str]]:
    with pytest.MonkeyPatch.context() as patch:
        without_rendering(patch)
        document = document_of(findings, folder)
    own = [section for section in document.sections if section.name not in ("checklists", "abbreviations")]
    return rows_of(findings, places_of(replace(document, sections=own)))


def test_facts_that_are_there_and_empty_are_not_reported(findings: Findings, tmp_path: Path) -> None:
    nan = float("nan")
    empty = copy.deepcopy(findings.statistics)
    empty["primary"] |= {"hr": nan, "lower": nan, "upper": nan, "p": nan}
    empty["primary"]["proportional_hazards"] = {"p": nan, "note": "no events"}
    for row in empty["populations"][findings.primary.key]["concordance"]:
        row |= {"c": nan, "lower": nan, "upper": nan}
    for row in empty["horizon_values"]:
        row |= {"ppv": nan}
    for part in empty["subgroups"]:
        part["interaction"]["p_value"] = nan
    blank = findings.cohort.assign(organ="", specimen="", stain="", neoadjuvant="", scanner="")
    later = {"utc": "2030-01-01T00:00:00Z", "after_opening": 1, "changed": [PARTS["scores"]], "reason": "new scores"}
    history = replace(findings.history, amendments=({**later, "differences": {}, "replaces": "0" * 64},))
    stated = findings.stated | {"funding": " "}
    given = replace(findings, statistics=empty, cohort=blank, stated=stated, history=history)
    said = said_of(given, tmp_path)
    names = ("hazard_ratio", "abstract", "proportional", "discrimination", "values", "subgroups", "eligibility")
    for name in (*names, "scanners", "blind_scores", "funding"):
        assert said[name] == {NOT_REPORTED}, name
    assert said["ethics"] != {NOT_REPORTED} and said["table_one"] != {NOT_REPORTED}


def test_a_stated_fact_counts_only_beside_its_own_question(findings: Findings) -> None:
    places = {"stated": f"{STUDY_FACTS['funding']} none {STUDY_FACTS['conflicts']} not reported"}
    given = replace(findings, stated={"funding": "none", "conflicts": "none"})
    assert reported(FACTS["funding"], given, places) == ("none", "stated")
    assert reported(FACTS["conflicts"], given, places) == ("", "")


def test_one_resolution_has_its_marker_too(tmp_path: Path) -> None:
    made = make_cohort(tmp_path / "made", development=0, test=0, external=(90,), thresholds={"10x": 0.5})
    kept: list[Findings] = []
    write = validate.document_of
    with pytest.MonkeyPatch.context() as patch:
        without_rendering(patch)
        patch.setattr(validate, "document_of", lambda f, folder: (kept.append(f), write(f, folder))[1])
        validate.run(validate.ValidateConfig(**made.settings(permutations=100)))
    said = said_of(kept[0], tmp_path)
    assert said["marker"] == {"The score of every analysed patient"} and "0.5000 at 10x" in said["thresholds"]
    assert said["clusters"] == {NOT_REPORTED}  # one cohort, and no sites asked for
