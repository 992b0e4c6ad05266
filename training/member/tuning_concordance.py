"""Judging a network on tuning: every patient's risk from its whole bag, and Harrell's c."""

from functools import partial

import numpy as np
import torch

from pathoprog.errors import DivergedError
from pathoprog.networks.member import MilNetwork, prepare
from pathoprog.survival import harrell_c
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.prefetch import in_turn
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.device_group import ALONE, DeviceGroup


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
    risks = []
    for parts in batches:
        found = []
        for _ in parts:
            tiles = torch.from_numpy(next(read)).to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                found.append(network.instances(prepare(tiles)))  # [n, k]
        instances = torch.cat(found)
        risks.append(float(network.risk(network.bag_logits(instances, [len(instances)]))))
    risks = group.gathered(torch.tensor(risks, dtype=torch.float64, device=device), len(patients), mine).tolist()
    if not np.isfinite(risks).all():
        raise DivergedError("a tuning patient's risk is not finite: the network has diverged; lower fit.lr")
    return judgement(patients, risks)


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
