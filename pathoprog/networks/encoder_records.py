"""The frozen encoders on whose features a bundle's members stand: their records, and the files of their weights.

A manifest has a record for each resolution whose members take features in place of tiles. No torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoprog.errors import ConfigError
from pathoprog.system.files import sha256_file
from pathoprog.system.records import Record

SHOWN = ("encoder", "width", "encoder_options", "input_px", "mean", "std")
"""Of the settings of `pathoprog features`: what decides on the features, beside weights and precision."""
RECORD = (*SHOWN, "dtype", "precision", "d", "weights_sha256")
SETTING = "encoder_weights"


@dataclass(frozen=True, kw_only=True)
class EncoderRecord(Record):
    """A frozen encoder, and how it is shown tiles.

    Attributes:
        encoder: by its code's name.
        width: multiplier of mobilenet_v2.
        encoder_options: timm's arguments, as YAML.
        input_px: side to which tiles are scaled for it, px; 0: as they are.
        mean: of its normalisation, R, G, B in [0, 1].
        std: the same.
        dtype: in which it computes, fp32 or bf16.
        precision: to which features are rounded, fp16 or fp32.
        d: number of features.
        weights_sha256: of the file of its weights.
        file: where the bundle holds the weights; None where it names them by their hash alone.
    """

    encoder: str
    width: float
    encoder_options: str
    input_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: str
    precision: str
    d: int
    weights_sha256: str
    file: str | None = None


def by_weights(records: Iterable[EncoderRecord]) -> dict[str, EncoderRecord]:
    """SHA-256 of weights -> an encoder with these weights."""
    return {record.weights_sha256: record for record in records}


def weights_files(
    folder: str | Path, records: Mapping[str, EncoderRecord] | None, given: Sequence[str | Path]
) -> dict[str, Path]:
    """Where the weights of each encoder are, in the bundle or given; those that were given by their hash.

    Args:
        folder: the bundle, found whole by `pathoprog.ensemble.bundle.verify`.
        records: of its manifest, by resolution.
        given: files, in any order; each must be the weights of one of the encoders.

    Returns:
        By resolution; empty for a bundle of whole networks.

    Raises:
        ConfigError: a file that is absent or holds other weights, or weights that are neither in the bundle nor given.
    """
    records = records or {}
    by_hash = weights_by_hash(given, by_weights(records.values()))
    found = {}
    for resolution, record in records.items():
        if record.file is not None:
            found[resolution] = Path(folder) / record.file
        elif record.weights_sha256 in by_hash:
            found[resolution] = by_hash[record.weights_sha256]
        else:
            raise ConfigError(
                f"{SETTING} is missing: the members of {folder} at {resolution} take features of {record.encoder},"
                f" whose weights the bundle does not hold: give {SETTING}=FILE, the safetensors file with SHA-256"
                f" {record.weights_sha256}"
            )
    return found


def weights_by_hash(given: Sequence[str | Path], wanted: Mapping[str, EncoderRecord]) -> dict[str, Path]:
    """Weights files by their SHA-256.

    Args:
        given: the files.
        wanted: of `by_weights`.

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
            names = "; ".join(f"{record.encoder}: {known}" for known, record in sorted(wanted.items()))
            raise ConfigError(
                f"{SETTING}={path}: other weights than those whose features the members learned from: its SHA-256 is"
                f" {digest}, theirs is ({names}); give the file that `pathoprog features` was given"
            )
        found[digest] = path
    return found


def encoder_lines(records: Mapping[str, EncoderRecord] | None) -> list[str]:
    """What a bundle's encoders are and where their weights lie, a line each; none for whole networks."""
    lines: dict[str, list[str]] = {}
    for resolution, record in sorted((records or {}).items()):
        options = f" {record.encoder_options}" if record.encoder_options else ""
        scaled = f", shown tiles scaled to {record.input_px} px" if record.input_px else ""
        place = f"not in the bundle: scoring needs {SETTING}=FILE" if record.file is None else "in the bundle"
        said = (
            f"{record.encoder}{options}, frozen, d={record.d}{scaled};"
            f" weights {place} (SHA-256 {record.weights_sha256})"
        )
        lines.setdefault(said, []).append(resolution)
    return [f"encoder at {' and '.join(resolutions)}: {said}" for said, resolutions in lines.items()]
