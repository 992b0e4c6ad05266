"""Do the further 95% intervals cover the truth? Delayed entry, clusters, weights, sites, added value, treatment, time.

    python benchmarks/coverage_more.py [--tables 2000] [--patients 400] [--workers 1] [--out coverage_more.json]

Each kind of table has a truth by formula, or by one very large table of the same kind (said beside it). Sites: the
interval of the mean over sites, and the prediction interval against the true value of a further site.
"""

import argparse
import json
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from pathoprog.survival import cox, harrell_c, kaplan_meier
from pathoprog.survival.prediction.differences import auc_difference, concordance_difference
from pathoprog.survival.regression.over_time import piecewise_ratios
from pathoprog.survival.regression.pseudo_mean import adjusted_means
from pathoprog.survival.regression.treatment import effect_by_group
from pathoprog.survival.sites.random_effects import random_effects

Intervals = dict[str, tuple[float, float, float]]
"""By name: lower limit, upper limit, and what should lie between."""
LOG_RATIO, RATE, BIG = math.log(2.0), 0.12, 200_000
SITES, TAU = 12, 0.25  # of them, and the standard deviation of their log hazard ratios


def survival_times(log_hazard: np.ndarray, random: np.random.Generator, last: float = 8.0) -> pd.DataFrame:
    """Exponential deaths, uniform censoring."""
    death = random.exponential(size=log_hazard.size) / (RATE * np.exp(log_hazard))
    lost = random.uniform(1, last, log_hazard.size)
    return pd.DataFrame({"time": np.minimum(death, lost), "event": (death <= lost).astype(int)})


