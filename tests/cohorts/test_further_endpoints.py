"""Further endpoints of a clinical sheet: mapped, checked, counted one by one, and in the end in the report's table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run as validated
from shared_data import shared_data

from pathoprog.cohort_tables.clinical import Mapped, apply_mapping
from pathoprog.cohort_tables.cohort import read_outcomes
from pathoprog.cohort_tables.mapping import read_clinical, read_mapping
from pathoprog.cohorts.cohort import run
from pathoprog.cohorts.config import CohortConfig
from pathoprog.errors import InputError
from pathoprog.system.files import read_json

COLUMNS = """\
time_zero: day of surgery
columns:
  patient_id: Pat
  slide_id: Pat
  slide_path: {template: "{Pat}.svs"}
  cohort: {value: north}
  role: {value: external}
followup: {column: Days, unit: days}
event:
  - {when: {Dead: ["0"]}, is: none}
  - {when: {Cause: [crc]}, is: event}
  - {when: {Dead: ["1"]}, is: competing}
"""
ENDPOINTS = """\
endpoints:
  overall:
    followup: {column: Days, unit: days}
    event: [{when: {Dead: ["1"]}, is: event}, {when: {Dead: ["0"]}, is: none}]
  disease_free:
    followup: {start: Op, end: [Relapse, Death, Seen], date_format: "%d.%m.%Y", take: earliest}
    event:
      - {when: {Relapse: {missing: false}}, is: event}
      - {when: {Dead: ["1"]}, is: event}
      - {when: {Dead: ["0"]}, is: none}
    exclude: [{code: never disease-free, when: {Stage: [IV]}}]
    contradictions: [{reason: "cured, and yet a relapse", when: {Relapse: {missing: false}, Cured: ["yes"]}}]
  local_recurrence:
    followup: {column: Months to LR, unit: months}
    event: [{when: {LR: ["2"]}, is: event}, {when: {LR: ["1"]}, is: none}]
