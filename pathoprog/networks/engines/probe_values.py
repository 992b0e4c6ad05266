"""Torch's values on the probe by which engines are checked, kept from one start to the next.

Ten networks of the real size take torch more than a second, at each start of a worker. What torch gave follows from the
weights, the settings, the tiles, torch's version and what it uses of the CPU: a file under a hash of all of it, in the
folder of converted networks (mode 0700), with its own hash in its first bytes.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pathoprog.networks.engines.choice import cpu_flags
from pathoprog.networks.engines.torch_engine import TorchEngine
from pathoprog.system.caches import private_folder
from pathoprog.system.files import atomic_write, sha256_value

if TYPE_CHECKING:
    from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork

FOLDER = "networks"
SUFFIX = ".probe"
HASH_BYTES = 32


def torch_values(
    networks: "Sequence[TileNetwork]", preparation: "Preparation", place: "Place", tiles: NDArray[np.uint8]
) -> list[Tensor]:
    """Each network's values [n, …] (float32) by torch in fp32 on the CPU, of tiles uint8 [n, h, w, 3].

    Args:
        networks: on the CPU in float32, in evaluation mode.
        preparation: how they are shown the tiles.
        place: on the CPU, fp32.
        tiles: the probe.
    """
    folder = private_folder(FOLDER)
    files = [None if folder is None else folder / f"{_key(one, preparation, tiles)}{SUFFIX}" for one in networks]
    found = [_kept(file) for file in files]
    missing = [index for index, values in enumerate(found) if values is None]
    if missing:
        engine = TorchEngine([networks[index] for index in missing], preparation, place, tiles.shape[1:3])
        for index, values in zip(missing, engine.values(tiles), strict=True):
            found[index] = values
            _keep(files[index], values)
    return [values for values in found if values is not None]


def _key(network: "TileNetwork", preparation: "Preparation", tiles: NDArray[np.uint8]) -> str:
    return sha256_value(
        {
            "network": network.identity,
            "modules": str(network.module),
            "mean": list(preparation.mean),
            "std": list(preparation.std),
            "input_px": preparation.input_px,
            "tiles": [list(tiles.shape), hashlib.sha256(tiles.tobytes()).hexdigest()],
            "torch": torch.__version__,
            "cpu": [torch.backends.cpu.get_cpu_capability(), *sorted(cpu_flags())],
        }
    )


def _kept(file: Path | None) -> Tensor | None:
    """Values that were kept; None where there are none, or they are damaged."""
    try:
        data = b"" if file is None else file.read_bytes()
    except OSError:
        return None
    if file is None or hashlib.sha256(data[HASH_BYTES:]).digest() != data[:HASH_BYTES]:
        return None
    os.utime(file)
    return torch.from_numpy(np.load(io.BytesIO(data[HASH_BYTES:]), allow_pickle=False))


def _keep(file: Path | None, values: Tensor) -> None:
    if file is None:
        return
    written = io.BytesIO()
    np.save(written, values.numpy(), allow_pickle=False)
    data = written.getvalue()
    try:
        with atomic_write(file, private=True) as stream:
            stream.write(hashlib.sha256(data).digest() + data)
    except OSError:
        return  # it is computed again at the next start
