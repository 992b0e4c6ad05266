"""A validation of a bundle with a model over clinical covariates: reported beside the image alone, and locked."""

import html
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run as validate

from pathoprog.cohort_tables.cohort import read_outcomes
from pathoprog.ensemble.clinical import ClinicalCovariate, ClinicalModel, ClinicalTerm
from pathoprog.errors import InputError, LockError
from pathoprog.survival import cox
from pathoprog.survival.prediction.differences import concordance_difference
from pathoprog.system.files import read_json


def term(covariate: str, coef: float, mean: float, level: str = "", reference: str = "") -> ClinicalTerm:
    return ClinicalTerm(covariate=covariate, level=level, reference=reference, coef=coef, se=0.2, mean=mean)


MODEL = ClinicalModel(
    covariates=(
        ClinicalCovariate(name="age", kind="number", typical="69", levels=("40", "85")),
        ClinicalCovariate(name="pT", kind="category", typical="3", levels=("2", "3", "4")),
    ),
    terms=(
        term("one_number", 4.0, 0.0),
        term("age", 0.01, 69.0),
        term("pT", 0.3, 0.5, "3", "2"),
        term("pT", 0.6, 0.2, "4", "2"),
    ),
    missing="withhold",
    n=150,
    events=60,
    n_missing=8,
    strata=("north", "south"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    """Two external trials, validated with the clinical model planned."""
    made = make_cohort(tmp_path_factory.mktemp("clinical"), development=0, test=0, external=(180, 90), clinical=MODEL)
    plan = (made.folder / "plan.yaml").read_text()
    (made.folder / "plan.yaml").write_text(plan.replace("planned: [", "planned: [clinical_model, "))
    validate(made)
    return made


def joined(made: MadeCohort) -> pd.DataFrame:
    """Scored patients with outcomes and the columns of the cohort, by other means than the program's."""
    scores = pd.read_csv(made.folder / "scored/patients.csv", dtype={"patient_id": str}).query("status == 'scored'")
    cohort = pd.read_csv(made.folder / "cohort.csv", dtype=str, keep_default_na=False)
    both = scores.merge(cohort[["patient_id", "age", "pT"]], on="patient_id")
    return both.merge(read_outcomes(made.folder / "outcomes.csv"), on="patient_id")


def test_both_numbers_are_judged_in_the_same_patients(made: MadeCohort) -> None:
    found = read_json(made.folder / "validation" / "statistics.json")["clinical_model"]
    whole, both = joined(made), joined(made).dropna(subset=["clinical_number"])
    assert [one["population"] for one in found["external"]] == ["external", "external_trial 1", "external_trial 2"]
    pooled = found["external"][0]
    assert (pooled["n"], pooled["n_without"]) == (len(both), len(whole) - len(both)) and pooled["n_without"] > 5
    assert pooled["events"] == (both["event"] == 1).sum()
    wanted = concordance_difference(both["followup_days"], both["event"], both["one_number"], both["clinical_number"])
    for key in ("first", "second", "value", "lower", "upper", "p"):
        assert pooled["harrell"][key] == pytest.approx(getattr(wanted, key), abs=1e-9)
    image, clinical = pooled["scores"]
    assert (image["harrell"]["value"], clinical["harrell"]["value"]) == pytest.approx((wanted.first, wanted.second))
    assert clinical["sd"] == pytest.approx(both["clinical_number"].std(ddof=1), rel=1e-12)
    by_hand = cox(
        both.assign(event=(both["event"] == 1) * 1), "followup_days", "event", ["clinical_number"], strata="cohort"
    )
    coef = float(by_hand.terms["coef"].iloc[0])
    assert clinical["per_unit"]["coef"] == pytest.approx(coef, rel=1e-8)
    assert clinical["per_sd"]["hr"] == pytest.approx(math.exp(coef * clinical["sd"]), rel=1e-8)


def test_missing_and_strange_values_are_counted_by_cohort(made: MadeCohort) -> None:
    found = read_json(made.folder / "validation" / "statistics.json")["clinical_model"]["known"]
    whole = joined(made)
    for one in found:
        own = whole[whole["cohort"] == one["cohort"]]
        assert (one["n"], one["with_number"]) == (len(own), own["clinical_number"].notna().sum())
        age, stage = one["covariates"]
        outside = (own["age"].astype(float) < 40) | (own["age"].astype(float) > 85)
        assert age.get("outside tuning", 0) == outside.sum() and "missing" not in age
        assert stage["missing"] == (own["pT"] == "").sum() > 0 and stage["known"] == (own["pT"] != "").sum()


def page(made: MadeCohort, out: str = "validation") -> str:
    text = (made.folder / out / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"data:[^\"]*|<style.*?</style>|<[^>]+>", " ", text, flags=re.S)
    return " ".join(html.unescape(text).split())


def test_the_report_says_what_was_used_and_how(made: MadeCohort) -> None:
    said = page(made)
    assert "Clinical covariates age and pT, in a Cox model beside the classes, which they do not change" in said
    assert "The bundle holds a Cox model over the ensemble's one number, age and pT, fitted on 150 tuning" in said
    assert "Missing values were handled as locked (withhold)" in said and "no risk of death follows from it" in said
    assert "The slope of the clinical number is" in said and "the difference is" in said
    assert "the bundle's Cox model over its number and clinical covariates, beside the number alone" in said
    tables = made.folder / "validation" / "tables"
    terms = pd.read_csv(tables / "clinical_terms.csv")
    assert terms["coef"].tolist() == [4.0, 0.01, 0.3, 0.6]
    numbers = pd.read_csv(tables / "clinical_numbers.csv")
    assert len(numbers) == 6 and set(numbers["score"]) == {"one_number", "clinical_number"}
    assert (made.folder / "validation/figures/clinical_model.svg").is_file()
    assert "clinical_number" in (made.folder / "validation/frozen/patients.csv").read_text().split("\n")[0]


def test_a_number_that_does_not_follow_is_refused_before_the_opening(made: MadeCohort, tmp_path: Path) -> None:
    for name in ("patients.csv", "results.csv", "members.csv"):
        (tmp_path / name).write_text((made.folder / "scored" / name).read_text())
    given = {"scores": str(tmp_path / "patients.csv"), "results": str(tmp_path / "results.csv")}
    table = pd.read_csv(tmp_path / "patients.csv", dtype=str, keep_default_na=False)
    row = table.index[table["clinical_number"] != ""][3]
    for value in ("9.5", ""):
        table.assign(clinical_number=table["clinical_number"].where(table.index != row, value)).to_csv(
            tmp_path / "patients.csv", index=False
        )
        with pytest.raises(LockError, match=f"does not follow .* in line {row + 2}; score again"):
            validate(made, str(tmp_path / "out"), **given)
    for value in ("nan", "text", "inf"):
        table.assign(clinical_number=value).to_csv(tmp_path / "patients.csv", index=False)
        with pytest.raises(InputError, match="the clinical_number is no number in line 2, 3"):
            validate(made, str(tmp_path / "out"), **given)
    table.drop(columns="clinical_number").to_csv(tmp_path / "patients.csv", index=False)
    with pytest.raises(InputError, match="the column clinical_number is missing, though the bundle has a Cox model"):
        validate(made, str(tmp_path / "out"), **given)
    table.to_csv(tmp_path / "patients.csv", index=False)
    cohort = pd.read_csv(made.folder / "cohort.csv", dtype=str, keep_default_na=False)
    cohort.loc[cohort["patient_id"] == table["patient_id"][row], "age"] = "51.5"
    cohort.to_csv(tmp_path / "cohort.csv", index=False)
    with pytest.raises(LockError, match=f"in line {row + 2}"):
        validate(made, str(tmp_path / "out"), cohort=str(tmp_path / "cohort.csv"))
    assert not (tmp_path / "out" / "lock.json").exists()


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("age", "age is inside the bundle"),
        ("years_old", "years_old holds the same as age, which is inside the bundle"),
        ("t_stage", "t_stage holds the same as pT, which is inside the bundle"),
    ],
)
def test_added_value_over_what_is_inside_is_refused_by_name(made: MadeCohort, tmp_path: Path, over, said) -> None:
    cohort = pd.read_csv(made.folder / "cohort.csv", dtype=str, keep_default_na=False)
    cohort["years_old"], cohort["t_stage"] = cohort["age"] + "0", cohort["pT"].map(lambda t: f"T{t}" if t else "")
    cohort.to_csv(tmp_path / "cohort.csv", index=False)
    plan = (made.folder / "plan.yaml").read_text()
    (tmp_path / "plan.yaml").write_text(f"{plan}added_value: [sex, {over}]\n")
    with pytest.raises(InputError, match=said):
        validate(made, str(tmp_path / "out"), cohort=str(tmp_path / "cohort.csv"), plan=str(tmp_path / "plan.yaml"))
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_the_model_says_nothing_of_it_and_refuses_the_plan(tmp_path: Path) -> None:
    plain = make_cohort(tmp_path / "plain", development=0, test=0, external=(60,))
    plan = (plain.folder / "plan.yaml").read_text()
    (plain.folder / "planned.yaml").write_text(plan.replace("planned: [", "planned: [clinical_model, "))
    with pytest.raises(InputError, match="the bundle has no Cox model over clinical covariates"):
        validate(plain, plan=str(plain.folder / "planned.yaml"))
    validate(plain)
    assert read_json(plain.folder / "validation" / "statistics.json")["clinical_model"] == {}
    assert "clinical number" not in page(plain) and "clinical covariates" not in page(plain).lower()


def test_typical_values_give_everyone_a_number(tmp_path: Path) -> None:
    model = replace(MODEL, missing="typical")
    filled = make_cohort(tmp_path / "filled", development=0, test=0, external=(70,), clinical=model)
    validate(filled)
    (known,) = read_json(filled.folder / "validation" / "statistics.json")["clinical_model"]["known"]
    assert known["with_number"] == known["n"] and known["covariates"][1]["missing"] > 0
    assert np.isfinite(joined(filled)["clinical_number"]).all()
    assert "handled as locked (typical)" in page(filled)
