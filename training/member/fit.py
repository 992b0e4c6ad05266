"""The training loop of one candidate, in sight: draw, augment, forward, backward, step; judge on tuning; keep the best.

Everything random is a function of (seed, step), so a run that was killed and resumed gives the weights of one that was
not (bit for bit on CPUs of one type with equal settings). Where several devices share a step (`device_group`), each has
a process that goes through this loop, and the first of them alone writes.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pathoprog.errors import DivergedError, InputError, PathoprogError
from pathoprog.networks.config import LOSSES
from pathoprog.networks.losses import baseline_logits
from pathoprog.networks.member import MilNetwork, prepare
from pathoprog.networks.recomputing import recompute_blocks
from pathoprog.settings import as_dict
from pathoprog.slides.config import reading
from pathoprog.slides.resolutions import in_order
from pathoprog.system.files import sha256_value
from pathoprog.system.machine.allocator import keep_freed_memory
from pathoprog.system.machine.compiling import compiled
from pathoprog.system.machine.device import resolve_device, resolve_dtype
from pathoprog.system.records import RecordError, plain, record_of
from pathoprog.training.config import FitSettings, TrainConfig
from pathoprog.training.data.bags import Patient, Sampler
from pathoprog.training.data.prefetch import Prefetch
from pathoprog.training.member import checkpoint
from pathoprog.training.member.candidate import Best, Verdict, write_verdict
from pathoprog.training.member.device_group import ALONE, DeviceGroup
from pathoprog.training.member.finetune import parent_of, start_weights
from pathoprog.training.member.gradients import backward, times_and_events
from pathoprog.training.member.metrics import METRICS, cut_metrics
from pathoprog.training.watching.judgements import judged_line
from pathoprog.training.watching.patience import Patience
from pathoprog.training.watching.step_watch import StepWatch

LAST = "last.safetensors"
CARRIED_ON = (
    "steps", "log_every", "checkpoint_every", "prefetch", "fetch_threads", "checkpoint_activations", "training_sample",
)  # fmt: skip
"""Settings of `fit` that may change in a folder: what a run goes on to, how it is watched and fed, what it keeps."""
EARLY_STOPPING = ("patience", "patience_gain")
"""Settings of `fit` that say where a run ends, if any of them does."""


def fingerprint(settings: TrainConfig) -> str:
    """Hash of all settings that make the weights but the number of steps, which a finished run may go on from.

    Where files lie, what is tracked, and how often something is written or read ahead is left out.
    """
    return sha256_value(settings_of_weights(settings))


def settings_of_weights(settings: TrainConfig) -> dict[str, Any]:
    """The settings that `fingerprint` stands for."""
    values = as_dict(settings)
    kept = {key: values[key] for key in ("resolution", "seed", "labels", "network", "augment", "fit")}
    data = values["data"]
    kept |= {"split": values["split"]} if settings.split.folds else {}
    parent = parent_of(settings)
    kept |= {"start": plain(parent)} if parent is not None else {}
    tiles = [f"tiles_{resolution}" for resolution in in_order(settings.data.resolutions)]
    kept["data"] = {key: data[key] for key in ("tumour_policy", *tiles)}
    if settings.data.source == "store" and settings.data.jpeg_quality:
        kept["data"] |= {"store_format": "jpeg", "store_quality": settings.data.jpeg_quality}
    kept["data"]["slides"] = reading(settings.data.slides)
    left_out = CARRIED_ON if settings.fit.gpus > 1 else (*CARRIED_ON, "gpus")  # as before there was such a setting
    left_out = left_out if settings.fit.patience else (*left_out, *EARLY_STOPPING)  # likewise
    kept["fit"] = {key: value for key, value in kept["fit"].items() if key not in left_out}
    if settings.network.pooling != "clam_sb":  # nothing else reads them, and there was no such setting
        del kept["network"]["clam_tiles"], kept["fit"]["instance_loss"]
    return kept


def fit(
    settings: TrainConfig,
    training: list[Patient],
    judged: Callable[[MilNetwork, torch.device, torch.dtype], Verdict],
    log: Callable[[dict[str, Any]], None],
    tick: Callable[[int], None],
    group: DeviceGroup = ALONE,
    watched: Callable[[MilNetwork, torch.device, torch.dtype], Verdict] | None = None,
) -> tuple[list[Best], int]:
    """Train one candidate and keep its best checkpoints in `settings.out`.

    Args:
        settings: of the run; see `fit_checks.check_fit`.
        training: patients to learn from.
        judged: judges a checkpoint's network, in evaluation mode on its device.
        log: takes every line of metrics.
        tick: told each finished step's number.
        group: the processes that share each step; all of them call this, and only the first writes.
        watched: judges it on patients that it learns from, to be shown; None: nobody asks.

    Returns:
        The kept checkpoints, best first, and the step at which training ended: the last, or an earlier one where c on
        tuning had not risen for `fit.patience` evaluations.

    A run that was finished with fewer steps goes on from its last checkpoint. Its learning rate from there on is that
    of the longer run at the same step, after a warm-up of its own: by its end the shorter run's had fallen to zero. So
    its weights are not those of a run that had all the steps from the start; where it was joined stands in the
    checkpoint.

    Raises:
        DivergedError: a loss that is not finite.
        PathoprogError: out of memory, a folder that holds another run, or devices that do not compute alike.
    """
    options, out = settings.fit, Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    device = resolve_device(group.device or settings.device)
    dtype = resolve_dtype(options.dtype, device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.manual_seed(settings.seed)
    network = MilNetwork(settings.network)
    if settings.start.bundle:
        network.load_state_dict(start_weights(settings))
    elif LOSSES[options.loss].head == "hazards":
        start_at_baseline(network, training, options)
    network.to(device)
    network.encoder.to(memory_format=torch.channels_last)
    if options.checkpoint_activations:
        recompute_blocks(network.encoder)
    optimizer = make_optimizer(network, options, options.head_lr)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    sampler = Sampler(
        training, options.balance, options.patients_per_step, options.tiles_per_patient, settings.seed, group.share
    )
    watch, patience = StepWatch(device), Patience(options.patience, options.patience_gain)
    start, best, seams = resume(out, settings, network, optimizer, average, watch, patience, group.is_first)
    group.check_alike(network, start)
    forward: Callable[[Tensor, list[int]], Tensor] = compiled(network, options.compile)
    tick(start)
    done = start
    ahead = Prefetch(sampler, start, options.steps, options.prefetch, options.fetch_threads, device.type == "cuda")
    with ahead as batches:
        for step in range(start, options.steps):
            if patience.over:
                break
            watch.clock.start()
            batch = batches.get(step)
            watch.clock.lap("fetch")
            set_learning_rate(optimizer, options, step, seams[-1] if seams else 0)
            network.train()
            try:
                loss = backward(forward, settings, training, batch, step, device, dtype, group, watch.clock.lap)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                raise PathoprogError(
                    f"out of memory at step {step}: a step holds {len(batch.tiles)} tiles of"
                    f" {batch.tiles.shape[1]} px; raise fit.accumulate, give"
                    " fit.checkpoint_activations=true, or lower fit.patients_per_step or fit.tiles_per_patient"
                ) from error
            group.add_gradients(network)
            norm = nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            group.average_statistics(network)
            update_average(average, network, options.ema_decay, step)
            watch.clock.lap("optimiser")
            watch.add(step, loss, norm, len(batch.tiles) * group.share.of, batch)
            done = step + 1
            is_last = done == options.steps
            to_log, to_judge = (is_last or done % every == 0 for every in (options.log_every, options.evaluate_every))
            to_keep = to_judge or done % options.checkpoint_every == 0
            if to_log or to_keep:
                try:
                    watch.look()
                except DivergedError as error:
                    raise DivergedError(
                        f"{out}: {error}; lower fit.lr={options.lr:g} (the run stopped; its last checkpoint is from"
                        " before)"
                    ) from error
            if to_log:
                log({"step": done, "lr": optimizer.param_groups[0]["lr"], **watch.line()})
            if to_judge:
                began = time.perf_counter()
                try:
                    averaged = averaged_network(settings, average, sampler, device, dtype, group)
                    verdict = judged(averaged, device, dtype)
                    on_sample = watched(averaged, device, dtype) if watched is not None else None
                except RuntimeError as error:
                    if not out_of_memory(error):
                        raise
                    raise PathoprogError(
                        f"out of memory while the network of step {done} is judged; lower fit.evaluate_batch, or raise"
                        " fit.accumulate"
                    ) from error
                log({"step": done, **judged_line(verdict, on_sample), "judge_s": time.perf_counter() - began})
                patience.judged(verdict.c_index)
                best, entered = ranked(best, done, verdict, options.keep_best)
                if entered is not None and group.is_first:
                    keep(out, entered, averaged.state_dict(), verdict)
            if to_keep:
                group.check_alike(network, done)
                state = {
                    "step": done,
                    "steps": options.steps,
                    "seams": seams,
                    "fingerprint": fingerprint(settings),
                    "best": [plain(item) for item in best],
                    "patience": patience.state,
                    "watch": watch.state,
                }
                if group.is_first:
                    checkpoint.write(out / LAST, checkpoint.pack(network, average, optimizer), state)
                    remove_others(out, best)
            tick(done)
    return best, done


def out_of_memory(error: RuntimeError) -> bool:
    """Whether that is what an error means; on the CPU it has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def start_at_baseline(network: MilNetwork, patients: list[Patient], options: FitSettings) -> None:
    """Let a fresh network give everybody about the hazards of these patients as a whole.

    All intervals start with one direction of risk: with a random one each, the same death would push the encoder four
    ways, and a short training learns little (docs/method.md).
    """
    cuts = torch.tensor(options.interval_years)
    with torch.no_grad():
        for layer in network.output_layers:
            layer.bias.copy_(baseline_logits(*times_and_events(patients), cuts))
            layer.weight.copy_(layer.weight[:1].expand_as(layer.weight))  # [intervals, k]


