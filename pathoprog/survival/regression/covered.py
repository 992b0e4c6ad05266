"""Which event times a patient under delayed entry is at risk for, as a tree of sums without a difference.

Under delayed entry a risk set is no running sum: patients come and go. A sum of those who came less those who left
loses its digits beside one large hazard that left, so each patient stands at the few nodes of a binary tree over the
event times that together cover its own, and a risk set is the sum over the nodes above its time (a segment tree:
Bentley, Carnegie Mellon University, 1977).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from pathoprog.survival.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Cover:
    """Patients and the ties (distinct event times of a stratum) at which they are at risk.

    Attributes:
        nodes: 1 where a patient stands at a node (nodes, n).
        above: 1 where a node lies over a tie (k, nodes).
    """

    nodes: Any
    above: Any

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums of the patients' values (n, …) over those at risk at each tie (k, …)."""
        return np.asarray(self.above @ (self.nodes @ values))

    def exposure(self, values: FloatArray) -> FloatArray:
        """Sums of the ties' values (k, …) over those at which each patient is at risk (n, …)."""
        return np.asarray(self.nodes.T @ (self.above.T @ values))


def covered(time: FloatArray, entry: FloatArray, block: IntArray, tie_time: FloatArray, tie_block: IntArray) -> Cover:
    """At risk is entry < t <= T, in one's own stratum; an entry of 0 is no delay.

    Args:
        time: end of each patient's follow-up (n,).
        entry: its start (n,).
        block: its stratum, 0, 1, … (n,).
        tie_time: the ties' times, by stratum and falling (k,).
        tie_block: their strata (k,).
    """
    n, k = time.size, tie_time.size
    first, stop = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for one in np.unique(block):
        mine, ties = block == one, np.flatnonzero(tie_block == one)
        if not ties.size:
            continue
        falling = -tie_time[ties]  # ascending
        first[mine] = ties[0] + np.searchsorted(falling, -time[mine], side="left")
        end = np.where(entry[mine] > 0, np.searchsorted(falling, -entry[mine], side="left"), ties.size)
        stop[mine] = ties[0] + end
    size = 1 << max(k - 1, 0).bit_length()
    low, high, who = first + size, np.maximum(stop, first) + size, np.arange(n)
    rows, columns = [], []
    while low.size:
        open_ = low < high
        low, high, who = low[open_], high[open_], who[open_]
        left, right = (low & 1) == 1, (high & 1) == 1
        rows += [low[left], high[right] - 1]
        columns += [who[left], who[right]]
        low, high = (low + 1) >> 1, high >> 1
    at = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    patients = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)
    nodes = sparse.csr_matrix((np.ones(at.size), (at, patients)), shape=(2 * size, n))
    leaf = np.arange(k) + size
    levels = [leaf >> level for level in range(size.bit_length())]
    tie = np.tile(np.arange(k), len(levels))
    over = np.concatenate(levels)
    above = sparse.csr_matrix((np.ones(over.size), (tie, over)), shape=(k, 2 * size))
    return Cover(nodes, above)
