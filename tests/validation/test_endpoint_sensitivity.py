"""The report's one table of other choices: further endpoints of the outcome table, early deaths, borderline classes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run

from pathoprog.cohort_tables.cohort import read_outcomes
from pathoprog.errors import CohortError
from pathoprog.system.files import read_json
from pathoprog.validation.openings.outcome_rows import difference, keep_rows, rows_of


def with_endpoint(made: MadeCohort) -> None:
    """Add disease-free survival to the outcomes, missing for two, and mark some classes as borderline."""
    path = made.folder / "outcomes.csv"
    rng = np.random.default_rng(2)
    outcomes = pd.read_csv(path, dtype={"patient_id": str})
    share = rng.uniform(0.4, 1.2, len(outcomes)).clip(max=1)
    days = (outcomes["followup_days"] * share).round().clip(lower=1)
    event = ((share < 1) & (outcomes["event"] == 1) | (outcomes["event"] > 0)).astype(int)
    text = days.astype(int).astype(str)
    text[:2] = ""
    outcomes.assign(disease_free_days=text, disease_free_event=event).to_csv(path, index=False)
    scored = made.folder / "scored" / "patients.csv"
    patients = pd.read_csv(scored, dtype=str, keep_default_na=False)
    near = (pd.to_numeric(patients["score_10x"]) - 0.45).abs() < 0.04
    patients.assign(borderline=np.where(near, "true", "false")).to_csv(scored, index=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    made = make_cohort(tmp_path_factory.mktemp("made") / "cohort", development=0, test=0, external=(260, 140))
    with_endpoint(made)
    plan = made.folder / "plan.yaml"
    text = plan.read_text().replace("planned: [", "planned: [endpoints, ")
    plan.write_text(text + "endpoints: [disease_free, local_recurrence]\n")
    run(made)
    return made


def test_one_table_of_every_choice(made: MadeCohort) -> None:
    statistics = read_json(made.folder / "validation" / "statistics.json")
    found, primary = statistics["endpoints"], statistics["primary"]
    first = found["rows"][0]
    assert [first["ratio"][key] for key in ("value", "lower", "upper")] == pytest.approx(
        [primary["hr"], primary["lower"], primary["upper"]]
    )
    c = statistics["populations"]["external"]["concordance"][0]
    assert first["c"]["value"] == pytest.approx(c["c"]) and first["c"]["lower"] == pytest.approx(c["lower"])
    endpoints = list(dict.fromkeys(row["endpoint"] for row in found["rows"]))
    assert endpoints == ["cancer-specific survival", "overall survival", "disease-free survival"]
    assert found["absent"] == ["local recurrence"] and found["early_days"] == 100 and found["n_borderline"] > 5
    free = next(row for row in found["rows"] if row["endpoint"] == "disease-free survival")
    assert free["n"] in (first["n"] - 2, first["n"] - 1, first["n"])  # those without it, if they were scored
    section = (made.folder / "validation" / "report.html").read_text().split('id="endpoints"')[1].split("</section>")[0]
    for text in ("overall survival", "deaths within 100 days", "borderline classes", "poor or uncertain vs good"):
        assert text in section, text
    assert "Not in the outcome table: local recurrence." in section and "planned" in section
    flow = pd.read_csv(made.folder / "validation" / "tables" / "endpoint_flow.csv").set_index(["endpoint", "of"])
    cohorts = sum(key.startswith("external_") for key in statistics["populations"])
    assert len(flow) == 2 * cohorts and flow["patients"].sum() == 2 * first["n"]
    assert flow.loc["disease_free", "with"].sum() == free["n"] and flow.loc["local_recurrence", "with"].sum() == 0
    assert set(flow.loc["local_recurrence", "why"].str.split(":").str[0]) == {"not in the outcome table"}
    table = pd.read_csv(made.folder / "validation" / "tables" / "endpoints.csv")
    assert table.loc[0, "hr"] == pytest.approx(primary["hr"]) and len(table) == len(found["rows"])


def test_endpoints_without_events_patients_or_one_of_the_classes_are_said(tmp_path: Path) -> None:
    made = make_cohort(tmp_path / "made", development=0, test=0, external=(150,))
    scored = made.folder / "scored" / "patients.csv"
    patients = pd.read_csv(scored, dtype=str, keep_default_na=False).assign(borderline="true")
    patients.to_csv(scored, index=False)
    outcomes = pd.read_csv(made.folder / "outcomes.csv", dtype={"patient_id": str})
    poor = outcomes["patient_id"].isin(patients.loc[patients["risk_class"] == "poor", "patient_id"])
    outcomes.assign(
        quiet_days=900, quiet_event=0, empty_days="", empty_event="", competing_days=900, competing_event=2,
        worse_days=np.where(poor, "900", ""), worse_event=1,
    ).to_csv(made.folder / "outcomes.csv", index=False)  # fmt: skip
    plan = made.folder / "plan.yaml"
    plan.write_text(plan.read_text() + "endpoints: [quiet, empty, competing, worse]\n")
    run(made)
    rows = read_json(made.folder / "validation" / "statistics.json")["endpoints"]["rows"]
    notes = {row["endpoint"]: row["note"] for row in rows if not row["left_out"] and row["note"]}
    assert notes.keys() == {"quiet", "empty", "competing", "worse"}
    assert "no events" in notes["quiet"] and "no events" in notes["competing"]
    assert notes["empty"] == "no patient is poor or good" and notes["worse"] == "no patient is good"
    (near,) = (row for row in rows if row["left_out"] == "borderline")
    assert near["n"] == 0 and near["note"] == "no patient is poor or good"
    section = (made.folder / "validation" / "report.html").read_text().split('id="endpoints"')[1].split("</section>")[0]
    assert "no patient is good" in section and "nan" not in section


def test_changed_further_endpoints_are_changed_outcomes(
    made: MadeCohort, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = tmp_path_factory.mktemp("state")
    path = made.folder / "outcomes.csv"
    before = rows_of(path)
    keep_rows(state, "first", before)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[5, "disease_free_event"] = str(1 - int(table.loc[5, "disease_free_event"]))
    other = path.with_name("other.csv")
    table.to_csv(other, index=False)
    found = difference(state, "first", rows_of(other))
    assert (found.changed, found.added, found.removed) == (1, 0, 0)
    table.drop(columns=["disease_free_days", "disease_free_event"]).to_csv(other, index=False)
    assert difference(state, "first", rows_of(other)).changed == len(table)


def test_a_wrong_further_endpoint_is_refused_with_its_row(made: MadeCohort) -> None:
    path = made.folder / "wrong.csv"
    path.write_text(
        "patient_id,followup_days,event,free_days,free_event\nP1,9,1,9,1\nP2,9,0,,\nP3,8,0,8,5\nP4,7,0,x,0\n"
    )
    with pytest.raises(CohortError) as refused:
        read_outcomes(path, ("free",))
    assert "line 4" in str(refused.value) and "line 5" in str(refused.value) and "line 3" not in str(refused.value)
    assert len(read_outcomes(path)) == 4  # nobody asked for it
