"""Devices and precision by name."""

import subprocess
import sys

import pytest
import torch

from pathoprog.errors import ConfigError
from pathoprog.system.machine.device import (
    device_name,
    dtype_name,
    exact_fp32,
    one_thread,
    resolve_device,
    resolve_dtype,
)
from pathoprog.system.machine.device_choice import choose_device, may_have_gpu, scoring_precision, worker_devices


def test_cpu_is_always_there_and_computes_in_fp32():
    assert resolve_device("cpu") == torch.device("cpu")
    assert device_name(torch.device("cpu")) == "cpu"
    assert dtype_name(resolve_dtype("auto", torch.device("cpu"))) == "fp32"
    assert resolve_dtype("bf16", torch.device("cpu")) == torch.bfloat16


def test_auto_takes_the_gpu_where_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cuda:99"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(ConfigError, match="device="):
        resolve_device(name)


def test_an_unknown_precision_is_named():
    with pytest.raises(ConfigError, match="dtype='fp16'"):
        resolve_dtype("fp16", torch.device("cpu"))


def test_exact_fp32_is_undone():
    before = torch.backends.cudnn.allow_tf32
    with exact_fp32():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_slides_are_scored_in_the_precision_that_the_bundle_locks():
    assert scoring_precision("auto", "cpu", "bf16") == scoring_precision("bf16", "cpu", "bf16") == "bf16"
    assert scoring_precision("auto", "cpu", "fp32") == "fp32"
    assert scoring_precision("bf16", "cpu", "") == "bf16", "of an earlier version: it does not say"
    with pytest.raises(ConfigError, match=r"dtype=bf16: this ensemble's thresholds rest on scores in fp32"):
        scoring_precision("bf16", "cpu", "fp32")


def test_where_no_gpu_may_be_torch_finds_none():
    assert may_have_gpu() or not torch.cuda.is_available()


CHOOSE = """
import sys
from pathoprog.system.machine import device_choice
device_choice.may_have_gpu = lambda: False
assert device_choice.choose_device("auto") == "cpu"
assert device_choice.worker_devices("auto", 2) == ["cpu", "cpu"]
import pathoprog.inference.score, pathoprog.inference.engine.transport
sys.exit("torch" in sys.modules)
"""


def test_a_command_that_hands_its_work_over_does_not_load_torch():
    assert subprocess.run([sys.executable, "-c", CHOOSE], check=False).returncode == 0


def test_workers_are_spread_over_the_devices_that_torch_counts(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choose_device("auto") == "cuda:0"
    assert worker_devices("auto", 0) == ["cuda:0", "cuda:1"]
    assert worker_devices("auto", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert worker_devices("cuda:1", 2) == ["cuda:1", "cuda:1"]
    with pytest.raises(ConfigError, match="there are cuda:0 to cuda:1"):
        choose_device("cuda:2")


def test_one_thread_is_given_back():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
