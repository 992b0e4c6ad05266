"""Class with stage: cells, the fit, what is stored, and that nothing but the table changes in the bundle."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_cohort import make_bundle

from pathoprog.ensemble.bundle import ensemble_id, verify
from pathoprog.ensemble.manifest import StageGroupsRecord
from pathoprog.ensemble.stage_groups import (
    FILE,
    NODAL_LEVELS,
    fit_stage_groups,
    read_stage_groups,
    risk_groups,
    scoring_ids,
    stage_cell,
    with_stage_groups,
)
from pathoprog.errors import BundleError, InputError
from pathoprog.system.files import canonical_json, read_json, sha256_file, write_json


def patients(n: int = 600, seed: int = 1, effect: float = 1.0) -> pd.DataFrame:
    """Patients whose hazard rises with pT4, pN, few nodes and the class."""
    rng = np.random.default_rng(seed)
    t, node = rng.choice(["2", "3", "4a"], n), rng.choice(["0", "1b", "2"], n, p=(0.55, 0.3, 0.15))
    nodes, worse = rng.integers(4, 30, n), rng.integers(0, 3, n)
    hazard = 1.0 * (t == "4a") + 0.7 * np.char.replace(node, "b", "").astype(int) + 0.3 * (nodes <= 12) + 0.8 * worse
    death, end = rng.exponential(30 * np.exp(-effect * hazard)), rng.uniform(2, 9, n)
    return pd.DataFrame(
        {
            "pT": t,
            "pN": node,
            "nodes_sampled": nodes,
            "risk_class": np.array(["good", "uncertain", "poor"])[worse],
            "cohort": rng.choice(["north", "south"], n),
            "followup_days": np.minimum(death, end) * 365.25 + 1,
            "event": (death < end).astype(int),
        }
    )


@pytest.mark.parametrize(
    ("pt", "pn", "nodes", "cell"),
    [
        ("3", "0", "13", ("pT1-3", NODAL_LEVELS[0])),
        ("pT3", "pN0", 12, ("pT1-3", NODAL_LEVELS[1])),
        ("4a", "1b", 30.0, ("pT4", NODAL_LEVELS[2])),
        ("T4", "N1mi", "7", ("pT4", NODAL_LEVELS[3])),
        ("ypT2", "2a", "", ("pT1-3", "pN2")),
        ("2.0", "1.0", float("nan"), None),
        ("", "0", "20", None),
        ("3", "X", "20", None),
        ("is", "0", "20", None),
        ("3", "0", "", None),
        ("3", "0", "many", None),
    ],
)
def test_cells(pt, pn, nodes, cell):
    found = stage_cell(pt, pn, nodes, "poor")
    assert found == (None if cell is None else (*cell, "poor"))


def test_without_a_class_there_is_no_cell():
    assert stage_cell("3", "0", 20, "") is None


def test_the_fit_orders_the_cells_as_the_hazard_does():
    table = fit_stage_groups(patients(1500))
    cells = pd.DataFrame(table.record["cells"])
    assert len(cells) == 30 and cells["n"].sum() == 1500
    truth = (
        1.0 * (cells["pT"] == "pT4")
        + 0.7 * cells["nodal"].str.slice(2, 3).astype(int)
        + 0.3 * (cells["nodal"].str.contains("fewer") | (cells["nodal"] == "pN2") * 0.4)
        + 0.8 * cells["risk_class"].map({"good": 0, "uncertain": 1, "poor": 2})
    )
    assert np.corrcoef(truth, cells["log_hazard"])[0, 1] > 0.97
    assert (
        cells.sort_values("log_hazard")["risk_group"].map({"low": 0, "intermediate": 1, "high": 2}).diff().dropna() >= 0
    ).all()
    assert cells["predicted"].corr(cells["log_hazard"], method="spearman") == pytest.approx(-1)
    full = cells[cells["n"] > 60]
    assert (full["kaplan_meier"] - full["predicted"]).abs().max() < 0.15
    assert table.record["published"] is False


def test_shares_and_missing_stage():
    data = patients()
    data.loc[:39, "pT"] = ""
    table = fit_stage_groups(data, min_share=0.2)
    groups = pd.Series(risk_groups(data, table))
    assert (groups[:40] == "").all() and (groups[40:] != "").all()
    assert (groups[40:].value_counts() >= 0.2 * 560).all()
    assert table.record["without_stage_or_class"] == 40


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data.assign(event=0), "no events"),
        (lambda data: data[data["risk_class"] != "poor"], "no patient of the development cohort is poor"),
        (lambda data: data.head(40), r"events in 40 patients are too few for 7 terms"),
        (lambda data: data.drop(columns=["pN"]), "need the columns pN"),
    ],
)
def test_what_cannot_be_fitted_is_said(change, match: str):
    with pytest.raises(InputError, match=match):
        fit_stage_groups(change(patients()))


def test_cuts_that_leave_too_few_are_refused():
    with pytest.raises(InputError, match="no two cuts leave 34%"):
        fit_stage_groups(patients(), min_share=0.34)


def test_the_new_bundle_differs_by_the_table_alone(tmp_path: Path):
    old = make_bundle(tmp_path / "old")
    table = fit_stage_groups(patients(), in_sample=True)
    new = with_stage_groups(tmp_path / "old", tmp_path / "new", table)
    assert new != old and new == ensemble_id(tmp_path / "new")
    assert scoring_ids(tmp_path / "new") == [new, old]
    assert scoring_ids(tmp_path / "old") == [old]
    manifest = verify(tmp_path / "new")
    assert manifest.stage_groups == StageGroupsRecord(supersedes=old, in_sample=True)
    again = read_stage_groups(tmp_path / "new")
    assert again is not None and again.groups == table.groups
    assert read_stage_groups(tmp_path / "old") is None


def test_another_threshold_under_cover_of_the_table_is_found(tmp_path: Path):
    make_bundle(tmp_path / "old")
    with_stage_groups(tmp_path / "old", tmp_path / "new", fit_stage_groups(patients()))
    manifest = read_json(tmp_path / "new" / "manifest.json")
    manifest["thresholds"]["10x"]["value"] = 0.46
    (tmp_path / "new" / "manifest.json").write_text(canonical_json(manifest))
    with pytest.raises(BundleError, match=f"more than {FILE} differs"):
        scoring_ids(tmp_path / "new")


def test_an_ensemble_of_two_classes_has_twenty_cells(tmp_path: Path):
    data = patients(1500)
    two = data.assign(risk_class=data["risk_class"].replace("uncertain", "good"))
    with pytest.raises(InputError, match="no patient of the development cohort is uncertain"):
        fit_stage_groups(two)
    table = fit_stage_groups(two, classes=("good", "poor"))
    assert len(table.groups) == 20 and {cell[2] for cell in table.groups} == {"good", "poor"}
    make_bundle(tmp_path / "old", {"20x": 0.5}, members=3)
    with_stage_groups(tmp_path / "old", tmp_path / "new", table)
    assert read_stage_groups(tmp_path / "new").groups == table.groups
    assert verify(tmp_path / "new").shape.members == {"20x": 3}
    assert set(risk_groups(two, table)) == {"low", "intermediate", "high"}


def test_a_table_with_a_hole_is_refused(tmp_path: Path):
    make_bundle(tmp_path / "old")
    with_stage_groups(tmp_path / "old", tmp_path / "new", fit_stage_groups(patients()))
    shutil.copytree(tmp_path / "new", tmp_path / "broken")
    record = read_json(tmp_path / "broken" / FILE)
    record["cells"] = record["cells"][1:]
    write_json(tmp_path / "broken" / FILE, record)
    with pytest.raises(BundleError, match="each of the 30 cells"):
        read_stage_groups(tmp_path / "broken")
    with pytest.raises(BundleError, match="altered"):
        verify(tmp_path / "broken")
    assert sha256_file(tmp_path / "new" / FILE) == verify(tmp_path / "new").files[FILE]
