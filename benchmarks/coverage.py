"""Do the 95% intervals cover the truth in 95% of simulated tables? Hazard ratio, c-index, PPV, NPV, sensitivity.

    python benchmarks/coverage.py [--tables 1000] [--patients 400] [--out coverage.json]

Patients of two classes (a quarter *poor*), exponential times, hazard ratio 2.5, uniform censoring. Truths: the hazard
ratio and the risks at the horizon by formula; the c-index of this censoring by the mean of pairs in one table of
400,000 patients.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

from pathoprog.survival import cox, harrell_c
from pathoprog.survival.prediction.horizon import values_by_curves

RATIO, RATE, SHARE, HORIZON = 2.5, 0.08, 0.25, 3.0
LAST = 8.0


def table(patients: int, random: np.random.Generator) -> pd.DataFrame:
    """One simulated table."""
    poor = random.random(patients) < SHARE
    score = poor + 0.5 * random.standard_normal(patients)
    death = random.exponential(size=patients) / (RATE * np.where(poor, RATIO, 1.0))
    lost = random.uniform(1, LAST, patients)
    columns = {"time": np.minimum(death, lost), "event": (death <= lost).astype(int), "poor": poor.astype(float)}
    return pd.DataFrame({**columns, "score": score})


def truths() -> dict[str, float]:
    """What the intervals should cover."""
    big = table(400_000, np.random.default_rng(0))
    risk = {k: 1 - math.exp(-RATE * ratio * HORIZON) for k, ratio in ((0, 1.0), (1, RATIO))}
    prevalence = SHARE * risk[1] + (1 - SHARE) * risk[0]
    return {
        "hr": RATIO,
        "c": harrell_c(big["time"], big["event"], big["score"]).value,
        "ppv": risk[1],
        "npv": 1 - risk[0],
        "sensitivity": SHARE * risk[1] / prevalence,
        "specificity": (1 - SHARE) * (1 - risk[0]) / (1 - prevalence),
    }


def intervals(frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The library's intervals in one table."""
    term = cox(frame, "time", "event", ["poor"]).terms.iloc[0]
    c = harrell_c(frame["time"], frame["event"], frame["score"])
    values = values_by_curves(frame["time"], frame["event"], frame["poor"] == 1, HORIZON)
    named = {name: getattr(values, name) for name in ("ppv", "npv", "sensitivity", "specificity")}
    return {
        "hr": (float(term["lower"]), float(term["upper"])),
        "c": (c.lower, c.upper),
        **{name: (value.lower, value.upper) for name, value in named.items()},
    }


def coverage(tables: int, patients: int, seed: int = 1) -> dict[str, dict[str, float]]:
    """Share of tables whose interval covers the truth, with its own standard error."""
    truth = truths()
    covered: dict[str, list[bool]] = {name: [] for name in truth}
    for stream in np.random.SeedSequence(seed).spawn(tables):
        found = intervals(table(patients, np.random.default_rng(stream)))
        for name, (lower, upper) in found.items():
            covered[name].append(lower <= truth[name] <= upper)
    result = {}
    for name, hits in covered.items():
        share = float(np.mean(hits))
        result[name] = {
            "truth": truth[name],
            "coverage": share,
            "standard_error": math.sqrt(share * (1 - share) / tables),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="")
    arguments = parser.parse_args()
    found = coverage(arguments.tables, arguments.patients, arguments.seed)
    for name, row in found.items():
        print(f"{name:<12} truth {row['truth']:.4f}  covered {row['coverage']:.1%} ± {row['standard_error']:.1%}")
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
