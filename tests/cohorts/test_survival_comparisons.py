"""`pathoprog survival` with rows observed otherwise, and its comparisons: sites, added value, treatment, time."""

from pathlib import Path

import made_survival as small
import numpy as np
import pandas as pd
import pytest
from survival_call import QUICK, analysed

from pathoprog.cli import main
from pathoprog.report.treatment import points


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    small.FRAME.to_csv(path, index=False)
    return path


def observed(folder: Path) -> Path:
    """A table with late entries, weights and several rows of a patient."""
    path = folder / "observed.csv"
    frame = small.FRAME.assign(
        event=(small.FRAME["event"] == 1).astype(int),
        entry=[0, 0, 1, 1, 0, 2, 3, 1, 0, 2, 0, 0, 4, 0, 2, 9, 12, 0, 3, 15, 1, 0, 5, np.nan],
        weight=[1, 2, 1.5] * 8,
        subject=[k // 2 for k in range(24)],
    )
    frame.to_csv(path, index=False)
    return path


def test_delayed_entry_weights_and_rows_of_a_patient_are_counted_or_refused_by_name(tmp_path: Path) -> None:
    given = [str(observed(tmp_path)), "time=time", "event=event", "group=group", "levels=b,a,c", "covariates=x"]
    given += ["score=x", "bootstrap=20", "unit=years"]
    found = analysed(tmp_path / "entry", *given, "entry=entry", "weight=weight", "patient=subject")
    assert found["table"]["left_out"] == {"entry missing": 1, "entry at or after the end of follow-up": 2}
    assert found["table"]["used"] == 21
    model = found["cox"]["multivariable"]
    assert model["robust"]["patients"] == found["kaplan_meier"]["overall"]["patients"] == 12
    assert [term["se"] for term in model["terms"]] != model["robust"]["naive_se"]
    assert model["likelihood_ratio"]["p_value"] is None and found["tests"]["logrank"]["robust"] is True
    assert "takes no delayed entry" in found["concordance"]["x"]["uno"]["note"]
    early = found["kaplan_meier"]["overall"]["early_risk_sets"]
    assert early["times"] > 0 and any(note.startswith("all: delayed entry") for note in found["notes"])
    for name in ("prediction", "horizon_values", "rmst", "sample_size", "bootstrap", "predicted_survival", "followup"):
        assert found["refused"][name].startswith(f"{name} takes no ")
        assert name == "followup" or name not in found
    assert found["followup"]["events"] > 0 and "takes no several rows" in found["followup"]["note"]
    plain = analysed(tmp_path / "plain", *given, *QUICK[1:])
    assert "refused" not in plain and "robust" not in plain["cox"]["multivariable"]
    assert "robust" not in plain["tests"]["logrank"]
    alone = analysed(tmp_path / "alone", *given, *QUICK, "patient=risk")  # every patient once: nothing to sum
    assert alone["cox"]["multivariable"]["terms"] == plain["cox"]["multivariable"]["terms"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("entry=group", "holds no numbers"),
        ("weight=x", "negative or infinite, first -0.5"),
        ("entry=risk", "also covariates"),
    ],
)
def test_columns_of_observation_must_make_sense(
    setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(observed(tmp_path)), "time=time", "event=event", "covariates=risk", f"out={tmp_path / 'out'}"]
    assert main(["survival", *given, setting]) == 2
    assert message in capsys.readouterr().err


def test_sites_added_value_and_treatment_are_written_where_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    n = 200
    group, site = rng.choice(["good", "poor"], n), rng.choice(["A", "B", "C"], n)
    time = rng.exponential(np.where(group == "poor", 4, 9)).round(2) + 0.01
    frame = pd.DataFrame(
        {"t": time.clip(max=8), "e": (time < 8).astype(int), "g": group, "site": site, "age": rng.normal(60, 9, n)}
    ).assign(drug=rng.choice(["yes", "no"], n))
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False)
    given = [str(path), "time=t", "event=e", "group=g", "covariates=age", "horizons=5", "bootstrap=5"]
    given += ["sample_size=false"]
    asked = ["sites=site", "added=g", "treatment=drug", "randomised=no", "cuts=2", "landmarks=1,50"]
    found = analysed(tmp_path / "asked", *given, *asked)
    assert set(found["sites"]["site"]["measures"]) == {"hazard_ratio", "c", "share"}
    assert found["added_value"]["added"] == ["g"] and found["added_value"]["base"] == ["age"]
    assert found["treatment"]["treated"] == "yes" and found["treatment"]["word"] == "association"
    over_time = found["time_effects"]
    assert len(over_time["piecewise"]["rows"]) == 2 and over_time["rmst_adjusted"]["adjusted_for"] == ["age"]
    assert over_time["landmarks"][1]["note"] == "nobody was followed so long"
    names = {path.name for path in (tmp_path / "asked").rglob("*.*")}
    assert {
        "time_effects.csv",
        "sites.csv",
        "treatment.csv",
        "sites_1_c.svg",
        "added_value_5.svg",
        "treatment.svg",
    } <= names
    plain = analysed(tmp_path / "plain", *given)
    assert not {"sites", "added_value", "treatment", "time_effects", "refused"} & set(plain)


def test_what_a_treatment_avoids_leads_where_deaths_compete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = small.FRAME.assign(drug=["yes", "no"] * 12)
    path = tmp_path / "table.csv"
    given = [str(path), "time=time", "event=event", "group=arm", "horizons=8", "treatment=drug", "randomised=yes"]
    kinds = {}
    for name, event in (("competing", frame["event"]), ("single", frame["event"] % 2)):
        frame.assign(event=event, arm=["a", "a", "b", "b"] * 6).to_csv(path, index=False)
        found = analysed(tmp_path / name, *given, *QUICK)["treatment"]["benefits"][0]
        said = capsys.readouterr().out
        assert ("events avoided" in said) is (name == "competing") and "net survival" in said
        if name == "competing":
            avoided = f"effect at 8 in a: events avoided {points(found['incidence'])} points (Aalen-Johansen), net "
            assert avoided in said
        table = pd.read_csv(tmp_path / name / "tables" / "treatment.csv")
        kinds[name] = table.loc[table["horizon"].notna() & (table["group"] == "a"), "row"].tolist()
    assert kinds["competing"][0] == "cumulative incidence avoided" and kinds["single"][0] == "net survival gained"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["treatment=group"], "say randomised=yes or randomised=no"),
        (["treatment=group", "randomised=yes"], "must have two values, not 3"),
        (["randomised=yes"], "belong to a treatment"),
        (["added=x"], "what do they add to?"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(
    settings: list[str], message: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(table), "time=time", "event=event", "group=group", f"out={tmp_path / 'out'}"]
    assert main(["survival", *given, *settings]) == 2
    assert message in capsys.readouterr().err
