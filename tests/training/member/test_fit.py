"""The loop: it learns, it repeats, it resumes to the same bits, it stops where it must."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from made_store import made_settings, made_store, separation

from pathoprog.errors import ConfigError, InputError, PathoprogError
from pathoprog.system.files import read_json
from pathoprog.training.data.bags import Sampler, read_patients
from pathoprog.training.member import fit as fit_module
from pathoprog.training.member import gradients
from pathoprog.training.member.fit import LAST, set_learning_rate
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.metrics import read_metrics
from pathoprog.training.train import settings_from_dict, train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("store"))


def nothing(_: int) -> None:
    return None


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.safetensors"))}


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "undisturbed"
    train(made_settings(data, out), nothing)
    return out


@pytest.mark.parametrize("seed", [1, 2])
def test_a_candidate_learns_what_tiles_show(data, tmp_path, seed):
    settings = replace(made_settings(data, tmp_path / "run", steps=30, evaluate_every=30, ema_decay=0.8), seed=seed)
    train(settings, nothing)
    assert separation(tmp_path / "run") > 0.85
    losses = [line["loss"] for line in read_metrics(tmp_path / "run") if "loss" in line]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


@pytest.mark.parametrize("stop_after", [1, 5, 6])
def test_killed_and_resumed_gives_the_same_bits(data, undisturbed, tmp_path, stop_after):
    settings = made_settings(data, tmp_path / "run")

    def stop(done: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, stop)
    train(settings, nothing)
    assert digest(tmp_path / "run") == digest(undisturbed)
    lines, wanted = read_metrics(tmp_path / "run"), read_metrics(undisturbed)
    assert [line["step"] for line in lines] == [line["step"] for line in wanted]
    assert [line.get("loss") for line in lines] == [line.get("loss") for line in wanted]


def test_another_seed_gives_other_weights(data, undisturbed, tmp_path):
    train(replace(made_settings(data, tmp_path / "run"), seed=2), nothing)
    assert digest(tmp_path / "run")[LAST] != digest(undisturbed)[LAST]


def test_recalibration_takes_the_parts_that_training_takes(data, tmp_path, monkeypatch):
    seen = set()
    whole = fit_module.MilNetwork.__init__

    def watched(self, settings):
        whole(self, settings)
        self.encoder.register_forward_hook(lambda module, tiles, _: seen.add((module.training, len(tiles[0]))))

    monkeypatch.setattr(fit_module.MilNetwork, "__init__", watched)
    train(made_settings(data, tmp_path / "run", steps=2, evaluate_every=2, accumulate=4, evaluate_batch=3), nothing)
    assert max(n for _, n in seen) == 3, "4 patients of 3 tiles in 4 parts"


def test_memory_that_runs_out_while_judging_is_explained_too(data, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fit_module, "averaged_network", full)
    with pytest.raises(PathoprogError, match=r"step 4 is judged; lower fit\.evaluate_batch"):
        train(made_settings(data, tmp_path / "run"), nothing)


def test_at_most_keep_best_checkpoints_stay_and_one_is_last(data, tmp_path):
    settings = made_settings(data, tmp_path / "run", evaluate_every=2, keep_best=2)
    candidate = train(settings, nothing)
    files = {path.name for path in (tmp_path / "run").glob("step-*.safetensors")}
    assert files == {item.file for item in candidate.best} and len(files) == 2
    assert candidate.best[0].c_index >= candidate.best[1].c_index


@pytest.mark.parametrize(("loss", "head"), [("cox", "risk"), ("discrete_time", "hazards")])
def test_survival_losses_train_too(data, tmp_path, loss, head):
    settings = made_settings(data, tmp_path / "run", loss=loss, balance="none", evaluate_every=8)
    settings.network.head = head
    check_fit(settings)
    assert train(settings, nothing).n_training == 16


def test_a_discrete_time_network_starts_at_the_patients_hazards(data):
    settings = made_settings(data, Path("unused"), loss="discrete_time")
    settings.network.head = "hazards"
    patients = read_patients(settings, "training")
    network = fit_module.MilNetwork(settings.network)
    fit_module.start_at_baseline(network, patients, settings.fit)
    # 8 of 16 die at about 1.1 to 1.5 years, that is in the second interval, the others are followed to its end
    hazards = torch.sigmoid(network.classifier.bias).tolist()
    assert hazards == pytest.approx([0.5 / 17, 8.5 / 17, 0.5 / 9, 0.5 / 9], abs=1e-6)
    weight = network.classifier.weight
    assert torch.equal(weight, weight[:1].expand_as(weight)) and weight[0].std() > 0


def test_nan_stops_the_run_and_names_the_step(data, tmp_path, monkeypatch):
    settings = made_settings(data, tmp_path / "run")
    whole = gradients.loss_of
    calls = []

    def spoilt(logits, patients, options):
        calls.append(1)
        return whole(logits, patients, options) * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setattr(gradients, "loss_of", spoilt)
    with pytest.raises(PathoprogError, match="step 3"):
        train(settings, nothing)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), r"out of memory at step 0.*fit\.accumulate"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), r"fit\.accumulate"),
    ],
)
def test_running_out_of_memory_says_what_to_change(data, tmp_path, monkeypatch, error, message):
    def full(*_: object) -> float:
        raise error

    monkeypatch.setattr(fit_module, "backward", full)
    with pytest.raises(PathoprogError, match=message):
        train(made_settings(data, tmp_path / "run"), nothing)


def test_another_defect_of_torch_s_is_not_taken_for_it(data, tmp_path, monkeypatch):
    def broken(*_: object) -> float:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(fit_module, "backward", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(made_settings(data, tmp_path / "run"), nothing)


def test_evaluations_are_logged_with_their_interval(undisturbed):
    lines = [line for line in read_metrics(undisturbed) if "tuning_c" in line]
    assert [line["step"] for line in lines] == [4, 8]
    for line in lines:
        verdict = read_json(undisturbed / f"step-{line['step']:06d}.json")
        assert (line["tuning_c"], line["tuning_c_lower"]) == (verdict["c_index"], verdict["c_lower"])
        assert line["tuning_c_lower"] <= line["tuning_c"] <= line["tuning_c_upper"]


def test_accumulation_gives_the_gradients_of_the_whole_step(data):
    patients = read_patients(made_settings(data, Path("unused")), "training")
    torch.manual_seed(0)
    logits = torch.randn(4, 2, requires_grad=True)
    options = made_settings(data, Path("unused")).fit
    whole = gradients.loss_of(logits, patients[:4], options)
    parts = (
        gradients.loss_of(logits[:2], patients[:2], options) + gradients.loss_of(logits[2:], patients[2:4], options)
    ) / 2
    assert whole.item() == pytest.approx(parts.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "cox"}, "network.head=risk"),
        ({"accumulate": 3}, "divide"),
    ],
)
def test_contradicting_settings_are_refused(data, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        check_fit(made_settings(data, tmp_path, **change))


def test_draws_depend_on_seed_and_step_alone_and_are_balanced(data):
    patients = read_patients(made_settings(data, Path("unused")), "training")
    sampler = Sampler(patients, "class", 6, 3, seed=1)
    chosen = sampler.choose(7)
    again = Sampler(patients, "class", 6, 3, seed=1).choose(7)
    assert [(p, t.tolist()) for p, t in chosen] == [(p, t.tolist()) for p, t in again]
    labels = [patients[index].label for index, _ in chosen]
    assert labels.count("good") == labels.count("poor") == 3
    assert len({index for index, _ in chosen}) == 6
    by_site = Sampler(patients, "class_site", 8, 3, seed=1).choose(0)
    places = [(patients[index].label, patients[index].site) for index, _ in by_site]
    assert all(places.count(place) == 2 for place in set(places)) and len(set(places)) == 4
    by_cohort = Sampler(patients, "cohort", 6, 3, seed=1).choose(0)
    cohorts = [patients[index].cohort for index, _ in by_cohort]
    assert cohorts.count("north") == cohorts.count("south") == 3
    both = Sampler(patients, "class_cohort", 8, 3, seed=1).choose(0)
    places = [(patients[index].label, patients[index].cohort) for index, _ in both]
    assert all(places.count(place) == 2 for place in set(places)) and len(set(places)) == 4
    batch = sampler.batch(7)
    assert batch.tiles.shape == (18, 32, 32, 3) and batch.tiles.dtype == np.uint8


def test_batches_are_the_same_however_many_are_read_ahead_and_by_whom(data):
    patients = read_patients(made_settings(data, Path("unused")), "training")
    sampler = Sampler(patients, "class_site", 6, 3, seed=3)
    wanted = [sampler.batch(step) for step in range(8)]
    for depth, threads in ((0, 1), (1, 1), (5, 1), (0, 4), (2, 3), (2, 16)):
        with fit_module.Prefetch(Sampler(patients, "class_site", 6, 3, seed=3), 2, 8, depth, threads) as batches:
            found = [batches.get(step) for step in range(2, 8)]
        for one, other in zip(found, wanted[2:], strict=True):
            assert one.patients == other.patients and np.array_equal(one.tiles, other.tiles)
    with ThreadPoolExecutor(4) as readers:  # several at once, the last first
        found = list(readers.map(sampler.batch, reversed(range(8))))
    for one, other in zip(found, reversed(wanted), strict=True):
        assert one.patients == other.patients and np.array_equal(one.tiles, other.tiles)


def test_small_bags_use_every_tile(data):
    patients = read_patients(made_settings(data, Path("unused")), "training")
    index, tiles = Sampler(patients, "none", 2, 10, seed=1).choose(0)[0]
    assert set(tiles.tolist()) == set(range(patients[index].n_tiles)) and len(tiles) == 10


def test_learning_rate_warms_up_and_falls_to_zero(data, tmp_path):
    options = made_settings(data, tmp_path, steps=100, warmup_steps=10, lr=1.0).fit
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rates = []
    for step in range(100):
        set_learning_rate(optimizer, options, step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_settings_survive_the_way_through_a_file(data, tmp_path):
    settings = made_settings(data, tmp_path / "run")
    train(settings, nothing)
    assert settings_from_dict(read_json(tmp_path / "run" / "settings.json")) == settings


def test_a_role_without_stored_tiles_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="pathoprog tiles"):
        read_patients(made_settings(replace(data, store=str(tmp_path)), tmp_path), "training")
