"""A small locked bundle with random weights, for tests of scoring."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from pathoprog.cohort_tables.same_scan import FILE as DEVELOPMENT_FILE
from pathoprog.cohort_tables.same_scan import development_file
from pathoprog.ensemble.bundle import lock
from pathoprog.ensemble.manifest import CohortFacts, Manifest, MemberRecord, Normalisation, ShapeRecord, ThresholdRecord
from pathoprog.ensemble.shape import METHOD_SHAPE, Shape
from pathoprog.networks.config import (
    NO_ENCODER,
    NORMALISATION_MEAN,
    NORMALISATION_STD,
    EncoderSettings,
    FeatureEncoderSettings,
    NetworkSettings,
)
from pathoprog.networks.encoder_records import SHOWN, EncoderRecord
from pathoprog.networks.encoders import make_encoder
from pathoprog.networks.feature_encoder import FeatureEncoder
from pathoprog.networks.member import MilNetwork, prepare
from pathoprog.quality.config import QUALITY_VERSION, LimitSettings
from pathoprog.settings import as_dict
from pathoprog.system.files import canonical_json, sha256_file
from pathoprog.system.machine.device import dtype_name
from pathoprog.system.records import Saved, record_of
from pathoprog.tiles.config import standard_spec


def made_bundle(
    folder: Path, size_px: int = 96, aggregation: str = "bag", tumour_policy: str = "tissue", **changes: Any
) -> Path:
    """Lock ten random width-0.35 members, thresholds 0.5 (or `thresholds=`), tiles of `size_px`; returns the folder.

    Quality has no limits, unless `limits=` gives some: most slides made for tests look like no tissue. Members at a
    resolution of `encoders=` (see `made_encoder`) take features; the bundle holds the weights unless `include=False`.
    `development=`: sets of `same_scan.development_set` that the bundle keeps. `members=`: number by resolution, where
    it is not METHOD's.
    """
    shape = Shape(changes.pop("members", METHOD_SHAPE.members))
    checks = [name.removesuffix("_warn") for name in as_dict(LimitSettings()) if name.endswith("_warn")]
    quality = {
        "version": QUALITY_VERSION,
        "region": tumour_policy,
        "limits": {check: [None, None] for check in checks} | changes.pop("limits", {}),
        "reference": changes.pop("reference", None),
    }
    thresholds = changes.pop("thresholds", dict.fromkeys(shape.resolutions, 0.5))
    own = {"width": 0.35, "instance_dim": 8, **changes.pop("network", {})}
    encoders: dict[str, FeatureEncoder] = changes.pop("encoders", {})
    include = changes.pop("include", True)
    development: list[dict[str, Any]] = changes.pop("development", [])
    members: list[MemberRecord] = []
    records: dict[str, EncoderRecord] = {}
    files: dict[str, Path | str] = {}
    source = folder.parent / f"{folder.name}.weights"
    source.mkdir(parents=True, exist_ok=True)
    for resolution in shape.resolutions:
        frozen = encoders.get(resolution)
        if frozen is not None:
            record = encoder_record(frozen)
            if include:
                record = replace(record, file=f"encoders/{record.weights_sha256[:12]}.safetensors")
                files[str(record.file)] = Path(frozen.settings.weights)
            records[resolution] = record
        on_features = {} if frozen is None else {"encoder": NO_ENCODER, "feature_dim": frozen.d, "width": 1.0}
        settings = NetworkSettings(**{**own, **on_features})
        for index in range(shape.members[resolution]):
            torch.manual_seed(len(members))
            network = MilNetwork(settings)
            with torch.no_grad():  # spread the scores: a fresh network says the same for everything
                noise = torch.randint(0, 256, (32, size_px // 4, size_px // 4, 3), dtype=torch.uint8)
                tiles = noise.repeat_interleave(4, 1).repeat_interleave(4, 2) // torch.randint(1, 4, (32, 1, 1, 3))
                features = network.eval().encoder(
                    prepare(tiles) if frozen is None else frozen.features(tiles.numpy()).float()
                )
                network.instance.weight.div_(features.std())
                network.instance.bias.copy_(-network.instance.weight @ features.mean(0))
                network.classifier.weight.mul_(20)
            name = f"{resolution}-{index}"
            path = source / f"{name}.safetensors"
            path.write_bytes(save(network.state_dict()))
            files[f"members/{name}.safetensors"] = path
            members.append(
                MemberRecord(
                    name=name,
                    resolution=resolution,
                    file=f"members/{name}.safetensors",
                    sha256="",
                    network=Saved(settings),
                    score_map=(0.0, 1.0),
                    seed=index,
                    tuning_c=0.6,
                )
            )
    manifest = Manifest(
        name="made for tests",
        members=tuple(members),
        thresholds={resolution: ThresholdRecord(value=value) for resolution, value in thresholds.items()},
        tile_specs={resolution: standard_spec(resolution, size_px) for resolution in shape.resolutions},
        other_shape=None if shape.is_methods else ShapeRecord(members=shape.members, caution=shape.caution),
        normalisation=Normalisation(mean=NORMALISATION_MEAN, std=NORMALISATION_STD),
        aggregation=aggregation,
        tumour_policy=tumour_policy,
        files={},
        encoders=records or None,
        cohorts=dict[str, CohortFacts](),
    )
    files["quality.json"] = canonical_json(quality)
    if development:
        files[DEVELOPMENT_FILE] = development_file(development, 0)
    lock(folder, replace(manifest, **changes), files)
    return folder


def made_encoder(weights: Path, seed: int = 0, dtype: torch.dtype = torch.float32, **settings: Any) -> FeatureEncoder:
    """A small frozen encoder on the CPU, whose random weights are written to `weights` first."""
    own = EncoderSettings("timm/test_resnet")
    torch.manual_seed(seed)
    encoder, _ = make_encoder(own)
    weights.write_bytes(save(encoder.state_dict()))
    made = FeatureEncoderSettings(own.encoder, weights=str(weights), **settings)
    return FeatureEncoder(made, torch.device("cpu"), dtype)


def encoder_record(encoder: FeatureEncoder) -> EncoderRecord:
    """What a bundle keeps of an encoder whose weights it does not hold."""
    values = as_dict(encoder.settings)
    kept = {name: values[name] for name in (*SHOWN, "precision")}
    more = {"dtype": dtype_name(encoder.dtype), "d": encoder.d}
    return record_of(EncoderRecord, {**kept, **more, "weights_sha256": sha256_file(encoder.settings.weights)})
