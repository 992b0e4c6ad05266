"""First mappings: what is guessed of portals' and hospitals' sheets is what a worked mapping says, or it is asked."""

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import made_clinical
import pandas as pd
import pytest
import yaml
from house import ROOT
from made_clinical import DAYS, DEAD, OF_CANCER, N

from pathoprog.cohort_tables.clinical import Mapped, apply_mapping
from pathoprog.cohort_tables.guessing.columns import guess_role
from pathoprog.cohort_tables.guessing.first_mapping import FirstMapping, flow, guess_mapping, mapping_text
from pathoprog.cohort_tables.guessing.guess import ASKED, LIKELY, SURE, SheetView, words
from pathoprog.cohort_tables.guessing.slide_files import find_files
from pathoprog.cohort_tables.mapping import read_clinical, read_mapping
from pathoprog.cohort_tables.sheets import Sheet, read_sheet_file
from pathoprog.errors import ConfigError, InputError

MAPPINGS = ROOT / "docs" / "mappings"
WORKED = {path.stem: path for path in sorted(MAPPINGS.glob("*.yaml"))}


def guessed(table: Path, **more: Any) -> FirstMapping:
    return guess_mapping(read_sheet_file(table), table.stem, **more)


def sheet(**columns: list[str]) -> Sheet:
    frame = pd.DataFrame(columns, dtype=object)
    return Sheet(frame, list(range(2, len(frame) + 2)))


def mapped_by(mapping: Path, table: Path) -> Mapped:
    read = read_mapping(mapping)
    found = read_clinical(table, read)
    return apply_mapping(read, found.frame, found.lines)


def mapped_as_guessed(table: Path, folder: Path, **more: Any) -> Mapped:
    path = folder / "guessed.yaml"
    path.write_text(mapping_text(guessed(table, **more), table, []), encoding="utf-8")
    return mapped_by(path, table)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OSDays", "os days"),
        ("OS.time", "os time"),
        ("demographic.vital_status", "vital status"),
        ("Overall Survival (Months)", "overall survival months"),
        ("ajcc_pathologic_tumor_stage", "ajcc pathologic tumor stage"),
    ],
)
def test_names_as_words(name: str, expected: str):
    assert words(name) == expected


FURTHER = {
    "tcga_cdr": {"overall", "disease_free_interval", "progression_free_interval"},
    "gdc_clinical": set(),
    "cbioportal_patient": {"overall", "disease_free", "progression_free"},
    "cbioportal_website": {"overall", "disease_free", "progression_free"},
}


@pytest.mark.parametrize("name", sorted(WORKED))
def test_a_worked_mapping_and_the_guessed_one_give_the_same_outcomes(name: str, tmp_path: Path):
    table = getattr(made_clinical, name)(tmp_path)
    worked, found = mapped_by(WORKED[name], table), mapped_as_guessed(table, tmp_path)
    assert worked.rejected.empty and found.rejected.empty
    left_out = set(worked.excluded["patient_id"])
    columns = ["patient_id", "followup_days", "event", "age", "sex"]
    rows = found.rows[~found.rows["patient_id"].isin(left_out)].reset_index(drop=True)
    pd.testing.assert_frame_equal(worked.rows[columns], rows[columns])
    assert len(worked.rows) + len(left_out) == N
    specific = name != "gdc_clinical"
    truth = [(1 if OF_CANCER[k] else 2) if DEAD[k] and specific else int(DEAD[k]) for k in range(N)]
    place = {barcode: k for k, barcode in enumerate(made_clinical.BARCODES)}
    assert worked.rows["event"].tolist() == [truth[place[barcode]] for barcode in worked.rows["patient_id"]]
    days = [DAYS[place[barcode]] for barcode in worked.rows["patient_id"]]
    assert worked.rows["followup_days"].tolist() == pytest.approx(days, abs=0.2)
    assert {one.name for one in worked.endpoints} == FURTHER[name]
    for own, other in zip(worked.endpoints, found.endpoints, strict=True):
        assert own.name == other.name and own.counts["rejected"] == 0 < own.counts["events"]["event"]
        kept = other.table[~other.table["patient_id"].isin(left_out)].reset_index(drop=True)
        pd.testing.assert_frame_equal(own.table, kept)


