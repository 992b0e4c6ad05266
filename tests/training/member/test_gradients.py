"""A step in parts: the gradients of the whole, also where the loss compares the patients of different parts."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from made_store import made_settings, made_store
from torch import nn

from pathoprog.networks.augmentation import augment
from pathoprog.networks.member import MilNetwork, prepare
from pathoprog.networks.recomputing import recompute_blocks
from pathoprog.system.files import sha256_file
from pathoprog.training.data.bags import Sampler, read_patients
from pathoprog.training.member.fit import LAST
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.gradients import PART_SEED, backward, loss_of
from pathoprog.training.train import train

CPU = torch.device("cpu")
STEP = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("store"))


def cox(data, out=Path("unused"), dropout=0.3, **fit):
    settings = made_settings(data, out, loss="cox", balance="none", **fit)
    settings.network = replace(settings.network, head="risk", dropout=dropout)
    check_fit(settings)
    return settings


def network_of(settings):
    torch.manual_seed(1)
    return MilNetwork(settings.network).train()


def step(settings, network, forward=None):
    """The loss of one step whose gradients are left in the network."""
    patients = read_patients(settings, "training")
    batch = Sampler(patients, "none", settings.fit.patients_per_step, settings.fit.tiles_per_patient, 1).batch(STEP)
    loss = backward(network if forward is None else forward, settings, patients, batch, STEP, CPU, torch.float32)
    return loss.item()


def graph_kept(settings, network):
    """The undivided step's tiles in the same parts, each with its graph kept until the loss of all of them is there."""
    patients = read_patients(settings, "training")
    options = settings.fit
    batch = Sampler(patients, "none", options.patients_per_step, options.tiles_per_patient, 1).batch(STEP)
    generator = torch.Generator().manual_seed(2_000_003 + STEP)
    tiles = prepare(augment(torch.from_numpy(batch.tiles), settings.augment, generator))
    per_part = options.patients_per_step // options.accumulate
    logits = []
    for part, shown in enumerate(tiles.split(per_part * options.tiles_per_patient)):
        torch.manual_seed(1_000_003 + STEP + part * PART_SEED)
        logits.append(network(shown, [options.tiles_per_patient] * per_part))
    loss = loss_of(torch.cat(logits), [patients[index] for index in batch.patients], options)
    loss.backward()
    return loss.item()


def same(one, other, rtol=1e-4):
    for (name, left), right in zip(one.named_parameters(), other.parameters(), strict=True):
        difference = (left.grad - right.grad).norm()
        assert difference <= rtol * left.grad.norm() + 1e-7, (name, float(difference), float(left.grad.norm()))


@pytest.mark.parametrize("accumulate", [2, 4])
def test_cox_in_parts_has_the_gradients_of_the_same_parts_with_their_graphs_kept(data, accumulate):
    settings = cox(data, accumulate=accumulate)
    wanted, found = network_of(settings), network_of(settings)
    assert step(settings, found) == pytest.approx(graph_kept(settings, wanted), rel=1e-6)
    same(wanted, found)
    for (name, one), two in zip(wanted.named_buffers(), found.buffers(), strict=True):
        assert torch.equal(one, two), f"{name}: statistics move once a part"


@pytest.mark.parametrize("accumulate", [4])
def test_without_normalisation_over_a_part_they_are_those_of_the_undivided_step(data, accumulate):
    whole, parts = (cox(data, dropout=0.0, accumulate=number) for number in (1, accumulate))
    one = network_of(whole)
    norms = [module for module in one.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # statistics of these tiles, so that signals neither fade nor grow on the way
    one.instances(prepare(torch.randint(0, 255, (8, 32, 32, 3), dtype=torch.uint8)))
    for norm in norms:
        norm.eval()
    other = copy.deepcopy(one)
    wanted, found = step(whole, one), step(parts, other)
    assert found == pytest.approx(wanted, rel=1e-5)
    same(one, other)
    assert any(parameter.grad.norm() > 1e-3 for parameter in one.parameters()), "there is something to compare"


def test_cox_of_single_parts_would_be_another_loss(data):
    """So that the equalities above say something: a mean over parts' own Cox losses differs."""
    settings = cox(data, dropout=0.0)
    patients = read_patients(settings, "training")[:4]
    logits = torch.randn(4, 1, generator=torch.Generator().manual_seed(0))
    apart = (loss_of(logits[:2], patients[:2], settings.fit) + loss_of(logits[2:], patients[2:], settings.fit)) / 2
    assert abs(apart - loss_of(logits, patients, settings.fit)) > 0.05


@pytest.mark.parametrize("weight", [1.0, 5.0])
def test_cross_entropy_in_parts_weighs_classes_over_the_whole_step(data, weight):
    whole, parts = (
        made_settings(data, Path("unused"), accumulate=number, class_weight_poor=weight, balance="none")
        for number in (1, 4)
    )
    whole.network = parts.network = replace(whole.network, dropout=0.0)
    one = network_of(whole).eval()  # no normalisation over a part
    other = copy.deepcopy(one)
    assert step(parts, other) == pytest.approx(step(whole, one), rel=1e-5)
    same(one, other)
    assert any(parameter.grad.norm() > 1e-3 for parameter in one.parameters()), "there is something to compare"


def test_checkpointed_activations_go_with_parts(data):
    settings = cox(data, accumulate=2)
    wanted, found = network_of(settings), network_of(settings)
    recompute_blocks(found.encoder)
    assert step(settings, wanted) == step(settings, found)
    for one, two in zip(wanted.parameters(), found.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)
    for one, two in zip(wanted.buffers(), found.buffers(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.slow
def test_a_compiled_network_s_statistics_are_kept_in_the_first_pass_too(data):
    settings = cox(data, dropout=0.0, accumulate=2)
    plain = network_of(settings)
    other = copy.deepcopy(plain)
    step(settings, plain)
    step(settings, other, torch.compile(other, backend="eager"))
    same(plain, other)
    for one, two in zip(plain.buffers(), other.buffers(), strict=True):
        assert torch.allclose(one, two)


@pytest.mark.slow
def test_memory_savers_leave_a_run_what_it_is_killed_and_resumed(data, tmp_path):
    plain = cox(data, tmp_path / "plain", accumulate=2, steps=4, evaluate_every=4)
    train(plain, lambda _: None)
    saving = replace(plain, out=str(tmp_path / "saving"), fit=replace(plain.fit, checkpoint_activations=True))

    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(saving, stop)
    train(replace(saving, fit=replace(saving.fit, checkpoint_activations=False)), lambda _: None)
    assert sha256_file(tmp_path / "plain" / LAST) == sha256_file(tmp_path / "saving" / LAST)
