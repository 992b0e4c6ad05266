"""A frozen encoder: tiles in, features out; one way for those that are stored and those that are scored at once.

Shapes: n tiles, s tile size in pixels, d features.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pathoprog.errors import BundleError, ConfigError
from pathoprog.networks.config import FeatureEncoderSettings
from pathoprog.networks.encoder_records import SHOWN, EncoderRecord, weights_files
from pathoprog.networks.encoders import make_encoder
from pathoprog.networks.engines.choice import Runtime
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork, TileNetworks
from pathoprog.networks.published.encoder_recipes import as_shown
from pathoprog.system.files import sha256_file, sha256_value
from pathoprog.system.machine.device import DTYPES
from pathoprog.system.records import plain

PRECISIONS = {"fp16": torch.float16, "fp32": torch.float32}


class TileFeatures(nn.Module):
    """An encoder as tile engines take it: prepared tiles [n, 3, s, s] to features [n, d], float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        values: Tensor = self.network(tiles)
        return values.float()


class FeatureEncoder:
    """An encoder with its weights on a device.

    Args:
        settings: of the encoder.
        device: where it computes.
        dtype: bf16 computes under autocast, where torch computes.
        runtime: the engine; None: torch.
        threads: on the CPU, how many computations go on at once.
        tell: is told what takes long.

    Attributes:
        networks: the encoder by its engine.

    Raises:
        ConfigError: no such encoder, or weights that do not fit it.
    """

    def __init__(
        self,
        settings: FeatureEncoderSettings,
        device: torch.device,
        dtype: torch.dtype,
        runtime: Runtime | None = None,
        threads: int = 1,
        tell: Callable[[str], None] = lambda text: None,
    ):
        settings = as_shown(settings)
        self.settings, self.device, self.dtype = settings, device, dtype
        self.network, self.d = make_encoder(settings, key="")
        self.network.eval().requires_grad_(False).to(device)
        self.network.to(memory_format=torch.channels_last)
        whole = TileFeatures(self.network).eval()
        built_by = {name: getattr(settings, name) for name in SHOWN}
        identity = sha256_value([sha256_file(settings.weights) if settings.weights else "", built_by])
        self.networks = TileNetworks(
            [TileNetwork(settings.encoder, identity, whole)],
            Preparation(settings.mean, settings.std, settings.input_px),
            Place(device, dtype, threads, runtime, tell, autocast=True),
        )

    @torch.inference_mode()
    def features(self, tiles: NDArray[np.uint8] | Tensor) -> Tensor:
        """Features [n, d] of tiles uint8 [n, s, s, 3], float16 or float32 as `settings.precision` says, on the device.

        Raises:
            torch.OutOfMemoryError: the batch does not fit the device's memory.
        """
        (values,) = self.networks.values(tiles)
        return values.to(PRECISIONS[self.settings.precision])


def load_encoders(
    folder: Path,
    records: Mapping[str, EncoderRecord] | None,
    given: Sequence[str],
    device: torch.device,
    runtimes: Mapping[str, Runtime] | None = None,
    threads: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, FeatureEncoder]:
    """The encoders of a bundle that `pathoprog.ensemble.bundle.verify` found whole, by resolution; equal ones once.

    They compute in the dtype in which the features were computed that the members learned from.

    Args:
        folder: the bundle.
        records: of its manifest, by resolution.
        given: files of the weights that it names by their hash alone.
        device: where they compute.
        runtimes: the engine of each resolution's encoder; none: torch.
        threads: see `FeatureEncoder`.
        tell: see `FeatureEncoder`.

    Raises:
        BundleError: the libraries here have no such encoder, or the weights do not fit it.
        ConfigError: see `pathoprog.networks.encoder_records.weights_files`.
    """
    records = records or {}
    loaded: dict[str, FeatureEncoder] = {}
    for resolution, path in weights_files(folder, records, given).items():
        record = records[resolution]
        twin = next((other for other in loaded if records[other] == record), None)
        if twin is not None:
            loaded[resolution] = loaded[twin]
            continue
        dtype = DTYPES[record.dtype]
        values = plain(record)
        shown = {name: values[name] for name in (*SHOWN, "precision")}
        engine = (runtimes or {}).get(resolution)
        try:
            encoder = FeatureEncoder(
                FeatureEncoderSettings(**shown, weights=str(path)), device, dtype, engine, threads, tell
            )
        except ConfigError as error:
            raise BundleError(f"{folder}: the encoder at {resolution} cannot be built here: {error}") from error
        if encoder.d != record.d:
            raise BundleError(
                f"{folder}: {record.encoder} gives {encoder.d} features here, and the members take {record.d}"
            )
        loaded[resolution] = encoder
    return loaded
