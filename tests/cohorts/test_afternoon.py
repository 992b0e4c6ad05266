"""An attacker's afternoon: what is changed after opening 1 is refused, or stands dated on the report's first page."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_cohort import MadeCohort, make_bundle, make_cohort
from made_opened import first_page, run, statuses

from pathoprog.cohorts import validate
from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.errors import InputError, LockError
from pathoprog.system.files import read_json, sha256_value, write_json
from pathoprog.validation.openings.chain import append, read_log
from pathoprog.validation.openings.register import state_folder

TODAY = datetime.now(UTC).strftime("%Y-%m-%d")
DATE = rf"{TODAY[:8]}\d\d \d\d:\d\d UTC"


def change_plan(made: MadeCohort) -> None:
    path = made.folder / "plan.yaml"
    text = path.read_text().replace("permutation]", "permutation, adjusted, subgroups]")
    path.write_text(text.replace("[scanner, stage]", "[scanner, stage, sex]"))


def change_score(made: MadeCohort) -> None:
    path = made.folder / "scored" / "patients.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    row = table.index[table["risk_class"] == "poor"][0]
    table.loc[row, "score_10x"] = "0.999"
    table.to_csv(path, index=False)


def change_outcomes(made: MadeCohort, n: int = 3) -> None:
    path = made.folder / "outcomes.csv"
    table = pd.read_csv(path)
    table.loc[table.index[table["event"] == 0][:n], "event"] = 1
    table.to_csv(path, index=False)


def change_exclusions(made: MadeCohort) -> dict[str, str]:
    path = made.folder / "exclusions.csv"
    patients = pd.read_csv(made.folder / "scored" / "patients.csv")["patient_id"]
    pd.DataFrame({"patient_id": patients[:2], "code": "late"}).to_csv(path, index=False)
    return {"exclusions": str(path)}


def change_cohort(made: MadeCohort) -> None:
    path = made.folder / "cohort.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, "age"] = "99"
    table.to_csv(path, index=False)


def change_settings(made: MadeCohort) -> dict[str, Any]:
    return {"seed": 2}


CHANGES: dict[str, tuple[Callable[[MadeCohort], dict[str, Any] | None], str]] = {
    "plan": (change_plan, "the analysis plan"),
    "score": (change_score, "the patients' scores"),
    "exclusions": (change_exclusions, "the exclusions"),
    "cohort": (change_cohort, "the cohort table"),
    "settings": (change_settings, "the settings (permutations, seed)"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_locked_is_refused_then_dated_on_the_first_page(made: MadeCohort, name: str):
    change, words = CHANGES[name]
    more = change(made) or {}
    report = (made.folder / "validation" / "report.html").read_bytes()
    with pytest.raises(LockError, match=f"changed since the lock: {re.escape(words)}. Restore it"):
        run(made, **more)
    assert (made.folder / "validation" / "report.html").read_bytes() == report
    run(made, **more, amend="typing error")
    page = first_page(made)
    assert re.search(rf"Openings 2: the first {DATE}, this one {DATE}", page), page
    assert re.search(rf"Amendments 1: {DATE}", page)
    found = re.search(rf"Amendment 1 \({DATE}, after opening 1\): {re.escape(words)} changed(.*?)\. Reason", page)
    assert found and "Reason given: typing error." in page
    if name == "score":
        assert found[1] == " (patients.csv: 1 of 110 rows)"


def test_the_code_is_refused_then_dated_on_the_first_page(made: MadeCohort, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(validate, "code_version", lambda: {"version": "9", "sha256": "c" * 64})
    with pytest.raises(LockError, match="changed since the lock: the code"):
        run(made)
    run(made, amend="a newer version")
    assert re.search(rf"Amendment 1 \({DATE}, after opening 1\): the code changed", first_page(made))


def test_analyses_that_came_after_an_opening_are_never_planned(made: MadeCohort):
    assert statuses(made) == {"planned", "exploratory"}
    change_plan(made)
    run(made, amend="typing error")
    assert statuses(made) == {"planned", "exploratory", "added after opening 1"}
    page, whole = first_page(made), (made.folder / "validation" / "report.html").read_text()
    assert "Not as planned before the first opening: added after opening 1: hazard ratios adjusted" in page
    section = whole.split('id="subgroups"')[1].split("</section>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", section).split())
    assert 'class="status planned"' not in section and "sex (added after opening 1)" in words
    assert "[scanner, stage, sex]" in whole and "[scanner, stage]" in whole  # the plan's lines, before and after
    history = read_json(made.folder / "validation" / "history.json")
    assert history["labels"]["adjusted"] == "added after opening 1" and history["labels"]["c_index"] == "planned"
    assert [entry["openings_before"] for entry in history["plans"]] == [0, 1]


def test_another_primary_analysis_is_said_before_any_result(made: MadeCohort):
    plan = made.folder / "plan.yaml"
    plan.write_text(plan.read_text().replace("poor vs good", "uncertain vs good"))
    run(made, amend="typing error")
    page = first_page(made)
    assert "The primary analysis was changed after opening 1." in page
    assert read_json(made.folder / "validation" / "history.json")["labels"]["primary"] == "changed after opening 1"


def test_an_analysis_that_was_taken_out_is_named(made: MadeCohort):
    plan = made.folder / "plan.yaml"
    plan.write_text(plan.read_text().replace("c_index, ", ""))
    run(made, "elsewhere")
    assert "taken out of the plan after opening 1: Harrell's c of the one number" in first_page(made, "elsewhere")


def test_another_plan_in_another_folder_is_after_opening_1_too(made: MadeCohort):
    change_plan(made)
    run(made, "elsewhere")
    page = first_page(made, "elsewhere")
    assert re.search(rf"Openings 2: the first {DATE}, this one {DATE} Amendments none", page)
    said = rf"Opening 2 \({DATE}, this one\): the analysis plan differed from opening 1 \({DATE}\), without a reason"
    assert re.search(said, page)
    assert "added after opening 1" in statuses(made, "elsewhere")


@pytest.mark.slow
def test_the_order_of_runs_changes_nothing(made: MadeCohort):
    original = (made.folder / "plan.yaml").read_text()
    change_plan(made)
    run(made, "b")
    (made.folder / "plan.yaml").write_text(original)
    run(made)  # the first folder again
    page = first_page(made)
    assert re.search(rf"Openings 3: the first {DATE}", page)
    assert re.search(rf"Opening 2 \({DATE}, elsewhere\): the analysis plan differed from opening 1", page)
    assert re.search(rf"Opening 3 \({DATE}, this one\): the analysis plan differed from opening 2", page)
    taken_out = "exploratory: taken out of the plan after opening 2"
    assert statuses(made) == {"planned", "exploratory", taken_out}  # planned before opening 1, and again
    run(made, "c")
    assert "Openings 4" in first_page(made, "c")
    assert statuses(made, "c") == {"planned", "exploratory", taken_out}


@pytest.mark.parametrize("out", ["validation", "elsewhere"])
def test_changed_outcomes_stop_or_both_results_stand_in_the_summary(made: MadeCohort, out: str):
    before = read_json(made.folder / "validation" / "statistics.json")["primary"]
    change_outcomes(made)
    with pytest.raises(LockError, match=r"the outcomes have changed since opening 1 \(.*\): in whose rows is not on"):
        run(made, out)
    run(made, out, amend="late reports of the registry")
    page = first_page(made, out)
    after = read_json(made.folder / out / "statistics.json")["primary"]
    assert after["hr"] != before["hr"]
    assert re.search(rf"Opening 2 \({DATE}, this one\): the outcomes had changed since opening 1 \({DATE}\)", page)
    assert "Reason given: late reports of the registry." in page
    for result in (before, after):
        assert f"hazard ratio {result['hr']:.2f}" in page
    change_outcomes(made, 4)
    with pytest.raises(LockError, match=r"since opening 2 .*: of 110 patients 4 have another outcome"):
        run(made, out)


def test_outcomes_changed_and_put_elsewhere_are_the_same_outcomes(made: MadeCohort):
    run(made)  # so that the register knows the rows
    change_outcomes(made)
    (made.folder / "outcomes.csv").rename(made.folder / "outcomes_2.csv")
    with pytest.raises(LockError, match=r"outcomes_2.csv: the outcomes have changed since opening 2 .* 3 have another"):
        run(made, "elsewhere", outcomes=str(made.folder / "outcomes_2.csv"))


def test_outcomes_of_other_patients_are_others(made: MadeCohort, tmp_path: Path):
    other = make_cohort(tmp_path / "other", seed=2, development=0, test=0, external=(70,))
    outcomes = pd.read_csv(other.folder / "outcomes.csv")
    for path in [*other.folder.glob("*.csv"), *(other.folder / "scored").glob("*.csv")]:
        path.write_text(path.read_text().replace("E0x", "F"))
    assert len(outcomes) == 70
    run(other)  # the same bundle, another study
    assert re.search(rf"Openings 1: {DATE} Amendments none", first_page(other))


def test_a_score_restored_does_not_undo_its_change(made: MadeCohort):
    first = read_json(made.folder / "validation" / "lock.json")["sha256"]
    scores = made.folder / "scored" / "patients.csv"
    original = scores.read_bytes()
    change_score(made)
    run(made, amend="a score")
    scores.write_bytes(original)
    with pytest.raises(LockError, match="changed since the lock: the patients' scores"):
        run(made)
    run(made, amend="restored")
    locked = read_json(made.folder / "validation" / "lock.json")
    assert locked["sha256"] != first and len(locked["amendments"]) == 2
    page = first_page(made)
    assert "Openings 3" in page and re.search(rf"Amendments 2: {DATE} and {DATE}", page)
    assert (made.folder / "validation" / "frozen" / "replaced_1" / "patients.csv").is_file()
    assert b"0.999" in (made.folder / "validation" / "frozen" / "replaced_2" / "patients.csv").read_bytes()


def test_the_sheet_s_flow_is_no_part_of_the_lock_but_its_change_is_shown(made: MadeCohort):
    flow = {"patients": 110, "excluded": {}, "rejected_for": {}, "patients_rejected": 0, "patients_accepted": 110}
    write_json(made.folder / "flow.json", flow)
    run(made, flow=str(made.folder / "flow.json"))
    said = rf"Opening 2 \({DATE}, this one\): the clinical sheet's flow differed from opening 1 \({DATE}\)"
    assert re.search(said, first_page(made))


def test_a_clock_set_back_is_said(made: MadeCohort, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pathoprog.validation.openings.register.now", lambda: "2020-01-01T00:00:00+00:00")
    change_plan(made)
    run(made, "earlier")
    assert "Openings 2" in first_page(made, "earlier") and "added after opening 1" in statuses(made, "earlier")
    monkeypatch.undo()
    page = first_page(made, "earlier")
    assert "Opening 2 is dated 2020-01-01 00:00 UTC, before opening 1" in page and "the clock was set back" in page


def test_the_same_outcomes_for_another_ensemble_are_named(made: MadeCohort):
    shutil.rmtree(made.folder / "bundle")
    make_bundle(made.folder / "bundle", {"10x": 0.45, "40x": 0.5500001})
    for path in (made.folder / "scored").glob("results.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table["ensemble_id"] = ensemble_id(made.folder / "bundle")
        table.to_csv(path, index=False)
    run(made, "another")
    page = first_page(made, "another")
    assert "Openings 1:" in page and "also opened 1 time for 1 other ensemble" in page


def test_a_folder_locked_by_an_older_version_says_so(made: MadeCohort):
    out = made.folder / "validation"
    locked, line = read_json(out / "lock.json"), read_log(out / "openings.jsonl")[0]
    hashes = {part: digest for part, digest in locked["hashes"].items() if part != "settings"} | {"code": "d" * 64}
    old = {"hashes": hashes, "sha256": sha256_value(hashes), "amendments": []}
    write_json(out / "lock.json", old)
    kept = {key: line[key] for key in ("opening", "utc", "user", "host", "outcomes_sha256", "previous")}
    kept["lock"] = old["sha256"]
    kept["line_sha256"] = sha256_value(kept)
    (out / "openings.jsonl").write_text(json.dumps(kept, sort_keys=True) + "\n")
    (made.folder / "outcomes.csv.openings.jsonl").unlink()
    (state_folder() / "openings.jsonl").unlink()
    with pytest.raises(LockError, match="made by an older version"):
        run(made)
    run(made, amend="a newer version of pathoprog")
    page = first_page(made)
    assert "Openings 2" in page and "made by an older version" in page
    assert "1 opening by an older version, which kept no register." in page
    assert "is missing" not in page and "without a reason" not in page
    assert statuses(made) == {"planned", "exploratory"}  # the plan's hash is that of the old lock
    change_plan(made)
    run(made, amend="more")
    assert "added after opening 2" in statuses(made)


def test_an_old_lock_s_other_plan_is_not_taken_on_trust(made: MadeCohort):
    out = made.folder / "validation"
    locked = read_json(out / "lock.json")
    hashes = {part: digest for part, digest in locked["hashes"].items() if part != "settings"} | {"plan": "e" * 64}
    old = {"hashes": hashes, "sha256": sha256_value(hashes), "amendments": []}
    write_json(out / "lock.json", old)
    for path in (made.folder / "outcomes.csv.openings.jsonl", state_folder() / "openings.jsonl"):
        path.unlink()
    (out / "openings.jsonl").unlink()
    (out / "statistics.json").unlink()
    line = {"opening": 1, "utc": "2026-01-02T03:04:05+00:00", "user": "u", "host": "h", "lock": old["sha256"]}
    append(out / "openings.jsonl", line | {"outcomes_sha256": "a" * 64})
    with pytest.raises(LockError, match="outcomes have changed since opening 1"):
        run(made)
    run(made, amend="a newer version of pathoprog")
    page = first_page(made)
    assert "The plan of opening 1 is not on record" in page and "not on record. Under the changed ones" in page
    assert "planned" not in statuses(made)
    assert "added after opening 1" in statuses(made)


def test_cohorts_that_are_not_there_are_refused_before_the_opening(made: MadeCohort):
    plan = made.folder / "plan.yaml"
    text = plan.read_text()
    for old, new, match in (
        ("cohort: external", "cohort: trial 9", "primary cohort 'trial 9' is not a scored external cohort"),
        ("cohort: external", "cohort: trial 1\nabsolute_risk: trial 1", "trial 1 is the primary cohort itself"),
        ("subgroups:", "absolute_risk: north\nsubgroups:", "absolute_risk cohort 'north' is not a scored external"),
    ):
        plan.write_text(text.replace(old, new).replace("trial 1\nabsolute", "trial 1\n_absolute"))
        if "_absolute" in plan.read_text():
            plan.write_text(text.replace(old, "cohort: trial 1") + "absolute_risk: trial 1\n")
        with pytest.raises(InputError, match=match):
            run(made, "again")
    assert not (made.folder / "again").exists()
    assert len(read_log(made.folder / "outcomes.csv.openings.jsonl")) == 2  # the opening before, and its result


def test_missing_outcomes_are_one_sentence_and_no_opening(made: MadeCohort):
    (made.folder / "outcomes.csv").unlink()
    with pytest.raises(InputError, match=r"outcomes.csv: no such file"):
        run(made, "again")
    assert not (made.folder / "again").exists()
