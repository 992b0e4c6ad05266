"""How fast a training step is: tiles a second, the ratio to the bare bound, and what the step's time goes to.

    python benchmarks/train_step.py [key=value …]     as it is: full size on a GPU, a small step on the CPU

Keys: device, patients, tiles (a patient), accumulate, steps, size_px, threads, compile, checkpoint_activations,
prefetch, fetch_threads, jpeg (quality of a store of JPEGs; 0: raw). The loop is the real one
(`pathoprog.training.member.fit`) on tiles in a store of its own, with the augmentation of
configs/experiment/domore_v1.yaml. The bound is forward and backward of the same network on tiles that lie normalised on
the device already. The shares are those of the same step taken apart: each part begins when the one before is done,
while in the loop tiles are fetched beside the rest. Needs neither MLflow nor Hydra (docs/gpu.md).
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pathoprog.networks.augmentation import augment
from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.losses import cross_entropy
from pathoprog.networks.member import MilNetwork, prepare
from pathoprog.networks.recomputing import recompute_blocks
from pathoprog.system.file_array import FileArray
from pathoprog.system.machine.compiling import compiled
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device import device_name, dtype_name, resolve_device, resolve_dtype
from pathoprog.training.config import FitSettings, TrainConfig
from pathoprog.training.data.bags import Patient, Sampler
from pathoprog.training.data.jpeg_tiles import JpegTiles, JpegWriter
from pathoprog.training.data.prefetch import Prefetch
from pathoprog.training.data.tile_store import StoredSlide
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.fit import fit, make_optimizer, update_average
from pathoprog.training.member.gradients import loss_of

FULL = {"patients": 16, "tiles": 32, "accumulate": 2, "steps": 30, "size_px": 448, "threads": 1, "compile": 0,
        "checkpoint_activations": 0, "prefetch": 2, "fetch_threads": 4, "jpeg": 0}  # fmt: skip
SMALL = FULL | {"patients": 2, "tiles": 4, "accumulate": 1, "steps": 8}
WARM_UP = 3
Forward = Callable[[Tensor, list[int]], Tensor]
PARTS = ("fetch", "augment", "forward", "backward", "optimiser")
STORED_TILES = 2  # times as many tiles a patient as a step draws


def full_recipe(device: str, out: str, sizes: dict[str, int]) -> TrainConfig:
    """The settings of domore_v1, with the step's sizes; nothing is judged or kept before the last step."""
    return TrainConfig(
        out=out,
        device=device,
        network=NetworkSettings(encoder="mobilenet_v2", width=1.0, pooling="noisy_and", instance_dim=64),
        augment=AugmentSettings(stain=0.2, stain_shift=0.02, brightness=0.05, blur=1.0, zoom=0.05, jpeg=0.1),
        fit=FitSettings(
            steps=sizes["steps"],
            patients_per_step=sizes["patients"],
            tiles_per_patient=sizes["tiles"],
            accumulate=sizes["accumulate"],
            threads=sizes["threads"],
            compile=bool(sizes["compile"]),
            checkpoint_activations=bool(sizes["checkpoint_activations"]),
            prefetch=sizes["prefetch"],
            fetch_threads=sizes["fetch_threads"],
            lr=5e-4,
            warmup_steps=500,
            ema_decay=0.999,
            recalibrate=1,
            evaluate_every=sizes["steps"],
            checkpoint_every=sizes["steps"],
            log_every=1,
        ),
    )


