"""Cohort and outcome tables: what is read, and what is refused with every offending row."""

from pathlib import Path

import pandas as pd
import pytest
from shared_data import shared_data

from pathoprog.cohort_tables.cohort import patient_table, read_cohort, read_outcomes, site_overlap
from pathoprog.cohort_tables.config import YEAR_DAYS, LabelSettings
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.cohort_tables.mapping import read_mapping
from pathoprog.errors import CohortError, ConfigError, InputError
from pathoprog.survival.table import read_raw
from pathoprog.system.files import write_json

HEADER = "patient_id,slide_id,slide_path,block_id,cohort,role,prep_site,scan_site,scanner,age,pT,slide_sha256"
ROWS = [
    "P1,S1,slides/S1.tif,b1,north,training,oslo,oslo,AT2,61,3,",
    "P2,S2,slides/S2.tif,b1,north,tuning,oslo,oslo,AT2,,4,",
    "P3,S3,slides/S3.tif,b1,trial,external,leeds,oxford,XR,70.5,,",
    "P3,S4,/far/S4.tif,b2,trial,external,york,oxford,XR,70.5,,",
]


def write_cohort(
    folder: Path, *changes: tuple[int, str, str], more: tuple[str, ...] = (), header: str = HEADER
) -> Path:
    """Write the four good rows with changes `(row, from, to)` and further rows."""
    rows = [*ROWS, *more]
    for row, old, new in changes:
        assert old in rows[row]
        rows[row] = rows[row].replace(old, new)
    path = folder / "cohort.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def write_overlap(folder: Path, *patients: str, pairs: tuple[tuple[str, str], ...] = (("training", "test"),)) -> Path:
    path = folder / "overlap.json"
    write_json(path, {"allowed_overlap": pairs, "patients": patients})
    return path


def test_a_good_cohort_is_read(tmp_path: Path):
    table = read_cohort(write_cohort(tmp_path))
    assert list(table["slide_id"]) == ["S1", "S2", "S3", "S4"]
    assert table["slide_path"][0] == str((tmp_path / "slides" / "S1.tif").resolve())
    assert table["slide_path"][3] == "/far/S4.tif"
    assert table["age"].isna().tolist() == [False, True, False, False]
    assert table["pT"].tolist() == ["3", "4", "", ""]
    assert (table["outline_path"] == "").all()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([(1, "S2,", "S1,")], ["line 2", "line 3", "the id is given to several slides"]),
        ([(1, "slides/S2.tif", "slides/S1.tif")], ["line 2", "line 3", "the same file under several ids"]),
        (
            [(0, "61,3,", "61,3," + "a" * 64), (2, "70.5,,", "70.5,," + "A" * 64)],
            ["line 2", "line 4", "same slide content"],
        ),
        ([(0, "61,3,", "61,3,xyz")], ["line 2", "no SHA-256"]),
        ([(1, "P2", "P1")], ["line 2", "line 3", "patient P1 is in training and in tuning", "contradicting rows"]),
        ([(1, "P2", "p1")], ["line 2", "line 3", "other upper or lower case"]),
        ([(0, "P1", "Ré"), (1, "P2", "Re\u0301")], ["line 2", "line 3", "accents otherwise"]),
        ([(3, "70.5", "71")], ["line 4", "line 5", "patient P3 has contradicting rows ['70.5', '71']"]),
        ([(0, "training", "train")], ["line 2", "role='train'", "training, tuning, test, external"]),
        ([(0, "P1", " ")], ["line 2", "the patient_id is missing"]),
        ([(0, ",61,", ",sixty,"), (2, "70.5", "-1")], ["line 2", "line 4", "age='sixty'", "age='-1'"]),
        ([(0, "S1,", "a/b,")], ["line 2", "cannot be a folder's name"]),
    ],
)
def test_a_fault_is_refused_with_its_lines(tmp_path: Path, changes, expected):
    with pytest.raises(CohortError) as caught:
        read_cohort(write_cohort(tmp_path, *changes))
    for text in expected:
        assert text in str(caught.value)


