"""A small locked bundle with random weights, for tests of scoring."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from pathoprog.bundle import lock
from pathoprog.files import canonical_json
from pathoprog.networks import MilNetwork, prepare
from pathoprog.networks_config import NORMALISATION_MEAN, NORMALISATION_STD, NetworkSettings
from pathoprog.quality_config import QUALITY_VERSION, LimitSettings
from pathoprog.settings import as_dict


def made_bundle(
    folder: Path, size_px: int = 96, aggregation: str = "bag", tumour_policy: str = "tissue", **changes: Any
) -> Path:
    """Lock ten random width-0.35 members, thresholds 0.5 (or `thresholds=`), tiles of `size_px`; returns the folder.

    Quality has no limits, unless `limits=` gives some: most slides made for tests look like no tissue.
    """
    checks = [name.removesuffix("_warn") for name in as_dict(LimitSettings()) if name.endswith("_warn")]
    quality = {
        "version": QUALITY_VERSION,
        "region": tumour_policy,
        "limits": {check: [None, None] for check in checks} | changes.pop("limits", {}),
        "reference": changes.pop("reference", None),
    }
    thresholds = changes.pop("thresholds", {"10x": 0.5, "40x": 0.5})
    settings = NetworkSettings(**{"width": 0.35, "instance_dim": 8, **changes.pop("network", {})})
    members: list[dict[str, Any]] = []
    files: dict[str, Path | str] = {}
    source = folder.parent / f"{folder.name}.weights"
    source.mkdir(parents=True, exist_ok=True)
    for resolution in ("10x", "40x"):
        for index in range(5):
            torch.manual_seed(len(members))
            network = MilNetwork(settings)
            with torch.no_grad():  # spread the scores: a fresh network says the same for everything
                noise = torch.randint(0, 256, (32, size_px // 4, size_px // 4, 3), dtype=torch.uint8)
                tiles = noise.repeat_interleave(4, 1).repeat_interleave(4, 2) // torch.randint(1, 4, (32, 1, 1, 3))
                features = network.eval().encoder(prepare(tiles))
                network.instance.weight.div_(features.std())
                network.instance.bias.copy_(-network.instance.weight @ features.mean(0))
                network.classifier.weight.mul_(20)
            name = f"{resolution}-{index}"
            path = source / f"{name}.safetensors"
            path.write_bytes(save(network.state_dict()))
            files[f"members/{name}.safetensors"] = path
            members.append(
                {
                    "name": name,
                    "resolution": resolution,
                    "file": f"members/{name}.safetensors",
                    "network": as_dict(settings),
                    "score_map": [0.0, 1.0],
                    "seed": index,
                    "tuning_c": 0.6,
                }
            )
    manifest = {
        "name": "made for tests",
        "members": members,
        "thresholds": {resolution: {"value": value} for resolution, value in thresholds.items()},
        "tile_specs": {
            resolution: {
                "resolution": resolution,
                "mpp": mpp,
                "size_px": size_px,
                "min_coverage": 0.5,
                "max_per_slide": 0,
            }
            for resolution, mpp in (("10x", 1.0), ("40x", 0.25))
        },
        "normalisation": {"mean": list(NORMALISATION_MEAN), "std": list(NORMALISATION_STD)},
        "aggregation": aggregation,
        "tumour_policy": tumour_policy,
        "cohorts": {},
        **changes,
    }
    files["quality.json"] = canonical_json(quality)
    lock(folder, manifest, files)
    return folder
