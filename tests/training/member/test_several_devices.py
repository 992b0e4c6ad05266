"""One candidate on several devices, tried as processes on the CPU: the steps of one device in as many parts."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("torch")
import torch
from device_group_worker import GRADIENTS, gradients, in_processes
from made_store import made_many, made_settings, made_store

from pathoprog.errors import ConfigError, DivergedError, InputError
from pathoprog.settings import as_dict
from pathoprog.system.children import spawn
from pathoprog.system.files import read_json, sha256_file, write_json
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training import launchers
from pathoprog.training import train as train_module
from pathoprog.training.data.bags import Sampler, Share, read_patients
from pathoprog.training.launchers import devices_together, engine_of, local_devices, settle_devices
from pathoprog.training.member import checkpoint
from pathoprog.training.member.candidate import read_candidate
from pathoprog.training.member.device_group import ALONE
from pathoprog.training.member.device_processes import MODULE, ProcessDiedError
from pathoprog.training.member.fit import LAST, fingerprint
from pathoprog.training.member.fit_checks import check_fit
from pathoprog.training.member.metrics import read_metrics
from pathoprog.training.member.run_folder import check_folder
from pathoprog.training.tracking import Tracking
from pathoprog.training.train import PROGRESS, train
from pathoprog.training.train_ensemble import make_tasks, train_all

HEADS = {"cross_entropy": "poor", "cox": "risk", "discrete_time": "hazards"}
FEW = {"steps": 3, "evaluate_every": 3, "log_every": 1, "recalibrate": 2}
RTOL, ATOL = 1e-5, 1e-7
"""Between the weights of runs that add up the same two numbers, after a few steps in fp32."""
GRADIENT_RTOL = 1e-5
"""Between gradients that add up in another order, as a share of a tensor's norm."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("store"))


def settings_of(data, out, loss="cox", **fit):
    balance = "class" if loss == "cross_entropy" else "none"
    settings = made_settings(data, out, **{"loss": loss, "balance": balance, **FEW, **fit})
    settings.network = replace(settings.network, head=HEADS[loss])
    check_fit(settings)
    return settings


def nothing(_: int) -> None:
    return None


def kept(folder: Path) -> dict[str, str]:
    """Hashes of the files that a run leaves, and its metrics."""
    found = {path.name: sha256_file(path) for path in sorted(folder.glob("*.safetensors"))}
    lines = [{name: value for name, value in line.items() if name in ("step", "loss", "grad_norm", "tuning_c")}
             for line in read_metrics(folder)]  # fmt: skip
    return {**found, "metrics": str(lines)}


