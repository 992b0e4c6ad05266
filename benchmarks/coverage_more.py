"""Do the further 95% intervals cover the truth?

Delayed entry, clusters, weights, added value, treatment, time; with `--resampled` the one that takes a bootstrap.
Sites: coverage_sites.py; calibration: coverage_calibration.py.

    python benchmarks/coverage_more.py [--tables 2000] [--patients 400] [--workers 1] [--out coverage_more.jsonl]

Each kind of table has a truth by formula, or by one very large table of the same kind. Every table's answer is a line
of `--out`, and a second call goes on after them. `--only` takes some kinds alone, on the tables that they have in all.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from pathoprog.survival import cox, harrell_c, kaplan_meier
from pathoprog.survival.curves.competing import cumulative_incidence
from pathoprog.survival.prediction.differences import auc_difference, concordance_difference
from pathoprog.survival.question import Question, Treatment
from pathoprog.survival.regression.over_time import piecewise_ratios
from pathoprog.survival.regression.pseudo_mean import adjusted_means
from pathoprog.survival.regression.treatment import EffectByGroup, effect_by_group, treatment_by_group
from pathoprog.survival.resampling.added_value import added_value
from pathoprog.survival.table import CODE, TIME

Intervals = dict[str, tuple[float, float, float]]
"""By name: lower limit, upper limit, and what should lie between."""
LOG_RATIO, RATE, BIG = math.log(2.0), 0.12, 200_000
RESAMPLES = 25


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


def weighted(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """A sample in which the poor were drawn three times as often, with the weights that undo it."""
    poor = (random.random(4 * patients) < 0.2).astype(float)
    taken = random.random(poor.size) < np.where(poor > 0, 0.6, 0.2)
    data = survival_times(LOG_RATIO * poor, random).assign(
        poor=poor, weight=np.where(poor > 0, 1 / 0.6, 1 / 0.2), score=poor + random.normal(0, 0.7, poor.size)
    )
    return data[taken].head(patients)


@cache
def c_of_weights() -> float:
    data = weighted(BIG, np.random.default_rng(5))
    return harrell_c(data["time"], data["event"], data["score"], weight=data["weight"]).value


def of_weights(patients: int, random: np.random.Generator) -> Intervals:
    """Weighted back: hazard ratio, curve, c."""
    data = weighted(patients, random)
    fit = cox(data, "time", "event", ["poor"], weight="weight").terms.iloc[0]
    curve = kaplan_meier(data["time"], data["event"], weight=data["weight"]).at([3.0])
    c = harrell_c(data["time"], data["event"], data["score"], weight=data["weight"])
    truth = 0.8 * math.exp(-3 * RATE) + 0.2 * math.exp(-6 * RATE)
    return {
        "weight: hazard ratio": (fit["lower"], fit["upper"], 2.0),
        "weight: survival at 3": (float(curve.lower[0]), float(curve.upper[0]), truth),
        "weight: c": (c.lower, c.upper, c_of_weights()),
    }


def two_scores(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """A score, and one that knows more."""
    one, other = random.normal(size=patients), random.normal(size=patients)
    return survival_times(0.6 * one + 0.5 * other, random).assign(base=one, full=0.6 * one + 0.5 * other)


@cache
def truth_of_scores() -> tuple[float, float, float]:
    data = two_scores(BIG, np.random.default_rng(3))
    given = (data["time"], data["event"], data["base"], data["full"])
    uno = concordance_difference(*given, uno=True, tau=5.0).value
    return concordance_difference(*given).value, uno, auc_difference(*given, 3.0).value


def of_added_value(patients: int, random: np.random.Generator) -> Intervals:
    """Paired differences of Harrell's c, Uno's c to 5, and AUC(3)."""
    data, truth = two_scores(patients, random), truth_of_scores()
    given = (data["time"], data["event"], data["base"], data["full"])
    c, auc = concordance_difference(*given), auc_difference(*given, 3.0)
    uno = concordance_difference(*given, uno=True, tau=5.0)
    return {
        "added: difference of c": (c.lower, c.upper, truth[0]),
        "added: difference of Uno's c": (uno.lower, uno.upper, truth[1]),
        "added: difference of AUC": (auc.lower, auc.upper, truth[2]),
    }


OTHER = 0.05  # rate of other deaths, where they compete


def treated(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """A treatment by chance: hazard ratio 0.9 in good, 0.45 in poor; other deaths, by age, compete."""
    poor, had = (random.random(patients) < 0.4).astype(float), (random.random(patients) < 0.5).astype(float)
    age = random.normal(size=patients)
    death = random.exponential(size=patients) / (RATE * _ratio(poor, had))
    other = random.exponential(size=patients) / (OTHER * np.exp(0.5 * age))
    lost = random.uniform(1, 8, patients)
    first = np.vstack((lost, death, other))
    return pd.DataFrame(
        {
            "time": first.min(axis=0), "event": first.argmin(axis=0), "treated": had, "age": age,
            "drug": np.where(had > 0, "yes", "no"), "group": np.where(poor > 0, "poor", "good"),
        }
    )  # fmt: skip


def _ratio(poor: np.ndarray, had: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(LOG_RATIO * poor + math.log(0.9) * had + math.log(0.5) * had * poor))


@cache
def incidence_avoided() -> float:
    """In poor at 3: other deaths do not depend on the treatment."""
    data = treated(BIG, np.random.default_rng(6))
    own = [data[(data["group"] == "poor") & (data["treated"] == side)] for side in (0, 1)]
    read = [float(cumulative_incidence(one["time"], one["event"]).at([3.0]).value[0]) for one in own]
    return read[0] - read[1]


def asked_of_treatment(data: pd.DataFrame, adjust: tuple[str, ...]) -> Question:
    """The treatment by group at 3."""
    return Question(
        frame=data.rename(columns={"time": TIME, "event": CODE}), group="group", levels=("good", "poor"),
        treatment=Treatment("drug", "no", "yes", True, adjust), horizons=(3.0,), competing=True,
    )  # fmt: skip


GAINED = math.exp(-3 * RATE * 2 * 0.45) - math.exp(-3 * RATE * 2)


def of_treatment(patients: int, random: np.random.Generator) -> Intervals:
    """Ratio of hazard ratios, the ratio within poor, and what is gained and avoided there."""
    data = treated(patients, random)
    found = treatment_by_group(asked_of_treatment(data, ()))
    assert isinstance(found.unadjusted, EffectByGroup)
    ratio = found.unadjusted.ratios.iloc[0]
    within = found.unadjusted.within.set_index("group").loc["poor"]
    poor = next(one for one in found.benefits if one.group == "poor")
    adjusted = effect_by_group(data, "time", "event", "treated", "group", ["good", "poor"], ["age"]).ratios.iloc[0]
    return {
        "treatment: ratio of hazard ratios": (ratio["lower"], ratio["upper"], 0.5),
        "treatment: ratio of hazard ratios, adjusted": (adjusted["lower"], adjusted["upper"], 0.5),
        "treatment: hazard ratio in poor": (within["lower"], within["upper"], 0.45),
        "treatment: survival gained at 3": (poor.difference.lower, poor.difference.upper, GAINED),
        "treatment: events avoided at 3": (poor.incidence.lower, poor.incidence.upper, incidence_avoided()),
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
    """Ratios in two pieces, adjusted; from a landmark on; and the adjusted difference of restricted means."""
    data = changing(patients, random)
    later = data[data["time"] > 2]
    landmark = cox(later, "time", "event", ["poor", "age"]).terms.iloc[0]
    rows = piecewise_ratios(data, "time", "event", "poor", (2.0,), ["age"]).rows
    gap = adjusted_means(data, "time", "event", "poor", ["age"], 5.0).rows.iloc[0]
    return {
        "time: ratio up to 2": (rows.loc[0, "lower"], rows.loc[0, "upper"], 3.0),
        "time: ratio from the landmark 2": (landmark["lower"], landmark["upper"], 1.0),
        "time: ratio after": (rows.loc[1, "lower"], rows.loc[1, "upper"], 1.0),
        "time: adjusted restricted mean": (gap["lower"], gap["upper"], lost_to_the_poor()),
    }


def of_standardised(patients: int, random: np.random.Generator) -> Intervals:
    """Survival gained in poor by the adjusted model."""
    asked = asked_of_treatment(treated(patients, random), ("age",))
    poor = next(one for one in treatment_by_group(asked).benefits if one.group == "poor")
    return {"treatment: standardised gain at 3": (poor.standardised.lower, poor.standardised.upper, GAINED)}


def of_corrected(patients: int, random: np.random.Generator) -> Intervals:
    """Difference of c without optimism, against that of the same two models in 20,000 new patients."""
    data, new = two_scores(patients, random), two_scores(20_000, random)
    asked = Question(
        frame=data.rename(columns={"time": TIME, "event": CODE}), added=("full",), base=("base",), bootstrap=RESAMPLES
    )  # fmt: skip
    found = added_value(asked)
    base, full = (new[list(fit.design.terms)].to_numpy() @ fit.coef for fit in (found.base_model, found.full_model))
    truth = concordance_difference(new["time"], new["event"], base, full).value
    one = found.corrected["c_difference"]
    return {"added: difference of c without optimism": (one.lower, one.upper, truth)}


KINDS: tuple[Callable[[int, np.random.Generator], Intervals], ...] = (
    of_delayed_entry,
    of_clusters,
    of_weights,
    of_added_value,
    of_treatment,
    of_time,
    of_standardised,
)
RESAMPLED: tuple[Callable[[int, np.random.Generator], Intervals], ...] = (of_corrected,)


Kind = Callable[[int, np.random.Generator], Intervals]
Job = tuple[int, int, int, tuple[Kind, ...], tuple[str, ...]]


def one_table(job: Job) -> dict[str, bool]:
    """Whether each interval of one table of each kind covers: patients, seed, its number, all kinds, those wanted."""
    patients, seed, number, kinds, only = job
    found: dict[str, bool] = {}
    streams = np.random.SeedSequence(seed, spawn_key=(number,)).spawn(len(kinds))
    for kind, stream in zip(kinds, streams, strict=True):
        if only and kind.__name__.removeprefix("of_") not in only:
            continue
        for name, (lower, upper, truth) in kind(patients, np.random.default_rng(stream)).items():
            found[name] = bool(lower <= truth <= upper)
    return found


def coverage(
    tables: int,
    patients: int,
    seed: int = 1,
    workers: int = 1,
    out: Path | None = None,
    kinds: tuple[Kind, ...] = (),
    only: tuple[str, ...] = (),
) -> dict[str, dict[str, float]]:
    """Share of tables whose interval covers the truth, with its own standard error.

    Args:
        tables: how many.
        patients: of each.
        seed: of all.
        workers: processes.
        out: file that keeps each table's answers, and from which a second call goes on; None: none.
        kinds: of tables; default `KINDS`.
        only: names of those wanted, as their functions' without ``of_``; empty: all.
    """
    lines = out.read_text(encoding="utf-8").splitlines() if out is not None and out.is_file() else []
    found = [json.loads(line) for line in lines][:tables]
    jobs: list[Job] = [(patients, seed, number, kinds or KINDS, only) for number in range(len(found), tables)]

    def kept(one: dict[str, bool]) -> None:
        found.append(one)
        if out is not None:
            with out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(one) + "\n")

    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for one in pool.map(one_table, jobs, chunksize=10):
                kept(one)
    else:
        for job in jobs:
            kept(one_table(job))
    result = {}
    for name in found[0]:
        share = float(np.mean([one[name] for one in found]))
        result[name] = {"coverage": share, "standard_error": math.sqrt(share * (1 - share) / len(found))}
    return result


def main(description: str, kinds: tuple[Kind, ...] = ()) -> int:
    """The command of this file, and of coverage_sites.py."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    if not kinds:
        parser.add_argument("--resampled", action="store_true", help="the interval that takes a bootstrap")
    parser.add_argument("--out", default="", help="file that keeps each table's answers; a second call goes on")
    parser.add_argument("--only", default="", help="kinds of tables, as treatment,time; default: all")
    a = parser.parse_args()
    kinds = kinds or (RESAMPLED if a.resampled else KINDS)
    only = tuple(name for name in a.only.split(",") if name)
    unknown = sorted(set(only) - {kind.__name__.removeprefix("of_") for kind in kinds})
    if unknown:
        parser.error(f"--only {', '.join(unknown)}: no such kind of table here")
    found = coverage(a.tables, a.patients, a.seed, a.workers, Path(a.out) if a.out else None, kinds, only)
    outside = 0
    for name, row in found.items():
        mark = "" if 0.93 <= row["coverage"] <= 0.97 else "  outside 93 to 97%"
        outside += bool(mark)
        print(f"{name:<70} covered {row['coverage']:.1%} ± {row['standard_error']:.1%}{mark}")
    print(f"{outside} of {len(found)} outside 93 to 97%")
    return 0


if __name__ == "__main__":
    sys.exit(main(str(__doc__)))
