"""The plan's sites: asked for, checked before the opening, in the report; absent where the plan asks for none."""

from pathlib import Path

import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run

from pathoprog.errors import InputError
from pathoprog.system.files import read_json
from pathoprog.validation.plan import read_plan

ASKED = "sites: [cohort, prep_site, scan_site]\nabsolute_risk: trial 1\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    made = make_cohort(tmp_path_factory.mktemp("made") / "cohort", development=0, test=0, external=(220, 130))
    text = (made.folder / "plan.yaml").read_text()
    (made.folder / "sites.yaml").write_text(text.replace("planned: [", "planned: [sites, ") + ASKED)
    run(made, "plain")
    run(made, "sites", plan=str(made.folder / "sites.yaml"))
    return made


def test_a_report_has_sites_where_the_plan_asks_for_them_alone(made: MadeCohort) -> None:
    asked, plain = (read_json(made.folder / name / "statistics.json") for name in ("sites", "plain"))
    assert "sites" not in plain and set(asked["sites"]["columns"]) == {"cohort", "prep_site", "scan_site"}
    page = (made.folder / "plain" / "report.html").read_text()
    assert "By cohort and by site" not in page
    del asked["sites"], asked["calibration"], plain["calibration"]
    assert asked["primary"] == plain["primary"] and asked["populations"] == plain["populations"]
    history = read_json(made.folder / "plain" / "history.json")
    assert "sites" not in history["labels"]


def test_the_figures_by_site_are_in_tables_figures_and_words(made: MadeCohort) -> None:
    out = made.folder / "sites"
    found = read_json(out / "statistics.json")["sites"]["columns"]
    cohorts = found["cohort"]["measures"]
    assert [one["site"] for one in cohorts["hazard_ratio"]["sites"]] == ["trial 1", "trial 2"]
    statistics = read_json(out / "statistics.json")
    primary = statistics["primary"]  # the same comparison: two classes alone, stratified by cohort
    assert cohorts["hazard_ratio"]["one_stage"] == pytest.approx([primary["hr"], primary["lower"], primary["upper"]])
    assert sum(one["n"] for one in cohorts["hazard_ratio"]["sites"]) == primary["n"]
    assert sum(one["events"] for one in cohorts["hazard_ratio"]["sites"]) == primary["events"]
    risk = cohorts["observed_expected"]["sites"]
    assert risk[0]["note"] == "no row has a risk" and risk[1]["note"] == ""  # the model was fitted on trial 1
    assert len(found["prep_site"]["names"]) == 6
    page = (out / "report.html").read_text()
    for text in (
        "By cohort and by site",
        "one site only (scanning centre)",
        "a further site",
        "listed, not pooled",
        "Higgins",
    ):
        assert text in page, text
    for name in ("sites_prep_site", "shares_cohort", "shares_scan_site"):
        assert (out / "tables" / f"{name}.csv").is_file()
    assert (out / "figures" / "sites_prep_site_c.svg").is_file()
    assert read_json(out / "history.json")["labels"]["sites"] == "added after opening 1"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sites: [hospital]\n", "sites name a column that the cohort lacks: hospital"),
        ("sites: [patient_id]\n", "names no site"),
    ],
)
def test_columns_of_sites_are_checked_before_the_opening(made: MadeCohort, more: str, message: str) -> None:
    plan = made.folder / "wrong.yaml"
    plan.write_text((made.folder / "plan.yaml").read_text() + more)
    with pytest.raises(InputError, match=message):
        run(made, "wrong", plan=str(plan))
    assert not (made.folder / "wrong" / "openings.jsonl").exists()


def test_a_plan_that_plans_sites_names_them(tmp_path: Path, made: MadeCohort) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text((made.folder / "plan.yaml").read_text().replace("planned: [", "planned: [sites, "))
    with pytest.raises(InputError, match="planned: sites needs sites"):
        read_plan(plan)