def compare(together: Path, alone: Path) -> None:
    """The weights, their average and the losses of two runs, which may differ by rounding."""
    one, other = (checkpoint.read(folder / LAST)[0] for folder in (together, alone))
    moved = 0.0
    for name in one:
        if name.startswith(("network.", "average.")) and "running" not in name and "batches" not in name:
            torch.testing.assert_close(one[name], other[name], rtol=RTOL, atol=ATOL, msg=name)
            moved = max(moved, float((one[name] - one[name].mean()).abs().max()))
    assert moved > 0.01
    losses = [[line["loss"] for line in read_metrics(folder) if "loss" in line] for folder in (together, alone)]
    assert len(losses[0]) == FEW["steps"] and losses[0] == pytest.approx(losses[1], rel=RTOL)
    verdicts = [read_json(next(folder.glob("step-*.json"))) for folder in (together, alone)]
    assert verdicts[0]["patient_ids"] == verdicts[1]["patient_ids"]
    assert verdicts[0]["risks"] == pytest.approx(verdicts[1]["risks"], rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_in_two_parts(data, tmp_path):
    ticks = []
    candidate = train(settings_of(data, tmp_path / "together", gpus=2), ticks.append)
    train(settings_of(data, tmp_path / "alone", accumulate=2), nothing)
    compare(tmp_path / "together", tmp_path / "alone")
    assert ticks[-1] == FEW["steps"] == candidate.steps and ticks == sorted(ticks)
    lines = read_metrics(tmp_path / "together")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3], "one process alone writes"


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "discrete_time"])
def test_so_they_do_with_every_loss(data, tmp_path, loss):
    weight = {"class_weight_poor": 3.0} if loss == "cross_entropy" else {}
    train(settings_of(data, tmp_path / "together", loss, gpus=2, **weight), nothing)
    train(settings_of(data, tmp_path / "alone", loss, accumulate=2, **weight), nothing)
    compare(tmp_path / "together", tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "gpus", "accumulate"),
    [("cross_entropy", 2, 2), ("cox", 2, 2), ("cross_entropy", 4, 1), ("cox", 4, 1), ("discrete_time", 4, 1)],
)
def test_a_step_of_more_parts_has_the_gradients_of_one_process(data, tmp_path, loss, gpus, accumulate):
    """Of the gradients: added up in another order they differ by rounding, of which Adam makes steps of full size."""
    fit = {"patients_per_step": 8, "class_weight_poor": 4.0, "checkpoint_activations": accumulate == 2}
    together = settings_of(data, tmp_path / "together", loss, gpus=gpus, accumulate=accumulate, **fit)
    alone = settings_of(data, tmp_path / "alone", loss, accumulate=gpus * accumulate, **fit)
    wanted = gradients(ALONE, alone)
    found = in_processes("gradients", together, gpus, tmp_path / "meeting")
    assert len({told["hash"] for told in found}) == 1 and len({told["loss"] for told in found}) == 1
    assert found[0]["loss"] == pytest.approx(wanted["loss"], rel=1e-6)
    one, other = (checkpoint.read(Path(settings.out) / GRADIENTS)[0] for settings in (together, alone))
    assert sum(float(tensor.norm()) > 1e-3 for tensor in other.values()) > 50, "there is something to compare"
    for name, tensor in other.items():
        assert (one[name] - tensor).norm() <= GRADIENT_RTOL * tensor.norm() + 1e-7, name


@pytest.mark.slow
def test_the_processes_networks_and_verdicts_are_equal_to_the_last_bit(data, tmp_path):
    settings = settings_of(data, tmp_path / "run", gpus=2, evaluate_every=1)
    one, other = in_processes("fit", settings, 2, tmp_path / "meeting")
    assert one == other and len(set(one["networks"])) == FEW["steps"]
    assert all(len(risks) == 5 and len(set(risks)) == 5 for risks in one["risks"])


@pytest.mark.slow
def test_networks_that_came_apart_are_found_out_by_all(data, tmp_path):
    said = [told["said"] for told in in_processes("unlike", settings_of(data, tmp_path), 2, tmp_path / "meeting")]
    assert said[0] == said[1] and "after step 2" in said[0] and "fit.gpus=1" in said[0]


def device_processes(of: int | None = None) -> list[psutil.Process]:
    """Those that a process, this one by default, started for a candidate."""
    return [one for one in psutil.Process(of).children() if MODULE in " ".join(one.cmdline())]


MANY = {"gpus": 2, "steps": 30, "evaluate_every": 15, "checkpoint_every": 1}


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "undisturbed"
    train(settings_of(data, out, **MANY), nothing)
    return kept(out)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["0", "1"])
