"""The training loop of the tumour network, in sight: draw windows, augment, forward, backward, step; judge on tuning.

Everything random is a function of (seed, step), as in `pathoprog.training.member.fit`: a run that was killed goes on to
the same weights.

Shapes: n windows of a step, s their side in pixels of the view.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pathoprog.errors import DivergedError, InputError
from pathoprog.networks.augmentation import Draws, augment, turn, zoom
from pathoprog.networks.member import prepare
from pathoprog.networks.tumour import TumourNetwork, make_tumour_network
from pathoprog.regions.overview import Windows, starts
from pathoprog.regions.tumour_config import OutlineSettings
from pathoprog.regions.tumour_map import TumourMap, dice
from pathoprog.settings import as_dict
from pathoprog.system.files import sha256_value
from pathoprog.system.machine.allocator import keep_freed_memory
from pathoprog.system.machine.device import resolve_device
from pathoprog.training.member import checkpoint
from pathoprog.training.member.fit import make_optimizer, set_learning_rate
from pathoprog.training.member.metrics import METRICS, cut_metrics
from pathoprog.training.tumour.config import SegmentConfig
from pathoprog.training.tumour.view_store import TISSUE, TUMOUR, View

LAST = "last.safetensors"
COARSE = 8  # places where windows may be laid are known to so many pixels of the view


def fingerprint(settings: SegmentConfig, cohorts: dict[str, Any]) -> str:
    """Hash of all that makes the weights."""
    values = as_dict(settings)
    return sha256_value({key: values[key] for key in ("network", "outline", "augment", "fit", "seed")} | cohorts)


def fit(
    settings: SegmentConfig,
    training: list[View],
    tuning: list[View],
    mark: str,
    log: Callable[[dict[str, Any]], None],
    tick: Callable[[int], None],
) -> dict[str, Any]:
    """Train; the weights that are best on tuning are left in `settings.out`.

    Args:
        settings: of the run.
        training: slides to learn from.
        tuning: slides to judge by.
        mark: of `fingerprint`.
        log: takes every line of metrics.
        tick: told each finished step's number.

    Returns:
        ``step`` and ``dice`` (mean over the tuning slides) of the best weights, their ``file``, and ``dices``, that
        of each slide.

    Raises:
        DivergedError: a loss that is not finite.
        InputError: the folder holds a run with other settings or data.
    """
    options, out = settings.fit, Path(settings.out)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    device = resolve_device(settings.device)
    torch.manual_seed(settings.seed)
    network = make_tumour_network(settings.network).to(device)
    optimizer = make_optimizer(network, options)
    places = [places_of(view) for view in training]
    start, best = resume(out, mark, network, optimizer)
    tick(start)
    for step in range(start, options.steps):
        generator = torch.Generator().manual_seed(settings.seed * 2_000_003 + step)
        pixels, labels = draw(training, places, settings, step)
        set_learning_rate(optimizer, options, step)
        network.train()
        windows, truth = change(torch.from_numpy(pixels).to(device), torch.from_numpy(labels), settings, generator)
        loss = loss_of(network(prepare(windows))[:, 0], truth)
        torch.autograd.backward(loss)
        norm = float(nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm))
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise DivergedError(
                f"{out}: loss {value} with gradient norm {norm} at step {step}; lower fit.lr={options.lr:g}"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done = step + 1
        if done % options.log_every == 0 or done == options.steps:
            log({"step": done, "loss": value, "grad_norm": norm, "lr": optimizer.param_groups[0]["lr"]})
        if done % options.evaluate_every == 0 or done == options.steps:
            dices = judge(TumourNetwork(network.eval(), settings.outline, device), tuning)
            mean = float(np.mean(dices))
            log({"step": done, "tuning_dice": mean, "tuning_dice_lowest": min(dices)})
            if not best or mean > best["dice"]:
                best = {"step": done, "dice": mean, "dices": dices, "file": f"best-{done:06d}.safetensors"}
                checkpoint.write(out / best["file"], network.state_dict(), {})
            checkpoint.write(
                out / LAST, checkpoint.pack(network, {}, optimizer), {"step": done, "mark": mark, "best": best}
            )
            for path in out.glob("best-*.safetensors"):  # those that the state no longer names
                if path.name != best["file"]:
                    path.unlink()
        tick(done)
    return best


def places_of(view: View) -> dict[int, NDArray[np.int64]]:
    """Where windows may be laid, by label: (y, x) [n, 2] in pixels of the view, every eighth looked at."""
    coarse = np.asarray(view.pixels[::COARSE, ::COARSE, 3])
    return {label: np.argwhere(coarse == label) * COARSE for label in (TISSUE, TUMOUR)}


def draw(
    views: list[View], places: list[dict[int, NDArray[np.int64]]], settings: SegmentConfig, step: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The windows of a step: uint8 [n, s, s, 3], and their labels [n, s, s].

    Each comes from a slide drawn evenly, and lies at random over a place of tumour or of other tissue.
    """
    rng = np.random.default_rng([settings.seed, step])
    n, size = settings.fit.windows_per_step, settings.outline.window_px
    windows = np.empty((n, size, size, 4), np.uint8)
    for index in range(n):
        chosen = int(rng.integers(len(views)))
        pixels, found = views[chosen].pixels, places[chosen]
        label = TUMOUR if rng.random() < settings.fit.tumour_share else TISSUE
        where = found[label] if len(found[label]) else found[TUMOUR if label == TISSUE else TISSUE]
        middle = where[rng.integers(len(where))] if len(where) else np.zeros(2, np.int64)
        corner = middle - rng.integers(0, size, 2)
        y, x = (int(np.clip(c, 0, side - size)) for c, side in zip(corner, pixels.shape[:2], strict=True))
        windows[index] = pixels[y : y + size, x : x + size]
    return windows[..., :3], windows[..., 3]