def test_the_portals_whole_tables_are_guessed_without_an_open_question(tmp_path: Path):
    for name in WORKED:
        first = guessed(getattr(made_clinical, name)(tmp_path))
        assert not first.still_open
        assert {guess.key for guess in first.asked} <= {"time_zero", "slide_id", "slide_path", "cohort", "role"}


def test_a_hospital_s_dates_causes_and_decimal_commas(tmp_path: Path):
    table = made_clinical.hospital(tmp_path)
    first = guessed(table)
    assert first.endpoint == "css"
    certain = {guess.key: guess.certainty for guess in first.guesses}
    assert certain["patient_id"] == certain["sex"] == certain["pT"] == SURE
    assert certain["decimal"] == certain["followup"] == LIKELY
    assert certain["event"] == certain["role"] == ASKED  # which cause is the cancer; what "val" means
    mapped = mapped_as_guessed(table, tmp_path)
    assert mapped.rejected.empty
    assert mapped.rows["followup_days"].tolist() == DAYS
    assert mapped.rows["event"].tolist() == [(1 if OF_CANCER[k] else 2) if DEAD[k] else 0 for k in range(N)]
    assert mapped.rows["age"].tolist()[:2] == ["55.5", "56.5"]
    assert mapped.rows["slide_id"].tolist()[:2] == ["S0", "S1"]
    assert Counter(mapped.rows["role"]) == {"training": 12, "external": 12}


def test_a_wanted_endpoint_is_taken_or_refused(tmp_path: Path):
    table = made_clinical.tcga_cdr(tmp_path)
    first = guessed(table, endpoint="os")
    followup = first.of("followup")
    assert followup is not None and followup.value == {"column": "OS.time", "unit": "days"}
    assert "css" in first.others
    with pytest.raises(ConfigError, match="endpoint=efs: the sheet has none"):
        guessed(table, endpoint="efs")


ROWS = 12
IDS = [f"P{k}" for k in range(ROWS)]
TIMES = [str(400 + 100 * k) for k in range(ROWS)]
EARLY = [str(int(k < 5)) for k in range(ROWS)]  # 1 in the rows that were followed shorter


def event_of(**columns: list[str]) -> tuple[Any, str, str]:
    guess = guess_mapping(sheet(patient_id=IDS, time_days=TIMES, **columns), "sheet").of("event")
    assert guess is not None
    by_meaning = {rule["is"]: rule["when"] for rule in guess.value}
    return by_meaning["event"], guess.certainty, guess.reason


def test_a_column_called_after_its_unit_alone_is_a_follow_up_if_it_can_be_one():
    ages = [str(700 + k) for k in range(ROWS)]
    first = guess_mapping(sheet(patient_id=IDS, Months=ages, Days=TIMES, dead=EARLY), "sheet")
    followup = first.of("followup")
    assert followup is not None and followup.certainty == LIKELY
    assert followup.value == {"column": "Days", "unit": "days"}


def test_codes_are_held_against_the_follow_up():
    assert event_of(status=EARLY)[:2] == ({"status": ["1"]}, LIKELY)
    late = [str(1 - int(value)) for value in EARLY]
    when, certainty, reason = event_of(status=late)
    assert when == {"status": ["1"]} and certainty == ASKED and "the other way round" in reason


def test_a_column_named_after_censoring_is_believed_only_if_the_follow_up_agrees():
    censored = [str(1 - int(value)) for value in EARLY]
    assert event_of(censored=censored)[:2] == ({"censored": ["0"]}, ASKED)
    when, certainty, reason = event_of(cens=EARLY)  # as in the German breast cancer study's well-known table
    assert when == {"cens": ["1"]} and certainty == ASKED and "what does 1 mean" in reason


@pytest.mark.parametrize("values", [[str(2005 + k) for k in range(ROWS)], [str(40000 + 9 * k) for k in range(ROWS)]])
def test_years_and_the_day_numbers_of_a_spreadsheet_are_no_follow_up(values: list[str]):
    followup = guess_mapping(sheet(patient_id=IDS, dead=EARLY, last_contact=values), "sheet").of("followup")
    assert followup is not None and followup.is_open


