"""Where the time of training's steps goes, by part, without making the host wait for a GPU."""

import time
from itertools import pairwise
from typing import Any

import torch

PARTS = ("fetch", "augment", "forward", "backward", "optimiser")
"""What a step is made of: waiting for its tiles; copying and augmenting them; the network with its loss; its gradients;
adding these up over devices, clipping them, and the optimiser's step with the average of the weights."""


class StepClock:
    """Times the parts of steps.

    On a GPU the marks are events that the device itself stamps when it comes to them; they are read when somebody asks,
    so that between two lines of metrics the host runs ahead. What counts as *fetch* there is the time for which the
    device had nothing to do until the step's tiles were in the host's hands.
    """

    def __init__(self, device: torch.device):
        self._on_cuda = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []

    def start(self) -> None:
        """A step begins; what was done since the last part of the step before (judging, say) is no part."""
        self._mark("")

    def lap(self, part: str) -> None:
        """A part of the step ends here; it began where the one before ended."""
        self._mark(part)

    def _mark(self, part: str) -> None:
        if self._on_cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append((part, event))
        else:
            self._marks.append((part, time.perf_counter()))

    def take(self) -> dict[str, float]:
        """Seconds of each part since this was asked last; on a GPU this waits for the device."""
        marks, self._marks = self._marks, []
        found = dict.fromkeys(PARTS, 0.0)
        if marks and self._on_cuda:
            marks[-1][1].synchronize()
        for (_, before), (part, now) in pairwise(marks):
            if part:
                found[part] += before.elapsed_time(now) / 1000 if self._on_cuda else now - before
        return found
