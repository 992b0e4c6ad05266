"""How fast a training step is: tiles a second, the share of the time waiting for data, the ratio to the bare bound.

    python benchmarks/train_step.py [key=value …]     as it is: full size on a GPU, a small step on the CPU

Keys: device, patients, tiles (a patient), accumulate, steps, size_px, threads, compile. The loop is the real one
(`pathoprog.training.member.fit`) on tiles in a store of its own, with the augmentation of
configs/experiment/domore_v1.yaml. The bound is forward and backward of the same network on tiles that lie normalised on
the device already. Needs neither MLflow nor Hydra (docs/gpu.md).
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.losses import cross_entropy
from pathoprog.networks.member import MilNetwork
from pathoprog.system.machine.compiling import compiled
from pathoprog.system.machine.device import device_name, dtype_name, resolve_device, resolve_dtype
from pathoprog.training.config import FitSettings, TrainConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.tile_store import StoredSlide
from pathoprog.training.member.candidate import Verdict
from pathoprog.training.member.fit import fit

FULL = {"patients": 16, "tiles": 32, "accumulate": 2, "steps": 30, "size_px": 448, "threads": 1, "compile": 0}
SMALL = FULL | {"patients": 2, "tiles": 4, "accumulate": 1, "steps": 8}
WARM_UP = 3
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
    """Patients with noise for tiles, in files as the tile store keeps them; half of them poor."""
    rng = np.random.default_rng(0)
    patients = []
    for number in range(2 * sizes["patients"]):
        shape = (STORED_TILES * sizes["tiles"], sizes["size_px"], sizes["size_px"], 3)
        path = folder / f"{number}.npy"
        np.save(path, rng.integers(0, 256, shape, dtype=np.uint8))
        slide = StoredSlide(str(number), "", np.load(path, mmap_mode="r"))
        label = ("good", "poor")[number % 2]
        patients.append(Patient(str(number), [slide], 1000.0, number % 2, label, "site", "cohort"))
    return patients


def by_the_loop(settings: TrainConfig, patients: list[Patient]) -> tuple[float, float]:
    """Tiles a second and the share of the time waiting for data, over the steps behind the warm-up (medians)."""
    lines: list[dict[str, float]] = []
    nothing = Verdict(c_index=0.5, c_se=0.0, c_lower=0.5, c_upper=0.5, patient_ids=(), risks=())
    fit(settings, patients, lambda *_: nothing, lines.append, lambda _: None)
    steps = [line for line in lines if "tiles_per_s" in line][WARM_UP:]
    rate = statistics.median(line["tiles_per_s"] for line in steps)
    return rate, statistics.median(line["wait_share"] for line in steps)


def by_the_bound(settings: TrainConfig, size_px: int) -> float:
    """Tiles a second of forward and backward alone, a step's part at a time, everything on the device."""
    options = settings.fit
    device = resolve_device(settings.device)
    dtype = resolve_dtype(options.dtype, device)
    network = MilNetwork(settings.network).to(device).train()
    network.encoder.to(memory_format=torch.channels_last)
    forward = compiled(network, options.compile)
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
        rate, waiting = by_the_loop(settings, made_patients(folder, sizes))
        bound = max(before, by_the_bound(settings, sizes["size_px"]))  # before and after: other work comes and goes
        print(f"loop: {rate:.1f} tiles/s, {waiting:.1%} of the time waiting for data")
        print(f"bare forward and backward: {bound:.1f} tiles/s")
        print(f"the loop reaches {rate / bound:.1%} of it (asked at full size: 85%)")
        if device.type == "cuda":
            print(f"largest memory: {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
