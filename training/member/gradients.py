"""One step's gradients: augment, forward, loss, backward, in as many parts as memory asks for."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.networks.augmentation import augment
from pathoprog.networks.config import LOSSES
from pathoprog.networks.losses import Targets, loss_value
from pathoprog.networks.member import prepare
from pathoprog.networks.recomputing import kept_buffers
from pathoprog.training.config import FitSettings, TrainConfig
from pathoprog.training.data.bags import BagBatch, Patient


def backward(
    forward: Callable[[Tensor, list[int]], Tensor],
    settings: TrainConfig,
    patients: list[Patient],
    batch: BagBatch,
    generator: torch.Generator,
    device: torch.device,
    dtype: torch.dtype,
) -> float:
    """One step's gradients, in `fit.accumulate` parts.

    A loss that compares patients takes the outputs of all parts at once (`gradients_of_logits`): its gradients are
    those of one part that holds them all, but for normalisation over a part's tiles, which is so with every loss.

    Args:
        forward: tiles [n, 3, s, s] and bag sizes to logits [b, c]: the network, compiled or not.
        settings: of the run.
        patients: those that the batch's numbers stand for.
        batch: the step's bags.
        generator: of the augmentation.
        device: of the network.
        dtype: of the forward pass.

    Returns:
        The loss.
    """
    options = settings.fit
    per_part = options.patients_per_step // options.accumulate
    t = options.tiles_per_patient
    chosen = [patients[index] for index in batch.patients]

    def logits_of(part: int) -> Tensor:
        tiles = torch.from_numpy(batch.tiles[part * per_part * t : (part + 1) * per_part * t])
        tiles = prepare(augment(tiles.to(device, non_blocking=True), settings.augment, generator))  # [b * t, 3, s, s]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = forward(tiles, [t] * per_part)  # [b, c]
        return logits.float()

    if options.accumulate > 1 and LOSSES[options.loss].compares_patients:
        assert isinstance(forward, nn.Module)
        with seen_before(forward, generator, device):
            logits = [logits_of(part) for part in range(options.accumulate)]
        total, by_part = gradients_of_logits(logits, chosen, options)
        for part, gradient in enumerate(by_part):
            torch.autograd.backward(logits_of(part), gradient)
        return float(total)
    total = torch.zeros((), device=device)
    for part in range(options.accumulate):
        of_part = chosen[part * per_part : (part + 1) * per_part]
        loss = loss_of(logits_of(part), of_part, options) / options.accumulate
        torch.autograd.backward(loss)
        total += loss.detach()
    return float(total)


@contextlib.contextmanager
def seen_before(network: nn.Module, generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """A first pass that leaves no trace: the second augments and drops alike, and it alone moves running statistics."""
    state = generator.get_state()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), kept_buffers(network), torch.no_grad():
        yield
    generator.set_state(state)


def gradients_of_logits(
    logits: list[Tensor], patients: list[Patient], options: FitSettings
) -> tuple[Tensor, list[Tensor]]:
    """The loss of all parts' patients together, and its gradient with respect to each part's logits.

    Source: Gao, Zhang, Han, Callan 2021, RepL4NLP, arXiv:2101.06983 (gradient caching).

    Args:
        logits: of each part [b, c], without a graph.
        patients: of all parts, in their order.
        options: name the loss.
    """
    leaves = torch.cat(logits).requires_grad_()
    loss = loss_of(leaves, patients, options)
    (gradient,) = torch.autograd.grad(loss, leaves)
    return loss.detach(), list(torch.split(gradient, [len(part) for part in logits]))


def times_and_events(patients: list[Patient]) -> tuple[Tensor, Tensor]:
    """Follow-up in years [b] and whether it ended with the event [b]."""
    years = torch.tensor([patient.followup_days / YEAR_DAYS for patient in patients])
    return years, torch.tensor([patient.event for patient in patients])


def loss_of(logits: Tensor, patients: list[Patient], options: FitSettings) -> Tensor:
    """The chosen loss of some patients' logits [b, c]."""
    device = logits.device
    poor = torch.tensor([patient.label == "poor" for patient in patients], device=device)
    time_years, event = (values.to(device) for values in times_and_events(patients))
    cuts = torch.tensor(options.interval_years, device=device)
    targets = Targets(poor, time_years, event, (1.0, options.class_weight_poor), cuts)
    return loss_value(options.loss, logits, targets)
