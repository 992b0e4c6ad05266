"""The device and the precision of the networks as torch has them; `device_choice` says which a run takes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pathoprog.system.machine.device_choice import choose_device, choose_precision

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def resolve_device(name: str = "auto") -> torch.device:
    """Turn a device setting (``auto``, ``cpu``, ``cuda`` or ``cuda:N``) into a device that is there.

    Raises:
        ConfigError: see `choose_device`.
    """
    return torch.device(choose_device(name))


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn a precision setting (``auto``, ``fp32`` or ``bf16``) into a dtype.

    Raises:
        ConfigError: see `choose_precision`.
    """
    return DTYPES[choose_precision(name, str(device))]


def dtype_name(dtype: torch.dtype) -> str:
    """``fp32`` or ``bf16``."""
    return next(name for name, value in DTYPES.items() if value == dtype)


def device_name(device: torch.device) -> str:
    """What results say about the device: ``cpu``, or the CUDA device with its model."""
    if device.type == "cpu":
        return "cpu"
    return f"{device} {torch.cuda.get_device_name(device)}"


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
