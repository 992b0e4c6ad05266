"""The tables of a run: the same bytes as from a list of all results, of which one is held at a time."""

import weakref
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pathoprog import RESEARCH_USE_ONLY, __version__
from pathoprog.ensemble.shape import METHOD_SHAPE
from pathoprog.errors import InputError, PathoprogError
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.result_tables import Tables, summary, write_tables
from pathoprog.inference.slides.inputs import SlideInput
from pathoprog.scoring.patients import (
    MEMBER_COLUMNS,
    PATIENT_COLUMNS,
    member_rows,
    patient_row,
    patient_slide,
    score_patients,
)
from pathoprog.scoring.results import PATIENT_LEVEL, RESULT_COLUMNS, Context, slide_row
from pathoprog.scoring.slide_result import ResolutionResult, SlideResult, SlideRun
from pathoprog.slides.finding import NotTaken
from pathoprog.system.csv_files import csv_text
from pathoprog.system.records import Saved
from pathoprog.tiles.config import standard_spec

THRESHOLDS = {"10x": 0.5, "40x": 0.25}
SCORER = SimpleNamespace(classify=lambda scores: ("poor" if scores["10x"] > 0.5 else "good", False))


def result(slide_id, number):
    """One of a few kinds: scored, not reportable, failed, of known content."""
    scores = {
        name: ResolutionResult(
            score=(number % 17) / 17, threshold=cut, distance=(number % 17) / 17 - cut,
            members={f"{name}-{i}": (number % 17) / (17 + i) for i in range(5)}, n_tiles=number, n_tiles_candidates=99,
            tile_spec=Saved(standard_spec(name, 32)), runtime="torch 2",
        )
        for name, cut in THRESHOLDS.items()
    }  # fmt: skip
    made = SlideResult(
        research_use_only=RESEARCH_USE_ONLY, result_key=f"{number - number % 13 // 12:064x}", slide_id=slide_id,
        class_level=PATIENT_LEVEL, duplicate_of="", status="scored", risk_class="good", borderline=number % 3 == 0,
        reason="", code="", stage="", development_slide="tuning" if number % 19 == 0 else "", quality=("=a flag",),
        checks=(), eligibility=None, ensemble_id="e" * 64, settings={}, overrides={}, outline_sha256="",
        outline_who="", outline_when="", batches_halved=0, scores=scores, slide=None,
    )  # fmt: skip
    if number % 7 == 3:
        return replace(made, status="failed", reason=f"cut, at {number}", result_key="", risk_class="", scores={})
    if number % 7 == 5:
        return replace(made, status="not_reportable", reason="too little tissue", risk_class="", borderline=False)
    return made


def context(slide_id, number):
    patient = f"P{number // 2 if number % 5 else 0:04d}"  # every fifth slide is of the first patient
    return Context(slide_id, patient, "North", ("external", "test")[number % 2], "", "e" * 64, THRESHOLDS, {})


def run_of(number):
    return SlideRun(
        software_version=__version__, device="cpu", attempt=1, host="h", finished_at="2026", seconds=number / 7
    )


def files(n):
    """Of n slides, each made when it is asked for."""
    for number in range(n):
        slide_id = f"S{number:04d}"
        yield context(slide_id, number), result(slide_id, number), run_of(number)


def batch(found, n, folder):
    contexts = [context(f"S{number:04d}", number) for number in range(n)]
    inputs = [SlideInput(one.slide_id, "", one.patient_id, one.cohort, one.role) for one in contexts]
    return SimpleNamespace(
        results=lambda: found,
        plan=SimpleNamespace(
            aggregation="mean", thresholds=THRESHOLDS, shape=METHOD_SHAPE, ensemble_id="e" * 64, covariates=None
        ),
        scorer=lambda: SCORER,
        slides_folder=folder / "slides",
        n_slides=Counter((one.patient_id, one.role) for one in contexts),
        tasks={one.slide_id: SimpleNamespace(slide=one) for one in inputs},
        config=ScoreConfig(),
        not_taken=NotTaken(),
        scored_now=0,
        tiles=0,
        seconds=0.0,
    )


def from_a_list(n):
    """The tables as they follow from all results at once."""
    found, first = list(files(n)), {}
    for context, result, _ in found:
        earlier = first.setdefault(result.result_key or context.slide_id, context)
        context.duplicate_of = "" if earlier is context else earlier.slide_id
    slides = [patient_slide(context, result) for context, result, _ in found]
    patients = list(score_patients(slides, "mean", lambda: SCORER, None))
    return {
        "results.csv": csv_text([slide_row(one, run, context) for context, one, run in found], RESULT_COLUMNS),
        "members.csv": csv_text([row for patient in patients for row in member_rows(patient)], MEMBER_COLUMNS),
        "patients.csv": csv_text([patient_row(patient, THRESHOLDS) for patient in patients], PATIENT_COLUMNS),
    }


def test_the_bytes_are_those_of_a_list_of_all_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pathoprog.inference.result_tables.AT_ONCE", 7)
    tables, of_list = Tables(tmp_path), from_a_list(120)
    made = batch(files(120), 120, tmp_path)
    values = summary(made, write_tables(made, tables))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == of_list
    assert tables.written == {name: tmp_path / name for name in of_list} and not tables.said
    duplicates = [line for line in of_list["results.csv"].splitlines() if not line.endswith(",")][1:]
    assert duplicates and "is the same slide as" in capsys.readouterr().err
    results = [one for _, one, _ in files(120)]
    for status, n in values["slides"].items():
        assert n == sum(one.status == status for one in results) > 5
    assert values["reasons"]["failed"] == {one.slide_id: one.reason for one in results if one.status == "failed"}
    assert values["development_slides"]["S0019"] == "tuning" and len(values["development_slides"]) == 7
    assert sum(values["patients"].values()) == len(of_list["patients.csv"].splitlines()) - 1


def test_one_result_is_held_at_a_time(tmp_path):
    made, most = [], 0

    def counted():
        nonlocal most
        for context, result, run in files(100):
            made.append(weakref.ref(result))
            most = max(most, sum(one() is not None for one in made))
            yield context, result, run

    write_tables(batch(counted(), 100, tmp_path), Tables(tmp_path))
    assert most <= 3, "the one in hand, and those that the steps before have not let go of yet"


@pytest.mark.parametrize("error", [PathoprogError("gone"), InputError("no instances"), KeyboardInterrupt()])
def test_a_run_that_ends_between_leaves_no_part_of_a_table(tmp_path, error):
    def ends():
        yield from files(50)
        raise error

    with pytest.raises(type(error)) as raised:
        write_tables(batch(ends(), 80, tmp_path), Tables(tmp_path))
    assert raised.value is error and not list(tmp_path.iterdir())
