"""The fit of the model over clinical covariates: its hazard ratios are Cox's, and what cannot be fitted says why."""

import math

import numpy as np
import pandas as pd
import pytest

from pathoprog.ensemble.clinical import clinical_number
from pathoprog.errors import InputError
from pathoprog.survival import cox
from pathoprog.training.lock.covariates import fit_clinical

N = 300


def table():
    """Patients whose hazard is exp(3 number + 0.05 (age - 65) + 0.8 [pT4])."""
    rng = np.random.default_rng(3)
    number, age, stage = rng.uniform(-0.4, 0.4, N), rng.normal(65, 8, N).round(), rng.choice(["pT3", "pT4"], N)
    hazard = np.exp(3 * number + 0.05 * (age - 65) + 0.8 * (stage == "pT4"))
    time = rng.exponential(900 / hazard) + 1
    return pd.DataFrame(
        {
            "one_number": number,
            "followup_days": np.minimum(time, 2000),
            "event": (time < 2000).astype(int),
            "cohort": rng.choice(["north", "south"], N),
            "age": age,
            "pT": stage,
            "sex": rng.choice(["F", "M"], N),
            "same": "one",
        }
    )


def test_the_terms_are_those_of_the_cox_model():
    patients = table()
    patients.loc[:4, "pT"] = ""
    patients.loc[5:6, "age"] = np.nan
    model = fit_clinical(patients, ["age", "pT", "age"], "withhold")
    whole = patients.drop(index=range(7))
    wanted = cox(whole, "followup_days", "event", ["one_number", "age", "pT"], strata="cohort").terms
    assert [term.coef for term in model.terms] == pytest.approx(list(wanted["coef"]), abs=1e-12)
    assert [term.se for term in model.terms] == pytest.approx(list(wanted["se"]), abs=1e-12)
    assert (model.n, model.n_missing, model.strata) == (N - 7, 7, ("north", "south"))
    assert model.terms[0].coef == pytest.approx(3, abs=1.0) and model.terms[2].level == "pT4"
    age, stage = model.covariates
    assert (age.kind, age.typical) == ("number", f"{whole['age'].median():g}")
    assert (stage.kind, stage.levels, stage.typical) == ("category", ("pT3", "pT4"), whole["pT"].mode()[0])
    rows = whole[["one_number", "age", "pT"]].to_dict("records")
    numbers = [clinical_number(model, row["one_number"], row).value for row in rows]
    assert np.mean(numbers) == pytest.approx(0, abs=1e-9), "against the mean of the patients in the fit"
    assert math.isclose(numbers[1] - numbers[0], sum(
        term.coef * ((rows[1][term.covariate] == term.level) * 1.0 - (rows[0][term.covariate] == term.level) * 1.0)
        if term.level
        else term.coef * (rows[1][term.covariate] - rows[0][term.covariate])
        for term in model.terms
    ), abs_tol=1e-9)  # fmt: skip


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["stage"], "the cohort has no column stage; there are age, pT, sex, same"),
        (["risk_class"], "risk_class is an id, an outcome or a score"),
        (["cohort"], "cohort is an id, an outcome or a score"),
        (["same"], "one level only"),
    ],
)
def test_covariates_that_are_none_say_so(names, said):
    with pytest.raises(InputError, match=said):
        fit_clinical(table(), names, "withhold")


def test_too_few_events_and_terms_without_a_maximum_are_refused():
    few = table()
    few.loc[12:, "event"] = 0
    with pytest.raises(InputError, match=r"are too few for 4 terms \(5 a term\)"):
        fit_clinical(few, ["age", "pT", "sex"], "withhold")
    apart = table()
    apart["sex"] = np.where(apart["event"] == 1, "F", "M")
    with pytest.raises(InputError, match="sex=M cannot be estimated"):
        fit_clinical(apart, ["sex"], "withhold")


@pytest.mark.parametrize(
    ("change", "names", "said"),
    [
        ({"age2": lambda t: 2 * t["age"] + 1}, ["age", "age2"], "age2 cannot be estimated .*determined by the other"),
        ({"pt2": lambda t: t["pT"].str[1:]}, ["pT", "pt2"], "pt2=T4 cannot be estimated"),
        ({"k": 65.0}, ["k"], "k cannot be estimated .*one value only"),
        ({"one_number": 0.2}, ["age"], "one_number cannot be estimated .*one value only"),
        ({"age": lambda t: ["old", *t["age"].astype(str)[1:]]}, ["age"], "age: 'old' is no number among 299 numbers"),
        ({"d": "2020-01-31"}, ["d"], "d: holds dates"),
        ({"m": ""}, ["m"], r"0 tuning patients with all covariates \(300 lack one\)"),
        ({"scanner": "AT2"}, ["scanner"], "scanner belongs to a slide"),
        ({"event": 0}, ["age"], "0 events in the 300 tuning patients .*too few"),
    ],
)
def test_what_a_hostile_table_holds_is_refused_by_name(change, names, said):
    with pytest.raises(InputError, match=f"covariates: .*{said}"):
        fit_clinical(table().assign(**change), names, "withhold")


def test_decimal_commas_are_numbers_and_ends_lose_no_digit():
    commas = table().assign(cea=lambda t: [f"{age / 7:.6f}".replace(".", ",") for age in t["age"]])
    model = fit_clinical(commas, ["cea"], "typical")
    (cea,) = model.covariates
    numbers = [float(text.replace(",", ".")) for text in commas["cea"]]
    assert cea.kind == "number" and [float(end) for end in cea.levels] == [min(numbers), max(numbers)]
