"""SAS's own files: dates from 1960, formats, encodings, missing values, labels in a catalog; written by R's haven.

No Python package writes ``.sas7bdat``. One small file that haven 2.5.1's `write_sas` wrote is kept here as text; where
R has haven (Debian's r-cran-haven) another is written anew.
"""

import base64
import datetime
import shutil
import subprocess
import zlib
from pathlib import Path

import pandas as pd
import pytest

from pathoprog.cli import main
from pathoprog.cohort_tables.cohort import read_outcomes
from pathoprog.cohort_tables.sheets import Sheet, read_sheet_file
from pathoprog.errors import InputError

pyreadstat = pytest.importorskip("pyreadstat")

FILE = (
    "eNrt2r9LG2EYB/An0WL8MURxECko4iAd5D0VS0HwDu6CgQRqcwW384oviTZeJIk/BqF06Obk3+B/4CaWig6OpYPQodDFqZOTLdQ2vdy9MclLTqXn"
    "In4/Ibw839zzctxLwl14ieqOf7xf3O/v/fxxN0adp8rOwFC8d5JohCKk0I36m6qMlhlOJFOGrplaxjCHg9Atqv3+cUcHV5vftfooqc4UJ4pK8Ytx"
    "pjAlzdxxyh2nU8vO+hYBAAAAAAAAAAAAAAAAAAA8Rj3ui+hrj1+NtTV/eiTyAalLF/l2LYj4w0W3P5pSviTyHSkfFbkqzX/e1TrfC8iXAvLRgPy8"
    "M2D+gBwAAADgPv39XfHc9fgcdYXqX6QnofoXKBaq36T2UP1hr99991/57RV576l3Kx2LUu2WusN9t1P0evViXh2hPqkelOoRqX4m1Y3EqVTq969P"
    "ve2zRDPiqqvifHSxn3ZO5CmRv5RWh+iPmDPXkMl7fNfs8jJ3ypazvvqGF618wclajr3KrRwvcqvw1rE3HDvLqbBGVOLcKfEtytulsq6Z1X3EhplM"
    "GxljITHuzmW8fqUndF1hbnHpql27Rj9dd1mbica1aKHjtgnireOKBL9i8CBF/G8GY8rJhxKvpWrS/wHJnlXHlcLzb2JX/sWs/9h/pjI2kT45zOd5"
    "0Uu+/HonjvjUXNP1TIxNNv21MK9KRxLh4RsAAAAAAADgP/wD/3HO2A=="
)
ENCODING_BYTE = 70  # of the header: 20 UTF-8, 29 Latin-1, 62 Windows-1252


def written(folder: Path, change: dict[bytes, bytes] | None = None, encoding: int = 20) -> Path:
    data = bytearray(zlib.decompress(base64.b64decode(FILE)))
    assert data[ENCODING_BYTE] == 20
    data[ENCODING_BYTE] = encoding
    for old, new in (change or {}).items():
        assert data.count(old) == 1 and len(old) == len(new)
        data = data.replace(old, new)
    path = folder / "sheet.sas7bdat"
    path.write_bytes(data)
    return path


def rows(found: Sheet) -> list[list[object]]:
    return found.frame.to_numpy().tolist()


CELLS = [
    ["001", "\u00c5se", "50.5", "2020-01-02", "2020-01-02 10:30:00", "1", "2020-03-26"],
    ["002", "M\u00fcller", "", "1959-12-31", "", "2", "2020-01-02"],
    ["003", "", "71", "", "1960-01-01", "2", "1960-01-01"],
]
WINDOWS = {"\u00c5se".encode(): b"\xc5se ", "M\u00fcller".encode(): b"M\xfcller "}


def test_dates_missing_values_long_names_and_codes(tmp_path: Path) -> None:
    found = read_sheet_file(written(tmp_path))
    assert found.frame.columns[0] == "patient_number_long_name_here_ok" and rows(found) == CELLS
    assert found.dates == {"op": [0, 1], "seen": [0, 2], "last": [0, 1, 2]}
    assert found.notes == (
        "the labels of 'sex' (SEXF.) lie in a catalog of SAS, which is not read: their codes stay as they are",
    )
    second = pd.read_sas(written(tmp_path), encoding="utf-8")  # another reader, of pandas' own
    assert second["op"].dt.strftime("%Y-%m-%d").tolist()[:2] == ["2020-01-02", "1959-12-31"]
    assert second["age"].tolist()[::2] == [50.5, 71.0]


@pytest.mark.parametrize("code", [29, 62])
def test_texts_in_the_encoding_that_the_file_names(tmp_path: Path, code: int) -> None:
    found = read_sheet_file(written(tmp_path, WINDOWS, code))
    assert rows(found) == CELLS and any("texts are in" in note for note in found.notes)


def test_texts_in_another_encoding_than_the_file_names(tmp_path: Path) -> None:
    path = written(tmp_path, WINDOWS)
    with pytest.raises(InputError, match=r"not in the encoding that the file names; give encoding=cp1252, or save"):
        read_sheet_file(path, say="{}={}")
    assert rows(read_sheet_file(path, encoding="cp1252")) == CELLS