def test_yes_says_nothing_without_the_column_s_name():
    yes = {"1": "yes", "0": "no"}
    dead, alive = [yes[value] for value in EARLY], [yes[str(1 - int(value))] for value in EARLY]
    assert event_of(died=dead)[:2] == ({"died": ["yes"]}, LIKELY)
    for name in ("censored", "alive", "Alive_status", "alive at last contact status"):
        when, certainty, reason = event_of(**{name: alive})
        assert when == {name: ["no"]} and certainty == ASKED and "named after" in reason, name
    when, certainty, _ = event_of(alive=dead)  # yes in the rows that were followed shorter: the values lie, or the name
    assert when == {"alive": ["yes"]} and certainty == ASKED
    for values in (dead, alive):
        assert event_of(disease_free_status=values)[1] == ASKED
    vital = ["Dead" if value == "1" else "Alive" for value in EARLY]
    assert event_of(death_event=alive, vital_status=vital)[:2] == ({"death_event": ["no"]}, SURE)


@pytest.mark.parametrize("form", ["%m/%d/%y", "%m-%d-%Y", "%d.%m.%y", "%Y.%m.%d", "%Y%m%d"])
def test_dates_are_read_in_a_format_that_fits_all_of_them_or_asked(form: str):
    days = [pd.Timestamp("2010-01-01") + pd.Timedelta(days=13 * k) for k in range(ROWS)]
    ends = [day + pd.Timedelta(days=int(time)) for day, time in zip(days, TIMES, strict=True)]
    columns = {"surgery": [f"{day:{form}}" for day in days], "last_contact": [f"{day:{form}}" for day in ends]}
    followup = guess_mapping(sheet(patient_id=IDS, dead=EARLY, **columns), "sheet").of("followup")
    assert followup is not None
    if "%Y%m" not in form:
        assert followup.value["date_format"] == form and followup.certainty == LIKELY
        columns["surgery"][0] = "unknown day"
        followup = guess_mapping(sheet(patient_id=IDS, dead=EARLY, **columns), "sheet").of("followup")
    assert followup is not None and followup.certainty == ASKED


def test_a_column_that_says_who_died_settles_what_a_code_means():
    vital = ["Dead" if value == "1" else "Alive" for value in EARLY]
    turned = [str(1 - int(value)) for value in EARLY]
    when, certainty, _ = event_of(OS_censor=turned, vital_status=vital)
    assert when == {"OS_censor": ["0"]} and certainty == SURE


def test_one_and_two_are_asked():
    when, certainty, _ = event_of(status=[{"1": "2", "0": "1"}[value] for value in EARLY])
    assert when == {"status": ["2"]} and certainty == ASKED


def test_what_cannot_be_guessed_is_left_open_and_refused_by_name(tmp_path: Path):
    table = tmp_path / "sheet.csv"
    pd.DataFrame({"a": ["x", "x", "y"], "b": [1, 2, 2]}).to_csv(table, index=False)
    first = guessed(table)
    assert {guess.key for guess in first.still_open} == {"patient_id", "slide_id", "slide_path", "followup", "event"}
    (tmp_path / "m.yaml").write_text(mapping_text(first, table, []))
    with pytest.raises(InputError, match=r"still to be answered: columns.patient_id, .*followup.column"):
        read_mapping(tmp_path / "m.yaml")


def test_each_entry_has_its_reason_above_it_and_what_is_asked_is_marked(tmp_path: Path):
    table = made_clinical.tcga_cdr(tmp_path)
    first = guessed(table)
    text = mapping_text(first, table, ["pathoprog cohort …"])
    assert len(re.findall(r"^ *# ASK: ", text, flags=re.MULTILINE)) == len(first.asked) > 0
    for guess in first.guesses:
        indent = "  " if guess.section else ""
        entry = rf"^ *# (ASK|sure|likely): .*\n( *#   .*\n)*{indent}{guess.key}:"
        assert re.search(entry, text, re.MULTILINE), guess.key
    assert yaml.safe_load(text)["columns"]["patient_id"] == "bcr_patient_barcode"


def test_a_list_that_occurs_twice_is_written_twice():
    same = ["0"]
    assert flow([{"a": same}, {"b": same}]) == "[{a: ['0']}, {b: ['0']}]"


def test_rows_of_two_endpoints_are_told_apart(tmp_path: Path):
    ids = [one for one in IDS for _ in range(2)]
    times = [str(int(time) - shorter) for time in TIMES for shorter in (0, 90)]
    twice = [value for value in EARLY for _ in range(2)]
    first = guess_mapping(sheet(id=ids, etype=["2", "1"] * ROWS, time=times, status=twice), "sheet")
    rows = first.of("rows")
    assert rows is not None and rows.value == {"etype": ["2"]} and rows.certainty == ASKED


