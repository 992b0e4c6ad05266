"""`pathoprog survival` from the command line: every part, odd names, odd data, clear errors."""

import json
from pathlib import Path

import made_survival as small
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from shared_data import shared_data
from survival_call import QUICK, analysed

from pathoprog.cli import main
from pathoprog.survival.prediction.horizon import values_by_curves
from pathoprog.text.numbers import format_percent


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    small.FRAME.to_csv(path, index=False)
    return path


def test_everything_for_a_table_with_competing_deaths(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = analysed(
        out,
        str(table),
        "time=time",
        "event=event",
        "group=group",
        "levels=b,a,c",
        "covariates=x",
        "subgroups=x",
        "score=x",
        "risks=risk,risk",
        "horizons=6,12",
        "pattern=group:a,x:0.5",
        "imputations=2",
        "bootstrap=20",
        "unit=years",
        "stamps=selected on outcome",
    )
    parts = {"kaplan_meier", "rmst", "tests", "horizon_values", "cox", "fine_gray", "predicted_survival", "concordance"}
    parts |= {"prediction", "subgroups", "imputation", "sample_size", "competing", "bootstrap", "followup"}
    assert parts <= set(found)
    assert found["followup"]["events"] == 10 and found["followup"]["competing"] == 6
    assert found["competing"]["gray"]["event"]["statistic"] == pytest.approx(small.GRAY[0])
    np.testing.assert_allclose(found["competing"]["by_group"]["a"]["event"]["value"], small.INCIDENCE["a"])
    for k, part in enumerate(found["prediction"]["by_horizon"]):
        assert part["auc"]["value"] == pytest.approx(small.AUC["competing"][k])
        assert part["brier"]["value"] == pytest.approx(small.BRIER["competing"][k])
        assert part["brier_of_no_model"] == pytest.approx(small.BRIER_NULL["competing"][k])
    assert [row["positive"] for row in found["horizon_values"][::2]] == [["c"], ["a", "c"]]
    assert found["cox"]["univariable group"]["terms"][0]["reference"] == "b"
    assert "For research use only" in found["research_use_only"]
    tables = {path.name for path in (out / "tables").iterdir()}
    assert {"kaplan_meier.csv", "at_risk.csv", "cumulative_incidence.csv", "hazard_ratios.csv"} <= tables
    figures = {path.name for path in (out / "figures").iterdir()}
    names = ["kaplan_meier", "cumulative_incidence", "hazard_ratios", "subgroups", "calibration_6", "decision_curve_12"]
    assert {f"{name}.{kind}" for name in names for kind in ("png", "svg")} <= figures
    with Image.open(out / "figures" / "kaplan_meier.png") as picture:
        assert picture.width > 1500


def test_the_same_call_gives_the_same_bytes(table: Path, tmp_path: Path) -> None:
    arguments = [str(table), "time=time", "event=event", "group=group", "bootstrap=20", "sample_size=false"]
    once, twice = tmp_path / "once", tmp_path / "twice"
    for out in (once, twice):
        analysed(out, *arguments)
    for path in sorted(once.rglob("*.*")):
        other = twice / path.relative_to(once)
        same = path.read_bytes() == other.read_bytes()
        assert same or path.name in ("statistics.json", "config.yaml"), path.name  # these say where to
    first, second = (json.loads((out / "statistics.json").read_text()) for out in (once, twice))
    for found in (first, second):
        del found["settings"]["out"]
    assert first == second


def test_agrees_with_r_on_colon(tmp_path: Path) -> None:
    path = shared_data("statistics/colon_recurrence.csv")
    r = json.loads(shared_data("statistics/r_reference.json").read_text())["colon_recurrence"]
    found = analysed(
        tmp_path, str(path), "time=time", "event=status", "group=rx", "levels=Obs,Lev,Lev+5FU", "strata=node4",
        "tau=1826.25",
        "horizons=365.25,1095.75,1826.25", "covariates=sex,age,node4,differ,extent,obstruct,adhere",
        "categorical=differ,extent", *QUICK,
    )  # fmt: skip
    for level, curve in r["by_rx"]["km"].items():
        ours = found["kaplan_meier"]["overall"] if level == "overall" else found["kaplan_meier"]["by_group"][level]
        assert ours["survival"] == pytest.approx(curve["surv"], rel=1e-9)
        assert ours["loglog"]["lower"] == pytest.approx(curve["loglog"]["lower"], rel=1e-9)
        assert ours["quantiles"]["estimate"] == curve["quantiles_loglog"]["est"]
    test = found["tests"]
    assert test["logrank"]["statistic"] == pytest.approx(r["by_rx"]["logrank"]["chisq"], rel=1e-9)
    assert test["trend"]["z"] == pytest.approx(r["by_rx"]["logrank"]["trend"]["z"], rel=1e-9)
    stratified = r["logrank_rx_stratified_by_node4"]["chisq"]
    assert test["stratified"]["logrank"]["statistic"] == pytest.approx(stratified, rel=1e-9)
    model, expected = found["cox"]["multivariable"], r["cox_multi"]
    assert [f"{term['term']}{term['level']}" for term in model["terms"]] == expected["terms"]
    assert [term["coef"] for term in model["terms"]] == pytest.approx(expected["coef"], rel=1e-6)
    assert model["concordance"]["harrell"]["se"] == pytest.approx(expected["concordance_harrell"]["se"], rel=1e-9)
    zph = [row["statistic"] for row in model["proportional_hazards"]["km"]["by_term"]]
    assert zph == pytest.approx(expected["zph"]["km_by_term"]["chisq"], rel=1e-8)
    assert model["n_missing"] == 23
    means = {level: mean["rmst"] for level, mean in r["by_rx"]["rmst_5y"].items() if level != "overall"}
    assert {level: mean["value"] for level, mean in found["rmst"]["by_group"].items()} == pytest.approx(means, rel=1e-9)


def test_names_with_every_kind_of_character(tmp_path: Path) -> None:
    names = {"time": "a, b", "event": "ev=(x)", "group": "grp:[1] $", "x": "Ålder #", "risk": "it's {p}"}
    path = tmp_path / "odd, name (1).csv"
    small.FRAME.rename(columns=names).to_csv(path, index=False)
    found = analysed(
        tmp_path / "out",
        str(path),
        "time=a, b",
        "event=ev=(x)",
        "group=grp:[1] $",
        "covariates=Ålder #,it's {p}",
        *QUICK,
    )
    terms = [term["term"] for term in found["cox"]["multivariable"]["terms"]]
    assert terms == ["grp:[1] $", "grp:[1] $", "Ålder #", "it's {p}"]


def change(name: str) -> pd.DataFrame:
    """The table with one oddity."""
    frame = small.FRAME.copy()
    if name == "no events":
        frame["event"] = 0
    elif name == "no events in the reference":
        frame.loc[frame["group"] == "a", "event"] = 0
    elif name == "one group":
        frame["group"] = "only"
    elif name == "a group of one":
        frame.loc[0, "group"] = "single"
    elif name == "one row":
        frame = frame.head(1)
    elif name == "three rows":
        frame = frame.iloc[2:5]
    elif name == "all times equal":
        frame["time"] = 3.0
    elif name == "all times zero":
        frame["time"] = 0.0
    elif name == "missing values":
        frame.loc[[0, 1], "time"] = np.nan
        frame.loc[2, "event"] = np.nan
        frame.loc[3, "group"] = None
        frame.loc[[4, 5], "x"] = np.nan
    elif name == "a covariate without values":
        frame["x"] = np.nan
    elif name == "a constant covariate":
        frame["x"] = 1.0
    elif name == "everyone dies":
        frame["event"] = 1
    elif name == "true and false":
        frame["event"] = frame["event"] == 1
    else:
        assert name == "numbers as groups"
        frame["group"] = np.where(frame["group"] == "a", 10.0, 9.0)
    return frame


ODD = ["no events", "no events in the reference", "one group", "a group of one", "one row"]
ODD += ["three rows", "all times equal", "all times zero", "missing values", "a covariate without values"]
ODD += ["a constant covariate", "everyone dies", "true and false", "numbers as groups"]
DRAWN = ("no events", "one row", "all times equal", "all times zero")


@pytest.mark.parametrize("name", ODD)
def test_odd_tables_get_an_answer(name: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    change(name).to_csv(path, index=False)
    arguments = [str(path), "time=time", "event=event", "group=group", "covariates=x", "horizons=3,8", "bootstrap=5"]
    found = analysed(tmp_path / "out", *arguments, "sample_size=false", "figures=false")
    if name == "missing values":
        assert found["table"]["left_out"] == {"time missing": 2, "event missing": 1}
        assert found["table"]["used"] == 21 and found["table"]["group_missing"] == 1
        assert found["cox"]["multivariable"]["n_missing"] == 3
    if name == "no events in the reference":
        notes = [term["note"] for term in found["cox"]["univariable group"]["terms"]]
        assert all("reference level 'a'" in note for note in notes)
    if name == "no events":
        assert "cox" not in found and any("no events" in note for note in found["notes"])
    if name == "numbers as groups":
        assert found["tests"]["logrank"]["levels"] == ["9", "10"]
    if name == "a constant covariate":
        assert "one level" in str(found["cox"]["univariable x"]) or found["cox"]["univariable x"]["terms"][0]["note"]


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_odd_tables_can_be_drawn(name: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    change(name).to_csv(path, index=False)
    analysed(tmp_path / "out", str(path), "time=time", "event=event", "group=group", "covariates=x", "bootstrap=0")
    assert (tmp_path / "out" / "figures" / "kaplan_meier.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["time=nothing", "event=event"], "no column 'nothing'"),
        (["time=time"], "event is missing"),
        (["time=time", "event=event", "group=group", "reference=z"], "no such level"),
        (["time=time", "event=event", "reference=a"], "give group=COLUMN"),
        (["time=time", "event=event", "covariates=x,nothing"], "no column 'nothing'"),
        (["time=time", "event=event", "horizons=soon"], "not all are numbers"),
        (["time=time", "event=event", "risks=risk,risk", "horizons=6"], "2 columns for 1 horizons"),
        (["time=time", "event=group"], "have no meaning"),
        (["time=group", "event=event"], "are no numbers"),
        (["time=x", "event=event"], "are negative"),
        (["time=time", "event=time"], "one column"),
        (["time=time", "event=event", "group=group", "levels=a,b"], "not listed"),
        (["time=time", "event=event", "group=group", "positive=z"], "no level 'z'"),
        (["time=time", "event=event", "covariates=x", "references=y:1"], "COLUMN:VALUE"),
        (["time=time", "event=event", "event_is=1", "censored_is=1"], "two meanings"),
    ],
)
def test_errors_name_what_and_where(
    arguments: list[str], words: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["survival", str(table), *arguments, f"out={tmp_path / 'out'}"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_codes_1_and_2_alone_are_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lung.csv"
    frame = small.SINGLE.assign(event=small.SINGLE["event"] + 1)
    frame.to_csv(path, index=False)
    call = [str(path), "time=time", "event=event", *QUICK]
    assert main(["survival", *call, f"out={tmp_path / 'out'}"]) == 2
    assert "event_is=2 censored_is=1" in capsys.readouterr().err
    found = analysed(tmp_path / "out", *call, "event_is=2", "censored_is=1")
    assert found["followup"]["events"] == 10 and found["followup"]["competing"] == 0


@pytest.mark.parametrize("kind", ["semicolon", "tab", "xlsx", "parquet"])
def test_other_formats(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"table.{ {'semicolon': 'csv', 'tab': 'tsv'}.get(kind, kind) }"
    if kind in ("semicolon", "tab"):
        small.FRAME.to_csv(path, index=False, sep={"semicolon": ";", "tab": "\t"}[kind])
    elif kind == "xlsx":
        small.FRAME.to_excel(path, index=False)
    else:
        small.FRAME.to_parquet(path)
    found = analysed(tmp_path / "out", str(path), "time=time", "event=event", "group=group", *QUICK)
    assert found["tests"]["logrank"]["n"] == [8, 8, 8]


def test_classes_stand_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    small.FRAME.assign(group=small.FRAME["group"].map({"a": "poor", "b": "good", "c": "uncertain"})).to_csv(
        path, index=False
    )
    found = analysed(tmp_path / "out", str(path), "time=time", "event=event", "group=group", "reference=good", *QUICK)
    assert found["tests"]["logrank"]["levels"] == ["good", "uncertain", "poor"]
    assert [row["positive"] for row in found["horizon_values"]] == [["poor"], ["uncertain", "poor"]]


def test_a_level_that_no_row_has_is_named(table: Path, tmp_path: Path) -> None:
    """It may be rightly absent, or misspelt; a level of the table that is not listed is refused."""
    call = [str(table), "time=time", "event=event", "group=group", *QUICK]
    found = analysed(tmp_path / "out", *call, "levels=a,b,c,never")
    assert any("no usable row has 'never', which levels=… lists" in note for note in found["notes"])
    assert found["tests"]["logrank"]["levels"] == ["a", "b", "c"]
    assert main(["survival", *call, "levels=a,b", f"out={tmp_path / 'refused'}"]) == 2


def test_risks_belong_to_their_horizons_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    late = np.clip(small.array(small.RISK) * 1.5, 0, 1)
    small.FRAME.assign(late=late).to_csv(path, index=False)
    call = [str(path), "time=time", "event=event", *QUICK]
    one = analysed(tmp_path / "one", *call, "horizons=6,12", "risks=risk,late")["prediction"]["by_horizon"]
    other = analysed(tmp_path / "other", *call, "horizons=12,6", "risks=late,risk")["prediction"]["by_horizon"]
    assert one == other and [part["column"] for part in one] == ["risk", "late"]
    assert one[0]["brier"]["value"] == pytest.approx(small.BRIER["competing"][0])


def test_nothing_is_given_after_the_last_follow_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.csv"
    small.FRAME.to_csv(path, index=False)
    found = analysed(
        tmp_path / "out", str(path), "time=time", "event=event", "group=group", "levels=a,b,c", "horizons=6,30",
        "risks=risk,risk", "score=x", "covariates=x", "pattern=group:a,x:1", *QUICK,
    )  # fmt: skip
    late = found["prediction"]["by_horizon"][1]
    assert late["note"].startswith("not estimable: the last follow-up ends at 20")
    names = (
        "auc",
        "brier",
        "brier_of_no_model",
        "brier_of_no_model_se",
        "scaled_brier",
        "calibration",
        "calibration_curve",
        "decision_curve",
    )
    assert all(late[name] is None for name in names)
    assert found["prediction"]["score_auc"][1]["value"] is None
    assert found["predicted_survival"]["survival"][1] is None and "not estimable" in found["predicted_survival"]["note"]
    values = [row for row in found["horizon_values"] if row["horizon"] == 30]
    assert values and all(row["kaplan_meier"]["sensitivity"]["value"] is None for row in values)
    assert all(row["inverse_weights"]["ppv"] is None for row in values)
    assert "c at 30: not estimable: after the last follow-up" in capsys.readouterr().out


def test_a_model_of_its_own_says_nothing_after_the_last_follow_up(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    small.SINGLE.to_csv(path, index=False)
    found = analysed(tmp_path / "out", str(path), "time=time", "event=event", "covariates=x", "horizons=30", *QUICK)
    assert found["prediction"]["by_horizon"][0]["brier"] is None
    assert found["prediction"]["integrated_brier"]["value"] is None


@pytest.mark.parametrize(("frame", "primary"), [(small.FRAME, "aalen_johansen"), (small.SINGLE, "kaplan_meier")])
def test_values_at_a_horizon_lead_with_the_primary_estimator(
    frame: pd.DataFrame, primary: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False)
    call = [str(path), "time=time", "event=event", "group=group", "levels=a,b,c", "horizons=12", "positive=c", *QUICK]
    found = analysed(tmp_path / "out", *call)
    (row,) = found["horizon_values"]
    assert row["primary"] == primary
    competing = primary == "aalen_johansen"
    by_hand = values_by_curves(frame["time"], frame["event"], frame["group"] == "c", 12, competing=competing)
    said = f"PPV {format_percent(by_hand.ppv.value)}, NPV {format_percent(by_hand.npv.value)}"
    assert f"{said} ({'Aalen-Johansen' if competing else 'Kaplan-Meier'})" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "tables" / "horizon_values.csv")
    assert table["estimator"][0] == primary and table["primary"].tolist() == [True, *[False] * (len(table) - 1)]
    resampled = found["bootstrap"]["values"]
    assert resampled[f"ppv c 12 {primary}"]["value"] == pytest.approx(by_hand.ppv.value, rel=1e-12)
    assert ("ppv c 12 inverse_weights_competing" in resampled) is competing


def test_names_get_no_direction(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    small.FRAME.to_csv(path, index=False)
    call = [str(path), "time=time", "event=event", "group=group", "bootstrap=10", "figures=false"]
    found = analysed(tmp_path / "out", *call)
    assert "trend" not in found["tests"] and "group" not in found["concordance"] and found["horizon_values"] == []
    assert not any(name == "c" or "ppv" in name for name in found["bootstrap"]["values"])
    assert "levels=" in found["sample_size"]["note"] and any("is worse" in note for note in found["notes"])
    found = analysed(tmp_path / "ordered", *call, "levels=a,b,c")
    assert "trend" in found["tests"] and found["concordance"]["group"]["order"] == ["a", "b", "c"]
    found = analysed(tmp_path / "positive", *call, "positive=c")  # the user says which is worse
    assert [row["positive"] for row in found["horizon_values"]] == [["c"]]


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["III", "I", "II"], ["I", "II", "III"]),
        (["pT4a", "pT2", "pT3"], ["pT2", "pT3", "pT4a"]),
        (["High", "low", "Intermediate"], ["low", "Intermediate", "High"]),
        (["10", "9", "8"], ["8", "9", "10"]),
    ],
)
def test_known_orders(labels: list[str], order: list[str], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    small.FRAME.assign(group=small.FRAME["group"].map(dict(zip("abc", labels, strict=True)))).to_csv(path, index=False)
    found = analysed(tmp_path / "out", str(path), "time=time", "event=event", "group=group", *QUICK)
    assert found["tests"]["logrank"]["levels"] == order and "trend" in found["tests"]


def test_sample_size_never_turns_c_around(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    small.FRAME.assign(wrong=-small.FRAME["x"]).to_csv(path, index=False)
    call = [str(path), "time=time", "event=event", "group=group", "levels=b,a,c", "bootstrap=0", "figures=false"]
    wrong = analysed(tmp_path / "wrong", *call, "score=wrong")["sample_size"]
    assert "below 0.5" in wrong["note"] and "rows" not in wrong
    right = analysed(tmp_path / "right", *call, "score=x")["sample_size"]
    assert "observed in this table, not as planned" in right["assumption"] and right["rows"]


def test_a_pattern_that_is_no_number_is_said(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    small.FRAME.to_csv(path, index=False)
    found = analysed(tmp_path / "o", str(path), "time=time", "event=event", "covariates=x", "pattern=x:old", *QUICK)
    assert found["predicted_survival"]["note"] == "x='old': the pattern needs a number here"
