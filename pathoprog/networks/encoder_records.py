"""The frozen encoders on whose features a bundle's members stand: their records, and the files of their weights.

``manifest["encoders"]`` has a record for each resolution whose members take features in place of tiles: name, width,
options, ``input_px``, ``mean``, ``std``, ``dtype`` (in which it computes), ``precision`` (to which features are
rounded), ``d`` and ``weights_sha256``; with ``file`` where the bundle holds the weights, without where it names them by
their hash alone. No torch.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pathoprog.errors import ConfigError
from pathoprog.networks.config import NO_ENCODER
from pathoprog.system.files import sha256_file

ENCODERS = "encoders"
"""The manifest's key; absent where every member is a whole network."""
SHOWN = ("encoder", "width", "encoder_options", "input_px", "mean", "std")
"""Of the settings of `pathoprog features`: what decides on the features, beside weights and precision."""
RECORD = (*SHOWN, "dtype", "precision", "d", "weights_sha256")
SETTING = "encoder_weights"


def encoder_problems(manifest: dict[str, Any]) -> list[str]:
    """What is wrong with a manifest's encoders, and with the members that need them."""
    problems = []
    records = manifest.get(ENCODERS, {})
    for resolution, record in sorted(records.items()):
        if missing := [name for name in RECORD if name not in record]:
            problems.append(f"encoder at {resolution}: lacks {', '.join(missing)}")
        elif not re.fullmatch("[0-9a-f]{64}", str(record["weights_sha256"])):
            problems.append(f"encoder at {resolution}: weights_sha256 is no SHA-256")
        elif record["dtype"] not in ("fp32", "bf16") or record["precision"] not in ("fp16", "fp32"):
            problems.append(f"encoder at {resolution}: dtype {record['dtype']} or precision {record['precision']}")
        elif "file" in record and manifest["files"].get(record["file"]) != record["weights_sha256"]:
            problems.append(f"encoder at {resolution}: its file {record['file']} is not the one that the record names")
    for member in manifest["members"]:
        name, network = member["name"], member.get("network", {})
        record = records.get(member["resolution"])
        if (network.get("encoder") == NO_ENCODER) != (record is not None):
            has = "has an encoder of its own" if record is not None else "takes features"
            there = "an" if record is not None else "no"
            problems.append(f"{name}: {has}, and there is {there} encoder for all at {member['resolution']}")
        elif record is not None and network.get("feature_dim") != record.get("d"):
            problems.append(
                f"{name}: takes features of d={network.get('feature_dim')}, the encoder has d={record.get('d')}"
            )
    return problems


def weights_files(folder: str | Path, manifest: dict[str, Any], given: Sequence[str | Path]) -> dict[str, Path]:
    """Where the weights of each encoder are, in the bundle or given; those that were given by their hash.

    Args:
        folder: the bundle, found whole by `pathoprog.ensemble.bundle.verify`.
        manifest: its manifest.
        given: files, in any order; each must be the weights of one of the encoders.

    Returns:
        By resolution; empty for a bundle of whole networks.

    Raises:
        ConfigError: a file that is absent or holds other weights, or weights that are neither in the bundle nor given.
    """
    records = manifest.get(ENCODERS, {})
    by_hash = weights_by_hash(given, {record["weights_sha256"]: record for record in records.values()})
    found = {}
    for resolution, record in records.items():
        if "file" in record:
            found[resolution] = Path(folder) / record["file"]
        elif record["weights_sha256"] in by_hash:
            found[resolution] = by_hash[record["weights_sha256"]]
        else:
            raise ConfigError(
                f"{SETTING} is missing: the members of {folder} at {resolution} take features of {record['encoder']},"
                f" whose weights the bundle does not hold: give {SETTING}=FILE, the safetensors file with SHA-256"
                f" {record['weights_sha256']}"
            )
    return found


def weights_by_hash(given: Sequence[str | Path], wanted: dict[str, dict[str, Any]]) -> dict[str, Path]:
    """Weights files by their SHA-256.

    Args:
        given: the files.
        wanted: SHA-256 -> the record of an encoder with these weights.

    Raises:
        ConfigError: a file that is absent, or none of those that are wanted.
    """
    found = {}
    for path in map(Path, given):
        try:
            digest = sha256_file(path)
        except OSError as error:
            raise ConfigError(f"{SETTING}={path}: {(error.strerror or str(error)).lower()}") from error
        if not wanted:
            raise ConfigError(f"{SETTING}={path}: these are whole networks with encoders of their own; leave it out")
        if digest not in wanted:
            names = "; ".join(f"{record['encoder']}: {known}" for known, record in sorted(wanted.items()))
            raise ConfigError(
                f"{SETTING}={path}: other weights than those whose features the members learned from: its SHA-256 is"
                f" {digest}, theirs is ({names}); give the file that `pathoprog features` was given"
            )
        found[digest] = path
    return found


def encoder_lines(manifest: dict[str, Any]) -> list[str]:
    """What a bundle's encoders are and where their weights lie, a line each; none for whole networks."""
    records = manifest.get(ENCODERS, {})
    lines: dict[str, list[str]] = {}
    for resolution, record in sorted(records.items()):
        options = f" {record['encoder_options']}" if record["encoder_options"] else ""
        scaled = f", shown tiles scaled to {record['input_px']} px" if record["input_px"] else ""
        place = "in the bundle" if "file" in record else f"not in the bundle: scoring needs {SETTING}=FILE"
        said = (
            f"{record['encoder']}{options}, frozen, d={record['d']}{scaled};"
            f" weights {place} (SHA-256 {record['weights_sha256']})"
        )
        lines.setdefault(said, []).append(resolution)
    return [f"encoder at {' and '.join(resolutions)}: {said}" for said, resolutions in lines.items()]
