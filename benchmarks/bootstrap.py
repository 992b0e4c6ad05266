"""Time of the bootstrap: c-index, hazard ratios and values at two horizons, refitted in every resample.

    python benchmarks/bootstrap.py [--patients 5000] [--samples 1000] [--workers 2] [--grow]

Each resample counts the pairs for Harrell's c anew, refits a Cox model of three classes by Newton's method, and reads
sensitivity, specificity, PPV and NPV by Kaplan-Meier and by inverse weights, for two groupings at two horizons: 35
figures in all.
"""

import argparse
import json
import os
import time

import numpy as np

from pathoprog.survival.resampling.statistics import Resampled, bootstrap_intervals
from pathoprog.system.machine.cores import cores


def cohort(n: int, seed: int = 1) -> Resampled:
    """A cohort of three classes like the published one, with a score of its own."""
    random = np.random.default_rng(seed)
    place = random.choice(3, n, p=[0.63, 0.12, 0.25])
    score = place + 0.4 * random.standard_normal(n)
    death = random.exponential(size=n) / (0.02 * np.exp(0.65 * place))
    lost = random.uniform(3, 8, n)
    return Resampled(
        np.minimum(death, lost),
        (death <= lost).astype(np.int64),
        score,
        place,
        ("good", "uncertain", "poor"),
        (3.0, 5.0),
        (("poor",), ("uncertain", "poor")),
    )


def cpu_seconds() -> float:
    """CPU time of this process and of its ended children: what counts on a machine that others use too."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(patients: int, samples: int, workers: int) -> dict[str, float]:
    statistic = cohort(patients)
    strata = np.arange(patients) % 4
    start, cpu = time.perf_counter(), cpu_seconds()
    found = bootstrap_intervals(statistic, samples, strata, seed=1, workers=workers)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    row = found["values"]["c"]
    return {
        "patients": patients,
        "samples": samples,
        "workers": workers,
        "figures": len(found["values"]),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "cpu_ms_per_sample": round(1000 * cpu / samples, 1),
        "c": round(row["value"], 4),
        "c_lower": round(row["lower"], 4),
        "c_upper": round(row["upper"], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=min(2, cores()))
    parser.add_argument("--grow", action="store_true", help="also 1,250 to 20,000 patients, 100 samples")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.patients, arguments.samples, arguments.workers)))
    if arguments.grow:
        for patients in (1250, 2500, 5000, 10_000, 20_000):
            print(json.dumps(measure(patients, 100, 1)))


if __name__ == "__main__":
    main()
