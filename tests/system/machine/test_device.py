"""Devices and precision by name."""

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
    scoring_dtype,
)


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
    cpu = torch.device("cpu")
    assert scoring_dtype("auto", cpu, "bf16") == scoring_dtype("bf16", cpu, "bf16") == torch.bfloat16
    assert scoring_dtype("auto", cpu, "fp32") == torch.float32
    assert scoring_dtype("bf16", cpu, "") == torch.bfloat16, "of an earlier version: it does not say"
    with pytest.raises(ConfigError, match=r"dtype=bf16: this ensemble's thresholds rest on scores in fp32"):
        scoring_dtype("bf16", cpu, "fp32")


def test_one_thread_is_given_back():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