def delayed(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """Half enter late; only who is still followed then is ever seen."""
    poor = (random.random(3 * patients) < 0.3).astype(float)
    data = survival_times(LOG_RATIO * poor, random).assign(poor=poor, score=poor + random.normal(0, 0.7, poor.size))
    late = random.random(poor.size) < 0.5
    entry = np.where(late, random.uniform(0, 3, poor.size), 0.0)
    seen = data.assign(entry=entry)[data["time"] > entry]
    return seen.head(patients).reset_index(drop=True)


@cache
def c_under_delayed_entry() -> float:
    data = delayed(BIG, np.random.default_rng(1))
    return harrell_c(data["time"], data["event"], data["score"], entry=data["entry"]).value


def of_delayed_entry(patients: int, random: np.random.Generator) -> Intervals:
    """Curve at 3, hazard ratio, c."""
    data = delayed(patients, random)
    fit = cox(data, "time", "event", ["poor"], entry="entry").terms.iloc[0]
    good = data[data["poor"] == 0]
    curve = kaplan_meier(good["time"], good["event"], entry=good["entry"]).at([3.0])
    c = harrell_c(data["time"], data["event"], data["score"], entry=data["entry"])
    return {
        "entry: survival at 3": (float(curve.lower[0]), float(curve.upper[0]), math.exp(-3 * RATE)),
        "entry: hazard ratio": (fit["lower"], fit["upper"], 2.0),
        "entry: c": (c.lower, c.upper, c_under_delayed_entry()),
    }


def clustered(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """Two rows of each patient, which share a hidden factor; the covariate is the patient's."""
    n = patients // 2
    x, hidden = random.normal(size=n), random.normal(0, 0.8, n)
    log_hazard = np.repeat(0.5 * x + hidden, 2)
    data = survival_times(log_hazard, random)
    return data.assign(x=np.repeat(x, 2), patient=np.repeat(np.arange(n), 2))


@cache
def truth_of_clusters() -> tuple[float, float, float]:
    data = clustered(BIG, np.random.default_rng(2))
    curve = kaplan_meier(data["time"], data["event"]).at([3.0]).survival[0]
    return (
        float(cox(data, "time", "event", ["x"]).coef[0]),
        harrell_c(data["time"], data["event"], data["x"]).value,
        float(curve),
    )


def of_clusters(patients: int, random: np.random.Generator) -> Intervals:
    """Robust intervals by patient: marginal log hazard ratio, c, curve."""
    data, truth = clustered(patients, random), truth_of_clusters()
    fit = cox(data, "time", "event", ["x"], patient="patient").terms.iloc[0]
    c = harrell_c(data["time"], data["event"], data["x"], patient=data["patient"])
    curve = kaplan_meier(data["time"], data["event"], patient=data["patient"]).at([3.0])
    return {
        "patient: hazard ratio": (fit["lower"], fit["upper"], math.exp(truth[0])),
        "patient: c": (c.lower, c.upper, truth[1]),
        "patient: survival at 3": (float(curve.lower[0]), float(curve.upper[0]), truth[2]),
    }


def of_weights(patients: int, random: np.random.Generator) -> Intervals:
    """A sample in which the poor were drawn three times as often, weighted back."""
    poor = (random.random(4 * patients) < 0.2).astype(float)
    taken = random.random(poor.size) < np.where(poor > 0, 0.6, 0.2)
    data = survival_times(LOG_RATIO * poor, random).assign(poor=poor, weight=np.where(poor > 0, 1 / 0.6, 1 / 0.2))
    data = data[taken].head(patients)
    fit = cox(data, "time", "event", ["poor"], weight="weight").terms.iloc[0]
    curve = kaplan_meier(data["time"], data["event"], weight=data["weight"]).at([3.0])
    truth = 0.8 * math.exp(-3 * RATE) + 0.2 * math.exp(-6 * RATE)
    return {
        "weight: hazard ratio": (fit["lower"], fit["upper"], 2.0),
        "weight: survival at 3": (float(curve.lower[0]), float(curve.upper[0]), truth),
    }


def of_sites(patients: int, random: np.random.Generator) -> Intervals:
    """Sites whose log hazard ratios vary: the mean's interval, and a further site's prediction interval."""
    estimates, errors = [], []
    for effect in LOG_RATIO + TAU * random.standard_normal(SITES):
        poor = (random.random(patients // 2) < 0.4).astype(float)
        term = cox(survival_times(effect * poor, random).assign(poor=poor), "time", "event", ["poor"]).terms.iloc[0]
        estimates.append(term["coef"])
        errors.append(term["se"])
    further, found = LOG_RATIO + TAU * random.standard_normal(), {}
    for method in ("REML", "DL"):
        for wide in (True, False):
            pool = random_effects(estimates, errors, method, wide)
            name = f"sites: {method} {'Knapp-Hartung' if wide else 'z'}"
            found[f"{name}, mean"] = (pool.lower, pool.upper, LOG_RATIO)
            found[f"{name}, prediction"] = (pool.prediction_lower, pool.prediction_upper, float(further))
    return found


def two_scores(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """A score, and one that knows more."""
    one, other = random.normal(size=patients), random.normal(size=patients)
    return survival_times(0.6 * one + 0.5 * other, random).assign(base=one, full=0.6 * one + 0.5 * other)


@cache
def truth_of_scores() -> tuple[float, float]:
    data = two_scores(BIG, np.random.default_rng(3))
    given = (data["time"], data["event"], data["base"], data["full"])
    return concordance_difference(*given).value, auc_difference(*given, 3.0).value


def of_added_value(patients: int, random: np.random.Generator) -> Intervals:
    """Paired differences of c and of AUC(3)."""
    data, truth = two_scores(patients, random), truth_of_scores()
    given = (data["time"], data["event"], data["base"], data["full"])
    c, auc = concordance_difference(*given), auc_difference(*given, 3.0)
    return {
        "added: difference of c": (c.lower, c.upper, truth[0]),
        "added: difference of AUC": (auc.lower, auc.upper, truth[1]),
    }


def of_treatment(patients: int, random: np.random.Generator) -> Intervals:
    """Ratio of hazard ratios, and the difference of curves within a class."""
    poor, treated = (random.random(patients) < 0.4).astype(float), (random.random(patients) < 0.5).astype(float)
    effect = math.log(0.9) * treated + math.log(0.5) * treated * poor
    data = survival_times(LOG_RATIO * poor + effect, random).assign(
        treated=treated, group=np.where(poor > 0, "poor", "good")
    )
    row = effect_by_group(data, "time", "event", "treated", "group", ["good", "poor"]).ratios.iloc[0]
    curves = []
    for side in (0, 1):
        own = data[(data["group"] == "poor") & (data["treated"] == side)]
        curves.append(kaplan_meier(own["time"], own["event"]).at([3.0]))
    gap = float(curves[1].survival[0] - curves[0].survival[0])
    half = 1.959964 * math.hypot(float(curves[0].std_err[0]), float(curves[1].std_err[0]))
    truth = math.exp(-3 * RATE * 2 * 0.45) - math.exp(-3 * RATE * 2)
    return {
        "treatment: ratio of hazard ratios": (row["lower"], row["upper"], 0.5),
        "treatment: survival gained at 3": (gap - half, gap + half, truth),
    }


def changing(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """A ratio of 3 up to 2, of 1 after; age changes both."""
    poor, age = (random.random(patients) < 0.4).astype(float), random.normal(size=patients)
    rate = RATE * np.exp(0.3 * age)
    early = random.exponential(size=patients) / (rate * np.where(poor > 0, 3.0, 1.0))
    death = np.where(early <= 2, early, 2 + random.exponential(size=patients) / rate)
    lost = random.uniform(1, 8, patients)
    return pd.DataFrame(
        {"time": np.minimum(death, lost), "event": (death <= lost).astype(int), "poor": poor, "age": age, "d": death}
    )


@cache
def lost_to_the_poor() -> float:
    data = changing(BIG, np.random.default_rng(4)).assign(lived=lambda t: t["d"].clip(upper=5.0))
    x = np.column_stack((np.ones(BIG), data["poor"], data["age"]))
    return float(np.linalg.lstsq(x, data["lived"].to_numpy(), rcond=None)[0][1])


def of_time(patients: int, random: np.random.Generator) -> Intervals:
    """Ratios in two pieces, adjusted; and the adjusted difference of restricted means."""
    data = changing(patients, random)
    rows = piecewise_ratios(data, "time", "event", "poor", (2.0,), ["age"]).rows
    gap = adjusted_means(data, "time", "event", "poor", ["age"], 5.0).rows.iloc[0]
    return {
        "time: ratio up to 2": (rows.loc[0, "lower"], rows.loc[0, "upper"], 3.0),
        "time: ratio after": (rows.loc[1, "lower"], rows.loc[1, "upper"], 1.0),
        "time: adjusted restricted mean": (gap["lower"], gap["upper"], lost_to_the_poor()),
    }


KINDS: tuple[Callable[[int, np.random.Generator], Intervals], ...] = (
    of_delayed_entry,
    of_clusters,
    of_weights,
    of_sites,
    of_added_value,
    of_treatment,
    of_time,
)


def one_table(job: tuple[int, np.random.SeedSequence]) -> dict[str, bool]:
    """Whether each interval of one table of each kind covers."""
    patients, seed = job
    found: dict[str, bool] = {}
    for kind, stream in zip(KINDS, seed.spawn(len(KINDS)), strict=True):
        for name, (lower, upper, truth) in kind(patients, np.random.default_rng(stream)).items():
            found[name] = bool(lower <= truth <= upper)
    return found


def coverage(tables: int, patients: int, seed: int = 1, workers: int = 1) -> dict[str, dict[str, float]]:
    """Share of tables whose interval covers the truth, with its own standard error."""
    jobs = [(patients, stream) for stream in np.random.SeedSequence(seed).spawn(tables)]
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(one_table, jobs, chunksize=10))
    else:
        found = [one_table(job) for job in jobs]
    result = {}
    for name in found[0]:
        share = float(np.mean([one[name] for one in found]))
        result[name] = {"coverage": share, "standard_error": math.sqrt(share * (1 - share) / tables)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default="")
    arguments = parser.parse_args()
    found = coverage(arguments.tables, arguments.patients, arguments.seed, arguments.workers)
    for name, row in found.items():
        print(f"{name:<40} covered {row['coverage']:.1%} ± {row['standard_error']:.1%}")
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
