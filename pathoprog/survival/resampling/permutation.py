"""Could the concordance be chance? Harrell's c of locked scores against outcomes permuted over the patients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoprog.survival.arrays import EVENT, checked


@dataclass(frozen=True)
class Permutation:
    """Concordance under permuted outcomes.

    Attributes:
        observed: c with the true outcomes.
        permuted: c with each permutation (n_permutations,).
    """

    observed: float
    permuted: npt.NDArray[np.float64]

    @property
    def share_below(self) -> float:
        """Share of the permutations with a smaller c than the observed one."""
        return float((self.permuted < self.observed).mean())

    @property
    def p(self) -> float:
        """One-sided permutation p-value, the observed outcome counted as one of the permutations."""
        return float((1 + (self.permuted >= self.observed).sum()) / (1 + self.permuted.size))


def permuted_c(
    time: Any, event: Any, score: Any, permutations: int = 1000, seed: int = 0, strata: Any = None
) -> Permutation:
    """Harrell's c of fixed scores, with outcomes permuted.

    Outcomes (time and event together) are permuted over the patients, within strata where given, and c is that of all
    comparable pairs. Pairs are counted one event at a time for all permutations at once: events x patients x
    permutations comparisons of small integers, some ten seconds for 5,000 patients and 1,000 permutations.

    Args:
        time: follow-up (n,).
        event: 1 the event; 0 and 2 censored (n,).
        score: higher = worse (n,).
        permutations: how many.
        seed: of the permutations.
        strata: labels of groups within which outcomes are exchanged (n,); all patients where None.
    """
    times, codes = checked(time, event)
    died = codes == EVENT
    order = np.lexsort((~died, times))  # an event before those censored at its time: these are comparable with it
    small = np.int16 if times.size < np.iinfo(np.int16).max else np.int32
    rank = np.unique(np.asarray(score, dtype=float), return_inverse=True)[1].astype(small)
    groups = (
        np.zeros(times.size, dtype=int) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    )
    rng = np.random.default_rng(seed)
    shuffled = np.empty((permutations + 1, times.size), dtype=small)
    shuffled[0] = rank
    for row in range(1, permutations + 1):
        for group in range(groups.max() + 1):
            members = np.flatnonzero(groups == group)
            shuffled[row, members] = rank[rng.permutation(members)]
    values = _concordances(times[order], died[order], shuffled[:, order])
    return Permutation(float(values[0]), values[1:])


def _concordances(
    time: npt.NDArray[np.float64], died: npt.NDArray[np.bool_], rank: npt.NDArray[np.signedinteger[Any]]
) -> npt.NDArray[np.float64]:
    """Give c of each row of `rank` (b, n); patients sorted by time, events first among equal times."""
    columns = np.ascontiguousarray(rank.T)  # [n, b]
    concordant = np.zeros(rank.shape[0])
    pairs = 0
    tied = np.unique(rank[0]).size < rank.shape[1]
    for place in np.flatnonzero(died):
        first = place + int(((time[place:] == time[place]) & died[place:]).sum())  # past the events of this very time
        later = columns[first:]
        pairs += later.shape[0]
        concordant += (later < columns[place]).sum(axis=0, dtype=np.int32)
        if tied:
            concordant += 0.5 * (later == columns[place]).sum(axis=0, dtype=np.int32)
    return concordant / pairs if pairs else np.full(rank.shape[0], np.nan)