def test_a_process_that_is_killed_ends_the_run_which_goes_on_to_the_same_bits(data, undisturbed, tmp_path, victim):
    settings = settings_of(data, tmp_path / "run", **MANY)
    killed = []

    def kill(done: int) -> None:
        if done >= 2 and not killed:
            killed.extend(one for one in device_processes() if one.cmdline()[-1] == victim)
            os.kill(killed[0].pid, signal.SIGKILL)

    with pytest.raises(ProcessDiedError, match=rf"process {victim} \(cpu\) ended with signal SIGKILL") as told:
        train(settings, kill)
    assert killed and "goes on from the last checkpoint" in str(told.value)
    assert not device_processes() and not (tmp_path / "run" / "candidate.json").exists()
    assert 0 < checkpoint.read(tmp_path / "run" / LAST)[1]["step"] < 30
    train(settings, nothing)
    assert kept(tmp_path / "run") == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_stops_the_candidate_stops_its_processes(data, tmp_path, number):
    write_json(tmp_path / "request.json", as_dict(settings_of(data, tmp_path / "run", gpus=2, steps=10_000)))
    command = [sys.executable, "-m", "pathoprog.training.train", str(tmp_path / "request.json")]
    process = spawn(command, tmp_path / "log.txt", {"TMPDIR": str(tmp_path)})
    while not (tmp_path / "run" / PROGRESS).exists():
        assert process.poll() is None, (tmp_path / "log.txt").read_text()
        time.sleep(0.1)
    found = device_processes(process.pid)
    assert len(found) == 2
    process.send_signal(number)
    assert process.wait() == -number
    _, alive = psutil.wait_procs(found, timeout=20)
    assert not alive


@pytest.mark.slow
def test_a_refusal_is_told_in_its_own_words_and_what_failed_is_noted_once(data, tmp_path):
    away = replace(data, store=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"nowhere: no tiles of training at 10x; run `pathoprog tiles` first"):
        train(settings_of(away, tmp_path / "run", gpus=2), nothing)
    beyond_fp32 = 1e39
    diverging = settings_of(data, tmp_path / "diverging", "cross_entropy", gpus=2, class_weight_poor=beyond_fp32)
    with pytest.raises(DivergedError, match=r"loss nan .* at step 0"):
        train(diverging, nothing)
    assert "loss nan" in read_json(tmp_path / "diverging" / "failed.json")["reason"]
    assert not device_processes()


def test_a_candidate_s_own_process_tells_a_death_from_a_refusal(data, tmp_path, monkeypatch, capsys):
    """What `train_ensemble` starts: a death is tried again, a refusal is not."""
    write_json(tmp_path / "request.json", as_dict(settings_of(data, tmp_path / "run", gpus=2)))

    def dies(*_: object) -> None:
        raise ProcessDiedError("one of them died")

    monkeypatch.setattr(train_module, "train_together", dies)
    assert train_module.main(str(tmp_path / "request.json")) == 1
    assert capsys.readouterr().err == "run: one of them died\n"


class KillsOnce(Tracking):
    """Kills one of a running candidate's processes in place of logging its first metrics."""

    def __init__(self, tasks):
        super().__init__(TrackingSettings(tracking="none"))
        self.tasks, self.killed = tasks, 0

    def metrics(self, run_id, lines):
        if lines and not self.killed:
            self.killed = device_processes(self.tasks[0].process.pid)[1].pid
            os.kill(self.killed, signal.SIGKILL)

    def start(self, name, *_, **__):
        return name

    def end(self, *_, **__):
        return None


@pytest.mark.slow
def test_among_many_candidates_one_whose_process_dies_is_started_again(data, tmp_path):
    one = settings_of(data, tmp_path, gpus=2, steps=30, checkpoint_every=1, evaluate_every=30)
    settings = made_many(one, 1, workers=1)
    tasks = make_tasks(settings)[:1]
    with engine_of(settings) as engine:
        assert not train_all(tasks, engine, 1, (tracking := KillsOnce(tasks)), "")
    assert tracking.killed and tasks[0].starts == 2 and read_candidate(tasks[0].folder).steps == 30
    assert "ended with signal SIGKILL" in (tasks[0].folder / "log.txt").read_text()


# what needs no second process