def change(
    pixels: Tensor, labels: Tensor, settings: SegmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augment windows [n, s, s, 3] and labels [n, s, s]: colours of the pixels, scale and turns of both alike.

    Returns:
        float32 [n, s, s, 3] in [0, 255], and bool [n, s, s]: tumour.
    """
    options = settings.augment
    coloured = augment(pixels, replace(options, flips=False, zoom=0.0), generator)
    truth = (labels == TUMOUR).to(pixels.device)[..., None] * 255.0
    both = torch.cat([coloured, truth], dim=3)
    draws = Draws(generator, len(both))  # behind those of the colours
    both = zoom(both, options.zoom, draws) if options.zoom > 0 else both
    both = turn(both, draws) if options.flips else both
    return both[..., :3], both[..., 3] >= 127.5


def loss_of(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy plus one minus soft Dice over the step, of logits [n, s, s] and truth bool [n, s, s]."""
    target = truth.float()
    probability = torch.sigmoid(logits)
    overlap = 2 * (probability * target).sum() + 1.0
    return functional.binary_cross_entropy_with_logits(logits, target) + (
        1 - overlap / (probability.sum() + target.sum() + 1.0)
    )


def judge(network: TumourNetwork, views: list[View]) -> list[float]:
    """Dice of each slide's outline against the given one, drawn as in scoring."""
    return [dice(outline_of_view(network, view), view.outline) for view in views]


def outline_of_view(network: TumourNetwork, view: View) -> Any:
    """The network's outline of a stored view, level-0 px."""
    settings = network.outline
    windows = windows_of(view, settings)
    found = TumourMap(windows, settings.overlap_px)
    size = windows.size_px
    for index, (y, x) in enumerate(zip(windows.y, windows.x, strict=True)):
        window = np.ascontiguousarray(view.pixels[y : y + size, x : x + size, :3])
        found.add(index, network.probabilities(window[None]))
    return found.outline(view.facts, settings)


def windows_of(view: View, settings: OutlineSettings) -> Windows:
    """Windows of a stored view with anything but glass in them."""
    height, width = view.pixels.shape[:2]
    size = settings.window_px
    kept = [
        (x, y)
        for y in starts(height, settings)
        for x in starts(width, settings)
        if view.pixels[y : y + size, x : x + size, 3].any()
    ]
    xy = np.array(kept, np.int64).reshape(-1, 2)
    return Windows(xy[:, 0], xy[:, 1], size, settings.mpp, width, height)


def resume(out: Path, mark: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, Any]]:
    """Go on from the last checkpoint, if there is one: the step to start at, and the best so far."""
    if not (out / LAST).exists():
        (out / METRICS).unlink(missing_ok=True)
        return 0, {}
    tensors, state = checkpoint.read(out / LAST)
    if state.get("mark") != mark:
        raise InputError(f"{out}: holds a run of other settings or slides; give another out=…, or delete it")
    checkpoint.unpack(tensors, network, optimizer)
    step = int(state["step"])
    cut_metrics(out, step)
    return step, state["best"]
