"""Stored features as training finds them: `<folder>/<resolution>/<slide_id>.safetensors`, or another tool's folder.

A file that cannot be used (`fault`) is to all that reads here as if it were not there; `missing` says so.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog.cohort_tables.cohort_files import paths_as_given
from pathoprog.errors import InputError
from pathoprog.networks.encoder_records import RECORD, EncoderRecord
from pathoprog.networks.feature_values import Features
from pathoprog.networks.features import is_foreign, read_facts, read_features
from pathoprog.networks.foreign.files import H5_SUFFIX
from pathoprog.networks.foreign.folder import look_into, names_of
from pathoprog.networks.foreign.maker import FeatureMaker
from pathoprog.networks.foreign.tensors import SUFFIX
from pathoprog.quality.config import QUALITY_VERSION
from pathoprog.quality.look import QualityLook, look_from
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import in_order
from pathoprog.system.console import say, warn
from pathoprog.system.file_array import stamp_of
from pathoprog.system.file_names import file_name, file_name_in
from pathoprog.system.records import RecordError, plain, record_of
from pathoprog.text.wording import count
from pathoprog.tiles.config import PREPROCESSING_VERSION, TileSpec
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.left_out import LeftOut, joined
from pathoprog.training.data.tile_store import StoredSlide

KNOWN_FILES = 1 << 16
"""Of which it is kept in mind whether they can be used."""
CHECKED_VALUES = 1 << 23  # that are held at once where all are gone through
SHOWN_FAULTS = 5


def features_folder(data: DataSettings, resolution: str) -> Path:
    """The folder of one resolution's features: the one given for it, or the one called after it."""
    return Path(data.features_at[resolution] or Path(data.features) / resolution)


def feature_path(data: DataSettings, resolution: str, slide_id: str) -> Path:
    """Where one slide's features of ours lie, or would."""
    folder = features_folder(data, resolution)
    return folder / f"{file_name_in(folder, slide_id, [SUFFIX])}{SUFFIX}"


def _found(data: DataSettings, resolution: str, slide_id: str) -> Path | None:
    folder = features_folder(data, resolution)
    own = feature_path(data, resolution, slide_id)
    if not folder.is_dir():
        return None
    names = [
        file_name_in(folder, slide_id, [H5_SUFFIX]),
        *names_of(slide_id, paths_as_given(data.cohort, data.overlap).get(slide_id, "")),
    ]
    other = look_into(folder).find(names)
    if own.is_file() and other not in (None, own):
        raise InputError(f"{own} and {other}: two files for one slide; remove the one that is not meant")
    return own if own.is_file() else other


def missing(slide_ids: Iterable[str], data: DataSettings, dims: Mapping[str, int]) -> dict[str, LeftOut]:
    """Slides that lack features at a resolution of which others have some, or whose features cannot be used.

    Each resolution's are named. Features of slides that the cohort does not have are named too: nothing reads them.

    Args:
        slide_ids: of the cohort.
        data: where the features are.
        dims: d that the network takes, by resolution; one that is not named takes any.
    """
    ids = list(slide_ids)
    found = dict[str, LeftOut]()
    for resolution in in_order(data.resolutions):
        folder = features_folder(data, resolution)
        paths = {slide_id: _found(data, resolution, slide_id) for slide_id in ids}
        lacking = [slide_id for slide_id, path in paths.items() if path is None]
        dim = dims.get(resolution, 0)
        unfit = {name: said for name, path in paths.items() if path is not None and (said := fault(path, dim))}
        if lacking and len(lacking) < len(ids):
            names = f"{', '.join(lacking[:5])}{' …' if len(lacking) > 5 else ''}"
            warn(f"{folder}: no features at {resolution} of {len(lacking)} among {len(ids)} slides: {names}")
            found = joined(found, {name: LeftOut(f"no features at {resolution}", failed=False) for name in lacking})
        for said in list(unfit.values())[:SHOWN_FAULTS]:
            warn(f"{said}; the slide is left out")
        found = joined(found, {name: LeftOut(said) for name, said in unfit.items()})
        _say_unclaimed(data, resolution)
    return found


def fault(path: Path, feature_dim: int = 0) -> str:
    """Why a file of features cannot be used, '' if it can: damaged, not finite, or of another d.

    A file is read once for it in each process, and again when it has changed.

    Args:
        path: of the file.
        feature_dim: d that the network takes; 0: any.
    """
    try:
        said, d = _looked_at(path, stamp_of(path.stat()))
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror or error})"
    if said or not feature_dim or d in (0, feature_dim):
        return said
    return (
        f"{path}: d={d}, but network.feature_dim={feature_dim} (with network.encoder=none it must be the features' d)"
    )