@pytest.mark.parametrize("of", [1, 2, 4])
def test_the_shares_of_a_step_are_its_bags_in_their_order(data, of):
    patients = read_patients(made_settings(data, Path("unused")), "training")
    wanted = Sampler(patients, "class", 8, 3, seed=1).batch(5)
    found = [Sampler(patients, "class", 8, 3, 1, Share(number, of)).batch(5) for number in range(of)]
    assert np.array_equal(np.concatenate([batch.tiles for batch in found]), wanted.tiles)
    assert all(batch.patients == wanted.patients and len(batch.tiles) == 24 // of for batch in found)


def test_a_step_must_be_divisible_and_another_number_is_another_run(data, tmp_path):
    with pytest.raises(ConfigError, match=r"^fit\.accumulate=1 times fit\.gpus=3: must divide fit\.patients_per_step"):
        settings_of(data, tmp_path, gpus=3)
    one, two = settings_of(data, tmp_path / "run"), settings_of(data, tmp_path / "run", gpus=2)
    assert fingerprint(one) != fingerprint(two)
    train(one, nothing)
    with pytest.raises(InputError, match=r"holds a finished candidate of other settings \(fit\.gpus=2, there 1\)"):
        check_folder(two)
    assert "gpus" not in str(sorted(read_json(tmp_path / "run" / "run.json")))


def test_a_run_of_an_earlier_version_goes_on_with_one_device(data, tmp_path):
    """There the setting was unknown, and the hash of the others must not change with it."""
    settings = settings_of(data, tmp_path / "run")
    train(settings, nothing)
    path = tmp_path / "run" / "settings.json"
    before = read_json(path)
    del before["fit"]["gpus"]
    write_json(path, before)
    assert not check_folder(settings)
    with pytest.raises(InputError, match=r"of other settings \(fit\.gpus=2, there 1\)"):
        check_folder(replace(settings, fit=replace(settings.fit, gpus=2)))


@pytest.fixture
def four_gpus(monkeypatch):
    for place in ("pathoprog.system.machine.device_choice", "pathoprog.training.launchers"):
        monkeypatch.setattr(f"{place}.cuda_devices", lambda: 4)


def test_devices_lie_next_to_one_another_and_more_than_there_are_is_refused(four_gpus):
    assert devices_together("auto", 2) == ["cuda:0", "cuda:1"]
    assert devices_together("cuda:1", 3) == ["cuda:1", "cuda:2", "cuda:3"]
    assert devices_together("auto", 0) == [f"cuda:{index}" for index in range(4)]
    assert devices_together("cuda:2", 0) == ["cuda:2", "cuda:3"]
    assert devices_together("cpu", 3) == ["cpu"] * 3 and devices_together("cpu", 0) == ["cpu"]
    with pytest.raises(ConfigError, match=r"^fit\.gpus=5: this machine has 4 GPUs; give at most as many, or 0"):
        devices_together("auto", 5)
    with pytest.raises(ConfigError, match=r"^fit\.gpus=2: this machine has 1 GPUs from cuda:3 on"):
        devices_together("cuda:3", 2)


def test_without_a_gpu_several_are_processes_on_the_cpu_only_where_that_is_asked_for(monkeypatch):
    monkeypatch.setattr("pathoprog.system.machine.device_choice.cuda_devices", lambda: 0)
    assert devices_together("auto", 0) == devices_together("auto", 1) == ["cpu"]
    with pytest.raises(ConfigError, match=r"^fit\.gpus=2: this machine has no GPU; .* device=cpu"):
        devices_together("auto", 2)


def test_a_candidate_on_several_gpus_takes_as_many_slots(four_gpus, monkeypatch, data, tmp_path):
    assert local_devices("auto", 0, 1, 2) == ["cuda:0", "cuda:2"]
    assert local_devices("auto", 3, 1, 2) == ["cuda:0", "cuda:2", "cuda:0"]
    assert local_devices("auto", 0, 1, 3) == ["cuda:0"]
    assert local_devices("cuda:1", 0, 1, 2) == ["cuda:1"]
    monkeypatch.setattr(launchers, "cores", lambda: 8)
    assert local_devices("cpu", 0, 2, 2) == ["cpu"] * 2
    settings = made_many(made_settings(data, tmp_path, gpus=0), 1)
    settings.device = "auto"
    settle_devices(settings)
    assert settings.fit.gpus == 4
    settings.fit.gpus, settings.engine = 0, "ray"
    with pytest.raises(ConfigError, match=r"^fit\.gpus=0: with engine=ray say how many"):
        settle_devices(settings)
