"""Figures by site: each as the site alone gives it, those without a finite one listed, one site only said plainly."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from pathoprog.survival import cox, harrell_c
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.prediction.calibration import calibration
from pathoprog.survival.question import NotEstimated, PredictedRisk, Question, Score
from pathoprog.survival.sites.by_site import BySite
from pathoprog.survival.sites.random_effects import random_effects
from pathoprog.survival.table import CODE, TIME


def made(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    label = rng.choice(["good", "uncertain", "poor"], n, p=[0.6, 0.15, 0.25])
    hazard = 0.1 * np.where(label == "poor", 3.0, np.where(label == "uncertain", 1.7, 1.0))
    death, lost = rng.exponential(1 / hazard), rng.uniform(1, 9, n)
    site = rng.choice(["A", "B", "C", "D"], n).astype(object)
    site[:3], label[:3] = "tiny", "good"
    return pd.DataFrame(
        {
            TIME: np.minimum(death, lost),
            CODE: (death <= lost).astype(int),
            "class": label,
            "site": np.where(rng.random(n) < 0.02, "", site),
            "all": "one",
            "score": hazard + rng.normal(0, 0.1, n),
        }
    )


DATA = made()
RISK = 1 - np.exp(-3 * 0.1 * np.where(DATA["class"] == "poor", 3.0, 1.2))
ASKED = Question(
    frame=DATA,
    group="class",
    levels=("good", "uncertain", "poor"),
    ordered=True,
    reference={"class": "good"},
    scores=(Score("score", "c_index", DATA["score"].to_numpy()),),
    risks=(PredictedRisk(3.0, np.ones(len(DATA), dtype=bool), RISK, False),),
    sites=("site", "all"),
)


def found() -> BySite:
    one = ANALYSES["sites"].run(ASKED)["site"]
    assert isinstance(one, BySite)
    return one


def test_each_site_is_what_the_site_alone_gives() -> None:
    by = found()
    assert by.names == ("A", "B", "C", "D", "tiny") and by.n_missing == int((DATA["site"] == "").sum())
    mine = DATA[DATA["site"] == "A"]
    ratio = by.measures["hazard_ratio"].sites[0]
    term = cox(mine, TIME, CODE, ["class"], {"class": "good"}).terms.iloc[0]
    assert term["level"] == "poor"
    assert (ratio.estimate, ratio.se, ratio.n) == (term["coef"], term["se"], len(mine))
    assert (ratio.value, ratio.lower, ratio.upper) == pytest.approx((term["hr"], term["lower"], term["upper"]))
    c, here = by.measures["c"].sites[0], harrell_c(mine[TIME], mine[CODE], mine["score"])
    assert expit(c.estimate) == pytest.approx(here.value) == c.value
    assert c.se == pytest.approx(here.se / (here.value * (1 - here.value)))
    risk = RISK[(DATA["site"] == "A").to_numpy()]
    right = calibration(mine[TIME], mine[CODE], risk, 3.0, n_groups=2)
    ratio, slope = by.measures["observed_expected"].sites[0], by.measures["calibration_slope"].sites[0]
    assert (ratio.value, slope.value, slope.se) == pytest.approx((right.ratio.value, right.slope.value, right.slope.se))
    share = by.measures["share"].sites[0]
    assert share.value == pytest.approx(float((mine["class"] == "poor").mean()))
    assert by.shares.loc[0, "share poor"] == pytest.approx(share.value)
    assert by.shares_test.df == 8


def test_a_site_without_a_finite_estimate_is_listed_and_not_pooled() -> None:
    for name in ("hazard_ratio", "share"):
        one = found().measures[name]
        assert one.note == "listed, not pooled: tiny" and one.sites[-1].note and np.isnan(one.sites[-1].value)
        kept = [site for site in one.sites if site.pooled]
        pool = random_effects([site.estimate for site in kept], [site.se for site in kept])
        assert one.pools["REML_knapp_hartung"].model == pool and pool.k == 4
        assert set(one.pools) == {"REML_knapp_hartung", "REML_z", "DL_knapp_hartung", "DL_z"}
        assert list(one.without) == ["A", "B", "C", "D"]


def test_the_pool_stands_on_the_figures_own_scale_beside_the_one_stage_model() -> None:
    by = found()
    ratio, c = by.measures["hazard_ratio"], by.measures["c"]
    pool = ratio.pools["REML_knapp_hartung"]
    assert pool.value == pytest.approx(np.exp(pool.model.estimate))
    assert c.pools["DL_z"].upper == pytest.approx(expit(c.pools["DL_z"].model.upper))
    known = DATA[DATA["site"] != ""]
    stage = cox(known, TIME, CODE, ["class"], {"class": "good"}, "site").terms.iloc[0]
    assert ratio.one_stage == pytest.approx((stage["hr"], stage["lower"], stage["upper"]))
    whole = harrell_c(known[TIME], known[CODE], known["score"], strata=known["site"])
    assert c.one_stage is not None and c.one_stage[0] == pytest.approx(whole.value)
    assert logit(c.one_stage[2]) - logit(c.one_stage[0]) == pytest.approx(
        1.959964 * whole.se / (whole.value * (1 - whole.value)), rel=1e-5
    )


def test_one_site_only_is_said_plainly() -> None:
    one = ANALYSES["sites"].run(ASKED)["all"]
    assert one.note == "all: one site only (one): nothing can be said of how figures vary between sites"
    assert not any(measure.pools for measure in one.measures.values())
    assert one.measures["c"].note == "one site only has a finite estimate: nothing to pool"


def test_what_there_is_not_says_why() -> None:
    run: Any = ANALYSES["sites"].run
    missing = run(replace(ASKED, sites=("nowhere",)))["nowhere"]
    assert missing == NotEstimated("no column 'nowhere'")
    late = run(replace(ASKED, frame=DATA.assign(entry=DATA[TIME] / 2), entry="entry"))["site"]
    assert late.refused == ("calibration by site takes no delayed entry (entry=entry)",)
    assert late.measures["hazard_ratio"].sites[0].estimate != found().measures["hazard_ratio"].sites[0].estimate
    assert "no column of sites" in ANALYSES["sites"].tried(replace(ASKED, sites=())).note


def test_the_contrast_asked_for_is_the_one_shown() -> None:
    other = ANALYSES["sites"].run(replace(ASKED, contrast=("uncertain", "good")))["site"].measures
    assert (
        other["hazard_ratio"].what == "hazard ratio, uncertain vs good" and other["share"].what == "share of uncertain"
    )


def test_a_contrast_asked_for_is_of_its_two_levels_alone_everywhere() -> None:
    ratio = ANALYSES["sites"].run(replace(ASKED, contrast=("poor", "good")))["site"].measures["hazard_ratio"]
    two = DATA[DATA["class"].isin(("poor", "good")) & (DATA["site"] != "")]
    for site in ratio.sites:
        mine = two[two["site"] == site.site]
        assert (site.n, site.events) == (len(mine), int((mine[CODE] == 1).sum()))
        if site.pooled:
            term = cox(mine, TIME, CODE, ["class"], {"class": "good"}).terms.iloc[0]
            assert (site.estimate, site.se) == pytest.approx((term["coef"], term["se"]), rel=1e-9)
    stage = cox(two, TIME, CODE, ["class"], {"class": "good"}, "site").terms.iloc[0]
    assert ratio.one_stage == pytest.approx((stage["hr"], stage["lower"], stage["upper"]))
    whole = found().measures["hazard_ratio"]
    assert whole.what == "hazard ratio, poor vs good in a model of all groups" and whole.one_stage != ratio.one_stage
