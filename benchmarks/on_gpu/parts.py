"""The other parts: what the device can do, a training step, classes by device and precision, the GPU tests."""

import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from made_bundle import made_bundle
from made_slides import GLASS, write_pyramid
from numpy.typing import NDArray

from benchmarks import train_step
from benchmarks.on_gpu.scoring import repeated, scored
from benchmarks.on_gpu.sizes import Row, Setting
from pathoprog.ensemble.classes import risk_class
from pathoprog.stream.slide_stream import SlideJob
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device import dtype_name, exact_fp32, resolve_dtype
from pathoprog.system.machine.pinned import register_for
from pathoprog.tiles.grid import standard_spec

ROOT = Path(__file__).resolve().parents[2]
NEAR = 0.01
"""A class may change where a score lies so near to its threshold."""


def roofline(here: Setting) -> list[Row]:
    """Measured bandwidths and matrix rates."""
    n, rows = here.sizes.copied_mib << 20, []
    there, other = (torch.zeros(n, dtype=torch.uint8, device=here.device) for _ in range(2))

    def copying(what: str, source: torch.Tensor, note: str) -> None:
        seconds = repeated(lambda: there.copy_(source, non_blocking=True), here)
        moved = 2 * n if source is other else n
        rows.append(Row(what, moved / seconds / 1e9, "GB/s", note))

    copying("device copy", other, "bytes read and written")
    memory = np.zeros(n, np.uint8)
    copying("host to device, pageable", torch.from_numpy(memory), "")
    locked = register_for(here.device, here.tell)
    if locked is not None:
        release = locked(memory)
        copying("host to device, page-locked", torch.from_numpy(memory), "as the readers' memory is")
        release()
    side = here.sizes.matrix
    for dtype, length in ((torch.bfloat16, side), (torch.float32, side // 2)):
        one, two = (torch.randn(length, length, device=here.device).to(dtype) for _ in range(2))
        with exact_fp32():
            seconds = repeated(partial(torch.matmul, one, two), here)
        rows.append(
            Row(f"matrices, {dtype_name(dtype)}", 2 * length**3 / seconds / 1e12, "TFLOP/s", f"{length} a side")
        )
    return rows


def training(here: Setting) -> list[Row]:
    """The real training step against forward and backward alone."""
    base = train_step.FULL if here.on_cuda else train_step.SMALL
    sizes = base | dict(here.sizes.training)
    torch.set_num_threads(sizes["threads"])
    settings = train_step.full_recipe(str(here.device), str(here.folder / "run"), sizes)
    before = train_step.by_the_bound(settings, sizes["size_px"])
    rate, waiting = train_step.by_the_loop(settings, train_step.made_patients(here.folder, sizes))
    bound = max(before, train_step.by_the_bound(settings, sizes["size_px"]))
    dtype = dtype_name(resolve_dtype(settings.fit.dtype, here.device))
    step = f"{sizes['patients']} patients of {sizes['tiles']} tiles of {sizes['size_px']} px, {dtype}"
    return [
        Row("training: rate", rate, "tiles/s", f"{step}; {waiting:.0%} of the time waiting for data"),
        Row("bare forward and backward", bound, "tiles/s", ""),
        Row("training against it", 100 * rate / bound, "%", "asked: 85"),
    ]


def made_slides(here: Setting) -> list[Path]:
    """Small slides in stains and textures of their own."""
    made, side_px = [], here.sizes.compared_px
    for seed in range(here.sizes.compared):
        rng = np.random.default_rng(seed)
        blocks = rng.normal(0, rng.uniform(10, 60), (side_px // 8, side_px // 8, 1)).repeat(8, 0).repeat(8, 1)
        stain = rng.uniform((120, 60, 120), (215, 150, 200))
        image = np.clip(stain + blocks * rng.uniform(0.5, 1.5, 3), 0, 255)
        edge = side_px // 8
        for side in (np.s_[:edge], np.s_[-edge:], np.s_[:, :edge], np.s_[:, -edge:]):
            image[side] = GLASS
        made.append(write_pyramid(here.folder / f"compared-{seed:03}.tif", image.astype(np.uint8), levels=2))
    return made


def classes(here: Setting) -> list[Row]:
    """Scores and classes of the same slides by device and precision, against those of the CPU in fp32."""
    bundle = made_bundle(here.folder / "small")
    specs = [standard_spec(name, 96) for name in ("10x", "40x")]
    jobs = [SlideJob(path.stem, str(path), specs, hash_content=False) for path in made_slides(here)]
    cpu, fp32, bf16 = torch.device("cpu"), torch.float32, torch.bfloat16
    ways = {"CPU, fp32": (cpu, fp32), "bf16": (here.device, bf16)}
    if here.on_cuda:
        ways = {"CPU, fp32": (cpu, fp32), "GPU, fp32": (here.device, fp32), "GPU, bf16": (here.device, bf16)}
    found: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    rows = []
    for name, (device, dtype) in ways.items():
        began = time.perf_counter()
        _, outcomes, _ = scored(bundle, jobs, device, dtype, here)
        scores = {outcome.slide_id: outcome.resolutions for outcome in outcomes}
        found[name] = np.array([[scores[job.slide_id][spec.resolution].score for spec in specs] for job in jobs])
        rows.append(
            Row(f"slides scored: {name}", time.perf_counter() - began, "s", f"{len(jobs)} slides, start-up too")
        )
    wanted = found.pop("CPU, fp32")
    middle = np.median(wanted, axis=0)  # so that classes are divided
    thresholds = dict(zip(("10x", "40x"), map(float, middle), strict=True))

    def class_of(scores: NDArray[np.float64]) -> str:
        return risk_class(dict(zip(thresholds, map(float, scores), strict=True)), thresholds)

    pairs = {f"{name} against CPU, fp32": (values, wanted) for name, values in found.items()}
    if here.on_cuda:
        pairs["GPU, bf16 against GPU, fp32"] = found["GPU, bf16"], found["GPU, fp32"]
    for name, (values, others) in pairs.items():
        changed = [index for index in range(len(jobs)) if class_of(values[index]) != class_of(others[index])]
        far = sum(bool((abs(others[index] - middle) > NEAR).all()) for index in changed)
        spread = f"scores from {wanted.min():.2f} to {wanted.max():.2f}"
        rows.append(Row(f"largest difference: {name}", float(abs(values - others).max()), "", spread))
        note = (
            f"of {len(jobs)}, thresholds at the medians; {far} of them further than {NEAR} from a threshold (asked: 0)"
        )
        rows.append(Row(f"classes changed: {name}", len(changed), "slides", note))
    return rows


def gpu_tests(here: Setting) -> list[Row]:
    """`make test-gpu` with this Python; where there is no GPU they skip themselves."""
    call = ["make", "test-gpu", f"GPU_PYTHON={sys.executable}"]
    result = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    here.tell(result.stdout[-6000:] + result.stderr[-2000:])
    lines = [line for line in result.stdout.splitlines() if re.search(r"\d+ (passed|failed|skipped|error)", line)]
    last = lines[-1].strip("= ") if lines else f"exit code {result.returncode}"
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    if result.returncode not in (0, 5):
        raise RuntimeError(f"{last}; see the log")
    return [Row("GPU tests passed", counts.get("passed", 0), "tests", last)]


def machine(here: Setting) -> dict[str, str]:
    """What it was measured on."""
    facts = {"python": sys.version.split()[0], "torch": torch.__version__, "cores": str(cores()), "gpu": "none"}
    if here.on_cuda:
        memory = torch.cuda.get_device_properties(here.device).total_memory / 2**30
        facts |= {"gpu": f"{torch.cuda.get_device_name(here.device)}, {memory:.0f} GiB"}
        facts |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return facts