"""
SHEET = """\
Pat,Days,Dead,Cause,Op,Relapse,Death,Seen,Stage,Cured,Months to LR,LR
A,1000,0,,01.02.2015,,,28.10.2017,II,,32,1
B,500,1,crc,01.02.2015,11.05.2015,15.06.2016,,III,,6,2
C,700,1,heart,01.02.2015,,31.12.2016,,II,,23,1
D,400,1,crc,01.02.2015,03.03.2015,08.03.2016,,IV,,,
E,900,0,,01.02.2015,05.05.2016,,20.07.2017,I,yes,0,1
F,800,0,,01.02.2015,,,31.02.2017,I,,20,3
G,600,0,,01.02.2015,,,,I,,20,
"""


def mapped(folder: Path, sheet: str = SHEET, endpoints: str = ENDPOINTS, **more: Any) -> Mapped:
    (folder / "sheet.csv").write_text(sheet)
    (folder / "mapping.yaml").write_text(COLUMNS + endpoints)
    mapping = read_mapping(folder / "mapping.yaml")
    found = read_clinical(folder / "sheet.csv", mapping)
    return apply_mapping(mapping, found.frame, found.lines, **more)


def test_each_endpoint_has_its_own_times_checks_and_exclusions(tmp_path: Path) -> None:
    found = mapped(tmp_path)
    assert found.rows["patient_id"].tolist() == list("ABCDEFG") and found.rejected.empty
    overall, free, local = found.endpoints
    assert overall.table.to_numpy().tolist()[:3] == [["A", 1000, 0], ["B", 500, 1], ["C", 700, 1]]
    assert free.table.to_numpy().tolist() == [["A", 1000, 0], ["B", 99, 1], ["C", 699, 1]]
    assert free.absent[["patient_id", "line", "why", "reason"]].to_numpy().tolist() == [
        ["D", "5", "excluded", "never disease-free"],
        ["E", "6", "rejected", "cured, and yet a relapse"],
        ["F", "7", "rejected", "follow-up: Seen is no date %d.%m.%Y"],
        ["G", "8", "missing", "follow-up: Relapse and Death and Seen is missing"],
    ]
    assert local.table.to_numpy().tolist() == [
        ["A", pytest.approx(974, abs=0.1), 0],
        ["B", pytest.approx(182.6, abs=0.1), 1],
        ["C", pytest.approx(700, abs=0.1), 0],
    ]
    why = local.absent.set_index("patient_id")
    assert why["why"].to_dict() == {"D": "missing", "E": "rejected", "F": "rejected", "G": "missing"}
    assert why.at["E", "reason"].startswith("follow-up: Months to LR='0' gives 0 days")
    assert why.at["F", "reason"] == "event: no rule holds for LR='3'"
    assert local.counts["day_zero"] == {"kept": False, "none": 1, "event": 0, "competing": 0}
    kept = mapped(tmp_path, keep_day_zero=True).endpoints[2]
    assert kept.table.set_index("patient_id").at["E", "days"] == 0.5


def test_rows_of_another_kind_are_an_endpoint_of_their_own(tmp_path: Path) -> None:
    sheet = shared_data("survival/moertel_colon.csv")
    (tmp_path / "mapping.yaml").write_text(
        "columns: {patient_id: id, slide_id: id, slide_path: id, cohort: {value: trial}, role: {value: external}}\n"
        'rows: {etype: ["2"]}\nfollowup: {column: time, unit: days}\n'
        'event: &coded [{when: {status: ["1"]}, is: event}, {when: {status: ["0"]}, is: none}]\n'
        'endpoints: {recurrence: {rows: {etype: ["1"]}, followup: {column: time, unit: days}, event: *coded}}\n'
    )
    mapping = read_mapping(tmp_path / "mapping.yaml")
    cells = read_clinical(sheet, mapping)
    found = apply_mapping(mapping, cells.frame, cells.lines)
    trial = pd.read_csv(sheet)
    for kind, table in ((2, found.rows), (1, found.endpoints[0].table)):
        assert len(table) == 929 and (table["event"] == 1).sum() == trial[trial["etype"] == kind]["status"].sum()
    assert found.endpoints[0].table["days"].tolist() == trial[trial["etype"] == 1]["time"].tolist()


def test_rows_of_a_patient_that_differ_in_an_endpoint_take_it_away_and_nothing_else(tmp_path: Path) -> None:
    twice = SHEET + "A,1000,0,,01.02.2015,,,28.10.2017,II,,31,1\n"
    columns = COLUMNS.replace("slide_id: Pat", "slide_id: {template: '{Pat}{Months to LR}'}")
    columns = columns.replace('"{Pat}.svs"', '"{Pat}{Months to LR}.svs"')
    (tmp_path / "sheet.csv").write_text(twice.replace(",,,\n", ",,1,\n"))
    (tmp_path / "mapping.yaml").write_text(columns + ENDPOINTS)
    mapping = read_mapping(tmp_path / "mapping.yaml")
    cells = read_clinical(tmp_path / "sheet.csv", mapping)
    found = apply_mapping(mapping, cells.frame, cells.lines)
    assert (found.rows["patient_id"] == "A").sum() == 2
    assert [("A" in set(one.table["patient_id"])) for one in found.endpoints] == [True, True, False]
    assert "contradict each other" in found.endpoints[2].absent.set_index("patient_id").at["A", "reason"]


@pytest.mark.parametrize(
    ("endpoints", "said"),
    [
        ("endpoints: [overall]\n", "endpoints must be {name: "),
        ("endpoints: {Disease free: {}}\n", "'Disease free' is no name for one"),
        ("endpoints: {followup: {}}\n", "'followup' is no name for one"),
        ("endpoints: {os: {followup: {column: Days}}}\n", "endpoints.os must hold followup and event"),
        ("endpoints: {os: {followup: {column: Days}, event: [], units: days}}\n", "there is no key 'units'"),
        (ENDPOINTS.replace("unit: months", "unit: moons"), "endpoints.local_recurrence.followup.unit='moons'"),
        (ENDPOINTS.replace("take: earliest", "take: last"), "endpoints.disease_free.followup.take='last'"),
        (ENDPOINTS.replace("column: Months to LR", "column: '?'"), "endpoints.local_recurrence.followup.column"),
        (ENDPOINTS.replace("LR: [", "Local: ["), "columns that are not there: Local"),
        (ENDPOINTS.replace("%d.%m.%Y", "%m.%d.%Y"), "day and month seem to be the other way round"),
    ],
)
def test_a_wrong_endpoint_in_the_mapping_is_refused_by_its_place(tmp_path: Path, endpoints: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        mapped(tmp_path, SHEET.replace("31.02.2017", "28.02.2017"), endpoints)
    assert said in str(refused.value)


def sheet_of(made: MadeCohort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A clinical sheet that says what the made cohort's files say, and a disease-free survival; and the truth."""
    rng = np.random.default_rng(5)
    cohort = pd.read_csv(made.folder / "cohort.csv", dtype=str, keep_default_na=False)
    truth = pd.read_csv(made.folder / "outcomes.csv", dtype={"patient_id": str})
    share = rng.uniform(0.3, 1.3, len(truth)).clip(max=1).round(3)
    truth = truth.assign(
        disease_free_days=(truth["followup_days"] * share).clip(lower=1),
        disease_free_event=((share < 1) | (truth["event"] > 0)).astype(int),
    )
    months = (truth["disease_free_days"] / 30.4375).map("{:.5f}".format)
    months[:3], months[3] = "", "soon"
    sheet = truth[["patient_id"]].assign(
        days=truth["followup_days"].map(repr), cause=truth["event"].map({0: "", 1: "crc", 2: "other"}),
        dead=(truth["event"] > 0).map({True: "dead", False: "alive"}), free=months,
        relapse=truth["disease_free_event"].map({0: "no", 1: "yes"}),
    )  # fmt: skip
    truth.loc[:3, ["disease_free_days", "disease_free_event"]] = np.nan
    return cohort.merge(sheet, on="patient_id"), truth


