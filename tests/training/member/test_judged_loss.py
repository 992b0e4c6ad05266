"""The loss on tuning: by hand, and not defined where nobody has what the loss needs."""

import math

import pytest

pytest.importorskip("torch")
import torch

from pathoprog.training.config import FitSettings
from pathoprog.training.data.bags import Patient
from pathoprog.training.member.candidate import JudgedLoss
from pathoprog.training.member.tuning_concordance import judged_loss


def patient(label: str, days: float = 1000.0, event: int = 0) -> Patient:
    return Patient("A", [], days, event, label, "", "")


def test_cross_entropy_is_the_mean_over_those_with_a_distinct_outcome():
    people = [patient("good"), patient(""), patient("poor", event=1)]
    logits = torch.tensor([[2.0, 0.0], [50.0, -50.0], [2.0, 0.0]])
    good, poor = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    found = judged_loss(logits, people, FitSettings())
    assert found is not None and found.n == 2
    assert found.value == pytest.approx((good + poor) / 2, rel=1e-6)
    assert found.se == pytest.approx(math.hypot(good - found.value, poor - found.value) / 2, rel=1e-6)
    weighted = judged_loss(logits, people, FitSettings(class_weight_poor=3.0))
    assert weighted is not None and weighted.value == pytest.approx((good + 3 * poor) / 4, rel=1e-6)


def test_cox_has_a_value_and_no_standard_error():
    people = [patient("", 365.25, 1), patient("", 730.5, 0)]
    found = judged_loss(torch.tensor([[1.0], [0.0]]), people, FitSettings(loss="cox"))
    assert found is not None and math.isnan(found.se)
    assert found.value == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)


def test_where_it_is_not_defined_there_is_none():
    nobody: JudgedLoss | None = judged_loss(torch.zeros(1, 2), [patient("")], FitSettings())
    assert nobody is None, "tuning of METHOD's kind holds no distinct outcomes"
    assert judged_loss(torch.zeros(1, 1), [patient("")], FitSettings(loss="cox")) is None
