"""A bundle's networks on a device: tiles in, instance values and scores of whole bags out. No slides here.

Shapes: n tiles of one slide and resolution, m members of that resolution, k instance values per tile, s tile
size in pixels, d features per tile.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pathoprog.cohort_tables.same_scan import DevelopmentSlides
from pathoprog.ensemble.classes import risk_class
from pathoprog.ensemble.loading import Bundle, Member, to_device
from pathoprog.errors import BundleError
from pathoprog.networks.config import ATTENTION, EQUAL, HIGHEST, MIXED, WEIGHINGS
from pathoprog.networks.engines.choice import Runtime
from pathoprog.networks.engines.tile_networks import Place, Preparation, TileNetwork, TileNetworks
from pathoprog.networks.engines.uploads import Uploads
from pathoprog.networks.feature_encoder import FeatureEncoder
from pathoprog.networks.member import MilNetwork, scores_of_risks
from pathoprog.settings import as_dict
from pathoprog.system.fault_points import point
from pathoprog.system.files import sha256_value
from pathoprog.system.machine.device import dtype_name, exact_fp32, one_thread

BORDERLINE_TOLERANCE = {"fp32": 1e-5, "bf16": 5e-3}
"""How far equal work may differ between devices and batch sizes: a score nearer than this to its threshold is
borderline (OPERATIONS, fault table)."""
ROUNDED_TOLERANCE = {"fp32": 0.0, "fp16": 1e-3}
"""The same where features are rounded to this precision, whose last bit may fall either way."""


class TileInstances(nn.Module):
    """A member as tile engines take it: prepared tiles [n, 3, s, s] to instance values [n, k], float32."""

    def __init__(self, network: MilNetwork):
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        return self.network.instances_of_features(self.network.encoder(tiles).float())


class Scorer:
    """A bundle's networks on a device, ready to be shown tiles.

    Args:
        bundle: the locked ensemble, loaded to the CPU in float32; its networks are moved and fused in place.
        device: where to compute.
        dtype: of the members' own encoders.
        threads: on the CPU, how many computations go on at once, each in one thread: then equal tiles give equal bits
            however many there are (`torch.set_num_threads(1)` is the caller's part).
        encoders: by resolution, where members take features; without them bags of kept instance values alone can be
            scored.
        runtime: the engine of whole networks; None: torch. Encoders bring their own.
        tell: is told what takes long.
        compiled: on CUDA whole networks are compiled, see `tile_networks.Place`.

    Attributes:
        networks: by resolution, where members are whole networks.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        threads: int = 1,
        encoders: Mapping[str, FeatureEncoder] | None = None,
        runtime: Runtime | None = None,
        tell: Callable[[str], None] = lambda text: None,
        compiled: bool = False,
    ):
        self._uploads = Uploads(device)
        self.encoders = encoders or {}
        self.bundle, self.device, self.dtype = bundle, device, dtype
        self.development = DevelopmentSlides(bundle.folder)
        records = (bundle.manifest.encoders or {}).values()
        computed = [BORDERLINE_TOLERANCE[kind] for kind in (dtype_name(dtype), *(record.dtype for record in records))]
        self.tolerance = max(computed + [ROUNDED_TOLERANCE[record.precision] for record in records])
        for member in self.all_members():
            fuse_batch_norm(member.network.encoder)
            member.network.to(device)  # heads stay in float32; encoders are cast where torch computes them
        place = Place(device, dtype, threads, runtime, tell, compiled=compiled)
        self.networks: dict[str, TileNetworks] = {}
        for resolution in bundle.resolutions:
            found = bundle.members[resolution]
            if bundle.on_features(resolution):
                for member in found:
                    to_device(member.network, device, dtype)
            else:
                shown = [TileNetwork(one.name, _identity(one), TileInstances(one.network)) for one in found]
                self.networks[resolution] = TileNetworks(shown, Preparation(), place, partial(_to_torch, found, place))

    def all_members(self) -> list[Member]:
        """All members, those of the coarsest resolution first."""
        return [member for resolution in self.bundle.resolutions for member in self.bundle.members[resolution]]

    def warm(self) -> None:
        """Make the engines ready for the bundle's tiles now: converting networks takes seconds each."""
        for resolution in self.bundle.resolutions:
            side = self.bundle.specs[resolution].size_px
            if resolution in self.networks:
                self.networks[resolution].ready(side, side)
            elif resolution in self.encoders:
                self.encoders[resolution].networks.ready(side, side)

    def _networks_of(self, resolution: str) -> TileNetworks | None:
        encoder = self.encoders.get(resolution)
        return self.networks.get(resolution) or (encoder.networks if encoder else None)

    def runtime(self, resolution: str) -> str:
        """Engine and version that compute a resolution's tiles."""
        networks = self._networks_of(resolution)
        return str(networks.runtime) if networks else ""

    def how(self, resolution: str) -> str:
        """`runtime`, and on CUDA how it computes: tiles at once, compiled or not; for what is told of a run."""
        networks = self._networks_of(resolution)
        return ", ".join(filter(None, (self.runtime(resolution), networks.how if networks else "")))

    @property
    def notes(self) -> list[str]:
        """Why some networks are not computed by the engine asked for, for the results."""
        found = {resolution: self._networks_of(resolution) for resolution in self.bundle.resolutions}
        return [f"runtime: {name}: {one.note}" for name, one in found.items() if one is not None and one.note]

    def on_device(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8] | Tensor:
        """Tiles for `instances`: on CUDA copied there, so their memory may be used again; on a CPU as they are.

        Raises:
            torch.OutOfMemoryError: the tiles do not fit the device's memory.
        """
        return self._uploads(tiles) if self.device.type == "cuda" else tiles

    @torch.inference_mode()
    def instances(self, resolution: str, tiles: NDArray[Any] | Tensor) -> list[Tensor]:
        """Per member the instance values [n, k] (float32, on the device) of tiles uint8 [n, s, s, 3].

        Where members take features, also of features [n, d] that were stored as the encoder gave them. On CUDA the
        values may be computed later.

        Raises:
            torch.OutOfMemoryError: the batch does not fit the device's memory.
        """
        if resolution in self.networks:
            found = self.networks[resolution].values(tiles)
        else:
            with exact_fp32(), one_thread():  # [n, d], once for all members
                stored = tiles.ndim == 2
                batch = torch.as_tensor(tiles, device=self.device) if stored else self._features(resolution, tiles)
                members = [member.network for member in self.bundle.members[resolution]]
                found = [one.instances_of_features(one.encoder(batch).float()) for one in members]
        for _ in found:
            point("after_member")
        return found

    def _features(self, resolution: str, tiles: NDArray[np.uint8] | Tensor) -> Tensor:
        """Features [n, d] of tiles uint8 [n, s, s, 3], in the precision that the members learned from."""
        encoder = self.encoders.get(resolution)
        if encoder is None:
            raise BundleError(f"{self.bundle.folder}: members at {resolution} take features, and no encoder is loaded")
        features = encoder.features(tiles)
        # an infinite feature (beyond fp16, say) could still end as a finite score; NaN cannot, and the slide fails
        return torch.where(torch.isfinite(features), features, torch.nan)

    def instances_in_parts(self, resolution: str, tiles: NDArray[Any] | Tensor) -> tuple[list[Tensor], int]:
        """`instances`, with the batch halved as often as the device's memory asks for, and how often that was.

        Raises:
            torch.OutOfMemoryError: not even one tile fits.
        """
        try:
            return self.instances(resolution, tiles), 0
        except torch.OutOfMemoryError:
            if len(tiles) == 1:
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        middle = len(tiles) // 2
        left, left_halved = self.instances_in_parts(resolution, tiles[:middle])
        right, right_halved = self.instances_in_parts(resolution, tiles[middle:])
        joined = [torch.cat(pair) for pair in zip(left, right, strict=True)]
        return joined, 1 + left_halved + right_halved

    def begin(self, resolution: str, tiles: NDArray[Any] | Tensor) -> Callable[[], tuple[list[Tensor], int]]:
        """`instances_in_parts`, on a CPU beside the caller where the engine can: what is returned waits for them.

        Until then the tiles' memory must stay as it is.

        Raises:
            torch.OutOfMemoryError: now; not even one tile fits.
        """
        begun = self.networks[resolution].begin(tiles) if resolution in self.networks else None
        if begun is None:
            found = self.instances_in_parts(resolution, tiles)
            return lambda: found

        def finished() -> tuple[list[Tensor], int]:
            instances = begun()
            for _ in instances:
                point("after_member")
            return instances, 0

        return finished

    @torch.inference_mode()
    def bag_risks(self, resolution: str, instances: list[Tensor]) -> list[float]:
        """Each member's risk (unbounded, float32) of one bag, from its instance values [n, k] of all its tiles."""
        with one_thread():
            return [
                float(member.network.risk(member.network.bag_logits(values.to(self.device), [len(values)])))
                for member, values in zip(self.bundle.members[resolution], instances, strict=True)
            ]

    def scores_of(self, resolution: str, risks: list[float]) -> list[float]:
        """Each member's score in [0, 1] of its risk, by its map: the one way from a risk to a score."""
        return [
            float(scores_of_risks(torch.tensor([risk], device=self.device), member.score_map))
            for member, risk in zip(self.bundle.members[resolution], risks, strict=True)
        ]

    def bag_scores(self, resolution: str, instances: list[Tensor]) -> list[float]:
        """Each member's score of one bag, from its instance values [n, k] of all the bag's tiles."""
        return self.scores_of(resolution, self.bag_risks(resolution, instances))

    def tile_scores(self, resolution: str, instances: list[Tensor]) -> NDArray[np.float32]:
        """Each member's score for each tile as a bag of its own, float32 [n, m]."""
        return self.tile_scores_there(resolution, instances).cpu().numpy()

    @torch.inference_mode()
    def tile_scores_there(self, resolution: str, instances: list[Tensor]) -> Tensor:
        """`tile_scores` on the device, for which nothing waits."""
        scores = [
            member.network.tile_scores(values.to(self.device), member.score_map)
            for member, values in zip(self.bundle.members[resolution], instances, strict=True)
        ]
        return torch.stack(scores, dim=1).float()

    @torch.inference_mode()
    def attention(self, resolution: str, instances: list[Tensor]) -> NDArray[np.float32] | None:
        """Attention weight of each tile in their common bag, float32 [n], the mean over the members that have one.

        None where all members weigh tiles equally.
        """
        weights = [
            member.network.attention_weights(values.to(self.device))
            for member, values in zip(self.bundle.members[resolution], instances, strict=True)
        ]
        given = [weight for weight in weights if weight is not None]
        return torch.stack(given).mean(0).float().cpu().numpy() if given else None

    def weighing(self, resolution: str) -> str:
        """What a tile's part in the score is, by the members' pooling; see `networks.config.EQUAL`."""
        found = [WEIGHINGS[member.network.settings.pooling] for member in self.bundle.members[resolution]]
        return max(found, key=(EQUAL, HIGHEST, ATTENTION, MIXED).index)  # a lock's members have one pooling

    def classify(self, scores: dict[str, float]) -> tuple[str, bool]:
        """Class of the scores (keyed by resolution), and whether one lies at its threshold within the tolerance."""
        thresholds = self.bundle.thresholds
        borderline = any(abs(scores[r] - thresholds[r]) < self.tolerance for r in self.bundle.resolutions)
        return risk_class(scores, thresholds), borderline


def _identity(member: Member) -> str:
    return sha256_value([member.sha256, as_dict(member.network.settings), "fused"])


def _to_torch(members: list[Member], place: Place) -> None:
    for member in members:
        to_device(member.network, place.device, place.dtype)


def fuse_batch_norm(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, in place, wherever a Sequential holds the pair.

    In evaluation mode both are one affine map, so the outputs are equal up to rounding, in half the time on a CPU.
    """
    for child in module.children():
        fuse_batch_norm(child)
    if not isinstance(module, nn.Sequential):
        return
    for index in range(len(module) - 1):
        convolution, norm = module[index], module[index + 1]
        # timm's BatchNorm2d subclasses hold an activation, which fusing would lose
        if isinstance(convolution, nn.Conv2d) and type(norm) is nn.BatchNorm2d:
            module[index] = fuse_conv_bn_eval(convolution, norm)
            module[index + 1] = nn.Identity()