def test_all_faults_are_listed_at_once(tmp_path: Path):
    path = write_cohort(tmp_path, (0, "training", "x"), (1, "S2,", ","), (2, "trial", ""), (3, "/far/S4.tif", ""))
    with pytest.raises(CohortError) as caught:
        read_cohort(path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(str(path))
    assert {line.split(":")[0].strip() for line in lines[1:]} == {"line 2", "line 3", "line 4", "line 5"}


def test_overlap_must_be_declared_by_pair_and_by_patient(tmp_path: Path):
    other_block = "P1,S5,slides/S5.tif,b2,north,test,bergen,oslo,AT2,61,3,"
    path = write_cohort(tmp_path, more=(other_block,))
    with pytest.raises(CohortError, match="P1 is in test and in training"):
        read_cohort(path)
    with pytest.raises(CohortError, match="P1 is in test and in training"):
        read_cohort(path, write_overlap(tmp_path, "P2"))
    with pytest.raises(CohortError, match="P1 is in test and in training"):
        read_cohort(path, write_overlap(tmp_path, "P1", pairs=(("tuning", "test"),)))
    assert len(read_cohort(path, write_overlap(tmp_path, "P1"))) == 5


def test_a_declared_overlap_needs_other_blocks_and_never_reaches_external(tmp_path: Path):
    same_block = "P1,S5,slides/S5.tif,b1,north,test,bergen,oslo,AT2,61,3,"
    path = write_cohort(tmp_path, more=(same_block,))
    with pytest.raises(CohortError, match="block b1 of patient P1"):
        read_cohort(path, write_overlap(tmp_path, "P1"))
    with pytest.raises(CohortError, match=r"only test may share patients .* not external with training"):
        read_cohort(path, write_overlap(tmp_path, "P1", pairs=(("training", "external"),)))


@pytest.mark.parametrize("text", ["{", "[]", '{"patients": []}', '{"allowed_overlap": 3, "patients": []}'])
def test_a_malformed_overlap_file_is_an_error(tmp_path: Path, text: str):
    path = tmp_path / "overlap.json"
    path.write_text(text)
    with pytest.raises(CohortError, match=r"overlap\.json: must be"):
        read_cohort(write_cohort(tmp_path), path)


def test_outcomes_do_not_lie_in_the_cohort(tmp_path: Path):
    path = write_cohort(tmp_path, header=HEADER.replace("age", "event"))
    with pytest.raises(CohortError, match=r"event to outcomes\.csv"):
        read_cohort(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no UTF-8 CSV"),
        (HEADER, "no rows"),
        ("patient_id,role\nP1,test", "slide_id, slide_path, cohort are missing"),
    ],
)
def test_an_unusable_table_is_an_error(tmp_path: Path, text: str, match: str):
    path = tmp_path / "cohort.csv"
    path.write_text(text)
    with pytest.raises(CohortError, match=match):
        read_cohort(path)
    with pytest.raises(CohortError, match="no such file"):
        read_cohort(tmp_path / "absent.csv")


def test_shared_sites_are_shown(tmp_path: Path):
    table = read_cohort(write_cohort(tmp_path, (2, "leeds", "oslo")))
    shared = site_overlap(table).set_index(["column", "value"])
    assert shared.loc[("prep_site", "oslo")].to_dict() == {"training": 1, "tuning": 1, "test": 0, "external": 1}
    assert set(shared.index) == {("prep_site", "oslo"), ("scan_site", "oslo"), ("scanner", "AT2")}


def test_one_row_per_patient_and_role(tmp_path: Path):
    table = patient_table(read_cohort(write_cohort(tmp_path))).set_index("patient_id")
    assert table.loc["P3", ["n_slides", "prep_site", "cohort", "age"]].tolist() == [2, "leeds + york", "trial", 70.5]
    assert len(table) == 3


def write_outcomes(folder: Path, *rows: str) -> Path:
    path = folder / "outcomes.csv"
    path.write_text("\n".join(["patient_id,followup_days,event", *rows]) + "\n")
    return path


def test_good_outcomes_are_read(tmp_path: Path):
    table = read_outcomes(write_outcomes(tmp_path, "P1,12.5,1", "P2,4000,0", "P3,1,2"))
    assert table["followup_days"].tolist() == [12.5, 4000, 1]
    assert table["event"].tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("P9,0,1", "followup_days='0': must be days above 0"),
        ("P9,-3,0", "followup_days='-3'"),
        ("P9,,0", "followup_days='': is missing"),
        ("P9,five,0", "followup_days='five': is no number"),
        ("P9,40000,0", "within 100 years"),
        ("P9,inf,0", "followup_days='inf'"),
        ("P9,10,3", "event='3': must be 0 (none), 1 (the event) or 2"),
        ("P9,10,0.5", "event='0.5'"),
        ("P9,10,", "event='': is missing"),
        (",10,1", "the patient has no id"),
        ("P1,10,1", "the patient has several rows"),
    ],
)
def test_insane_outcomes_are_refused(tmp_path: Path, row: str, text: str):
    with pytest.raises(CohortError) as caught:
        read_outcomes(write_outcomes(tmp_path, "P1,12.5,1", row))
    assert "line 3" in str(caught.value)
    assert text in str(caught.value)


