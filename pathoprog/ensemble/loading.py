"""Loading a locked ensemble: the member networks of a bundle, verified before a byte of them is used."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from pathoprog.ensemble.bundle import ensemble_id, verify
from pathoprog.ensemble.manifest import Manifest, Normalisation
from pathoprog.errors import BundleError
from pathoprog.networks.config import NORMALISATION_MEAN, NORMALISATION_STD, NetworkSettings
from pathoprog.networks.member import MilNetwork
from pathoprog.system.records import Saved, plain
from pathoprog.tiles.config import TileSpec


@dataclass
class Member:
    """One network of the ensemble, ready to score.

    `score_map` is (center, scale) of `MilNetwork.bag_scores`, fixed on tuning.
    """

    name: str
    resolution: str
    network: MilNetwork
    sha256: str
    score_map: tuple[float, float]


@dataclass
class Bundle:
    """A locked ensemble. `members` and `specs` are keyed by resolution."""

    folder: Path
    ensemble_id: str
    manifest: Manifest
    members: dict[str, list[Member]]
    thresholds: dict[str, float]
    specs: dict[str, TileSpec]
    aggregation: str
    tumour_policy: str

    @property
    def resolutions(self) -> tuple[str, ...]:
        """From coarse to fine."""
        return self.manifest.shape.resolutions

    def on_features(self, resolution: str) -> bool:
        """Whether a resolution's members take features, not tiles: of `feature_encoder.load_encoders`, or others'."""
        return resolution in {**(self.manifest.encoders or {}), **(self.manifest.other_features or {})}


def network_settings(saved: Saved[NetworkSettings]) -> NetworkSettings:
    """Network settings of a manifest; the path of initial weights is left behind.

    Raises:
        BundleError: settings that this version does not know.
    """
    if saved.unknown:
        raise BundleError(f"network settings this version does not know: {', '.join(sorted(saved.unknown))}")
    return replace(saved.settings, weights="")


def load_network(path: Path, settings: NetworkSettings) -> MilNetwork:
    """Build a network and load its weights (safetensors only), in evaluation mode on the CPU.

    Raises:
        BundleError: the file is damaged, its tensors do not fit the settings, or hold NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = MilNetwork(settings)
    try:
        tensors = load_file(path)
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise BundleError(f"{path}: weights cannot be loaded ({error})") from error
    broken = [
        name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if broken:
        raise BundleError(f"{path}: weights hold NaN or infinity, first in {broken[0]}")
    return network.eval().requires_grad_(False)


def load_bundle(folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Bundle:
    """Verify a bundle and load its members.

    Args:
        folder: the bundle.
        device: where the members will be.
        dtype: of the encoders; the heads stay in float32 (their sums over many tiles need it).

    Raises:
        BundleError: see `pathoprog.ensemble.bundle.verify`; also weights that do not fit, or another normalisation.
    """
    folder = Path(folder)
    manifest = verify(folder)
    expected = Normalisation(mean=NORMALISATION_MEAN, std=NORMALISATION_STD)
    if manifest.normalisation != expected:
        found = "none" if manifest.normalisation is None else plain(manifest.normalisation)
        raise BundleError(f"{folder}: normalisation {found}, this version has {plain(expected)}")
    members: dict[str, list[Member]] = {resolution: [] for resolution in manifest.shape.resolutions}
    for entry in manifest.members:
        network = load_network(folder / entry.file, network_settings(entry.network))
        to_device(network, device, dtype)
        center, scale = entry.score_map
        members[entry.resolution].append(
            Member(entry.name, entry.resolution, network, entry.sha256, (float(center), float(scale)))
        )
    return Bundle(
        folder=folder,
        ensemble_id=ensemble_id(folder),
        manifest=manifest,
        members=members,
        thresholds=manifest.cuts,
        specs={resolution: replace(spec) for resolution, spec in manifest.tile_specs.items()},
        aggregation=manifest.aggregation,
        tumour_policy=manifest.tumour_policy,
    )


def to_device(network: MilNetwork, device: torch.device | str, dtype: torch.dtype) -> nn.Module:
    """Move a network: its encoder in `dtype` and channels-last memory, its heads in float32."""
    network.to(device)
    network.encoder.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks it
    return network
