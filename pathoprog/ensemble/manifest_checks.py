"""What is wrong with a manifest whose form is right: members, thresholds, encoders, and what the thresholds rest on."""

import re

from pathoprog.ensemble.choice import MEMBERS_PER_RESOLUTION
from pathoprog.ensemble.manifest import Manifest
from pathoprog.networks.config import NO_ENCODER
from pathoprog.slides.resolutions import RESOLUTIONS

PRECISIONS = ("fp32", "bf16")
"""In which slides may be scored, and in which a frozen encoder computes."""
FEATURE_PRECISIONS = ("fp16", "fp32")


def manifest_problems(manifest: Manifest) -> list[str]:
    """What is wrong, a line each; nothing for a manifest that may be scored with."""
    return [*member_problems(manifest), *encoder_problems(manifest), *basis_problems(manifest)]


def member_problems(manifest: Manifest) -> list[str]:
    """Weights that are not among the hashed files, another number of members, and thresholds out of range."""
    problems = []
    if manifest.tumour is not None and manifest.tumour.file not in manifest.files:
        problems.append(f"tumour network: its file {manifest.tumour.file} is not among the hashed files")
    if manifest.tumour is not None and manifest.tumour.outline.unknown:
        unknown = ", ".join(sorted(manifest.tumour.outline.unknown))
        problems.append(f"tumour network: settings this version does not know: {unknown}")
    names = [member.name for member in manifest.members]
    problems += [
        f"{name}: the name of several members" for name in sorted({one for one in names if names.count(one) > 1})
    ]
    for resolution in RESOLUTIONS:
        members = manifest.members_at(resolution)
        if len(members) != MEMBERS_PER_RESOLUTION:
            problems.append(f"{len(members)} members at {resolution}, needs {MEMBERS_PER_RESOLUTION}")
        problems += [
            f"{member.name}: its file {member.file} is not among the hashed files"
            for member in members
            if manifest.files.get(member.file) != member.sha256
        ]
        if not 0.0 <= manifest.thresholds[resolution].value <= 1.0:
            problems.append(f"no threshold in [0, 1] at {resolution}")
    return problems


def encoder_problems(manifest: Manifest) -> list[str]:
    """What is wrong with the encoders, and with the members that need them."""
    problems = []
    records = manifest.encoders or {}
    for resolution, record in sorted(records.items()):
        if not re.fullmatch("[0-9a-f]{64}", record.weights_sha256):
            problems.append(f"encoder at {resolution}: weights_sha256 is no SHA-256")
        elif record.dtype not in PRECISIONS or record.precision not in FEATURE_PRECISIONS:
            problems.append(f"encoder at {resolution}: dtype {record.dtype} or precision {record.precision}")
        elif record.file is not None and manifest.files.get(record.file) != record.weights_sha256:
            problems.append(f"encoder at {resolution}: its file {record.file} is not the one that the record names")
    for member in manifest.members:
        name, network = member.name, member.network.settings
        own = records.get(member.resolution)
        if (network.encoder == NO_ENCODER) != (own is not None):
            has = "has an encoder of its own" if own is not None else "takes features"
            there = "an" if own is not None else "no"
            problems.append(f"{name}: {has}, and there is {there} encoder for all at {member.resolution}")
        elif own is not None and network.feature_dim != own.d:
            problems.append(f"{name}: takes features of d={network.feature_dim}, the encoder has d={own.d}")
    return problems


def basis_problems(manifest: Manifest) -> list[str]:
    """What is wrong with what is said of the thresholds' basis; nothing for bundles of earlier versions."""
    if manifest.tuning_scores is None:
        return []
    problems = []
    if manifest.precision not in PRECISIONS:
        problems.append(f"precision {manifest.precision!r}, must be one of {', '.join(PRECISIONS)}")
    for name in ("n_tiles", "batch_tiles"):
        lacking = [resolution for resolution in RESOLUTIONS if resolution not in getattr(manifest.tuning_scores, name)]
        problems += [f"tuning_scores.{name}: lacks {', '.join(lacking)}"] if lacking else []
    return problems
