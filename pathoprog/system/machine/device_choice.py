"""Which device and which precision a run takes, by name: `device=auto|cpu|cuda:N`, `dtype=auto|fp32|bf16`.

torch is asked only where the machine may have a GPU: to import it takes seconds, which a command that hands its work to
other processes need not wait for. `device` turns the names into torch's own.
"""

import ctypes
import re
import sys
from pathlib import Path

from pathoprog.errors import ConfigError

PRECISIONS = ("fp32", "bf16")
DRIVER = "libcuda.so.1"
"""NVIDIA's driver; without it torch finds no CUDA device."""
AMD_DEVICE = Path("/dev/kfd")
"""What AMD's driver makes; torch built for it calls its devices cuda too."""


def may_have_gpu() -> bool:
    """Whether torch could find a GPU here; where False it is sure to find none. Systems beside Linux are not known."""
    if not sys.platform.startswith("linux") or AMD_DEVICE.exists():
        return True
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def cuda_devices() -> int:
    """How many CUDA devices there are, as torch counts them."""
    if "torch" not in sys.modules and not may_have_gpu():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_device(name: str = "auto") -> str:
    """Turn a device setting into a device that is there: ``cpu`` or ``cuda:N``.

    Args:
        name: ``auto`` (the first CUDA device, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: an unknown name, or a CUDA device that this machine does not have.
    """
    if name == "auto":
        return "cuda:0" if cuda_devices() else "cpu"
    if name == "cpu":
        return "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise ConfigError(f"device={name!r}: must be auto, cpu or cuda:N (N = 0, 1, …)")
    index, count = int(match[1] or 0), cuda_devices()
    if index >= count:
        there = f"there are cuda:0 to cuda:{count - 1}" if count else "no CUDA device is available here"
        raise ConfigError(f"device={name!r}: {there}; device=cpu always works")
    return f"cuda:{index}"


def worker_devices(name: str, workers: int, on_cpu: int = 1) -> list[str]:
    """One device name per worker process of this machine.

    Args:
        name: the device setting; ``auto`` spreads the workers over all CUDA devices.
        workers: how many; 0: one per device.
        on_cpu: how many of them share the CPU if `workers` is 0.

    Raises:
        ConfigError: a device that is not there.
    """
    device = choose_device(name)
    if device == "cpu":
        return ["cpu"] * (workers or on_cpu)
    if name != "auto":
        return [device] * max(1, workers)
    count = cuda_devices()
    return [f"cuda:{index % count}" for index in range(workers or count)]


def choose_precision(name: str, device: str) -> str:
    """Turn a precision setting into one: ``auto`` is bf16 on a CUDA device that computes it natively, else fp32.

    Args:
        name: the setting.
        device: of `choose_device`.

    Raises:
        ConfigError: an unknown name.
    """
    if name != "auto":
        if name not in PRECISIONS:
            raise ConfigError(f"dtype={name!r}: must be auto, fp32 or bf16")
        return name
    if device == "cpu":
        return "fp32"
    import torch

    return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"


def scoring_precision(name: str, device: str, locked: str) -> str:
    """The precision in which slides are scored: the one that the bundle's thresholds rest on, and no other.

    Args:
        name: the setting; ``auto`` takes the bundle's.
        device: where the networks are, of `choose_device`.
        locked: what the bundle permits; empty for one of an earlier version, which does not say it
            (`choose_precision`).

    Raises:
        ConfigError: another one was asked for.
    """
    if not locked:
        return choose_precision(name, device)
    if name not in ("auto", locked):
        raise ConfigError(
            f"dtype={name}: this ensemble's thresholds rest on scores in {locked}, and in {name} a score may lie"
            f" further off than results promise; leave dtype out, or lock the candidates anew with dtype={name}"
            " (`pathoprog ensemble`)"
        )
    return choose_precision(locked, device)