def made_patients(folder: Path, sizes: dict[str, int]) -> list[Patient]:
    """Patients with blots and noise for tiles, in files as the tile store keeps them; half of them poor."""
    rng = np.random.default_rng(0)
    patients = []
    side, blot = sizes["size_px"], 16
    for number in range(2 * sizes["patients"]):
        shape = (STORED_TILES * sizes["tiles"], side, side, 3)
        blots = rng.integers(60, 220, (shape[0], -(-side // blot), -(-side // blot), 3), dtype=np.uint8)
        tiles = blots.repeat(blot, 1).repeat(blot, 2)[:, :side, :side] + rng.integers(0, 16, shape, dtype=np.uint8)
        path = folder / f"{number}.tiles"
        slide = StoredSlide(str(number), "", stored(path, tiles, sizes["jpeg"]))
        label = ("good", "poor")[number % 2]
        patients.append(Patient(str(number), [slide], 1000.0, number % 2, label, "site", "cohort"))
    return patients


def stored(path: Path, tiles: NDArray[np.uint8], quality: int) -> FileArray | JpegTiles:
    """The tiles in a file, as the store reads them."""
    if not quality:
        with path.open("wb") as stream:
            np.save(stream, tiles)
        return FileArray.npy(path)
    with ThreadPoolExecutor(cores()) as pool:
        writer = JpegWriter(path, tiles.shape, quality, pool)
        writer[:] = tiles
        writer.flush()
    return JpegTiles(path)


def by_the_loop(settings: TrainConfig, patients: list[Patient]) -> tuple[float, float]:
    """Tiles a second and the share of the time waiting for data, over the steps behind the warm-up (medians)."""
    lines: list[dict[str, float]] = []
    nothing = Verdict(c_index=0.5, c_se=0.0, c_lower=0.5, c_upper=0.5, patient_ids=(), risks=())
    fit(settings, patients, lambda *_: nothing, lines.append, lambda _: None)
    steps = [line for line in lines if "tiles_per_s" in line][WARM_UP:]
    rate = statistics.median(line["tiles_per_s"] for line in steps)
    return rate, statistics.median(line["fetch_share"] for line in steps)


def ready_network(settings: TrainConfig, device: torch.device) -> tuple[MilNetwork, Forward]:
    """A fresh network as the loop has it, and what to call for its logits."""
    network = MilNetwork(settings.network).to(device).train()
    network.encoder.to(memory_format=torch.channels_last)
    if settings.fit.checkpoint_activations:
        recompute_blocks(network.encoder)
    return network, compiled(network, settings.fit.compile)


def by_the_bound(settings: TrainConfig, size_px: int) -> float:
    """Tiles a second of forward and backward alone, a step's part at a time, everything on the device."""
    options = settings.fit
    device = resolve_device(settings.device)
    dtype = resolve_dtype(options.dtype, device)
    network, forward = ready_network(settings, device)
    bags = options.patients_per_step // options.accumulate
    n = bags * options.tiles_per_patient
    tiles = torch.randn(n, 3, size_px, size_px, device=device).to(memory_format=torch.channels_last)
    poor = torch.arange(bags, device=device) % 2 == 1
    seconds = []
    for _ in range(max(6, options.steps // 2)):
        began = time.perf_counter()
        for _ in range(options.accumulate):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                logits = forward(tiles, [options.tiles_per_patient] * bags)
            torch.autograd.backward(cross_entropy(logits.float(), poor))
        network.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return options.accumulate * n / statistics.median(seconds[WARM_UP:])


def taken_apart(settings: TrainConfig, patients: list[Patient]) -> dict[str, float]:
    """Seconds of each part of a step (medians behind the warm-up), each waited for before the next begins."""
    options = settings.fit
    device = resolve_device(settings.device)
    dtype = resolve_dtype(options.dtype, device)
    network, forward = ready_network(settings, device)
    optimizer = make_optimizer(network, options, options.head_lr)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    sampler = Sampler(patients, options.balance, options.patients_per_step, options.tiles_per_patient, settings.seed)
    bags = options.patients_per_step // options.accumulate
    n_steps = max(WARM_UP + 3, options.steps // 2)
    parts: dict[str, list[float]] = {name: [] for name in PARTS}
    began = time.perf_counter()

    def lap(step: int, name: str) -> None:
        nonlocal began
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        if len(parts[name]) == step:
            parts[name].append(0.0)
        parts[name][step] += now - began
        began = now

    with Prefetch(sampler, 0, n_steps, 0, options.fetch_threads, device.type == "cuda") as batches:
        for step in range(n_steps):
            generator = torch.Generator().manual_seed(step)
            began = time.perf_counter()
            batch = batches.get(step)
            lap(step, "fetch")
            for number, part in enumerate(np.split(batch.tiles, options.accumulate)):
                chosen = [patients[index] for index in batch.patients[number * bags : (number + 1) * bags]]
                tiles = prepare(augment(torch.from_numpy(part).to(device), settings.augment, generator))
                lap(step, "augment")
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                    logits = forward(tiles, [options.tiles_per_patient] * bags)
                loss = loss_of(logits.float(), chosen, options) / options.accumulate
                lap(step, "forward")
                torch.autograd.backward(loss)
                lap(step, "backward")
            torch.nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            update_average(average, network, options.ema_decay, step)
            lap(step, "optimiser")
    return {name: statistics.median(seconds[WARM_UP:]) for name, seconds in parts.items()}


def shares(parts: dict[str, float], prefetch: int) -> list[str]:
    """What the parts say: the share of each, and which of the two that run beside one another sets the pace."""
    whole = sum(parts.values())
    work = whole - parts["fetch"]
    said = ", ".join(f"{name} {seconds / whole:.1%}" for name, seconds in parts.items())
    beside = work if prefetch else whole
    if prefetch and parts["fetch"] > work:
        bound = f"reading: it takes {parts['fetch'] / work:.1f} times as long as all else (more fetch_threads may help)"
    else:
        longest = max((name for name in parts if name != "fetch"), key=parts.__getitem__)
        bound = f"the device's work, most of it {longest} ({parts[longest] / beside:.1%} of it)"
    return [f"one step taken apart, {1e3 * whole:.0f} ms: {said}", f"it is bound by {bound}"]


def main(arguments: list[str]) -> int:
    given = dict(argument.split("=", 1) for argument in arguments)
    device = resolve_device(given.pop("device", "auto"))
    sizes = (FULL if device.type == "cuda" else SMALL) | {key: int(value) for key, value in given.items()}
    if unknown := sizes.keys() - FULL.keys():
        sys.exit(f"no such key: {', '.join(sorted(unknown))}; there are device, {', '.join(FULL)}")
    if sizes["steps"] <= WARM_UP:
        sys.exit(f"steps={sizes['steps']}: more than the {WARM_UP} of the warm-up are needed")
    torch.set_num_threads(sizes["threads"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = full_recipe(str(device), str(folder / "run"), sizes)
        dtype = dtype_name(resolve_dtype(settings.fit.dtype, device))
        print(f"{device_name(device)}, {dtype}, {sizes['threads']} threads; torch {torch.__version__}")
        print(
            f"a step: {sizes['patients']} patients x {sizes['tiles']} tiles of {sizes['size_px']} px in"
            f" {sizes['accumulate']} parts"
        )
        before = by_the_bound(settings, sizes["size_px"])
        patients = made_patients(folder, sizes)
        rate, waiting = by_the_loop(settings, patients)
        bound = max(before, by_the_bound(settings, sizes["size_px"]))  # before and after: other work comes and goes
        print(f"loop: {rate:.1f} tiles/s, {waiting:.1%} of the time waiting for data")
        print(f"bare forward and backward: {bound:.1f} tiles/s")
        print(f"the loop reaches {rate / bound:.1%} of it (asked at full size: 85%)")
        print("\n".join(shares(taken_apart(settings, patients), sizes["prefetch"])))
        if device.type == "cuda":
            print(f"largest memory: {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
