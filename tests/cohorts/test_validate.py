"""`pathoprog validate` from files to report: what it writes, what it refuses, what it calls exploratory."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_cohort import MadeCohort, make_bundle, make_cohort
from made_opened import without_rendering

from pathoprog.cohorts.config import ValidateConfig
from pathoprog.cohorts.tracking import log_validation, refuse_ids
from pathoprog.cohorts.validate import run
from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.errors import ConfigError, InputError, LockError
from pathoprog.system.files import read_json, write_json
from pathoprog.system.tracking_config import TrackingSettings


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    """A made-up cohort of two external trials, validated once."""
    made = make_cohort(tmp_path_factory.mktemp("made"), development=160, test=40, external=(150, 100))
    run(settings(made))
    return made


def settings(made: MadeCohort, **more: Any) -> ValidateConfig:
    values = {"permutations": 200, "truth": str(made.folder / "truth.csv"), **more}
    return ValidateConfig(**made.settings(**values))


@pytest.fixture(scope="module")
def external_only(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    """A small made-up cohort of one external trial, validated once."""
    made = make_cohort(tmp_path_factory.mktemp("small"), development=0, test=0, external=(90,))
    run(settings(made))
    return made


@pytest.fixture
def copy(external_only: MadeCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeCohort:
    """The small validated cohort, to be changed; figures are rendered where it was validated first."""
    without_rendering(monkeypatch)
    shutil.copytree(external_only.folder, tmp_path / "copy")
    return MadeCohort(tmp_path / "copy")


def test_report_tables_figures_and_statistics_are_written(validated: MadeCohort):
    out = validated.folder / "validation"
    html = (out / "report.html").read_text()
    assert "For research use only" in html
    assert "selected on outcome" in html
    assert "same patients, other blocks: tests preparation, not generalisation" in html
    assert html.count("data:image/svg+xml;base64,") == len(list((out / "figures").glob("*.svg"))) >= 8
    assert {path.stem for path in (out / "figures").glob("*.png")} == {p.stem for p in (out / "figures").glob("*.svg")}
    assert 'src="http' not in html and 'href="http' not in html
    statistics = read_json(out / "statistics.json")
    assert statistics["lock"] == read_json(out / "lock.json")
    assert set(statistics["populations"]) >= {"training", "tuning_north", "test_retest", "external", "external_trial 2"}
    primary = statistics["primary"]
    assert primary["population"] == "external"
    assert primary["lower"] > 1 and primary["p"] < 0.001
    assert statistics["permutation"]["share_below"] == 1.0
    assert 0.6 < statistics["true_hazard"][1]["share_of_way"] < 1.1
    for population in statistics["populations"].values():
        members = [row for row in population["concordance"] if row["analysis"] == "c_members"]
        assert len(members) == 10
        assert (population["stamp"] == "selected on outcome") == (population["role"] in ("training", "tuning"))


def test_no_table_or_report_holds_a_patient(validated: MadeCohort):
    out = validated.folder / "validation"
    ids = set(pd.read_csv(validated.folder / "cohort.csv")["patient_id"])
    for path in [out / "report.html", out / "statistics.json", *(out / "tables").glob("*.csv")]:
        text = path.read_text()
        assert not [name for name in ids if name in text], path


def test_what_is_not_in_the_plan_is_exploratory(external_only: MadeCohort, copy: MadeCohort):
    def labels(made: MadeCohort, out: str) -> tuple[int, int]:
        html = (made.folder / out / "report.html").read_text()
        return html.count('class="status planned"'), html.count('class="status exploratory"')

    planned, exploratory = labels(external_only, "validation")
    plan = copy.folder / "plan.yaml"
    text = plan.read_text()
    plan.write_text("\n".join(line for line in text.splitlines() if not line.startswith("planned")))
    run(settings(copy, out="again"))
    none_planned, all_exploratory = labels(copy, "again")
    assert none_planned == 0 < planned
    assert all_exploratory == planned + exploratory


def test_the_same_again_is_one_more_opening(copy: MadeCohort):
    before = (copy.folder / "validation" / "statistics.json").read_text()
    run(settings(copy))
    after = (copy.folder / "validation" / "statistics.json").read_text()
    assert after == before.replace('"opening": 1', '"opening": 2') != before
    assert len((copy.folder / "validation" / "openings.jsonl").read_text().splitlines()) == 2


def test_another_threshold_after_the_lock_is_refused(copy: MadeCohort):
    shutil.rmtree(copy.folder / "bundle")
    make_bundle(copy.folder / "bundle", {"10x": 0.46, "40x": 0.55})
    with pytest.raises(LockError, match="another ensemble"):
        run(settings(copy))
    results = copy.folder / "scored" / "results.csv"
    table = pd.read_csv(results, dtype=str, keep_default_na=False)
    table["ensemble_id"] = ensemble_id(copy.folder / "bundle")
    table.to_csv(results, index=False)
    with pytest.raises(LockError, match="does not follow from the scores"):
        run(settings(copy))


def test_another_score_after_the_lock_is_refused_and_nothing_is_overwritten(copy: MadeCohort):
    scores = copy.folder / "scored" / "patients.csv"
    table = pd.read_csv(scores, dtype=str, keep_default_na=False)
    row = table.index[(table["status"] == "scored") & (table["risk_class"] == "poor")][0]
    table.loc[row, "score_10x"] = "0.999"
    table.to_csv(scores, index=False)
    frozen = (copy.folder / "validation" / "frozen" / "patients.csv").read_bytes()
    with pytest.raises(LockError, match="changed since the lock: the patients' scores"):
        run(settings(copy))
    assert (copy.folder / "validation" / "frozen" / "patients.csv").read_bytes() == frozen
    assert len((copy.folder / "validation" / "openings.jsonl").read_text().splitlines()) == 1
    run(settings(copy, amend="score corrected by hand"))
    assert "score corrected by hand" in (copy.folder / "validation" / "report.html").read_text()


def test_an_altered_member_of_the_bundle_is_refused(copy: MadeCohort):
    (copy.folder / "bundle" / "members" / "10x_1.safetensors").write_text("other")
    with pytest.raises(Exception, match="altered"):
        run(settings(copy))


def test_exclusions_are_locked_and_counted(copy: MadeCohort):
    patients = pd.read_csv(copy.folder / "scored" / "patients.csv")
    scored = patients[(patients["status"] == "scored") & (patients["role"] == "external")]
    path = copy.folder / "exclusions.csv"
    pd.DataFrame({"patient_id": scored["patient_id"].iloc[:3], "code": "neoadjuvant"}).to_csv(path, index=False)
    with pytest.raises(LockError, match="the exclusions"):
        run(settings(copy, exclusions=str(path)))
    run(settings(copy, exclusions=str(path), out="excluded"))
    statistics = read_json(copy.folder / "excluded" / "statistics.json")
    assert statistics["populations"]["external_trial 1"]["n"] == len(scored) - 3


def test_outcomes_are_not_opened_when_the_tables_do_not_add_up(copy: MadeCohort):
    results = copy.folder / "scored" / "results.csv"
    results.write_text("\n".join(results.read_text().splitlines()[:-1]) + "\n")
    (copy.folder / "outcomes.csv").unlink()
    with pytest.raises(InputError, match="do not add up; no report"):
        run(settings(copy, out="again"))
    assert not (copy.folder / "again").exists()


def test_a_plan_for_an_absent_cohort_is_refused(copy: MadeCohort):
    plan = copy.folder / "plan.yaml"
    plan.write_text(plan.read_text().replace("cohort: external", "cohort: trial 9"))
    with pytest.raises(InputError, match=r"'trial 9' is not a scored external cohort .* trial 1\)"):
        run(settings(copy, out="again"))


def test_scores_that_know_nothing_are_found_out(tmp_path: Path):
    made = make_cohort(tmp_path, development=0, test=0, external=(200,), effect=0.0)
    run(settings(made, truth=""))
    statistics = read_json(tmp_path / "validation" / "statistics.json")
    assert statistics["permutation"]["share_below"] < 0.99
    assert statistics["primary"]["lower"] < 1 < statistics["primary"]["upper"]


def test_few_events_and_one_class_still_make_a_report(tmp_path: Path):
    made = make_cohort(tmp_path, development=8, test=2, external=(40,))
    outcomes = pd.read_csv(tmp_path / "outcomes.csv")
    outcomes.loc[outcomes["patient_id"].str.startswith("E"), "event"] = 0
    outcomes.to_csv(tmp_path / "outcomes.csv", index=False)
    run(settings(made, truth=""))
    statistics = read_json(tmp_path / "validation" / "statistics.json")
    assert statistics["populations"]["external_trial 1"]["events"] == 0
    assert statistics["primary"]["hr"] is None
    assert "not estimable" in (tmp_path / "validation" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # of a dependency of MLflow
def test_mlflow_gets_numbers_tables_and_figures(copy: MadeCohort, tmp_path: Path):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    run(settings(copy, track=TrackingSettings("mlflow", uri)))
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("pathoprog")
    (logged,) = client.search_runs([experiment.experiment_id])
    statistics = read_json(copy.folder / "validation" / "statistics.json")
    assert logged.data.metrics["external_trial 1_c"] == pytest.approx(
        statistics["populations"]["external_trial 1"]["concordance"][0]["c"]
    )
    assert logged.data.params["lock"] == statistics["lock"]["sha256"]
    assert logged.info.status == "FINISHED"
    stored = [path.name for path in (tmp_path / "runs" / "mlartifacts").rglob("*") if path.is_file()]
    assert {"report.html", "statistics.json", "cohorts.csv", "flow.png", "permutation.svg"} <= set(stored)
    assert not {"patients.csv", "exclusions.csv", "members.csv"} & set(stored)


def test_without_mlflow_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(ConfigError, match="tracking=none"):
        log_validation(f"sqlite:///{tmp_path}/x.db", "e", "n", {}, {}, {}, set())


def test_a_table_with_ids_is_not_logged(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("class,who\ngood,P7\n")
    with pytest.raises(InputError, match="the column who holds"):
        refuse_ids(path, {"P7"})
    refuse_ids(path, {"P8"})
    path.write_text("class,n\ngood,7\n")
    refuse_ids(path, {"7"})


def test_the_sheet_s_flow_must_end_in_this_cohort(copy: MadeCohort):
    flow = {"patients": 100, "excluded": {"stage IV": 7}, "rejected_for": {"event": 3}, "patients_rejected": 3}
    write_json(copy.folder / "flow.json", flow | {"patients_accepted": 90})
    run(settings(copy, flow=str(copy.folder / "flow.json")))
    html = (copy.folder / "validation" / "report.html").read_text()
    assert "The clinical sheet held 100 patients. 7 patients were excluded by code and 3 rejected" in html
    write_json(copy.folder / "flow.json", flow | {"patients_accepted": 91})
    with pytest.raises(InputError, match="91 patients accepted, 90 in the cohort; no report"):
        run(settings(copy, flow=str(copy.folder / "flow.json")))


def test_eligibility_that_is_not_stated_is_not_confirmed(copy: MadeCohort, external_only: MadeCohort):
    said = (external_only.folder / "validation" / "report.html").read_text()
    assert "organ colorectum (90)" in said and "eligibility not confirmed" not in said
    path = copy.folder / "cohort.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[:4, "neoadjuvant"] = ""
    table.to_csv(path, index=False)
    run(settings(copy, out="again"))
    assert (
        "Of 5 slides not all of these are stated: eligibility not confirmed."
        in (copy.folder / "again" / "report.html").read_text()
    )
