"""Stored features as training finds them: `<folder>/<resolution>/<slide_id>.safetensors`, or `.h5` from other tools."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoprog.errors import InputError
from pathoprog.networks.encoder_records import RECORD, EncoderRecord
from pathoprog.networks.features import FOREIGN_SUFFIX, SUFFIX, Features, read_facts, read_features
from pathoprog.quality.config import QUALITY_VERSION
from pathoprog.quality.look import QualityLook, look_from
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.system.console import warn
from pathoprog.system.file_names import file_name_in
from pathoprog.system.records import RecordError, plain, record_of
from pathoprog.tiles.config import PREPROCESSING_VERSION, TileSpec
from pathoprog.training.config import DataSettings
from pathoprog.training.data.tile_store import StoredSlide


def feature_path(data: DataSettings, resolution: str, slide_id: str, suffix: str = SUFFIX) -> Path:
    """Where one slide's features lie, or would."""
    folder = Path(data.features) / resolution
    return folder / f"{file_name_in(folder, slide_id, [suffix])}{suffix}"


def _found(data: DataSettings, resolution: str, slide_id: str) -> Path | None:
    paths = [feature_path(data, resolution, slide_id, suffix) for suffix in (SUFFIX, FOREIGN_SUFFIX)]
    there = [path for path in paths if path.is_file()]
    if len(there) > 1:
        raise InputError(f"{there[0]} and {there[1]}: two files for one slide; remove the one that is not meant")
    return there[0] if there else None


def count_missing(slide_ids: Iterable[str], data: DataSettings) -> int:
    """How many slides lack features at a resolution of which others have some; each resolution's are named."""
    ids = list(slide_ids)
    missing = set[str]()
    for resolution in RESOLUTIONS:
        lacking = [slide_id for slide_id in ids if _found(data, resolution, slide_id) is None]
        if lacking and len(lacking) < len(ids):
            names = f"{', '.join(lacking[:5])}{' …' if len(lacking) > 5 else ''}"
            warn(f"{data.features}: no features at {resolution} of {len(lacking)} among {len(ids)} slides: {names}")
            missing |= set(lacking)
    return len(missing)


def read(slide_ids: Iterable[str], data: DataSettings, resolution: str, feature_dim: int) -> dict[str, StoredSlide]:
    """Open stored features.

    Args:
        slide_ids: of the cohort.
        data: where the features are.
        resolution: of their tiles.
        feature_dim: d that the network takes.

    Returns:
        By slide id, those that have a file with at least one tile.

    Raises:
        InputError: another d, or files made by different encoders or of different tiles.
    """
    stored = {}
    first: Features | None = None
    for slide_id in slide_ids:
        path = _found(data, resolution, slide_id)
        if path is None:
            continue
        features = read_features(path)
        if not len(features.values):
            continue
        if features.values.shape[1] != feature_dim:
            raise InputError(
                f"{path}: d={features.values.shape[1]}, but network.feature_dim={feature_dim}"
                " (with network.encoder=none it must be the features' d)"
            )
        first = first or features
        if features.made_by != first.made_by:
            raise InputError(f"{path} and {first.path}: made by different encoders, or of different tiles")
        scan = str(features.facts.get("slide_sha256", ""))
        stored[slide_id] = StoredSlide(slide_id, features.content, features.values, scan=scan)
    return stored


@dataclass(frozen=True)
class Origin:
    """What features of one resolution were made of: the encoder as a bundle keeps it, tile spec, and tumour policy."""

    encoder: EncoderRecord
    spec: TileSpec
    tumour_policy: str

    def differences(self, other: "Origin") -> list[str]:
        """In what two differ, by the names of settings."""
        one, two = (
            {**plain(found.encoder), **dict(sorted(as_dict(found.spec).items())), "tumour_policy": found.tumour_policy}
            for found in (self, other)
        )
        return [name for name in one if one[name] != two.get(name)]


def origin(slide_ids: Iterable[str], data: DataSettings, resolution: str) -> Origin:
    """What the stored features of a resolution say they were made of, all alike.

    Raises:
        InputError: files that differ in it, or say too little of it for tiles to be encoded again: those of other
            tools, which name no weights.
    """
    first: tuple[Path, Origin] | None = None
    for slide_id in slide_ids:
        path = _found(data, resolution, slide_id)
        if path is None:
            continue
        found = Origin(*_said(path))
        first = first or (path, found)
        if differences := found.differences(first[1]):
            raise InputError(f"{path} and {first[0]}: features that differ in {', '.join(differences)}")
    if first is None:
        raise InputError(f"{data.features}: no features at {resolution}; `pathoprog features` makes them")
    return first[1]


def _said(path: Path) -> tuple[EncoderRecord, TileSpec, str]:
    facts = read_facts(path) if path.suffix == SUFFIX else {}
    known = {**facts, **facts.get("encoder", {})}
    if not {*RECORD, "spec", "region", "preprocessing"} <= known.keys():
        raise InputError(
            f"{path}: does not name its encoder's weights by their hash, as other tools' files do not: scoring could"
            " not make the same features of a new slide; make them with `pathoprog features`, and train on those"
        )
    if facts["preprocessing"] != PREPROCESSING_VERSION:
        raise InputError(
            f"{path}: made by preprocessing {facts['preprocessing']}, this version has {PREPROCESSING_VERSION}: make"
            " features again, and train on those"
        )
    try:
        encoder = record_of(EncoderRecord, {name: known[name] for name in RECORD}, "encoder")
        return encoder, record_of(TileSpec, facts["spec"], "spec"), str(facts["region"])
    except RecordError as error:
        raise InputError(f"{path}: {error}; make these features again with `pathoprog features`") from error


def slide_facts(slide_id: str, data: DataSettings, resolution: str) -> dict[str, Any] | None:
    """What a slide's features say of it, under the names of `tile_store.facts_of`; None where none are ours."""
    path = feature_path(data, resolution, slide_id)
    if not path.is_file():
        return None
    features = read_features(path)
    facts, quality = features.facts, features.facts.get("quality", {})
    return {
        "key": features.content,
        "sha256": facts["slide_sha256"],
        "x0": features.x0,
        "y0": features.y0,
        "refused": facts["reason"] if facts["width0"] is None else "",
        "quality_version": quality.get("version", ""),
        "look": quality.get("look"),
        **{name: value for name, value in quality.items() if name.endswith("_um2")},
    }


def read_look(slide_id: str, data: DataSettings) -> tuple[QualityLook, float] | None:
    """What was measured of a slide's quality when its features were made, and its analysed area in square um.

    None where there are no features of ours, or the checks had another version.
    """
    paths = [path for resolution in RESOLUTIONS if (path := feature_path(data, resolution, slide_id)).is_file()]
    found = read_facts(paths[0]).get("quality", {}) if paths else {}
    if found.get("version") != QUALITY_VERSION:
        return None
    return look_from(found["look"]), float(found["tumour_area_um2"])