@functools.lru_cache(KNOWN_FILES)
def _looked_at(path: Path, stamp: tuple[int, int, int]) -> tuple[str, int]:
    """What is wrong with a file in itself, and its d; 0 if it has no tile."""
    try:
        features = read_features(path)
        values = features.values
        step = max(1, CHECKED_VALUES // max(1, values.shape[1]))
        starts = range(0, 0 if features.maker is not None else len(values), step)  # another tool's were looked through
        if not all(np.isfinite(values[start : start + step]).all() for start in starts):
            return f"{path}: features hold NaN or infinity; delete it, and `pathoprog features` makes it again", 0
    except InputError as error:
        return str(error), 0
    return "", values.shape[1] if len(values) else 0


def _say_unclaimed(data: DataSettings, resolution: str) -> None:
    folder = features_folder(data, resolution)
    if not folder.is_dir():
        return
    claimed = {
        name
        for slide_id, path in paths_as_given(data.cohort, data.overlap).items()
        for name in (file_name(slide_id), *names_of(slide_id, path))
    }
    if others := look_into(folder).unclaimed(claimed):
        named = f"{', '.join(others[:5])}{' …' if len(others) > 5 else ''}"
        n = count(len(others), "slide")
        say(f"    {folder}: features of {n} that the cohort does not have are not read: {named}")


def read(slide_ids: Iterable[str], data: DataSettings, resolution: str, feature_dim: int) -> dict[str, StoredSlide]:
    """Open stored features.

    Args:
        slide_ids: of the cohort.
        data: where the features are.
        resolution: of their tiles.
        feature_dim: d that the network takes.

    Returns:
        By slide id, those that have a file with at least one tile that can be used; `missing` names the others.

    Raises:
        InputError: no file can be used; files made by different encoders or of different tiles; one file for two
            slides.
    """
    stored = {}
    unfit = list[str]()
    first: Features | None = None
    taken: dict[Path, str] = {}
    for slide_id in slide_ids:
        path = _found(data, resolution, slide_id)
        if path is None:
            continue
        if (other := taken.setdefault(path, slide_id)) != slide_id:
            raise InputError(
                f"{path}: would be the features of both {other} and {slide_id}, whose slides' files have one name: give"
                " slide_id the names of the files of features"
            )
        if said := fault(path, feature_dim):
            unfit.append(said)
            continue
        features = read_features(path)
        if not len(features.values):
            continue
        first = first or features
        if features.made_by != first.made_by:
            raise InputError(
                f"{path} and {first.path}: made by different encoders, or of different tiles{_unlike(features, first)}"
            )
        scan = str(features.facts.get("slide_sha256", ""))
        stored[slide_id] = StoredSlide(slide_id, features.content, features.values, scan=scan)
    if unfit and not stored:
        raise InputError(f"{unfit[0]}{f'; and {len(unfit) - 1} more like it' if len(unfit) > 1 else ''}")
    return stored


def _unlike(one: Features, other: Features) -> str:
    if one.maker is None or other.maker is None:
        return ""
    return f": they differ in {', '.join(one.maker.differences(other.maker))}"


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


def origin(slide_ids: Iterable[str], data: DataSettings, resolution: str, feature_dim: int = 0) -> Origin:
    """What the stored features of a resolution say they were made of, all alike.

    Raises:
        InputError: files that differ in it, or say too little of it for tiles to be encoded again: those of other
            tools, which name no weights.
    """
    first: tuple[Path, Origin] | None = None
    for slide_id in slide_ids:
        path = values_path(slide_id, data, resolution, feature_dim)
        if path is None:
            continue
        found = Origin(*_said(path))
        first = first or (path, found)
        if differences := found.differences(first[1]):
            raise InputError(f"{path} and {first[0]}: features that differ in {', '.join(differences)}")
    if first is None:
        raise InputError(f"{data.features}: no features at {resolution}; `pathoprog features` makes them")
    return first[1]


def maker_of(
    slide_ids: Iterable[str], data: DataSettings, resolution: str, feature_dim: int = 0
) -> FeatureMaker | None:
    """Who made the features of a resolution, where it was another tool; None where they are ours, or none are there.

    Raises:
        InputError: some are another tool's and some are ours, or they differ in who made them.
    """
    first: tuple[Path, FeatureMaker | None] | None = None
    for slide_id in slide_ids:
        path = values_path(slide_id, data, resolution, feature_dim)
        if path is None:
            continue
        features = read_features(path) if is_foreign(path) else None
        if features is not None and not len(features.values):
            continue
        found = None if features is None else features.maker
        first = first or (path, found)
        if found != first[1]:
            raise InputError(f"{path} and {first[0]}: made by different encoders, or of different tiles")
    return first[1] if first else None


def values_path(slide_id: str, data: DataSettings, resolution: str, feature_dim: int = 0) -> Path | None:
    """The file of one slide's features, whoever made them; None where there is none that can be used (`fault`)."""
    path = _found(data, resolution, slide_id)
    return None if path is None or fault(path, feature_dim) else path


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


def slide_facts(slide_id: str, data: DataSettings, resolution: str, feature_dim: int = 0) -> dict[str, Any] | None:
    """What a slide's features say of it, under the names of `tile_store.facts_of`; None where none can be used."""
    path = values_path(slide_id, data, resolution, feature_dim)
    if path is None:
        return None
    features = read_features(path)
    if features.maker is not None:
        content = {"key": features.content, "sha256": features.content}
        return {**content, "x0": features.x0, "y0": features.y0, "refused": "", "quality_version": "", "look": None}
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
    paths = [
        path
        for resolution in in_order(data.resolutions)
        if (path := feature_path(data, resolution, slide_id)).is_file() and not fault(path)
    ]
    found = read_facts(paths[0]).get("quality", {}) if paths else {}
    if found.get("version") != QUALITY_VERSION:
        return None
    return look_from(found["look"]), float(found["tumour_area_um2"])
