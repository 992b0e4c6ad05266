"""Judging a network on some patients: everybody's risk from the whole bag, Harrell's c, and the loss."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from pathoprog.errors import DivergedError
from pathoprog.networks.config import LOSSES
from pathoprog.networks.member import MilNetwork, prepare
from pathoprog.survival import harrell_c
from pathoprog.training.config import FitSettings
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.prefetch import in_turn
from pathoprog.training.member.candidate import JudgedLoss, Verdict
from pathoprog.training.member.device_group import ALONE, DeviceGroup
from pathoprog.training.member.gradients import loss_of, weight_of


def spread(n: int, most: int) -> np.ndarray:
    """Numbers of at most `most` of n tiles, evenly spread; all of them where `most` is 0."""
    return np.arange(n) if most == 0 or n <= most else np.linspace(0, n - 1, most).round().astype(np.int64)


@torch.inference_mode()
def judge(
    network: MilNetwork,
    patients: list[Patient],
    most_tiles: int,
    batch: int,
    device: torch.device,
    dtype: torch.dtype,
    ahead: int = 0,
    group: DeviceGroup = ALONE,
    options: FitSettings | None = None,
) -> Verdict:
    """Score every patient's bag with one network in evaluation mode.

    Args:
        network: on `device`.
        patients: with tiles and outcomes.
        most_tiles: of a patient; 0 = all.
        batch: tiles at once.
        device: where the network is.
        dtype: bf16 runs the encoder under autocast.
        ahead: batches that slides' readers are asked for beforehand.
        group: the processes that share out the patients; each comes to the same verdict.
        options: settings of the loss, which the verdict then has too; None: it is not asked for.

    Raises:
        DivergedError: a risk that is not finite.
    """
    batches = []
    mine = slice(group.share.number, None, group.share.of)  # by turns, since neighbours may be alike in size
    shown = patients[mine]
    for patient in shown:
        chosen = spread(patient.n_tiles, most_tiles)
        batches.append([chosen[start : start + batch] for start in range(0, len(chosen), batch)])
    asks = (partial(patient.ask, part) for patient, parts in zip(shown, batches, strict=True) for part in parts)
    read = in_turn(asks, ahead)
    risks, outputs = [], []
    for parts in batches:
        found = []
        for _ in parts:
            tiles = torch.from_numpy(next(read)).to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                found.append(network.instances(prepare(tiles)))  # [n, k]
        instances = torch.cat(found)
        logits = network.bag_logits(instances, [len(instances)])  # [1, c]
        outputs.append(logits.float())
        risks.append(float(network.risk(logits)))
    risks = group.gathered(torch.tensor(risks, dtype=torch.float64, device=device), len(patients), mine).tolist()
    if not np.isfinite(risks).all():
        raise DivergedError("a tuning patient's risk is not finite: the network has diverged; lower fit.lr")
    verdict = judgement(patients, risks)
    if options is None:
        return verdict
    width = network.classifier.out_features
    own = torch.cat(outputs) if outputs else torch.zeros(0, width, device=device)
    return replace(verdict, loss=judged_loss(group.gathered(own, len(patients), mine), patients, options))


def judged_loss(logits: torch.Tensor, patients: list[Patient], options: FitSettings) -> JudgedLoss | None:
    """The loss that training minimises, of patients whom a network in evaluation mode has seen.

    A loss that is a mean over patients has the standard error of a weighted mean; one that compares them has none.

    Args:
        logits: [n, c] of the patients.
        patients: all of them; cross-entropy takes those with a distinct outcome alone.
        options: the loss, its weights and intervals.

    Returns:
        None where it is not defined: no patient with a distinct outcome, or none with the event.
    """
    loss = LOSSES[options.loss]
    kept = [number for number, patient in enumerate(patients) if patient.label or not loss.distinct_only]
    chosen = [patients[number] for number in kept]
    if not chosen or (loss.compares_patients and not any(patient.event for patient in chosen)):
        return None
    seen = logits[kept].cpu()
    value = float(loss_of(seen, chosen, options))
    if loss.compares_patients:
        return JudgedLoss(value=value, se=float("nan"), n=len(chosen))
    each = np.array([float(loss_of(seen[k : k + 1], chosen[k : k + 1], options)) for k in range(len(chosen))])
    weights = np.array([weight_of([patient], options) for patient in chosen])
    se = float(np.sqrt((weights**2 * (each - value) ** 2).sum()) / weights.sum())
    return JudgedLoss(value=value, se=se, n=len(chosen))


def judgement(patients: list[Patient], risks: list[float]) -> Verdict:
    """What risks, in the order of the patients, come to."""
    times = np.array([patient.followup_days for patient in patients])
    events = np.array([patient.event for patient in patients])
    c = harrell_c(times, events, np.array(risks))
    return Verdict(
        c_index=c.value,
        c_se=c.se,
        c_lower=c.lower,
        c_upper=c.upper,
        patient_ids=tuple(patient.patient_id for patient in patients),
        risks=tuple(risks),
    )
