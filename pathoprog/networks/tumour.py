"""The tumour network: windows of a slide's coarse view in, probabilities out; on disk as safetensors.

Shapes: n windows of one slide, s their side in pixels of the view.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pathoprog.errors import BundleError, ConfigError, SlideError
from pathoprog.networks.encoders import load_encoder_weights
from pathoprog.networks.engines.choice import Runtime
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork, TileNetworks
from pathoprog.networks.tumour_record import TumourRecord
from pathoprog.regions.overview import Windows
from pathoprog.regions.tumour_config import OutlineSettings, TumourNetworkSettings
from pathoprog.regions.tumour_map import TumourMap
from pathoprog.slides.slide import SlideFacts
from pathoprog.system.files import sha256_file, sha256_value
from pathoprog.system.records import Saved, plain

WINDOWS_AT_ONCE = 8
S = TypeVar("S")


def make_tumour_network(settings: TumourNetworkSettings) -> nn.Module:
    """A U-Net, normalised windows [n, 3, s, s] to logits [n, 1, s, s]; s is a multiple of 32.

    Raises:
        ConfigError: no such encoder, or weights that do not fit it.
    """
    import segmentation_models_pytorch

    channels = [settings.decoder * 2**stage for stage in (4, 3, 2, 1, 0)]
    try:
        network: nn.Module = segmentation_models_pytorch.Unet(
            settings.encoder, encoder_weights=None, decoder_channels=channels, in_channels=3, classes=1
        )
    except (KeyError, ValueError, RuntimeError) as error:
        said = str(error).strip("\"'").split(",")[0]  # the rest lists every encoder there is
        raise ConfigError(f"network.encoder={settings.encoder!r}: no encoder here ({said})") from error
    if settings.weights:
        load_encoder_weights(network.get_submodule("encoder"), settings.weights)
    return network.to(memory_format=torch.channels_last)


class WindowProbabilities(nn.Module):
    """A tumour network as tile engines take it: prepared windows [n, 3, s, s] to probabilities [n, s, s]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.network(windows)
        return torch.sigmoid(logits[:, 0])


@dataclass
class TumourNetwork:
    """A trained network on a device, and how its map becomes an outline.

    `place` says by which engine it computes, and `identity` is of its weights and settings; without them by torch.
    """

    network: nn.Module
    outline: OutlineSettings
    device: torch.device
    place: Place | None = None
    identity: str = ""

    def __post_init__(self) -> None:
        place = self.place or Place(self.device)
        shown = TileNetwork("tumour network", self.identity, WindowProbabilities(self.network).eval())
        self.networks = TileNetworks([shown], Preparation(), replace(place, at_once=WINDOWS_AT_ONCE))

    @torch.inference_mode()
    def probabilities(self, windows: NDArray[np.uint8], at_once: int = WINDOWS_AT_ONCE) -> NDArray[np.float32]:
        """Probability of tumour, float32 [n, s, s], of windows uint8 [n, s, s, 3]; always in fp32.

        Raises:
            torch.OutOfMemoryError: not even one window fits the device's memory.
        """
        parts = []
        for start in range(0, len(windows), at_once):
            try:
                (found,) = self.networks.values(windows[start : start + at_once])
            except torch.OutOfMemoryError:
                if at_once == 1:
                    raise
                return self.probabilities(windows, at_once // 2)
            parts.append(found.cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros(windows.shape[:3], np.float32)


class NetworkOutliner:
    """What `slide_stream.TileStream.read` asks for the outlines of slides under the policy ``network``."""

    def __init__(self, network: TumourNetwork, on_windows: Callable[[int], None] = lambda n: None):
        """`on_windows` is told how many windows went through the network."""
        self.network, self._on_windows = network, on_windows
        self._maps: dict[str, tuple[SlideFacts, TumourMap]] = {}

    def begin(self, slide_id: str, facts: SlideFacts, windows: Windows) -> None:
        """A slide's windows follow; one that began before begins again."""
        self._maps[slide_id] = facts, TumourMap(windows, self.network.outline.overlap_px)

    def add(self, slide_id: str, start: int, pixels: NDArray[np.uint8]) -> None:
        """Windows `start` … of a slide, uint8 [n, s, s, 3].

        Raises:
            SlideError: code ``device_memory``.
        """
        try:
            self._maps[slide_id][1].add(start, self.network.probabilities(pixels))
        except torch.OutOfMemoryError as error:
            raise SlideError(f"{slide_id}: not even one window fits the device's memory", "device_memory") from error
        self._on_windows(len(pixels))

    def end(self, slide_id: str) -> shapely.MultiPolygon:
        """All windows have come: the outline, level-0 px."""
        facts, found = self._maps.pop(slide_id)
        return found.outline(facts, self.network.outline)

    def forget(self, slide_id: str) -> None:
        """The slide failed on the way."""
        self._maps.pop(slide_id, None)


def record(network: TumourNetworkSettings, outline: OutlineSettings) -> dict[str, Any]:
    """What is kept beside the weights: all that `load` needs; the path of initial weights is left behind."""
    from pathoprog.settings import as_dict

    return {"network": {**as_dict(network), "weights": ""}, "outline": as_dict(outline)}


def load(
    path: Path,
    entry: TumourRecord,
    device: torch.device,
    runtime: Runtime | None = None,
    threads: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> TumourNetwork:
    """Load a trained network (safetensors only), in evaluation mode.

    Args:
        path: the weights.
        entry: of the network; its `file` is not looked at.
        device: where it will compute.
        runtime: the engine; None: torch.
        threads: on a CPU, how many windows are computed at once by another engine than torch.
        tell: is told what takes long.

    Raises:
        BundleError: damaged, NaN or infinity in it, or settings that this version does not know or that do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network = make_tumour_network(replace(_known(entry.network), weights=""))
        outline = _known(entry.outline)
        tensors = load_file(path)
        network.load_state_dict(tensors)
    except (SafetensorError, ConfigError, RuntimeError, OSError, TypeError) as error:
        raise BundleError(f"{path}: the tumour network cannot be loaded ({error})") from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise BundleError(f"{path}: weights hold NaN or infinity, first in {broken[0]}")
    identity = sha256_value([sha256_file(path), plain(entry.network)])
    place = Place(device, threads=threads, runtime=runtime, tell=tell)
    return TumourNetwork(network.eval().requires_grad_(False).to(device), outline, device, place, identity)


def of_bundle(
    folder: Path,
    entry: TumourRecord | None,
    device: torch.device,
    runtime: Runtime | None = None,
    threads: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> TumourNetwork:
    """The tumour network of a bundle that `pathoprog.ensemble.bundle.verify` found whole; see `load`.

    Args:
        folder: the bundle.
        entry: of its manifest.
        device: where it will compute.
        runtime: see `load`.
        threads: see `load`.
        tell: see `load`.

    Raises:
        BundleError: it has none; see `load` for the rest.
    """
    if entry is None:
        raise BundleError(f"{folder}: the bundle holds no tumour network")
    return load(folder / entry.file, entry, device, runtime, threads, tell)


def _known(saved: Saved[S]) -> S:
    if saved.unknown:
        raise BundleError(f"tumour network: settings this version does not know: {', '.join(sorted(saved.unknown))}")
    return saved.settings
