"""Files of Stata, SPSS and SAS: labels, missing codes, dates, encodings; the same through `survival` and `cohort`."""

import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pathoprog.cli import main
from pathoprog.cohort_tables.sheets import Sheet, read_sheet_file
from pathoprog.errors import InputError
from pathoprog.system.files import read_json

pyreadstat = pytest.importorskip("pyreadstat")

FRAME = pd.DataFrame(
    {
        "patnr": ["001", "002", "003", "004"],
        "sex": [1.0, 2.0, 2.0, None],
        "age": [50.5, 999.0, 71.0, 64.0],
        "op": [datetime.date(2020, 1, 2), datetime.date(2021, 12, 31), None, datetime.date(2019, 2, 28)],
        "code": [3.0, 1e6, -2.0, 0.1],
    }
)
LABELS = {"sex": {1.0: "mann", 2.0: "kvinne"}}


def spss(folder: Path, **more: Any) -> Path:
    path = folder / "sheet.sav"
    pyreadstat.write_sav(FRAME, str(path), variable_value_labels=LABELS, missing_ranges={"age": [999]}, **more)
    return path


def cells(found: Sheet) -> list[list[object]]:
    return found.frame.to_numpy().tolist()


def test_spss_labels_missing_codes_and_dates(tmp_path: Path) -> None:
    found = read_sheet_file(spss(tmp_path), say="{}={}")
    assert cells(found) == [
        ["001", "mann", "50.5", "2020-01-02", "3"],
        ["002", "kvinne", "", "2021-12-31", "1000000"],
        ["003", "kvinne", "71", "", "-2"],
        ["004", "", "64", "2019-02-28", "0.1"],
    ]
    assert found.dates == {"op": [0, 1, 3]} and found.lines == [1, 2, 3, 4]
    assert found.notes == (
        "the column 'age': 1 cell with a code that SPSS counts as missing (999) read as empty",
        "codes were read as their labels: 'sex' (1 = 'mann', 2 = 'kvinne'); for the codes value_labels=false",
    )
    kept = read_sheet_file(spss(tmp_path), value_labels=False)
    assert kept.frame["sex"].tolist() == ["1", "2", "2", ""] and len(kept.notes) == 1


def test_a_label_of_some_values_only_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "sheet.sav"
    pyreadstat.write_sav(FRAME[["age"]], str(path), variable_value_labels={"age": {999.0: "ukjent"}})
    assert read_sheet_file(path).frame["age"].tolist() == ["50.5", "ukjent", "71", "64"]


def test_stata_as_pandas_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "sheet.dta"
    dated = FRAME.assign(op=pd.to_datetime(FRAME["op"]), arm=pd.Categorical(["a", "b", "a", None]))
    dated.to_stata(path, write_index=False, convert_dates={"op": "td"})
    found = read_sheet_file(path)
    assert found.frame["arm"].tolist() == ["a", "b", "a", ""]
    assert found.frame["op"].tolist() == ["2020-01-02", "2021-12-31", "", "2019-02-28"]
    assert found.frame["patnr"].tolist() == ["001", "002", "003", "004"]
    assert found.dates == {"op": [0, 1, 3]}


def test_stata_missing_letters(tmp_path: Path) -> None:
    path = tmp_path / "sheet.dta"
    frame = pd.DataFrame({"id": [1.0, 2.0, 3.0], "t": [1.0, "a", 3.0]}, dtype=object)
    pyreadstat.write_dta(frame, str(path), missing_user_values={"t": ["a"]})
    found = read_sheet_file(path)
    assert found.frame["t"].tolist() == ["1", "", "3"]
    assert found.notes == ("the column 't': 1 cell with a code that Stata counts as missing (a) read as empty",)


def test_stata_s_months_and_quarters_are_shown_as_stata_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "sheet.dta"
    days = pd.to_datetime(["2020-01-08", "1959-12-25", None])
    frame = pd.DataFrame({"m": days, "q": days, "w": days})
    frame.to_stata(path, write_index=False, convert_dates={"m": "tm", "q": "tq", "w": "tw"})
    assert cells(read_sheet_file(path)) == [["2020m1", "2020q1", "2020w2"], ["1959m12", "1959q4", "1959w52"]]


def test_spss_dates_shown_by_month_are_dates(tmp_path: Path) -> None:
    path = tmp_path / "sheet.sav"
    seconds = (pd.Timestamp("2020-01-02") - pd.Timestamp("1582-10-14")).total_seconds()
    forms = ("MOYR8", "QYR8", "EDATE10")
    pyreadstat.write_sav(
        pd.DataFrame({form: [seconds] for form in forms}), str(path), variable_format={f: f for f in forms}
    )
    assert cells(read_sheet_file(path)) == [["2020-01-02"] * 3]