def test_tcga_times_of_zero_and_below_are_refused_row_by_row(tmp_path: Path):
    tcga = pd.read_csv(shared_data("survival/tcga_cdr_coad_only.csv"))
    table = tcga[["bcr_patient_barcode", "OS.time", "OS"]].set_axis(["patient_id", "followup_days", "event"], axis=1)
    table = table.dropna().astype({"event": int})
    path = tmp_path / "outcomes.csv"
    table.to_csv(path, index=False)
    with pytest.raises(CohortError) as caught:
        read_outcomes(path)
    listed = str(caught.value).splitlines()[1:]
    assert len(listed) == (table["followup_days"] <= 0).sum() == 16


def test_distinct_outcome_follows_the_paper():
    year = YEAR_DAYS
    cases = [  # patient, days, event, label
        ("alive after 6 years", 6 * year + 1, 0, "good"),
        ("cancer death after 6 years", 7 * year, 1, "good"),
        ("other death after 6 years", 7 * year, 2, "good"),
        ("alive at 6 years", 6 * year, 0, ""),
        ("cancer death at 6 years", 6 * year, 1, ""),
        ("cancer death at 99 days", 99, 1, ""),
        ("cancer death at 100 days", 100, 1, "poor"),
        ("cancer death at 2.5 years", 2.5 * year, 1, "poor"),
        ("cancer death after 2.5 years", 2.5 * year + 1, 1, ""),
        ("other death at 1 year", year, 2, ""),
        ("lost at 1 year", year, 0, ""),
    ]
    outcomes = pd.DataFrame(cases, columns=["patient_id", "followup_days", "event", "label"])
    labels = distinct_outcome(outcomes)
    assert labels.to_dict() == dict(zip(outcomes["patient_id"], outcomes["label"], strict=True))


def test_label_limits_that_overlap_are_refused():
    outcomes = pd.DataFrame({"patient_id": ["P"], "followup_days": [1.0], "event": [0]})
    with pytest.raises(ConfigError, match="must be a span that ends before"):
        distinct_outcome(outcomes, LabelSettings(good_after_years=2, poor_until_years=3))


def test_a_remedy_is_one_that_the_command_has(tmp_path):
    """A cohort table has no setting for its encoding; a survival table and a mapping have."""
    rows = "patient_id,slide_id,slide_path,cohort,role\nP,S,a.tif,Tromsø,external\n"
    for encoding, said in (("cp1252", "not in UTF-8"), ("utf-16-le", "UTF-16 without its mark")):
        (tmp_path / "cohort.csv").write_bytes(rows.encode(encoding))
        with pytest.raises(CohortError, match=said) as caught:
            read_cohort(tmp_path / "cohort.csv")
        assert str(caught.value).endswith(": save it as 'CSV UTF-8'") and "encoding" not in str(caught.value)
        with pytest.raises(InputError, match=f"give encoding={encoding}, or save it as 'CSV UTF-8'"):
            read_raw(tmp_path / "cohort.csv")
    (tmp_path / "map.yaml").write_bytes("columns: {ø: 1}".encode("cp1252"))
    with pytest.raises(InputError, match=r"map.yaml: the mapping is no UTF-8 text; save it as UTF-8"):
        read_mapping(tmp_path / "map.yaml")


def test_another_sheet_is_named_with_a_remedy_that_there_is(tmp_path):
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame({"patient_id": []}).to_excel(book, sheet_name="Notes", index=False)
        pd.DataFrame({"patient_id": ["P"]}).to_excel(book, sheet_name="Data", index=False)
    with pytest.raises(CohortError, match="there are also 'Data': put the table into the first"):
        read_cohort(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="there are also 'Data': give sheet=NAME"):
        read_raw(tmp_path / "t.xlsx")
