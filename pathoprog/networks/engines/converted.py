"""Networks converted for OpenVINO, and the folder where they are kept: one's own, each file under all it follows from.

A converted network lies outside a bundle's hashes: the folder is private (mode 0700), a file's name is the hash of the
network's weights and settings, the versions, the CPU's features and the tiles' size, and each load is compared with
torch (`pathoprog.networks.engines.tile_networks`).
"""

import fcntl
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pathoprog.networks.engines import probe_values
from pathoprog.networks.engines.choice import cpu_flags
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork
from pathoprog.system.caches import private_folder
from pathoprog.system.files import sha256_file, sha256_value, write_text
from pathoprog.system.machine.device import dtype_name

CONVERSION = 2
"""Raise it if a network is converted differently: what is kept is then made anew."""
FOLDER = probe_values.FOLDER
KEPT_DAYS = 90
MARK = ".sha256"


@cache
def openvino() -> Any:
    """The library, with its telemetry out of reach: the converter then takes a stub of its own that sends nothing."""
    if sys.modules.get("openvino_telemetry") is None:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's way to say: not to be imported
    else:
        raise ImportError("openvino_telemetry was loaded before, and would send what is converted")
    import openvino as ov

    return ov


class _Whole(nn.Module):
    """Tiles uint8 [n, h, w, 3] to a network's values."""

    def __init__(self, preparation: Preparation, module: nn.Module):
        super().__init__()
        self.preparation, self.module = preparation, module

    def forward(self, tiles: Tensor) -> Tensor:
        found: Tensor = self.module(self.preparation(tiles))
        return found


def converted(
    core: Any, network: TileNetwork, preparation: Preparation, size: tuple[int, int], doing: str, place: Place
) -> Any:
    """A network as a model of OpenVINO's, from the folder or converted now.

    Args:
        core: OpenVINO's.
        network: with its weights on the CPU in float32.
        preparation: goes into the model, unless it resizes: then the model takes prepared tiles.
        size: of the tiles, height and width in pixels.
        doing: what `place.tell` is told if it must be converted.
        place: where it will compute.
    """
    name = f"{key(network, preparation, size, place)}.xml"
    folder = private_folder(FOLDER)
    if folder is None:
        place.tell(f"{doing}; no private folder to keep it in")
        with tempfile.TemporaryDirectory() as passing:
            return _made(core, network, preparation, size, Path(passing) / name)
    path = folder / name
    with _alone(path.with_suffix(".lock")):
        model = _kept(core, path)
        if model is None:
            place.tell(f"{doing} for OpenVINO {version('openvino')}, once on this machine")
            model = _made(core, network, preparation, size, path)
            _remove_old(folder)
    return model


def _made(core: Any, network: TileNetwork, preparation: Preparation, size: tuple[int, int], path: Path) -> Any:
    """Convert a network, and read it from its file: as converted, it computes other last bits than as read.

    Raises:
        OSError: the file cannot be written.
    """
    _keep(_convert(network, preparation, size), path)
    model = _kept(core, path)
    if model is None:
        raise OSError(f"{path.parent}: a converted network cannot be read back")
    return model


def key(network: TileNetwork, preparation: Preparation, size: tuple[int, int], place: Place) -> str:
    """Of a converted network: all that it follows from, and the machine and settings it was tried with."""
    return sha256_value(
        {
            "conversion": CONVERSION,
            "network": network.identity,
            "modules": str(network.module),
            "mean": list(preparation.mean),
            "std": list(preparation.std),
            "input_px": preparation.input_px,
            "size": list(size),
            "dtype": dtype_name(place.dtype),
            "versions": {name: version(name) for name in ("openvino", "torch")},
            "cpu": sorted(cpu_flags()),
        }
    )


def _convert(network: TileNetwork, preparation: Preparation, size: tuple[int, int]) -> Any:
    """Trace a network on one tile and convert the trace; the number of tiles stays open."""
    whole: nn.Module = network.module
    example = torch.zeros(1, *size, 3, dtype=torch.uint8)
    if preparation.input_px:
        example = preparation(example)
    else:
        whole = _Whole(preparation, network.module).eval()
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of constants in the trace, which they are meant to be
        traced = torch.jit.trace(whole, example, check_trace=False)  # type: ignore[no-untyped-call]
        model = openvino().convert_model(traced, example_input=example)
    shape = [-1, *example.shape[1:]]
    model.reshape(shape)
    return model


def _kept(core: Any, path: Path) -> Any:
    """A model that was kept; None where there is none, or it is damaged."""
    weights, mark = path.with_suffix(".bin"), path.with_suffix(MARK)
    try:
        if mark.read_text(encoding="ascii") != _mark(path):
            return None
        model = core.read_model(path, weights)
    except (OSError, ValueError, RuntimeError):
        return None
    os.utime(path)
    return model


def _keep(model: Any, path: Path) -> None:
    """Write a model, uncompressed, with a hash by which a damaged one shows."""
    made = path.with_name(f".{path.stem}.{os.getpid()}.xml")
    try:
        openvino().save_model(model, made, compress_to_fp16=False)
        write_text(path.with_suffix(MARK), _mark(made))
        made.with_suffix(".bin").replace(path.with_suffix(".bin"))
        made.replace(path)
    except RuntimeError as error:
        raise OSError(f"{path.parent}: a converted network cannot be written ({error})") from error
    finally:
        for suffix in (".xml", ".bin"):
            made.with_suffix(suffix).unlink(missing_ok=True)


def _mark(path: Path) -> str:
    return sha256_value([sha256_file(path), sha256_file(path.with_suffix(".bin"))])


def _remove_old(folder: Path) -> None:
    """Remove what nobody asked for in a long time."""
    for old in (*folder.glob("*.xml"), *folder.glob(f"*{probe_values.SUFFIX}")):
        if time.time() - old.stat().st_mtime > KEPT_DAYS * 86400:
            for suffix in (".xml", ".bin", ".lock", MARK, probe_values.SUFFIX):
                old.with_suffix(suffix).unlink(missing_ok=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time converts a network; the others wait for it."""
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