def test_spss_durations_keep_their_days(tmp_path: Path) -> None:
    path = tmp_path / "sheet.sav"
    forms = {"of_day": "TIME8", "long": "TIME8", "days": "DTIME10", "minutes": "MTIME8", "at": "YMDHMS20"}
    at = (pd.Timestamp("2020-01-02 03:04:05") - pd.Timestamp("1582-10-14")).total_seconds()
    pyreadstat.write_sav(
        pd.DataFrame([[3661.0, 360000.0, 3661.0, 3661.0, at]], columns=list(forms)), str(path), variable_format=forms
    )
    hundred, hour = datetime.timedelta(hours=100), datetime.timedelta(seconds=3661)
    assert cells(read_sheet_file(path)) == [["01:01:01", hundred, hour, "01:01:01", "2020-01-02 03:04:05"]]


def test_stata_dates_in_a_display_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "sheet.dta"
    forms = {"a": "%tdD_m_Y", "b": "%-td", "c": "%tcDDmonCCYY", "d": "%tC", "e": "%-tm", "f": "%tb", "g": "%ty"}
    values = [21916.0, 21916.0, 21916 * 86400e3, 21916 * 86400e3, 720.0, 21916.0, 2020.0]
    pyreadstat.write_dta(pd.DataFrame([values], columns=list(forms)), str(path), variable_format=forms)
    found = read_sheet_file(path)
    assert cells(found) == [[*["2020-01-02"] * 4, "2020m1", "21916", "2020"]]
    assert found.notes == ("the column 'f' has dates of a business calendar (%tb): its numbers stay",)


def test_sas_transport(tmp_path: Path) -> None:
    path = tmp_path / "sheet.xpt"
    pyreadstat.write_xport(FRAME.drop(columns=["op"]), str(path))
    assert read_sheet_file(path).frame["age"].tolist() == ["50.5", "999", "71", "64"]


def test_another_encoding_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = spss(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"kvinne", b"kv\xe5nne"))  # says UTF-8, is Windows-1252
    with pytest.raises(InputError, match=r"not in the encoding that the file names; give encoding=cp1252, or save"):
        read_sheet_file(path, say="{}={}")
    assert read_sheet_file(path, encoding="cp1252").frame["sex"].tolist()[1] == "kvånne"
    with pytest.raises(InputError, match="encoding='nonsense' is not known"):
        read_sheet_file(path, encoding="nonsense")


@pytest.mark.parametrize("ending", ["dta", "sav", "zsav", "sas7bdat", "xpt"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"sheet.{ending}"
    path.write_text("patient_id,days\nP1,3\n" * 400)
    with pytest.raises(InputError, match=r"no sound (Stata|SPSS|SAS) file"):
        read_sheet_file(path)
    with pytest.raises(InputError, match="belongs to an Excel file"):
        read_sheet_file(path, sheet="Data")


def patients() -> pd.DataFrame:
    rows = [(f"P{i:02d}", 300.0 + 97 * i, float(i % 3 != 0), float(i % 3)) for i in range(30)]
    return pd.DataFrame(rows, columns=["id", "days", "dead", "class"])


def test_survival_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trial.sav"
    names = {"class": {0.0: "good", 1.0: "uncertain", 2.0: "poor"}, "dead": {0.0: "no", 1.0: "yes"}}
    pyreadstat.write_sav(patients(), str(path), variable_value_labels=names)
    call = ["survival", str(path), "time=days", "event=dead", "group=class", "unit=days", f"out={tmp_path / 'out'}"]
    quick = ["bootstrap=0", "sample_size=false", "figures=false"]
    assert main([*call, *quick]) == 2
    assert "event_is" in capsys.readouterr().err
    assert main([*call, *quick, "event_is=yes", "censored_is=no"]) == 0
    found = read_json(tmp_path / "out" / "statistics.json")
    assert set(found["kaplan_meier"]["by_group"]) == {"good", "uncertain", "poor"}
    assert main([*call, *quick, "value_labels=false"]) == 0
    kept = read_json(tmp_path / "out" / "statistics.json")
    assert set(kept["kaplan_meier"]["by_group"]) == {"0", "1", "2"}
    assert kept["tests"]["logrank"]["statistic"] == pytest.approx(found["tests"]["logrank"]["statistic"])


def test_cohort_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "sheet.dta"
    patients().drop(columns=["class"]).assign(slide="S" + patients()["id"]).to_stata(path, write_index=False)
    (tmp_path / "mapping.yaml").write_text(
        "columns: {patient_id: id, slide_id: slide, slide_path: slide, cohort: {value: north},"
        " role: {value: external}}\nfollowup: {column: days, unit: days}\n"
        'event: [{when: {dead: ["1"]}, is: event}, {when: {dead: ["0"]}, is: none}]\nvalue_labels: false\n'
    )
    call = ["cohort", str(path), f"mapping={tmp_path / 'mapping.yaml'}", f"out={tmp_path / 'cohort'}"]
    assert main(call) == 0
    outcomes = pd.read_csv(tmp_path / "cohort" / "outcomes.csv")
    assert len(outcomes) == 30 and outcomes["event"].sum() == 20
    text = (tmp_path / "mapping.yaml").read_text().replace("value_labels: false", "value_labels: 3")
    (tmp_path / "mapping.yaml").write_text(text)
    assert main(call) == 2
