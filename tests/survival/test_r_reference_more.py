"""Every further figure of R: delayed entry, clusters, random effects over sites, added value, piecewise and ratio.

The figures and their models: shared/data/statistics/more/r_reference_more.json. Tolerances: STATISTICS.md; random
effects 1e-8. `pytest -s` prints each figure with its agreeing digits, and the worst.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from r_figures import Row, agreement, digits, figures, leaves
from shared_data import shared_data

from pathoprog.survival import cox, kaplan_meier
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.curves.risk_sets import number_at_risk
from pathoprog.survival.question import Question
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.over_time import piecewise_ratios
from pathoprog.survival.regression.treatment import effect_by_group
from pathoprog.survival.table import CODE, TIME

EXACT, COX, P, META = 1e-9, 1e-6, 1e-5, 1e-8


def table(name: str) -> pd.DataFrame:
    """A data set beside the figures."""
    return pd.read_csv(shared_data(f"statistics/more/{name}"))


def model(path: str, fit: CoxFit, r: dict[str, Any]) -> Iterator[Row]:
    """A Cox model's terms and likelihoods."""
    rows = {row["term"]: row for row in fit.terms.to_dict("records")}
    for k, (term, expected) in enumerate(r["terms"].items()):
        row = rows[term]
        ours = {
            "coef": row["coef"],
            "se": row["se"],
            "naive_se": fit.naive_se[k],
            "z": row["z"],
            "hr": row["hr"],
            "lower95": row["lower"],
            "upper95": row["upper"],
        }
        yield from figures(f"{path}/{term}", ours, {key: v for key, v in expected.items() if key != "p"}, COX)
        yield f"{path}/{term}/p", row["p"], expected["p"], P
    ours = {"n": fit.n, "events": fit.events, "loglik": [fit.loglik_null, fit.loglik]}
    yield from figures(path, ours, {key: r[key] for key in ours}, EXACT)


def kidney(path: str, r: dict[str, Any]) -> Iterator[Row]:
    yield from model(path, cox(table("kidney_clusters.csv"), "time", "status", ["age", "sex"], patient="id"), r)


def heart(path: str, r: dict[str, Any]) -> Iterator[Row]:
    data = table("heart_entry.csv")
    fit = cox(data, "stop", "event", ["age", "surgery", "transplant"], entry="start")
    yield from model(f"{path}/cox", fit, r["cox"])
    groups = {"all": (data, r["km"])}
    groups |= {level: (data[data["surgery"] == int(level)], one) for level, one in r["km_by_surgery"].items()}
    for level, (own, expected) in groups.items():
        read = kaplan_meier(own["stop"], own["event"], entry=own["start"]).at(expected["time"])
        at_risk = number_at_risk(own["stop"], own["event"], expected["time"], own["start"])
        ours = {
            "time": read.time,
            "surv": read.survival,
            "std_err": read.std_err,
            "lower": read.lower,
            "upper": read.upper,
            "n_risk": at_risk.n_risk,
        }
        yield from figures(f"{path}/km/{level}", ours, expected, EXACT)


def sites(path: str, r: dict[str, Any]) -> Iterator[Row]:
    """Random effects of each site's own log hazard ratio; sites without a finite one are not in it."""
    data = table("lung_sites.csv").rename(columns={"time": TIME, "status": CODE})
    asked = Question(frame=data, group="male", levels=("0", "1"), reference={"male": "0"}, sites=("inst",))
    found = ANALYSES["sites"].run(asked)["inst"].measures["hazard_ratio"]
    kept = [one for one in found.sites if one.pooled]
    ours = {
        "sites": [one.site for one in kept],
        "log_hr": [one.estimate for one in kept],
        "se": [one.se for one in kept],
        "n": [one.n for one in kept],
        "events": [one.events for one in kept],
    }
    expected = r["res"]
    yield from figures(path, ours, {key: expected[key] for key in ours}, COX)
    names = {"est": "estimate", "Qp": "q_p", "Q": "q", "I2": "i2", "pi_lower": "prediction_lower"}
    names["pi_upper"] = "prediction_upper"
    for key, pool in found.pools.items():
        theirs = expected[key.replace("knapp_hartung", "knha")]
        model = {name: getattr(pool.model, names.get(name, name)) for name in theirs}
        yield from figures(f"{path}/{key}", model, theirs, META)


def added(path: str, r: dict[str, Any]) -> Iterator[Row]:
    """What ph.ecog adds to age and sex: anova(), and concordance() of both fits."""
    data = table("lung_sites.csv").rename(columns={"time": TIME, "status": CODE})
    found = ANALYSES["added_value"].run(Question(frame=data, base=("age", "male"), added=("ph.ecog",)))
    c, test = found.harrell, found.likelihood_ratio
    ours = {"n": found.n, "events": found.events, "lr_df": test.df, "c_base": c.first, "c_full": c.second}
    ours |= {"delta_c": c.value, "se_delta": c.se, "lower": c.lower, "upper": c.upper, "lr_chisq": test.statistic}
    yield from figures(path, ours, {key: r[key] for key in ours}, EXACT)
    yield f"{path}/lr_p", test.p_value, r["lr_p"], P


def ratio(path: str, r: dict[str, Any]) -> Iterator[Row]:
    """Ratio of the hazard ratio of a year of age in men to that in women: male * age in R."""
    found = effect_by_group(table("lung_sites.csv"), "time", "status", "age", "male")
    row = found.ratios.iloc[0]
    yield from figures(path, row, {key: r[key] for key in ("ratio", "lower", "upper")}, COX)
    yield f"{path}/p", row["p"], r["p"], P


def piecewise(path: str, r: dict[str, Any]) -> Iterator[Row]:
    """The ratio of men to women in three pieces of the follow-up: survSplit()."""
    found = piecewise_ratios(table("lung_sites.csv"), "time", "status", "male", tuple(r["cuts"]))
    yield from figures(
        path, {"cuts": list(found.cuts), "loglik": found.loglik}, {k: r[k] for k in ("cuts", "loglik")}, EXACT
    )
    yield from figures(path, found.rows, {key: r[key] for key in ("coef", "se")}, COX)


COMPARISONS: dict[str, Callable[[str, dict[str, Any]], Iterator[Row]]] = {
    "meta_lung": sites,
    "added_lung": added,
    "ratio_lung": ratio,
    "piecewise_lung": piecewise,
    "cluster_kidney": kidney,
    "entry_heart": heart,
}


@pytest.mark.parametrize("name", list(COMPARISONS))
def test_figures_agree_with_r(name: str) -> None:
    reference = json.loads(shared_data("statistics/more/r_reference_more.json").read_text())[name]
    rows = list(COMPARISONS[name](name, reference))
    wrong, worst = [], 15.9
    for path, ours, theirs, tolerance in rows:
        gap = agreement(ours, theirs)
        line = f"{digits(gap):5.1f} digits  {path}: {ours} (R: {theirs})"
        worst = min(worst, digits(gap))
        print(line)
        if gap > max(tolerance, 1e-15):
            wrong.append(line)
    print(
        f"{name}: {len(rows)} figures of R, {len(rows) - len(wrong)} within tolerance, {worst:.1f} digits at the worst"
    )
    assert not wrong, "\n".join(wrong)
    counted = sum(1 for _ in leaves(reference))
    assert len(rows) == counted, f"{len(rows)} of R's {counted} figures compared"


def test_nothing_of_r_is_left_out() -> None:
    reference = json.loads(shared_data("statistics/more/r_reference_more.json").read_text())
    assert set(reference) == set(COMPARISONS) | {"source"}
