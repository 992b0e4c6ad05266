"""Which device and which precision the networks run on: `device=auto|cpu|cuda:N`, `dtype=auto|fp32|bf16`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pathoprog.errors import ConfigError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def resolve_device(name: str = "auto") -> torch.device:
    """Turn a device setting into a device that is there.

    Args:
        name: ``auto`` (the first CUDA device, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: an unknown name, or a CUDA device that this machine does not have.
    """
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise ConfigError(f"device={name!r}: must be auto, cpu or cuda:N (N = 0, 1, …)")
    index = int(match[1] or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        there = f"there are cuda:0 to cuda:{count - 1}" if count else "no CUDA device is available here"
        raise ConfigError(f"device={name!r}: {there}; device=cpu always works")
    return torch.device("cuda", index)


def worker_devices(name: str, workers: int, on_cpu: int = 1) -> list[str]:
    """One device name per worker process of this machine.

    Args:
        name: the device setting; ``auto`` spreads the workers over all CUDA devices.
        workers: how many; 0: one per device.
        on_cpu: how many of them share the CPU if `workers` is 0.

    Raises:
        ConfigError: a device that is not there.
    """
    device = resolve_device(name)
    if device.type == "cpu":
        return ["cpu"] * (workers or on_cpu)
    if name != "auto":
        return [str(device)] * max(1, workers)
    count = torch.cuda.device_count()
    return [f"cuda:{index % count}" for index in range(workers or count)]


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn a precision setting into a dtype: ``auto`` is bf16 on a CUDA device that computes it natively, else fp32.

    Raises:
        ConfigError: an unknown name.
    """
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if fast else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"dtype={name!r}: must be auto, fp32 or bf16")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """``fp32`` or ``bf16``."""
    return next(name for name, value in DTYPES.items() if value == dtype)


def device_name(device: torch.device) -> str:
    """What results say about the device: ``cpu``, or the CUDA device with its model."""
    if device.type == "cpu":
        return "cpu"
    return f"{device} {torch.cuda.get_device_name(device)}"


def scoring_dtype(name: str, device: torch.device, locked: str) -> torch.dtype:
    """The precision in which slides are scored: the one that the bundle's thresholds rest on, and no other.

    Args:
        name: the setting; ``auto`` takes the bundle's.
        device: where the networks are.
        locked: what the bundle permits; empty for one of an earlier version, which does not say it (`resolve_dtype`).

    Raises:
        ConfigError: another one was asked for.
    """
    if not locked:
        return resolve_dtype(name, device)
    if name not in ("auto", locked):
        raise ConfigError(
            f"dtype={name}: this ensemble's thresholds rest on scores in {locked}, and in {name} a score may lie"
            f" further off than results promise; leave dtype out, or lock the candidates anew with dtype={name}"
            " (`pathoprog ensemble`)"
        )
    return resolve_dtype(locked, device)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread: sums over many tiles then have equal bits, however many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Compute fp32 convolutions and matrix products in fp32, not TF32: CPU and GPU then agree within 1e-5."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
