"""Page-locked memory: lets a CUDA device fetch tiles from the stream's shared memory by itself, without a copy."""

import contextlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from pathoprog.errors import ConfigError


def register(memory: NDArray[np.uint8]) -> Callable[[], None]:
    """Page-lock some memory for the current CUDA device; give it to `TileStream` as its `register`.

    Tensors over the memory (`torch.from_numpy`) may then be sent with ``non_blocking=True``; a batch of the stream
    must have arrived (``torch.cuda.current_stream().synchronize()``, or any wait for a result) before the next event
    is asked for.

    Args:
        memory: uint8 [n], kept in place until the returned function is called.

    Returns:
        A function that undoes it.

    Raises:
        ConfigError: the system allows no more locked memory.
    """
    address = memory.ctypes.data
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]  # torch's stub lacks it
    code = runtime.cudaHostRegister(address, memory.nbytes, 0)
    if int(code) != 0:
        raise ConfigError(
            f"{memory.nbytes >> 20} MiB cannot be page-locked (CUDA error {int(code)}): lower stream.buffer_mib"
        )
    return lambda: runtime.cudaHostUnregister(address) and None


def register_for(
    device: torch.device, tell: Callable[[str], None] = lambda text: None
) -> Callable[[NDArray[np.uint8]], Callable[[], None]] | None:
    """What to give to a `TileStream` whose tiles go to this device: `register` on CUDA, None elsewhere.

    Memory that cannot be page-locked is used as it is, which is slower; `tell` is told of the first.
    """
    if device.type != "cuda":
        return None
    refused: list[str] = []

    def locked(memory: NDArray[np.uint8]) -> Callable[[], None]:
        with torch.cuda.device(device):
            if not refused:
                try:
                    return register(memory)
                except ConfigError as error:
                    refused.append(str(error))
                    tell(f"tiles are copied from memory that is not page-locked: {error}")
                    with contextlib.suppress(RuntimeError):  # else the error would be taken for the next call's
                        torch.zeros(1, device=device)
        return lambda: None

    return locked
