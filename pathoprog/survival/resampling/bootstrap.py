"""Bootstrap: patients resampled, within cohorts, and percentile intervals of any statistics of them."""

import contextlib
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray, IntArray
from pathoprog.system.children import without_the_caller_s_script

Statistic = Callable[[IntArray], FloatArray]
CHUNK = 25


@dataclass(frozen=True)
class Bootstrap:
    """Percentile intervals of m statistics.

    Attributes:
        value: the statistics in the sample itself (m,).
        se: standard deviation over the resamples (m,).
        lower: lower percentile (m,).
        upper: upper percentile (m,).
        samples: values in each resample (b, m); nan where a statistic could not be had.
        failed: resamples without a value, for each statistic (m,).
    """

    value: FloatArray
    se: FloatArray
    lower: FloatArray
    upper: FloatArray
    samples: FloatArray
    failed: IntArray


def bootstrap(
    statistic: Statistic,
    n: int,
    samples: int = 1000,
    strata: Any = None,
    seed: int = 1,
    workers: int = 1,
    level: float = 0.95,
) -> Bootstrap:
    """Percentile bootstrap over patients.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; resampled within strata (cohorts), so
    that each keeps its size. Of b resamples the limits are the (b + 1) p-th in their order (Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 5.2.1; R's `boot.ci`): with the quantiles of the resamples
    themselves 200 of them would cover 94% at best. The same seed gives the same intervals for any number of workers.

    Args:
        statistic: from the indices of the patients drawn (n,) to m numbers (m,); it must be picklable for workers > 1.
        n: number of patients.
        samples: number of resamples.
        strata: cohort of each patient (n,); None: one cohort.
        seed: of the random numbers.
        workers: processes.
        level: confidence level.
    """
    if samples < 1:
        raise InputError(f"bootstrap samples={samples}: must be at least 1")
    value = np.asarray(statistic(np.arange(n)), dtype=float)
    cohorts = [np.arange(n)]
    if strata is not None:
        label = np.asarray(strata)
        cohorts = [np.flatnonzero(label == name) for name in np.unique(label)]
    seeds = np.random.SeedSequence(seed).spawn(samples)
    chunks = [seeds[start : start + CHUNK] for start in range(0, samples, CHUNK)]
    if workers > 1:
        parts = _in_processes(workers, [(statistic, cohorts, chunk, value.size) for chunk in chunks])
    else:
        parts = [_run((statistic, cohorts, chunk, value.size)) for chunk in chunks]
    drawn = np.vstack(parts)
    known = np.isfinite(drawn)
    lower, upper, se = (np.full(value.size, np.nan) for _ in range(3))
    for k in range(value.size):
        mine = drawn[known[:, k], k]
        if mine.size > 1:
            lower[k], upper[k] = np.quantile(mine, [(1 - level) / 2, (1 + level) / 2], method="weibull")
            se[k] = mine.std(ddof=1)
    return Bootstrap(value, se, lower, upper, drawn, (~known).sum(axis=0))


def _in_processes(workers: int, jobs: list[tuple[Statistic, list[IntArray], Sequence[Any], int]]) -> list[FloatArray]:
    """The jobs by spawned workers; these run the caller's script again only where the statistic is defined in it."""
    own = b"__main__" not in pickle.dumps(jobs[0][0])
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            with without_the_caller_s_script() if own else contextlib.nullcontext():
                found = pool.map(_run, jobs)
            return list(found)
    except BrokenProcessPool as error:
        raise InputError(
            f"bootstrap workers={workers}: a worker process ended before its work was done. In a script, call it under"
            ' `if __name__ == "__main__":`; in a notebook, define the statistic in a module; or take workers=1'
        ) from error


def _run(job: tuple[Statistic, list[IntArray], Sequence[Any], int]) -> FloatArray:
    statistic, cohorts, seeds, width = job
    rows = np.full((len(seeds), width), np.nan)
    for row, seed in enumerate(seeds):
        random = np.random.default_rng(seed)
        index = np.concatenate([cohort[random.integers(0, cohort.size, cohort.size)] for cohort in cohorts])
        try:
            rows[row] = statistic(index)
        except InputError:  # a resample without events or with one class: counted as failed
            continue
    return rows
