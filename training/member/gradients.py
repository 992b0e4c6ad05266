"""One step's gradients: augment, forward, loss, backward, in as many parts as memory asks for."""

from collections.abc import Callable

import torch
from torch import Tensor

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.networks.augmentation import augment
from pathoprog.networks.losses import Targets, loss_value
from pathoprog.networks.member import prepare
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
    """One step's gradients, in `fit.accumulate` parts; returns the loss."""
    options = settings.fit
    per_part = options.patients_per_step // options.accumulate
    t = options.tiles_per_patient
    total = torch.zeros((), device=device)
    for part in range(options.accumulate):
        chosen = [patients[index] for index in batch.patients[part * per_part : (part + 1) * per_part]]
        tiles = torch.from_numpy(batch.tiles[part * per_part * t : (part + 1) * per_part * t])
        tiles = prepare(augment(tiles.to(device, non_blocking=True), settings.augment, generator))  # [b * t, 3, s, s]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = forward(tiles, [t] * per_part)  # [b, c]
        loss = loss_of(logits.float(), chosen, options) / options.accumulate
        torch.autograd.backward(loss)
        total += loss.detach()
    return float(total)


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
