"""One step's gradients: augment, forward, loss, backward, in parts where memory asks for it, on one device or several.

A step has `fit.gpus` times `fit.accumulate` parts of equally many patients. Its data are those of the undivided step
however many there are. What works on a part's tiles at once is a part's own: normalisation, and dropout, which is drawn
by the part's number and not by the device that takes it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.networks.augmentation import augment
from pathoprog.networks.config import LOSSES, n_outputs
from pathoprog.networks.losses import Targets, loss_value
from pathoprog.networks.member import prepare
from pathoprog.networks.recomputing import kept_buffers
from pathoprog.training.config import FitSettings, TrainConfig
from pathoprog.training.data.bags import BagBatch, Patient
from pathoprog.training.member.device_group import ALONE, DeviceGroup

PART_SEED = 2**40
"""What the dropout's seeds of two parts of a step lie apart, more than those of two steps."""


def backward(
    forward: Callable[[Tensor, list[int]], Tensor],
    settings: TrainConfig,
    patients: list[Patient],
    batch: BagBatch,
    step: int,
    device: torch.device,
    dtype: torch.dtype,
    group: DeviceGroup = ALONE,
    lap: Callable[[str], None] = lambda part: None,
) -> Tensor:
    """This process's part of one step's gradients: those of all processes add up to the step's.

    A loss that compares patients takes the outputs of all parts at once, gathered from all processes: its gradients are
    those of one part that holds them all. The other losses are means, to which a part adds its share. Either way only
    normalisation is over a part's tiles.

    Args:
        forward: tiles [n, 3, s, s] and bag sizes to logits [b, c]: the network, compiled or not.
        settings: of the run.
        patients: those that the batch's numbers stand for.
        batch: the step's bags.
        step: its number, from which all draws follow.
        device: of the network.
        dtype: of the forward pass.
        group: the processes that share the step.
        lap: told of each part of the work that is over, by its name (`step_clock.PARTS`).

    Returns:
        The loss of the whole step, a scalar on the device, for which nobody has waited yet.
    """
    options = settings.fit
    n_parts = group.share.of * options.accumulate
    per_part, t = options.patients_per_step // n_parts, options.tiles_per_patient
    starts = np.cumsum([0, *batch.sizes]).tolist()
    mine = range(n_parts)[group.share.part(n_parts)]
    chosen = [patients[index] for index in batch.patients]

    def logits_of(part: int) -> Tensor:
        first = (part - mine.start) * per_part
        sizes = batch.sizes[first : first + per_part]
        tiles = torch.from_numpy(batch.tiles[starts[first] : starts[first + per_part]]).to(device, non_blocking=True)
        torch.manual_seed(settings.seed * 1_000_003 + step + part * PART_SEED)  # dropout
        generator = torch.Generator().manual_seed(settings.seed * 2_000_003 + step)
        changed = augment(tiles, settings.augment, generator, part * per_part * t, len(chosen) * t)
        lap("augment")
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = forward(prepare(changed), sizes)  # [b, c], and what a pooling's own loss adds
        lap("forward")
        return logits.float()

    if n_parts > 1 and LOSSES[options.loss].compares_patients:
        kept = [logits_of(part) for part in mine] if options.accumulate == 1 else []
        seen = kept or first_pass(forward, logits_of, mine)
        there = group.share.part(len(chosen))
        logits = group.gathered(torch.cat([one.detach() for one in seen]), len(chosen), there)
        total, gradient = gradient_of_logits(logits, chosen, options)
        for part, one in zip(mine, torch.split(gradient[there], per_part), strict=True):
            torch.autograd.backward(kept.pop() if kept else logits_of(part), one)
            lap("backward")
        return total
    total = torch.zeros((), device=device)
    whole = weight_of(chosen, options)
    for part in mine:
        of_part = chosen[part * per_part : (part + 1) * per_part]
        loss = loss_of(logits_of(part), of_part, options) / (whole / weight_of(of_part, options))
        torch.autograd.backward(loss)
        lap("backward")
        total += loss.detach()
    return group.summed(total)


def first_pass(
    forward: Callable[[Tensor, list[int]], Tensor], logits_of: Callable[[int], Tensor], parts: Sequence[int]
) -> list[Tensor]:
    """The logits of all parts, without a graph or a trace: the second pass alone moves running statistics.

    Source: Gao, Zhang, Han, Callan 2021, RepL4NLP, arXiv:2101.06983 (gradient caching).

    Args:
        forward: the network, compiled or not.
        logits_of: a part's logits; it draws alike whenever it is asked.
        parts: to be asked for.
    """
    assert isinstance(forward, nn.Module)
    with kept_buffers(forward), torch.no_grad():
        return [logits_of(part) for part in parts]


def gradient_of_logits(logits: Tensor, patients: list[Patient], options: FitSettings) -> tuple[Tensor, Tensor]:
    """The loss of a step's patients, of their logits [b, c] without a graph, and its gradient with respect to these."""
    leaves = logits.clone().requires_grad_()
    loss = loss_of(leaves, patients, options)
    (gradient,) = torch.autograd.grad(loss, leaves)
    return loss.detach(), gradient


def weight_of(patients: list[Patient], options: FitSettings) -> float:
    """What the loss of these patients, a mean, was divided by: their number, or the sum of their classes' weights."""
    if not LOSSES[options.loss].weighs_classes:
        return float(len(patients))
    return sum(options.class_weight_poor if patient.label == "poor" else 1.0 for patient in patients)


def times_and_events(patients: list[Patient]) -> tuple[Tensor, Tensor]:
    """Follow-up in years [b] and whether it ended with the event [b]."""
    years = torch.tensor([patient.followup_days / YEAR_DAYS for patient in patients])
    return years, torch.tensor([patient.event for patient in patients])


def loss_of(logits: Tensor, patients: list[Patient], options: FitSettings) -> Tensor:
    """The chosen loss of some patients' logits [b, c]; with a pooling's own losses behind them, [b, 2 c], both.

    Source of the sum: Lu et al. 2021, Nat Biomed Eng 5:555 (arXiv:2004.09666), there 0.7 and 0.3 of the two.
    """
    c = n_outputs(LOSSES[options.loss].head, len(options.interval_years) + 1)
    logits, of_tiles = logits[:, :c], logits[:, c:]
    device = logits.device
    poor = torch.tensor([patient.label == "poor" for patient in patients])
    cuts = torch.tensor(options.interval_years)
    poor, time_years, event, cuts = (
        values.to(device, non_blocking=True) for values in (poor, *times_and_events(patients), cuts)
    )
    targets = Targets(poor, time_years, event, (1.0, options.class_weight_poor), cuts)
    loss = loss_value(options.loss, logits, targets)
    if not of_tiles.shape[1]:
        return loss
    weights = torch.where(poor, options.class_weight_poor, 1.0)
    own = of_tiles.gather(1, poor.long()[:, None])[:, 0]
    return (1 - options.instance_loss) * loss + options.instance_loss * (weights * own).sum() / weights.sum()
