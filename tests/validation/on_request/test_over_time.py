"""Proportional hazards of the primary contrast stand in every report; pieces and landmarks where the plan asks."""

import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run

from pathoprog.errors import InputError
from pathoprog.report.validation.on_request.over_time import proportional_text
from pathoprog.system.files import read_json
from pathoprog.validation.plan import read_plan

CUTS = "cuts_years: [2]\nlandmarks_years: [1, 3, 30]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    return make_cohort(tmp_path_factory.mktemp("made") / "cohort", development=0, test=0, external=(220, 120))


def test_every_report_tests_proportional_hazards_and_has_the_fallback(made: MadeCohort) -> None:
    run(made, "plain")
    found = read_json(made.folder / "plain" / "statistics.json")
    primary = found["primary"]
    assert 0 <= primary["proportional_hazards"]["p"] <= 1 and primary["proportional_hazards"]["df"] == 1
    assert primary["rmst"]["upper"] < 0 and primary["rmst_adjusted"]["adjusted_for"] == ["age", "sex", "pT", "pN"]
    page = (made.folder / "plain" / "report.html").read_text()
    assert "Test of proportional hazards of poor against good" in page and "Restricted mean net survival to 3" in page
    assert "Hazard ratios over time" not in page and "time_effects" not in found


def test_pieces_and_landmarks_where_the_plan_asks(made: MadeCohort) -> None:
    plan = made.folder / "cuts.yaml"
    text = (made.folder / "plan.yaml").read_text().replace("planned: [", "planned: [time_effects, ")
    plan.write_text(text + CUTS)
    run(made, "cuts", plan=str(plan))
    out = made.folder / "cuts"
    found = read_json(out / "statistics.json")["time_effects"]
    assert [row["piece"] for row in found["piecewise"]["rows"]] == [1, 1, 2, 2]
    assert [one["time"] for one in found["landmarks"]] == [1, 3, 30]
    page = (out / "report.html").read_text()
    for words in ("Hazard ratios over time", "from 2 years on", "From 30 years on: nobody was followed so long"):
        assert words in page, words
    assert (out / "tables" / "time_effects.csv").is_file() and (out / "figures" / "time_effects.svg").is_file()


def test_a_crossed_test_turns_to_the_fallback() -> None:
    primary = {
        "worse": "poor", "better": "good",
        "proportional_hazards": {"p": 0.01, "note": ""},
        "rmst": {"difference": -0.4, "lower": -0.6, "upper": -0.2, "p": 0.001, "tau_years": 3.0, "note": ""},
        "rmst_adjusted": None,
    }  # fmt: skip
    text = proportional_text(primary)
    assert "average over time" in text and "planned fallback" in text and "−0.40 (−0.60 to −0.20) years" in text
    calm = proportional_text({**primary, "proportional_hazards": {"p": 0.4, "note": ""}})
    assert "average over time" not in calm and "with few events" in calm
    none = {**primary, "proportional_hazards": {"p": 1, "note": "no events"}, "rmst": {"note": "nobody"}}
    assert "could not be tested: no events" in proportional_text(none)


def test_years_of_cuts_must_be_years(made: MadeCohort) -> None:
    plan = made.folder / "wrong.yaml"
    plan.write_text((made.folder / "plan.yaml").read_text() + "cuts_years: [0]\n")
    with pytest.raises(InputError, match="cuts_years=0 must be years above 0"):
        read_plan(plan)
