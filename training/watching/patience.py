"""Early stopping: a run ends when c on tuning has not risen for so many judgements.

Source: Prechelt 1998, Early stopping - but when?, in Neural Networks: Tricks of the Trade, 55-69 (the UP criterion
counts successive rises of the error; here every judgement without a new best counts, as is usual now).
"""

import math
from collections.abc import Mapping
from typing import Any


class Patience:
    """Counts judgements since the best c.

    Args:
        most: judgements without a better c after which the run is over; 0: it never is.
        gain: by how much c must exceed the best to count as better.
    """

    def __init__(self, most: int, gain: float = 0.0):
        self.most, self.gain = most, gain
        self.best, self.waited = -math.inf, 0

    @property
    def over(self) -> bool:
        """Whether the run should end."""
        return 0 < self.most <= self.waited

    def judged(self, c: float) -> None:
        """Take note of a judgement; a c that is no number is none that is better."""
        if c > self.best + self.gain:
            self.best, self.waited = c, 0
        else:
            self.waited += 1

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a resumed run ends where an undisturbed one does."""
        return {"best": self.best if math.isfinite(self.best) else None, "waited": self.waited}

    def restore(self, state: Mapping[str, Any], anew: bool) -> None:
        """Go on from a checkpoint's `state`; empty for one that is older than early stopping.

        Args:
            state: of the checkpoint.
            anew: a finished run is gone on with for more steps: it is waited anew for a c above its best.
        """
        best = state.get("best")
        self.best = -math.inf if best is None else float(best)
        self.waited = 0 if anew else int(state.get("waited", 0))