def test_from_the_sheet_to_the_report_s_table_of_endpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_cohort(tmp_path / "made", development=0, test=0, external=(150, 90))
    sheet, truth = sheet_of(made)
    sheet.to_csv(made.folder / "sheet.csv", index=False)
    ours = {name: name for name in pd.read_csv(made.folder / "cohort.csv").columns}
    same = [{"when": {"dead": ["alive"]}, "is": "none"}, {"when": {"cause": ["crc"]}, "is": "event"}]
    mapping = {
        "columns": ours,
        "followup": {"column": "days", "unit": "days"},
        "event": [*same, {"when": {"dead": ["dead"]}, "is": "competing"}],
        "endpoints": {
            "overall": {
                "followup": {"column": "days", "unit": "days"},
                "event": [same[0], {"when": {"dead": ["dead"]}, "is": "event"}],
            },
            "disease_free": {
                "followup": {"column": "free", "unit": "months"},
                "event": [{"when": {"relapse": ["no"]}, "is": "none"}, {"when": {"relapse": ["yes"]}, "is": "event"}],
            },
        },
    }  # fmt: skip
    (made.folder / "mapping.yaml").write_text(json.dumps(mapping))
    out = made.folder / "mapped"
    paths = {"table": "sheet.csv", "mapping": "mapping.yaml", "out": "mapped"}
    assert run(CohortConfig(**{key: str(made.folder / value) for key, value in paths.items()})) == 0
    said = capsys.readouterr()
    assert "endpoint disease_free: line 5: follow-up: free is no number" in said.err
    assert "disease_free: disease-free survival: 236 patients" in said.out
    flow = read_json(out / "flow.json")
    free = flow["endpoints"]["disease_free"]
    assert (free["patients"], free["missing"], free["rejected"]) == (236, 3, 1) and flow["patients_accepted"] == 240
    assert free["events"] == {"none": 236 - int(truth["disease_free_event"].sum()),
                              "event": int(truth["disease_free_event"].sum()), "competing": 0}  # fmt: skip
    found = read_outcomes(out / "outcomes.csv", ("overall", "disease_free")).set_index("patient_id")
    truth = truth.set_index("patient_id").loc[found.index]
    assert found["event"].tolist() == truth["event"].tolist()
    for name in ("disease_free_days", "disease_free_event"):
        assert found[name].tolist() == pytest.approx(truth[name].tolist(), abs=0.01, nan_ok=True)
    absent = pd.read_csv(out / "without_endpoint.csv")
    assert absent["why"].tolist() == ["missing", "missing", "missing", "rejected"]

    (made.folder / "outcomes.csv").write_bytes((out / "outcomes.csv").read_bytes())
    plan = made.folder / "plan.yaml"
    plan.write_text(plan.read_text() + "endpoints: [overall, disease_free]\n")
    validated(made, flow=str(out / "flow.json"))
    statistics = read_json(made.folder / "validation" / "statistics.json")["endpoints"]
    kept = [row for row in statistics["rows"] if not row["left_out"] and row["worse"] == "poor"]
    names = [row["endpoint"] for row in kept]
    assert names[:3] == ["cancer-specific survival", "overall survival", "disease-free survival"]
    assert names.count("overall survival") == 1 and statistics["absent"] == []
    assert kept[2]["n"] == kept[0]["n"] - 4 and kept[1]["n"] == kept[0]["n"]
    section = (made.folder / "validation" / "report.html").read_text().split('id="endpoints"')[1].split("</section>")[0]
    assert "disease-free survival" in section
    table = pd.read_csv(made.folder / "validation" / "tables" / "endpoint_flow.csv", keep_default_na=False)
    events = int(truth["disease_free_event"].sum())
    of_sheet, of_cohorts = (table[(table["of"] == "clinical sheet") == whole] for whole in (True, False))
    assert of_sheet[["endpoint", "patients", "without", "why", "with"]].to_numpy().tolist() == [
        ["overall", 240, 0, "", 240], ["disease_free", 240, 4, "missing: 3; rejected: 1", 236]
    ]  # fmt: skip
    assert of_sheet["events"].tolist()[1] == events
    for row, endpoint in zip(kept[1:], ("overall", "disease_free"), strict=False):
        own = of_cohorts[of_cohorts["endpoint"] == endpoint]
        assert len(own) == 2 and own["patients"].sum() == kept[0]["n"] and own["with"].sum() == row["n"]
    assert set(of_cohorts["why"]) == {"", "missing in the outcome table: 4"}
    page = (made.folder / "validation" / "report.html").read_text().split('id="flow"')[1].split("</section>")[0]
    assert "Further endpoints: patients, those without it and why, events" in page and "missing: 3; rejected: 1" in page
