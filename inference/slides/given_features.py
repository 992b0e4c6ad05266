"""Folders of another tool's features in place of slides: which file is which slide's, at each resolution."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pathoprog.ensemble.manifest import Manifest
from pathoprog.errors import ConfigError, InputError
from pathoprog.inference.config import ScoreConfig
from pathoprog.inference.slides.inputs import Fault, Found, SlideInput
from pathoprog.inference.slides.looks import Look
from pathoprog.networks.foreign.folder import FeatureFolder, look_into, names_of
from pathoprog.networks.foreign.maker import FeatureMaker
from pathoprog.system.console import say
from pathoprog.system.file_array import stamp_of
from pathoprog.system.files import sha256_value
from pathoprog.text.wording import count, listing

NAMED = 5


def asks_features(config: ScoreConfig) -> bool:
    """Whether a call names features in place of slides."""
    return bool(config.features or any(config.features_at.values()))


def scored_features(config: ScoreConfig, manifest: Manifest) -> Mapping[str, FeatureMaker]:
    """Who makes the features that a call scores, by resolution; nothing where it scores slides.

    Raises:
        ConfigError: the bundle's members take slides where features are given, or the other way round; or a setting
            of slides and their tiles that features have no use for.
    """
    makers = manifest.other_features or {}
    if not asks_features(config):
        if makers and not manifest.encoders:
            says = "; ".join(f"{name}: {maker.says()}" for name, maker in sorted(makers.items()))
            raise ConfigError(
                f"features is missing: the members of {config.ensemble} take features of another tool ({says}), which"
                " nothing here makes of a slide: give features=FOLDER of the same"
            )
        return {}
    if not makers:
        raise ConfigError(f"features={config.features}: the members of {config.ensemble} take slides: give slides=…")
    if config.paths:
        raise ConfigError("give either slides=… or features=…")
    given = {
        "tiles.max_per_slide": config.tiles.max_per_slide >= 0,
        "tumour_policy": config.tumour_policy != "bundle",
        "outlines": bool(config.outlines),
        "corrected_outlines": bool(config.corrected_outlines),
        "slides.mpp": config.slides.mpp > 0,
        "slides.allow_upsampling": config.slides.allow_upsampling,
    }
    if wrong := [name for name, is_given in given.items() if is_given]:
        raise ConfigError(f"{', '.join(wrong)}: features come with their tiles, and no slide is read; leave it out")
    return makers


def feature_folders(config: ScoreConfig, resolutions: tuple[str, ...]) -> dict[str, Path]:
    """The folder of each resolution's features: the one given for it, else its own below `features`, else that.

    Raises:
        ConfigError: one of several resolutions has none, or one is given that the bundle does not have.
    """
    given = config.features_at
    if spare := [name for name, folder in given.items() if folder and name not in resolutions]:
        raise ConfigError(f"features_{spare[0]}: the ensemble's members are at {listing(list(resolutions))}")
    folders = {}
    for name in resolutions:
        below = Path(config.features) / name
        if given[name]:
            folders[name] = Path(given[name])
        elif config.features and (below.is_dir() or len(resolutions) == 1):
            folders[name] = below if below.is_dir() else Path(config.features)
        else:
            where = f"{below} is no folder" if config.features else "features is not given"
            raise ConfigError(f"features_{name} is missing: {where}; give features_{name}=FOLDER")
    return folders


def slides_of_features(folders: Mapping[str, Path]) -> Found:
    """The slides that folders of features hold, each called after its files, a patient of its own.

    Raises:
        InputError: a folder is not there, or holds features of several models.
    """
    indices = {name: look_into(folder) for name, folder in folders.items()}
    names = sorted({name for index in indices.values() for name in index.unclaimed(())})
    if not names:
        raise InputError(f"{', '.join(map(str, folders.values()))}: no features there (.h5, or converted .pt)")
    return _found([SlideInput(name, name, name) for name in names], indices, {name: [name] for name in names})


def with_features(found: Found, folders: Mapping[str, Path], named: Mapping[str, str]) -> Found:
    """A cohort's slides with the files of their features; those of slides that it does not have are counted.

    Args:
        found: the cohort's slides, links in their paths followed.
        folders: of each resolution's features.
        named: where the cohort's whole table says that a slide lies, by id: one that is a link is known to other tools,
            and to training, by the link's name.

    Raises:
        InputError: as of `slides_of_features`.
    """
    indices = {name: look_into(folder) for name, folder in folders.items()}
    names = {slide_id: names_of(slide_id, path) for slide_id, path in named.items()}
    claimed = [name for one in names.values() for name in one]
    for name, index in indices.items():
        if others := index.unclaimed(claimed):
            shown = f"{', '.join(others[:NAMED])}{' …' if len(others) > NAMED else ''}"
            say(f"{name}: features of {count(len(others), 'slide')} that the cohort does not have are left: {shown}")
    taken = _found(found.slides, indices, names)
    return replace(taken, faults=[*found.faults, *taken.faults])


def _found(slides: list[SlideInput], indices: Mapping[str, FeatureFolder], names: Mapping[str, list[str]]) -> Found:
    found = Found([])
    owners: dict[str, str] = {}
    for slide in slides:
        try:
            paths = {name: index.find(names[slide.slide_id]) for name, index in indices.items()}
        except InputError as error:
            reason = str(error)
            for index in indices.values():
                reason = reason.replace(f"{index.folder}/", "")
            found.faults.append(Fault(slide.slide_id, str(error), reason))
            continue
        files = {name: str(path) for name, path in paths.items() if path is not None}
        for path in files.values():
            if (owner := owners.setdefault(path, slide.slide_id)) != slide.slide_id:
                reason = f"its features would be those of {owner} too: give slide_id the names of the files of features"
                found.faults.append(Fault(slide.slide_id, f"{path}: {slide.slide_id}: {reason}", reason))
                break
        else:
            place = next(iter(files.values()), slide.path)
            found.slides.append(replace(slide, path=place, outline_path="", features=files))
    return found


def look_at_features(slides: list[SlideInput]) -> dict[str, Look]:
    """What the files of features look like, by slide id: others, or changed ones, are other work."""
    return {slide.slide_id: Look(source=sha256_value(_stamps(slide.features))) for slide in slides}


def _stamps(files: Mapping[str, str]) -> list[list[object]]:
    stamps: list[list[object]] = []
    for name, path in sorted(files.items()):
        try:
            stamps.append([name, path, *stamp_of(Path(path).stat())])
        except OSError:
            stamps.append([name, path])
    return stamps
