"""Losses by hand, shares that add up, and a loss that is not finite, named with its step."""

import math

import pytest

pytest.importorskip("torch")
import torch

from pathoprog.errors import DivergedError
from pathoprog.training.watching.step_clock import PARTS
from pathoprog.training.watching.step_watch import DECAY, StepWatch

CPU = torch.device("cpu")


def add(watch: StepWatch, step: int, loss: float, norm: float = 1.0) -> None:
    watch.clock.start()
    for part in PARTS:
        watch.clock.lap(part)
    watch.add(step, torch.tensor(loss), torch.tensor(norm), 5, None)


def test_a_line_has_the_last_step_and_the_smoothed_loss_by_hand():
    watch = StepWatch(CPU)
    add(watch, 0, 2.0, 3.0)
    assert watch.line()["loss_smooth"] == pytest.approx(2.0), "the start at zero is corrected for"
    add(watch, 1, 1.0, 7.0)
    add(watch, 2, 4.0, 0.5)
    line = watch.line()
    weights = [DECAY**2, DECAY, 1.0]
    assert line["loss_smooth"] == pytest.approx(
        sum(w * x for w, x in zip(weights, (2, 1, 4), strict=True)) / sum(weights)
    )
    assert (line["loss"], line["grad_norm"], line["grad_norm_max"]) == (4.0, 0.5, 7.0)
    assert line["tiles_per_s"] > 0 and sum(line[f"{part}_share"] for part in PARTS) == pytest.approx(1.0)


def test_how_often_it_looks_changes_nothing_and_a_checkpoint_keeps_it():
    often, seldom, resumed = (StepWatch(CPU) for _ in range(3))
    for step, loss in enumerate((0.3, 0.9, 0.1, 0.7)):
        add(often, step, loss)
        often.look()
        add(seldom, step, loss)
        if step == 1:
            resumed.restore(often.state)
        elif step > 1:
            add(resumed, step, loss)
    seldom.look()
    resumed.look()
    assert often.state == seldom.state == resumed.state


def test_the_first_step_that_is_not_finite_is_named():
    watch = StepWatch(CPU)
    for step, (loss, norm) in enumerate([(1.0, 1.0), (1.0, math.inf), (math.nan, 1.0)]):
        add(watch, step, loss, norm)
    with pytest.raises(DivergedError, match=r"loss 1\.0 with gradient norm inf at step 1"):
        watch.look()