class Pace(Protocol):
    """Settings of any loop that the optimiser and its learning rate follow from."""

    steps: int
    lr: float
    weight_decay: float
    warmup_steps: int


def make_optimizer(network: nn.Module, options: Pace, head_lr: float = 1.0) -> torch.optim.Optimizer:
    """AdamW, with weight decay on matrices and kernels only; what is not the encoder learns at `head_lr` times lr."""
    groups = []
    for is_head, rate in ((False, 1.0), (True, head_lr)):
        part = [p for name, p in network.named_parameters() if name.startswith("encoder.") is not is_head]
        for is_matrix, decay in ((True, options.weight_decay), (False, 0.0)):
            chosen = [parameter for parameter in part if (parameter.ndim > 1) is is_matrix]
            groups.append({"params": chosen, "weight_decay": decay, "rate": rate})
    return torch.optim.AdamW(groups, lr=options.lr)


def set_learning_rate(optimizer: torch.optim.Optimizer, options: Pace, step: int, seam: int = 0) -> None:
    """Linear warm-up from step 0, and again from `seam` where a run goes on; a cosine to zero at the last step."""
    warm = min(1.0, (step - seam + 1) / max(1, options.warmup_steps))
    share = max(0, step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    for group in optimizer.param_groups:
        group["lr"] = group.get("rate", 1.0) * options.lr * warm * 0.5 * (1 + math.cos(math.pi * share))


def update_average(average: dict[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and running statistics; short at first, so that it forgets the start."""
    weight = 1 - min(decay, (step + 1) / (step + 10))
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, weight)
        else:
            average[name].copy_(tensor)


@torch.no_grad()
def averaged_network(
    settings: TrainConfig,
    average: dict[str, Tensor],
    sampler: Sampler,
    device: torch.device,
    dtype: torch.dtype,
    group: DeviceGroup,
) -> MilNetwork:
    """The network of the averaged weights, in evaluation mode, ready to be judged and kept.

    It is shown each batch in the parts that training takes it in (`fit.accumulate`), so that it needs no more memory.
    Its normalisation statistics are estimated anew over some training batches: those gathered on the way belong to
    weights that are gone (Izmailov et al. 2018, UAI, section 3.2, on averaged weights). They are means over all parts
    of these batches, also where devices share them.
    """
    averaged = MilNetwork(settings.network).to(device)
    averaged.load_state_dict(average)
    averaged.encoder.to(memory_format=torch.channels_last)
    averaged.eval()
    norms = [module for module in averaged.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    options = settings.fit
    first, last = options.steps, options.steps + (options.recalibrate if norms else 0)
    with Prefetch(sampler, first, last, options.prefetch, options.fetch_threads) as batches:
        for step in range(first, last):
            for part in np.split(batches.get(step).tiles, options.accumulate):
                tiles = torch.from_numpy(part).to(device)
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                    averaged.encoder(prepare(tiles))
    group.average_statistics(averaged)
    return averaged.eval()


def ranked(best: list[Best], step: int, verdict: Verdict, most: int) -> tuple[list[Best], Best | None]:
    """The best `most` with this step's checkpoint, best first, and its entry if it is one of them."""
    entry = Best(step=step, c_index=verdict.c_index, file=f"step-{step:06d}.safetensors")
    others = [item for item in best if item.step != step]
    kept = sorted([*others, entry], key=lambda item: (-item.c_index, item.step))[:most]
    return kept, entry if entry in kept else None


def keep(out: Path, entry: Best, weights: dict[str, Tensor], verdict: Verdict) -> None:
    """Write one of the best; what falls out stays until the run's state no longer names it (`remove_others`)."""
    checkpoint.write(out / entry.file, weights, {})
    write_verdict(out / entry.verdict_file, verdict)


def remove_others(out: Path, best: list[Best]) -> None:
    """Remove checkpoints that the state on disk does not name, be they dropped or left by a run that was killed."""
    kept = {Path(item.file).stem for item in best}
    for path in (*out.glob("step-*.safetensors"), *out.glob("step-*.json")):
        if path.stem not in kept:
            path.unlink(missing_ok=True)


def resume(
    out: Path,
    settings: TrainConfig,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    watch: StepWatch,
    patience: Patience,
    tidy: bool = True,
) -> tuple[int, list[Best], list[int]]:
    """Go on from the last checkpoint, if there is one; with `tidy` what was written after it goes.

    `watch` and `patience` are given what the checkpoint says of them.

    Returns:
        The step to start at, the kept checkpoints, and the steps at which a finished run was gone on from.

    Raises:
        InputError: the folder holds a run with other settings, or lacks a checkpoint that it names.
    """
    if not (out / LAST).exists():
        if tidy:
            (out / METRICS).unlink(missing_ok=True)
            remove_others(out, [])
        return 0, [], []
    tensors, state = checkpoint.read(out / LAST)
    if state.get("fingerprint") != fingerprint(settings):
        raise InputError(f"{out}: holds a run with other settings; give another out=…, or restart=true to replace it")
    try:
        step, best = int(state["step"]), [record_of(Best, item, "best", nan=True) for item in state["best"]]
    except RecordError as error:
        raise InputError(f"{out / LAST}: damaged ({error}); give restart=true to train it anew") from error
    seams = [int(item) for item in state["seams"]] + ([step] if settings.fit.steps > int(state["steps"]) else [])
    for item in best:
        if not (out / item.file).is_file() or not (out / item.verdict_file).is_file():
            raise InputError(f"{out}: {item.file} or its .json is gone; give restart=true to train it anew")
    average.update(checkpoint.unpack(tensors, network, optimizer))
    watch.restore(state.get("watch", {}))
    patience.restore(state.get("patience", {}), anew=settings.fit.steps > int(state["steps"]))
    if tidy:
        remove_others(out, best)
        cut_metrics(out, step)
    return step, best, seams
