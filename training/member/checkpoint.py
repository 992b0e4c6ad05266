"""Checkpoints: one safetensors file with weights, averaged weights and optimiser state, written whole or not at all.

All metadata lies in a single key: with several, safetensors files of equal content differ from run to run.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pathoprog.errors import InputError
from pathoprog.system.files import atomic_write


def write(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and a JSON state."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    with atomic_write(path) as stream:
        stream.write(save(contiguous, metadata={"state": json.dumps(state, sort_keys=True)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors (on the CPU) and state.

    Raises:
        InputError: not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  # not a dict
            return tensors, json.loads(metadata.get("state", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint ({error}); delete it to start again") from error


def pack(network: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All tensors that a run needs to go on as if it had not stopped."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
    return tensors


def unpack(tensors: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Put a checkpoint's tensors back; returns the averaged weights."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    network.load_state_dict(part("network."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimizer.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    device = next(network.parameters()).device
    return {name: tensor.to(device) for name, tensor in part("average.").items()}
