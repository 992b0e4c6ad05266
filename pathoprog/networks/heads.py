"""What a network's outputs are by its head, and the one number that they come to.

Shapes: b bags (or tiles); c outputs.
"""

import torch
from torch import Tensor


def risk_of_logits(logits: Tensor, head: str) -> Tensor:
    """One unbounded number per bag [b], higher = worse, of logits [b, c].

    Args:
        logits: poor: of good and poor; risk: the log hazard; hazards: the logit of each interval's hazard.
        head: one of `config.HEADS`.
    """
    if head == "poor":
        return logits[:, 1] - logits[:, 0]
    if head == "risk":
        return logits[:, 0]
    survival = torch.cumprod(torch.sigmoid(-logits), dim=1)  # S after each interval
    return -survival.sum(1)