def test_cohort_takes_its_dates_in_any_format(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(
        "columns: {patient_id: patient_number_long_name_here_ok, slide_id: patient_number_long_name_here_ok,"
        " slide_path: patient_number_long_name_here_ok, cohort: {value: north}, role: {value: external}}\n"
        'followup: {start: op, end: last, date_format: "%d.%m.%Y"}\n'
        'event: [{when: {sex: ["1"]}, is: event}, {when: {sex: ["2"]}, is: none}]\n'
    )
    call = ["cohort", str(written(tmp_path)), f"mapping={tmp_path / 'mapping.yaml'}", f"out={tmp_path / 'out'}"]
    assert main(call) == 0
    outcomes = read_outcomes(tmp_path / "out" / "outcomes.csv")
    assert outcomes["followup_days"].tolist() == [84, 21917]  # 1959-12-31 is day -1; the third has no start


FORMS = ("DATE9.", "DDMMYY10.", "YYMMDD10.", "E8601DA.", "EURDFDD10.", "NLDATE.", "MONYY7.", "WORDDATE.", "YYQ6.")


def test_a_date_is_a_date_by_whatever_format_sas_shows_it(tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("R is not here")
    path = tmp_path / "sheet.sas7bdat"
    forms = ", ".join(f'"{form}"' for form in FORMS)
    script = (
        'if (!requireNamespace("haven", quietly=TRUE)) quit(status=3); d <- data.frame(id=c("a","b"));'
        f'for (f in c({forms})) d[[paste0("x", ncol(d))]] <- structure(c(21916, NA), format.sas=f);'
        f'suppressWarnings(haven::write_sas(d, "{path}"))'
    )
    done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("R has no haven here")
    assert done.returncode == 0, done.stderr
    assert rows(read_sheet_file(path)) == [["a", *["2020-01-02"] * len(FORMS)], ["b", *[""] * len(FORMS)]]


DAYS = (
    "DATE9. DAY2. DDMMYY10. DDMMYYB8. DDMMYYN8. DOWNAME. E8601DA10. B8601DA8. JULIAN7. MMDDYYS10. MMYY. MONNAME."
    " MONYY7. NLDATE. NLDATEMDL. NLDATEYMS. NLDATEYW. QTRR. WEEKDATE29. WEEKDATX. WEEKU. WORDDATX. YEAR4. YYMMDDC10."
    " YYMMDDN8. YYMON. YYQ6. YYQRD. YYQZ. YYWEEKV. EURDFWKX. MINGUO."
)
DAYS_OF_SECONDS = "DTDATE9. DTMONYY7. DTWKDATX. DTYEAR4. DTYYQC. E8601DN10. B8601DN8."
SECONDS = (
    "DATETIME20. DATETIME18.2 DATEAMPM. MDYAMPM. E8601DT19. E8601DT22.3 B8601DT15. E8601DZ. E8601LX. NLDATM. NLDATMYM."
)
TIMES = "TIME8. TIMEAMPM. TOD8. HHMM5. HOUR2. MMSS5. NLTIME. E8601TM8. B8601TZ."
MOMENT = 21916 * 86400.0 + 3661


@pytest.mark.parametrize(
    ("forms", "value", "shown"),
    [
        (DAYS, 21916.0, "2020-01-02"),
        (DAYS_OF_SECONDS, MOMENT, "2020-01-02"),
        (SECONDS, MOMENT, "2020-01-02 01:01:01"),
        (TIMES, 3661.0, "01:01:01"),
        (TIMES, 86400.0 + 3661, datetime.timedelta(days=1, seconds=3661)),  # no time of day
        ("BEST12. F8. 8.2 COMMA10. E12. Z5. PERCENT8.", 21916.0, "21916"),
    ],
)
def test_each_format_of_sas_gives_what_it_counts(forms: str, value: float, shown: object, tmp_path: Path) -> None:
    given = {f"x{k}": form for k, form in enumerate(forms.split())}
    path = tmp_path / "sheet.xpt"
    frame = pd.DataFrame([{"n": 1.0} | dict.fromkeys(given, value), {"n": 2.0} | dict.fromkeys(given, float("nan"))])
    pyreadstat.write_xport(frame, str(path), variable_format=given)
    found = read_sheet_file(path)
    assert rows(found) == [["1", *[shown] * len(given)], ["2", *[""] * len(given)]] and found.notes == ()


def test_a_day_that_no_calendar_has_is_named_and_a_user_s_format_too(tmp_path: Path) -> None:
    path = tmp_path / "sheet.xpt"
    pyreadstat.write_xport(pd.DataFrame({"OP": [1e12]}), str(path), variable_format={"OP": "DTDATE9."})
    with pytest.raises(
        InputError, match=r"column 'OP' holds a date that is none \(1000000000000 seconds from 1960-01-01"
    ):
        read_sheet_file(path)
    pyreadstat.write_xport(pd.DataFrame({"OP": [1.0]}), str(path), variable_format={"OP": "DATEYN."})
    (note,) = read_sheet_file(path).notes
    assert "'OP' (DATEYN" in note
