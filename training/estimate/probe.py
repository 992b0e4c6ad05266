"""A few steps of a candidate on tiles of noise, to learn what one takes: the child process of an estimate.

As ``python -m pathoprog.training.estimate.probe SETTINGS.json ANSWER.json`` it runs where a candidate would: the same
device, precision and threads. A GPU is given a whole part of a step, whose memory is then known. A CPU, on which that
may take minutes, is given a few tiles, and what they take is scaled.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from pathoprog.networks.member import MilNetwork, prepare
from pathoprog.networks.recomputing import recompute_blocks
from pathoprog.system.files import read_json, write_json
from pathoprog.system.machine.allocator import keep_freed_memory
from pathoprog.system.machine.device import resolve_device, resolve_dtype
from pathoprog.system.machine.memory import memory_bytes, peak_bytes
from pathoprog.training.config import TrainConfig
from pathoprog.training.data.bags import BagBatch, Patient
from pathoprog.training.data.tile_store import spec_of
from pathoprog.training.estimate.workload import WHOLE_BAG
from pathoprog.training.member.fit import make_optimizer, out_of_memory, update_average
from pathoprog.training.member.gradients import backward
from pathoprog.training.train import settings_from_dict

WARM_UP, TIMED = 1, 2
CPU_BAGS, CPU_TILES, CPU_FEATURES = 2, 2, 256
"""Bags, and tiles or rows of features of each, that a CPU is given."""


def measure(settings: TrainConfig) -> dict[str, Any]:
    """What a step takes.

    Returns:
        `device`, its type; `seconds_per_tile` forward and back, `seconds_per_judged_tile` forward alone,
        `seconds_per_step` of what does not depend on tiles; `bytes` at the largest and of them `bytes_fixed`;
        `bytes_total` and `bytes_free` of the device's memory (the machine's, on a CPU); `parameters`; `out_of_memory`,
        True where even one part does not fit; `tiles`, how many a part was.
    """
    torch.set_num_threads(settings.fit.threads)
    keep_freed_memory()
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.fit.dtype, device)
    one = _one_part(settings, device)
    torch.manual_seed(settings.seed)
    network = MilNetwork(replace(one.network, weights="")).to(device)
    network.encoder.to(memory_format=torch.channels_last)
    if one.fit.checkpoint_activations:
        recompute_blocks(network.encoder)
    optimizer = make_optimizer(network, one.fit, one.fit.head_lr)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for parameter in network.parameters():  # the optimiser's state is there before memory is looked at
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    total, free = _memory(device)
    fixed = _peak(device)
    batch = _batch(one)
    n = len(batch.tiles)
    found: dict[str, Any] = {
        "device": device.type, "bytes_fixed": fixed, "bytes_total": total, "bytes_free": free, "tiles": n,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }  # fmt: skip
    try:
        network.train()
        timed = [_timed(device, lambda: _gradients(one, network, batch, device, dtype)) for _ in range(WARM_UP + TIMED)]
        rest = [_timed(device, lambda: _rest(one, network, optimizer, average)) for _ in range(WARM_UP + TIMED)]
        judged = _judged_seconds(network, batch, device, dtype)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        return {**found, "out_of_memory": True}
    return found | {
        "out_of_memory": False,
        "bytes": _peak(device),
        "seconds_per_tile": min(timed[WARM_UP:]) / n,
        "seconds_per_step": min(rest[WARM_UP:]),
        "seconds_per_judged_tile": judged / n,
    }


def _one_part(settings: TrainConfig, device: torch.device) -> TrainConfig:
    """The settings of a step that is one part of the real one; on a CPU a small one."""
    fit = settings.fit
    bags = fit.patients_per_step // (max(1, fit.gpus) * fit.accumulate)
    tiles = fit.tiles_per_patient or WHOLE_BAG
    if device.type == "cpu":
        most = CPU_FEATURES if settings.data.source == "features" else CPU_TILES
        bags, tiles = min(bags, CPU_BAGS), min(tiles, most)
    return replace(settings, fit=replace(fit, patients_per_step=bags, tiles_per_patient=tiles, accumulate=1, gpus=1))


def _batch(settings: TrainConfig) -> BagBatch:
    bags, tiles = settings.fit.patients_per_step, settings.fit.tiles_per_patient
    rng, n = np.random.default_rng(0), bags * tiles
    if settings.data.source == "features":
        shown: Any = rng.standard_normal((n, settings.network.feature_dim), np.float32)
    else:
        side = spec_of(settings.data, settings.resolution).size_px
        shown = rng.integers(0, 256, (n, side, side, 3), np.uint8)
    return BagBatch(list(range(bags)), shown, [tiles] * bags)


def _gradients(
    settings: TrainConfig, network: MilNetwork, batch: BagBatch, device: torch.device, dtype: torch.dtype
) -> None:
    patients = [
        Patient(str(k), [], 500.0 + k, k % 2, ("good", "poor")[k % 2], "", "") for k in range(len(batch.patients))
    ]
    backward(network, settings, patients, batch, 0, device, dtype)


def _rest(settings: TrainConfig, network: nn.Module, optimizer: Any, average: dict[str, torch.Tensor]) -> None:
    nn.utils.clip_grad_norm_(network.parameters(), settings.fit.clip_norm)
    optimizer.step()
    update_average(average, network, settings.fit.ema_decay, 0)


def _judged_seconds(network: MilNetwork, batch: BagBatch, device: torch.device, dtype: torch.dtype) -> float:
    network.eval()
    tiles = torch.from_numpy(batch.tiles)

    def forward() -> None:
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            network.instances(prepare(tiles.to(device)))

    return min([_timed(device, forward) for _ in range(WARM_UP + TIMED)][WARM_UP:])


def _timed(device: torch.device, work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _memory(device: torch.device) -> tuple[int, int]:
    """All and free bytes of the memory that the network lies in, before it takes any more."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(total), int(free) + int(torch.cuda.memory_reserved(device))
    return memory_bytes()


def _peak(device: torch.device) -> int:
    """The most that this process has taken of it so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    return peak_bytes()


def main(request: str, answer: str) -> int:
    """Measure what a settings file describes, and write it down."""
    write_json(answer, measure(settings_from_dict(read_json(request))))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
