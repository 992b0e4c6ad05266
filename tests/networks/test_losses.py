"""Losses against hand-worked values."""

import math

import pytest
import torch

from pathoprog.networks import losses
from pathoprog.networks.config import HEADS, LOSSES, Loss
from pathoprog.networks.losses import (
    Targets,
    baseline_logits,
    cox_partial_likelihood,
    cross_entropy,
    discrete_time,
    interval_of,
    loss_value,
)


def test_cross_entropy_weighs_the_classes():
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert cross_entropy(logits, torch.tensor([0, 1])).item() == pytest.approx(math.log(2))
    tilted = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    good, poor = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    assert cross_entropy(tilted, torch.tensor([0, 1]), (1.0, 3.0)).item() == pytest.approx((good + 3 * poor) / 4)


def test_cox_meets_a_hand_worked_likelihood_with_ties():
    risk = torch.tensor([0.5, 0.0, -0.5, 0.2], requires_grad=True)
    time, event = torch.tensor([1.0, 2.0, 2.0, 3.0]), torch.tensor([1, 1, 1, 0])
    e = [math.exp(r) for r in (0.5, 0.0, -0.5, 0.2)]
    by_hand = -((0.5 - math.log(sum(e))) + (0.0 - 0.5) - 2 * math.log(e[1] + e[2] + e[3])) / 3
    loss = cox_partial_likelihood(risk, time, event)
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)
    loss.backward()
    assert risk.grad[0] < 0 < risk.grad[3]  # the first to die should rise, the survivor fall


def test_cox_without_events_is_zero_with_a_gradient():
    risk = torch.zeros(3, requires_grad=True)
    cox_partial_likelihood(risk, torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3)).backward()
    assert risk.grad.tolist() == [0.0, 0.0, 0.0]


def test_intervals_are_closed_on_the_left():
    cuts = torch.tensor([1.0, 2.5])
    assert interval_of(torch.tensor([0.5, 1.0, 2.4, 2.5, 9.0]), cuts).tolist() == [0, 1, 1, 2, 2]


def test_discrete_time_meets_a_hand_worked_likelihood():
    logits = torch.zeros(3, 3)  # hazards 1/2
    cuts = torch.tensor([1.0, 2.0])
    # event in the second interval: survive one, die; censored late in the second: survive two; early: survive one
    loss = discrete_time(logits, torch.tensor([1.5, 1.8, 1.2]), torch.tensor([1, 0, 0]), cuts)
    assert loss.item() == pytest.approx(-math.log(0.5) * (2 + 2 + 1) / 3)


def test_baseline_hazards_meet_hand_worked_ones_and_are_where_the_loss_is_least():
    cuts = torch.tensor([1.0, 2.0])
    time, event = torch.tensor([0.5, 1.5, 1.8, 1.2, 5.0, 0.9]), torch.tensor([1, 1, 0, 0, 0, 0])
    # interval 1: 1 died, 5 survived (the one censored at 0.9 is past its middle); 2: 1 and 2; 3: 0 and 1
    found = baseline_logits(time, event, cuts)
    assert found.tolist() == pytest.approx([math.log(1.5 / 5.5), math.log(1.5 / 2.5), math.log(0.5 / 1.5)])
    many, events = torch.rand(4000) * 4, (torch.rand(4000) < 0.3).long()
    alike = baseline_logits(many, events, cuts).requires_grad_()
    loss = discrete_time(alike.expand(4000, 3), many, events, cuts)
    (gradient,) = torch.autograd.grad(loss, alike)
    assert (
        gradient.abs().max()
        < 1e-3
        < torch.autograd.grad(discrete_time((alike + 0.1).expand(4000, 3), many, events, cuts), alike)[0].abs().max()
    )


LOGITS = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.4, -0.6]])
TARGETS = Targets(
    torch.tensor([True, False]), torch.tensor([0.5, 2.0]), torch.tensor([1, 0]), (1.0, 2.0), torch.tensor([1.0, 2.5])
)


def test_every_loss_of_the_table_is_its_function():
    found = {name: loss_value(name, LOGITS[:, : {"poor": 2, "risk": 1}.get(loss.head, 3)], TARGETS).item()
             for name, loss in LOSSES.items()}  # fmt: skip
    assert found == {
        "cross_entropy": cross_entropy(LOGITS[:, :2], TARGETS.poor, (1.0, 2.0)).item(),
        "cox": cox_partial_likelihood(LOGITS[:, 0], TARGETS.time, TARGETS.event).item(),
        "discrete_time": discrete_time(LOGITS, TARGETS.time, TARGETS.event, TARGETS.cuts).item(),
    }
    assert {loss.head for loss in LOSSES.values()} <= set(HEADS)


def test_a_new_loss_is_a_function_and_a_line(monkeypatch):
    def brier_of(logits, targets):
        return (logits.softmax(1)[:, 1] - targets.poor.float()).square().mean()

    monkeypatch.setattr(losses, "brier_of", brier_of, raising=False)
    monkeypatch.setitem(LOSSES, "brier", Loss("brier_of", "poor", distinct_only=True))
    good, poor = LOGITS[:, :2].softmax(1)[:, 1].tolist()[::-1]
    assert loss_value("brier", LOGITS[:, :2], TARGETS).item() == pytest.approx(((poor - 1) ** 2 + good**2) / 2)