@pytest.mark.parametrize(
    ("values", "codes", "certainty"),
    [
        (["training", "external"], None, SURE),
        (["train", "val", "test"], {"val": "tuning"}, ASKED),
        (["train", "validation"], {"validation": "external"}, ASKED),
    ],
)
def test_roles(values: list[str], codes: dict[str, str] | None, certainty: str):
    view = SheetView.of(sheet(Split=values * 3))
    guess = guess_role(view, "external")
    assert guess.certainty == certainty
    if codes is None:
        assert guess.value == "Split"
    else:
        assert codes.items() <= guess.value["codes"].items()


def test_codes_for_missing_in_an_age_are_asked():
    first = guess_mapping(sheet(patient_id=IDS, age=[*map(str, range(50, 50 + ROWS - 1)), "999"]), "sheet")
    age = first.of("age")
    assert age is not None and age.certainty == ASKED and "999" in age.reason


def test_a_file_belongs_to_the_longest_id_that_it_begins_with():
    files = [Path(name) for name in ("P1.svs", "P12_a.svs", "P12.svs", "TCGA-AA-3001-01Z-00-DX1.0F1.svs", "other.svs")]
    found = find_files(["P1", "P12", "P13", "TCGA-AA-3001"], files)
    assert {one: [file.name for file in own] for one, own in found.by_id.items()} == {
        "P1": ["P1.svs"],
        "P12": ["P12.svs", "P12_a.svs"],
        "TCGA-AA-3001": ["TCGA-AA-3001-01Z-00-DX1.0F1.svs"],
    }
    assert found.without == ["P13"] and [file.name for file in found.others] == ["other.svs"]


ODD = [
    *(
        ["0", "1"],
        ["1", "2"],
        ["0", "1", "2"],
        ["Alive", "Dead"],
        ["0:LIVING", "1:DECEASED"],
        ["crc", "heart", ""],
        [""],
    ),
    *(
        ["Stage I", "[Discrepancy]"],
        ["2020-01-01", ""],
        ["01.02.2020", "03.04.2021"],
        ["12,5", "3,4"],
        ["1.234", "901"],
    ),
    *(["ünï: cödé", "{x}", "'q'", "#"], ["S1.svs", "S2.svs"], ["inf", "1e400", "3"], ["-5", "3"], ["train", "val"]),
]
NAMES = [
    *("Patient", "Slide", "slide path", "study", "split", "site", "age", "sex", "stage", "grade", "pT", "nodes", "neo"),
    *("OS", "OS.time", "OS_MONTHS", "DSS_STATUS", "DSS days", "cens", "time", "vital_status", "days_to_death", "PFI"),
    *("days_to_last_follow_up", "Surgery date", "Last contact", "cause of death", "a: b", "x{y}", "we'ird", "yes", "-"),
]


@pytest.mark.parametrize("seed", range(20))
def test_no_sheet_is_too_odd_and_what_is_written_can_be_read(seed: int, tmp_path: Path):
    draw = random.Random(seed)
    rows = draw.choice([1, 2, 30])
    columns = {name: [draw.choice(draw.choice(ODD)) for _ in range(rows)] for name in draw.sample(NAMES, 8)}
    columns |= {name: draw.choices(draw.choice(ODD), k=rows) for name in draw.sample(NAMES, 8)}
    columns |= {"patient_id": [f"Q{k}" for k in range(rows)], "follow_up_days": [str(7 + 90 * k) for k in range(rows)]}
    pd.DataFrame(columns).to_csv(tmp_path / "sheet.csv", index=False)
    first = guessed(tmp_path / "sheet.csv")
    (tmp_path / "m.yaml").write_text(mapping_text(first, tmp_path / "sheet.csv", []), encoding="utf-8")
    if first.still_open:
        with pytest.raises(InputError, match="still to be answered"):
            read_mapping(tmp_path / "m.yaml")
    else:
        counts = mapped_by(tmp_path / "m.yaml", tmp_path / "sheet.csv").counts
        assert counts["rows"] == counts["rows_accepted"] + counts["rows_rejected"] + counts["rows_excluded"]
