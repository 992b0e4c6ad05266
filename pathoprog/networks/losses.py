"""What a step minimises: cross-entropy on distinct outcomes, or survival losses that use censored patients too."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pathoprog.networks.config import LOSSES


@dataclass(frozen=True)
class Targets:
    """What a loss may hold a batch's outputs against.

    Attributes:
        poor: [b], 1 for a poor distinct outcome, else 0.
        time: follow-up [b], years.
        event: [b], 1 for the event, 0 for censored.
        class_weights: of good and of poor.
        cuts: [intervals - 1], inner boundaries of the hazards' intervals, years.
    """

    poor: Tensor
    time: Tensor
    event: Tensor
    class_weights: tuple[float, float]
    cuts: Tensor


def cross_entropy_of(logits: Tensor, targets: Targets) -> Tensor:
    """`cross_entropy` of logits [b, 2]."""
    return cross_entropy(logits, targets.poor, targets.class_weights)


def cox_of(logits: Tensor, targets: Targets) -> Tensor:
    """`cox_partial_likelihood` of log hazards [b, 1]."""
    return cox_partial_likelihood(logits[:, 0], targets.time, targets.event)


def discrete_time_of(logits: Tensor, targets: Targets) -> Tensor:
    """`discrete_time` of logits [b, intervals]."""
    return discrete_time(logits, targets.time, targets.event, targets.cuts)


def loss_value(name: str, logits: Tensor, targets: Targets) -> Tensor:
    """The loss of that name (`LOSSES` of `pathoprog.networks.config`), a scalar."""
    value: Tensor = globals()[LOSSES[name].function](logits, targets)
    return value


def cross_entropy(logits: Tensor, poor: Tensor, class_weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Mean cross-entropy of patients with a distinct outcome.

    Args:
        logits: [b, 2], good and poor.
        poor: [b], 1 for poor, 0 for good.
        class_weights: of good and of poor.
    """
    weights = torch.tensor(class_weights, dtype=logits.dtype, device=logits.device)
    return functional.cross_entropy(logits, poor.long(), weight=weights)


def cox_partial_likelihood(log_hazard: Tensor, time: Tensor, event: Tensor) -> Tensor:
    """Negative log partial likelihood per event, Breslow's form for ties (Cox 1972; Breslow 1974).

    The risk sets are those of the batch: a stochastic approximation whose bias falls with the batch's size.

    Args:
        log_hazard: [b].
        time: [b], any unit.
        event: [b], 1 for the event, 0 for censored (competing deaths too: cause-specific hazard).

    Returns:
        A scalar; zero (with gradient zero) where the batch holds no event.
    """
    order = torch.argsort(time, descending=True, stable=True)
    log_hazard, time, event = log_hazard[order].float(), time[order], event[order].float()
    cumulative = torch.logcumsumexp(log_hazard, 0)
    # ties: every patient with the same time is at risk, so take the sum at the last of them
    last = torch.searchsorted(-time.double().contiguous(), -time.double().contiguous(), right=True) - 1
    terms = (log_hazard - cumulative[last]) * event
    return -terms.sum() / event.sum().clamp(min=1.0)


def interval_of(time: Tensor, cuts: Tensor) -> Tensor:
    """Index [b] of the interval in which each time lies; `cuts` [intervals - 1] are the inner boundaries."""
    return torch.searchsorted(cuts.contiguous(), time.contiguous(), right=True)


def discrete_time(logits: Tensor, time: Tensor, event: Tensor, cuts: Tensor) -> Tensor:
    """Mean negative log-likelihood of discrete-time hazards (Gensheimer, Narasimhan 2019, PeerJ 7:e6257).

    A patient with an event in interval j survived all before it; one censored in interval j counts as having survived
    j if he was followed past its middle, as in that paper.

    Args:
        logits: [b, intervals], logit of the hazard in each.
        time: [b].
        event: [b], 1 for the event, 0 for censored.
        cuts: [intervals - 1], inner boundaries, in the unit of `time`; the last interval is open.
    """
    died, survived = died_and_survived(time, event, cuts)
    log_hazard, log_survival = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    likelihood = (log_hazard * died).sum(1) + (log_survival * survived).sum(1)
    return -likelihood.mean()


def baseline_logits(time: Tensor, event: Tensor, cuts: Tensor) -> Tensor:
    """Logits [intervals] of the hazards that `discrete_time` likes best for patients who are all alike.

    A network that starts there spends its steps on telling patients apart; one that starts at hazards of one half first
    has to learn how rare deaths are. Half a death and half a survivor are added, so that none is infinite.
    """
    died, survived = died_and_survived(time, event, cuts)
    return torch.log((died.sum(0) + 0.5) / (survived.sum(0) + 0.5))


def died_and_survived(time: Tensor, event: Tensor, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """Who died in which interval, and who survived which: two bool [b, intervals], by `discrete_time`'s rules."""
    index = interval_of(time, cuts)
    intervals = torch.arange(len(cuts) + 1, device=time.device)
    lower = torch.cat([cuts.new_zeros(1), cuts])
    upper = torch.cat([cuts, 2 * cuts[-1:] - lower[-2:-1]])  # the open interval is taken as long as the last closed one
    middle = (lower + upper) / 2
    survived = intervals < index[:, None]
    survived |= (intervals == index[:, None]) & (event[:, None] == 0) & (time[:, None] >= middle)
    died = (intervals == index[:, None]) & (event[:, None] == 1)
    return died, survived
