"""What processes of a device group do in the tests: a module of its own, since a spawned process imports it by name."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pathoprog.errors import PathoprogError
from pathoprog.networks.member import MilNetwork
from pathoprog.networks.recomputing import recompute_blocks
from pathoprog.training.config import TrainConfig
from pathoprog.training.data.bags import Sampler, Share, read_patients
from pathoprog.training.member import checkpoint
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.device_group import DeviceGroup
from pathoprog.training.member.fit import fit
from pathoprog.training.member.gradients import backward
from pathoprog.training.member.tuning_concordance import judge


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """Hash of tensors' bits."""
    found = hashlib.sha256()
    for tensor in tensors.values():
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def fit_and_tell(group: DeviceGroup, settings: TrainConfig) -> dict[str, Any]:
    """Train; tells the hashes of what was judged, and the verdicts."""
    told: dict[str, Any] = {"networks": [], "risks": []}
    tuning = read_patients(settings, "tuning")[:5]  # which two processes cannot share out evenly

    def judged(network: Any, device: torch.device, dtype: torch.dtype) -> Verdict:
        verdict = judge(network, tuning, 0, 4, device, dtype, 0, group)
        told["networks"].append(hash_of(network.state_dict()))
        told["risks"].append(verdict.risks)
        return verdict

    fit(settings, read_patients(settings, "training"), judged, lambda line: None, lambda done: None, group)
    return told


STEP = 4
GRADIENTS = "gradients.safetensors"


def gradients(group: DeviceGroup, settings: TrainConfig) -> dict[str, Any]:
    """One step's gradients, which the first process writes; tells the loss, and the hash of what there is to write."""
    options, patients = settings.fit, read_patients(settings, "training")
    sampler = Sampler(patients, "none", options.patients_per_step, options.tiles_per_patient, 1, group.share)
    torch.manual_seed(settings.seed)
    network = MilNetwork(settings.network).train()
    if options.checkpoint_activations:
        recompute_blocks(network.encoder)
    batch, cpu = sampler.batch(STEP), torch.device("cpu")
    loss = backward(network, settings, patients, batch, STEP, cpu, torch.float32, group)
    group.add_gradients(network)
    found = {name: one.grad for name, one in network.named_parameters() if one.grad is not None}
    if group.is_first:
        checkpoint.write(Path(settings.out) / GRADIENTS, found, {})
    return {"loss": loss.item(), "hash": hash_of(found)}


def unlike(group: DeviceGroup, _: TrainConfig) -> dict[str, Any]:
    """Networks that differ in one number of one process are found out by all."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    group.check_alike(network, 1)
    if not group.is_first:
        network.weight.data[1, 1] += 1e-7
    try:
        group.check_alike(network, 2)
    except PathoprogError as error:
        return {"said": str(error)}
    return {"said": ""}


TASKS: dict[str, Callable[[DeviceGroup, TrainConfig], dict[str, Any]]] = {
    "fit": fit_and_tell,
    "gradients": gradients,
    "unlike": unlike,
}


def _work(task: str, settings: TrainConfig, number: int, of: int, meeting: Path) -> None:
    torch.set_num_threads(1)
    with DeviceGroup(Share(number, of), "cpu", meeting) as group:
        told = TASKS[task](group, settings)
    (meeting / f"told-{number}.json").write_text(json.dumps(told))


def in_processes(task: str, settings: TrainConfig, of: int, meeting: Path) -> list[dict[str, Any]]:
    """What each of `of` processes tells of a task."""
    meeting.mkdir()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(task, settings, number, of, meeting)) for number in range(of)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * of
    return [json.loads((meeting / f"told-{number}.json").read_text()) for number in range(of)]
