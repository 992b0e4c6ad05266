"""Which file of a folder holds a slide's features: folders of TRIDENT, CLAM and STAMP as they lie, nothing renamed.

TRIDENT: ``<job>/20x_256px_0px_overlap/features_<model>/<slide>.h5`` (``slide_features_<model>`` for vectors of slides).
CLAM: ``<folder>/h5_files/<slide>.h5`` with the same in ``pt_files``. STAMP: ``<folder>/<model>[-<hash>]/…/<slide>.h5``,
folders as the slides lay. A slide is called after its file up to the extension. No torch.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pathoprog.errors import InputError
from pathoprog.networks.foreign.files import H5_SUFFIX
from pathoprog.networks.foreign.maker import FOLDERS
from pathoprog.networks.foreign.tensors import SUFFIX
from pathoprog.slides.identity import slide_id_of
from pathoprog.system.h5_array import opened
from pathoprog.text.wording import count, listing

PICKLE_SUFFIX = ".pt"
COORDINATES = "patches"
"""The folder in which TRIDENT and CLAM keep coordinates alone."""
H5_FOLDER, PICKLE_FOLDER = "h5_files", "pt_files"  # CLAM's
NAMED = 5


@dataclass(frozen=True)
class FeatureFolder:
    """A folder that was searched.

    Attributes:
        folder: itself.
        files: by the slide's name in the folder.
        twice: names that several files have.
        pickles: by name, files that only `pathoprog convert` opens, where there is no other.
        searched: its folders, each with its time of change in ns: while these hold, so does the rest.
    """

    folder: Path
    files: Mapping[str, Path]
    twice: Mapping[str, tuple[Path, ...]]
    pickles: Mapping[str, Path]
    searched: tuple[tuple[Path, int], ...]

    def find(self, names: Iterable[str]) -> Path | None:
        """The file of a slide by the first of its names that one has; None where none has.

        Raises:
            InputError: several files have that name, or the one that has it is a pickle.
        """
        for name in names:
            if name in self.twice:
                first, second, *_ = self.twice[name]
                raise InputError(f"{first} and {second}: two files for one slide; remove the one that is not meant")
            if name in self.files:
                return self.files[name]
            if name in self.pickles:
                pickle = self.pickles[name]
                raise InputError(
                    f"{pickle}: .pt files are pickles, which are not opened here: `pathoprog convert {pickle.parent}"
                    " out=FOLDER` makes safetensors of the whole folder, in a process of its own; give that folder"
                )
        return None

    def unclaimed(self, names: Iterable[str]) -> list[str]:
        """Names of slides that none of `names` is."""
        return sorted((self.files.keys() | self.twice.keys() | self.pickles.keys()) - set(names))


_KNOWN: dict[Path, FeatureFolder] = {}


def look_into(folder: Path) -> FeatureFolder:
    """Search a folder and those below; what was found holds until one of them changes.

    Raises:
        InputError: no such folder, or features of several models in it.
    """
    known = _KNOWN.get(folder)
    if known is None or any(_changed(place) != at for place, at in known.searched):
        known = _KNOWN[folder] = _search(folder)
    return known


def _changed(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return -1


def names_of(slide_id: str, slide_path: str) -> list[str]:
    """What other tools may have called a slide: its id, then its file's name up to the extension."""
    return list(dict.fromkeys((slide_id, *((slide_id_of(slide_path), Path(slide_path).stem) if slide_path else ()))))


def _search(folder: Path) -> FeatureFolder:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of features")
    searched: list[tuple[Path, int]] = []
    found = list(_files(folder, searched))
    sets: dict[Path, int] = {}
    of_model: dict[str, bool] = {}
    for path in found:
        place = _set_of(path, folder, of_model)
        sets[place] = sets.get(place, 0) + 1
    if len(sets) > 1:
        named = listing([f"{place} ({count(n, 'file')})" for place, n in sorted(sets.items())[:NAMED]])
        raise InputError(f"{folder}: features of several models; give the folder of one of them: {named}")
    by_name: dict[str, list[Path]] = {}
    pickles: dict[str, Path] = {}
    for path in found:
        name = path.name[: -len(path.suffix)]
        if path.suffix == PICKLE_SUFFIX:
            pickles.setdefault(name, path)
        else:
            by_name.setdefault(name, []).append(path)
    return FeatureFolder(
        folder,
        {name: paths[0] for name, paths in by_name.items() if len(paths) == 1},
        {name: tuple(paths) for name, paths in by_name.items() if len(paths) > 1},
        {name: path for name, path in pickles.items() if name not in by_name},
        tuple(searched),
    )


def _files(folder: Path, searched: list[tuple[Path, int]]) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != COORDINATES and not name.startswith("."))
        searched.append((Path(place), _changed(Path(place))))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix in (H5_SUFFIX, SUFFIX, PICKLE_SUFFIX):
                yield Path(place, name)


def _set_of(path: Path, folder: Path, of_model: dict[str, bool]) -> Path:
    """The folder of one model that a file lies in, by the tools' ways to name folders; else the one that was given.

    `of_model` keeps which of the folders directly below are called after a model: one file of each says it.
    """
    below = path.relative_to(folder).parts[:-1]
    for number, name in enumerate(below):
        if name in (H5_FOLDER, PICKLE_FOLDER):
            return folder.joinpath(*below[:number])
        if name.startswith(FOLDERS):
            return folder.joinpath(*below[: number + 1])
    if not below:
        return folder
    if below[0] not in of_model:
        of_model[below[0]] = _names_its_model(path, below[0])
    return folder / below[0] if of_model[below[0]] else folder


def _names_its_model(path: Path, name: str) -> bool:
    """Whether a folder is called after the model that one of its files names, as STAMP's are."""
    if path.suffix != H5_SUFFIX:
        return False
    try:
        with opened(path) as file:
            models = [str(file.attrs.get(key, "")) for key in ("extractor", "encoder")]
    except InputError:
        return False  # said when it is read
    return any(model and (name == model or name.startswith(f"{model}-")) for model in models)
