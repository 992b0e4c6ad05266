"""Could lifelines take over the Kaplan-Meier curves: does it keep R's digits, and what does it cost?

    python benchmarks/lifelines_curves.py [--rounds 5]

Ours (15 digits of R's, by the tests) against `lifelines.KaplanMeierFitter` in one run: curve, log-log limits and median
of the same tables, with and without delayed entry and whole weights. Time is CPU time, as a ratio, once loaded.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.exceptions import StatError
from lifelines.utils import median_survival_times

from pathoprog.survival import kaplan_meier

KINDS = {"plain": (), "entry": ("entry",), "weights": ("weight",), "entry and weights": ("entry", "weight")}


def table(n: int, seed: int) -> dict[str, np.ndarray]:
    """Follow-up in whole days, so that there are ties."""
    rng = np.random.default_rng(seed)
    death, lost = 1500 * rng.weibull(1.2, n), rng.uniform(300, 3000, n)
    time_ = np.ceil(np.minimum(death, lost))
    entry = np.where(rng.random(n) < 0.4, np.floor(rng.random(n) * np.minimum(400, time_ - 1)), 0)
    return {
        "time": time_, "event": (death <= lost).astype(int), "entry": entry, "weight": rng.integers(1, 4, n),
    }  # fmt: skip


def ours(data: dict[str, np.ndarray], how: tuple[str, ...]) -> tuple[Any, tuple[float, float, float]]:
    """Curve, and the median with its limits."""
    entry, weight = (data[key] if key in how else None for key in ("entry", "weight"))
    curve = kaplan_meier(data["time"], data["event"], entry=entry, weight=weight)
    return curve, curve.quantile(0.5)


def theirs(data: dict[str, np.ndarray], how: tuple[str, ...]) -> tuple[Any, tuple[float, float, float]]:
    """The same of lifelines."""
    given = {"entry": "entry", "weight": "weights"}
    fitter = KaplanMeierFitter().fit(data["time"], data["event"], **{given[key]: data[key] for key in how})
    limits = median_survival_times(fitter.confidence_interval_)
    return fitter, (fitter.median_survival_time_, *(float(v) for v in limits.to_numpy().ravel()))


def cpu(work: Callable[[], Any], rounds: int) -> float:
    """The fastest of some rounds, CPU seconds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for n in (200, 2000, 20000):
        for name, how in KINDS.items():
            data = table(n, 1)
            curve, fitter = ours(data, how)[0], theirs(data, how)[0]
            steps = (curve.n_event > 0) & (curve.survival > 0)
            at = curve.time[steps]
            read = fitter.survival_function_.loc[at].to_numpy()[:, 0]
            low, high = fitter.confidence_interval_.loc[at].to_numpy().T
            pairs = ((read, curve.survival), (low, curve.lower), (high, curve.upper))
            apart = [float(np.max(np.abs(other / mine[steps] - 1))) for other, mine in pairs]
            mine, other = cpu(lambda: ours(data, how), rounds), cpu(lambda: theirs(data, how), rounds)  # noqa: B023
            print(
                f"{n:>6} rows, {name:<18} largest relative gap: curve {apart[0]:.0e}, limits {max(apart[1:]):.0e}; "
                f"ours {1000 * mine:.2f} ms, lifelines {1000 * other:.1f} ms: {other / mine:.0f} times"
            )
    differ = refused = 0
    for seed in range(1000):  # 40 patients: curves that run exactly at one half
        data = table(40, seed)
        own, their = ours(data, ())[1], theirs(data, ())[1]
        differ += any(a != b for a, b in zip(own, their, strict=True) if np.isfinite([a, b]).all())
        try:
            theirs(data, ("entry",))
        except StatError:
            refused += 1
    print(f"of 1,000 tables of 40: median or its limits another time than R's rule in {differ}")
    print(f"with delayed entry refused, since nobody was at risk for a while: {refused}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
