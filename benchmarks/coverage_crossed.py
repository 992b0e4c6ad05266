"""Do the intervals of `pathoprog compare` cover the truth? Patients and seeds crossed, by simulation.

    python benchmarks/coverage_crossed.py [--tables 400] [--patients 300] [--samples 400] [--out coverage_crossed.json]

Two recipes score patients whose hidden hazard is known. Each seed of a recipe has noise of its own: in how much of
the hazard it has learned (the seed's effect), and for each patient anew (patient by seed). The truth is the mean of c
over 200 seeds on 4,000 patients. Intervals are counted by the number of seeds, with seeds that learn equally much and
with seeds that do not; and, to show what the crossing is there for, an interval that takes these seeds for the only
ones (`patients alone`).
"""

import argparse
import json
import math
from functools import cache
from pathlib import Path

import numpy as np

from pathoprog.survival.prediction.concordance import pair_influence
from pathoprog.survival.resampling.crossed import crossed_concordance

FOLDS, LEARNED, NOISE = 5, (0.6, 0.9), 0.8
SPREAD = {"seeds alike": 0.0, "seeds vary": 0.25}
"""Standard deviation over seeds of how much of the hazard a network has learned."""
SEEDS = (1, 2, 3, 5, 10)


def survival(patients: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hidden log hazard, follow-up and event: exponential deaths, uniform censoring."""
    hidden = random.normal(size=patients)
    death, lost = random.exponential(size=patients) / np.exp(hidden), random.uniform(0.2, 2.5, patients)
    return hidden, np.minimum(death, lost), (death <= lost).astype(int)


def scores(hidden: np.ndarray, seeds: int, spread: float, random: np.random.Generator) -> np.ndarray:
    """Scores [2, s, n] of both recipes."""
    shared = random.normal(size=(2, 1, hidden.size))  # what a recipe misses of a patient with every seed
    own = random.normal(size=(2, seeds, hidden.size))
    learned = np.array(LEARNED)[:, None, None] + spread * random.normal(size=(2, seeds, 1))
    return learned * hidden + NOISE * (shared + own) / math.sqrt(2)


@cache
def truth(spread: float) -> tuple[float, float]:
    """C of the first recipe, and the second's less it, over many seeds and patients."""
    random = np.random.default_rng(1)
    hidden, time, event = survival(4000, random)
    found = crossed_concordance(time, event, np.arange(4000) % 20, scores(hidden, 200, spread, random), samples=2)
    return found.c[0].value, found.differences[1][0].value


def covered(patients: int, seeds: int, spread: float, samples: int, random: np.random.Generator) -> dict[str, bool]:
    """Whether the intervals of one made table cover."""
    hidden, time, event = survival(patients, random)
    made = scores(hidden, seeds, spread, random)
    fold = np.arange(patients) % FOLDS
    found = crossed_concordance(time, event, fold, made, samples)
    c, difference = truth(spread)
    one, gap = found.c[0], found.differences[1][0]
    alone = patients_alone(time, event, fold, made)
    return {
        "c": one.lower <= c <= one.upper,
        "difference": gap.lower <= difference <= gap.upper,
        "difference, patients alone": alone[0] <= difference <= alone[1],
    }


def patients_alone(time: np.ndarray, event: np.ndarray, fold: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """The interval of the difference that counts these seeds as the only ones: normal, by the patients' influences."""
    means, influences = [], []
    for recipe in made:
        found = [pair_influence(time, event, score, strata=fold) for score in recipe]
        means.append(np.mean([one.value for one in found]))
        influences.append(np.mean([one.influence for one in found], axis=0))
    gap, se = means[1] - means[0], float(np.sqrt(((influences[1] - influences[0]) ** 2).sum()))
    return float(gap - 1.96 * se), float(gap + 1.96 * se)


def coverage(tables: int, patients: int, samples: int, seed: int = 1) -> list[dict[str, object]]:
    """Share of tables whose interval covers the truth, by seeds' spread and number, with its own standard error."""
    rows: list[dict[str, object]] = []
    for name, spread in SPREAD.items():
        for seeds in SEEDS:
            streams = np.random.SeedSequence([seed, seeds]).spawn(tables)
            found = [covered(patients, seeds, spread, samples, np.random.default_rng(one)) for one in streams]
            for interval in found[0]:
                share = float(np.mean([one[interval] for one in found]))
                error = math.sqrt(share * (1 - share) / tables)
                rows.append({"spread": name, "seeds": seeds, "interval": interval, "coverage": share, "se": error})
                print(f"{name}, {seeds:>2} seeds, {interval:<28} covered {share:.1%} ± {error:.1%}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=400)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--out", default="")
    arguments = parser.parse_args()
    rows = coverage(arguments.tables, arguments.patients, arguments.samples)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
