"""What every step comes to: loss and gradient norm, left on the device until a line of metrics is due."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pathoprog.errors import DivergedError
from pathoprog.training.watching.step_clock import PARTS, StepClock

DECAY = 0.97
"""Of the smoothed loss, a step: the mean over about the last 33 steps."""
AHEAD = 2
"""Steps that the host may be ahead of a GPU: enough that this never waits, and few batches in memory."""


class StepWatch:
    """Losses, gradient norms, times and tiles of the steps since the last line of metrics.

    A GPU's values are fetched together when a line, a judgement or a checkpoint is due (`look`), not at each step, for
    which the host would have to wait. Until then a loss that is not finite is not noticed; nothing is judged or written
    before it is.
    """

    def __init__(self, device: torch.device):
        self.clock = StepClock(device)
        self._on_cuda = device.type == "cuda"
        self._ahead: deque[tuple[torch.cuda.Event, Any]] = deque()
        self._waiting: list[tuple[int, Tensor, Tensor]] = []
        self._last: tuple[float, float] = (math.nan, math.nan)
        self._mean, self._weight, self._peak = 0.0, 0.0, 0.0
        self._tiles = 0

    def add(self, step: int, loss: Tensor, norm: Tensor, tiles: int, batch: Any) -> None:
        """Take what a step came to.

        Args:
            step: its number.
            loss: a scalar on the device.
            norm: that of the gradients, likewise.
            tiles: how many all processes took.
            batch: what a GPU copies from page-locked memory beside its work: held until it is past this step, since
                that memory would be given to another batch.
        """
        if self._on_cuda:
            passed = torch.cuda.Event()  # type: ignore[no-untyped-call]
            passed.record()
            self._ahead.append((passed, batch))
            if len(self._ahead) > AHEAD:
                self._ahead.popleft()[0].synchronize()
        self._waiting.append((step, loss.detach(), norm.detach()))
        self._tiles += tiles

    def look(self) -> None:
        """Fetch what is waiting.

        Raises:
            DivergedError: a loss or a gradient norm that is not finite; names the first step that has it.
        """
        if not self._waiting:
            return
        values = torch.stack([torch.stack((loss.double(), norm.double())) for _, loss, norm in self._waiting]).tolist()
        steps = [step for step, _, _ in self._waiting]
        self._waiting.clear()
        self._ahead.clear()
        for step, (loss, norm) in zip(steps, values, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise DivergedError(f"loss {loss} with gradient norm {norm} at step {step}")
            self._last = loss, norm
            self._mean = DECAY * self._mean + (1 - DECAY) * loss
            self._weight = DECAY * self._weight + (1 - DECAY)
            self._peak = max(self._peak, norm)

    def line(self) -> dict[str, float]:
        """The last step's loss and gradient norm, and of the steps since the last line what else there is to say.

        Returns:
            `loss`; `loss_smooth`, an average that forgets, corrected for its start at zero (Kingma, Ba 2015,
            arXiv:1412.6980, section 3); `grad_norm` before clipping; `grad_norm_max`, the largest; `tiles_per_s`; and
            of each part of a step its share of the time (`fetch_share`, …).
        """
        self.look()
        loss, norm = self._last
        seconds = self.clock.take()
        whole = max(sum(seconds.values()), 1e-9)
        tiles, self._tiles = self._tiles, 0
        peak, self._peak = self._peak, 0.0
        return {
            "loss": loss,
            "loss_smooth": self._mean / self._weight if self._weight else math.nan,
            "grad_norm": norm,
            "grad_norm_max": peak,
            "tiles_per_s": tiles / whole,
            **{f"{part}_share": seconds[part] / whole for part in PARTS},
        }

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a resumed run shows the losses of an undisturbed one; see `look`."""
        return {"mean": self._mean, "weight": self._weight, "peak": self._peak}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's `state`; empty for one that is older than the watch."""
        self._mean, self._weight, self._peak = (float(state.get(name, 0.0)) for name in ("mean", "weight", "peak"))
