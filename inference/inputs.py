"""Which slides to score: files, folders, globs, a list or a cohort table become one list of jobs with unique ids."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pathoprog.eligibility import TRAITS
from pathoprog.errors import ConfigError, InputError
from pathoprog.slides.finding import SUFFIXES, slides_in

DOUBLE_SUFFIXES = (".ome.tif", ".ome.tiff")
OUTLINE_SUFFIXES = (".geojson", ".json", ".xml")


@dataclass(frozen=True)
class SlideInput:
    """One slide to score, and whose it is.

    Without a table `patient_id` is the slide's id, each slide a patient of its own, and `cohort` and `role` are empty.
    `traits` is what the table says of its eligibility, by trait.
    """

    slide_id: str
    path: str
    patient_id: str
    cohort: str = ""
    role: str = ""
    outline_path: str = ""
    traits: dict[str, str] = field(default_factory=dict)


def slides_from_paths(paths: list[str], outlines: str = "") -> list[SlideInput]:
    """Slides named on the command line.

    Args:
        paths: files, folders (searched whole), globs, and ``.txt`` lists of those, whose lines are relative to the
            list's folder; a folder of DICOM files is one slide.
        outlines: folder with one tumour outline per slide, called after its id.

    Raises:
        InputError: nothing there, no slide in a folder, or two slides with one id.
    """
    found: dict[str, None] = {}
    for path in paths:
        found.update(dict.fromkeys(_expand(path, Path())))
    ids: dict[str, str] = {}
    slides = []
    for path in found:
        slide_id = slide_id_of(path)
        other = ids.setdefault(slide_id.casefold(), path)
        if other != path:
            raise InputError(
                f"{path} and {other} would both be slide '{slide_id}': give cohort=… with ids of their own, "
                "or score them into different folders"
            )
        slides.append(SlideInput(slide_id, path, slide_id, outline_path=_outline(outlines, slide_id)))
    return slides


def slides_from_cohort(path: str, overlap: str = "", roles: list[str] | None = None) -> list[SlideInput]:
    """Slides of a cohort table, in the table's order.

    Args:
        path: cohort.csv.
        overlap: declared overlap, see `pathoprog.cohort.read_cohort`.
        roles: only these; all where empty.

    Raises:
        CohortError: the table breaks its rules.
        InputError: no slide has one of the roles.
    """
    from pathoprog.cohort import read_cohort

    table = read_cohort(path, overlap)
    if roles:
        table = table[table["role"].isin(roles)]
        if table.empty:
            raise InputError(f"{path}: no slide in the roles {', '.join(roles)}")
    known = [name for name in TRAITS if name in table]
    return [
        SlideInput(
            slide_id=str(row["slide_id"]),
            path=str(row["slide_path"]),
            patient_id=str(row["patient_id"]),
            cohort=str(row["cohort"]),
            role=str(row["role"]),
            outline_path=str(row["outline_path"]),
            traits={name: str(row[name]) for name in known},
        )
        for row in table.to_dict("records")
    ]


def with_corrections(slides: list[SlideInput], folder: str, policy: str) -> list[SlideInput]:
    """The slides with what counts as their outline under the policy: under ``network`` a corrected one alone.

    Args:
        slides: as read.
        folder: of corrected outlines, called ``<slide_id>.geojson``; may hold those of other slides. Empty for none.
        policy: in force.

    Raises:
        ConfigError: corrected outlines under another policy.
        InputError: no such folder, or nothing in it for any of the slides.
    """
    if policy != "network":
        if folder:
            raise ConfigError(
                f"corrected_outlines={folder}: they replace the network's, and the tumour policy is {policy}; "
                "give tumour_policy=network, or outlines=FOLDER with tumour_policy=outline"
            )
        return slides
    there = {path.name: str(path.resolve()) for path in Path(folder).glob("*.geojson")} if folder else {}
    found = [replace(slide, outline_path=there.get(f"{slide.slide_id}.geojson", "")) for slide in slides]
    if folder and not any(slide.outline_path for slide in found):
        raise InputError(
            f"{folder}: {'no' if Path(folder).is_dir() else 'no such folder, so no'} corrected outline of these "
            "slides; a file is called <slide_id>.geojson"
        )
    return found


def slide_id_of(path: str) -> str:
    """A slide's id where no table gives one: the file name up to its extension."""
    name = Path(path).name
    for suffix in DOUBLE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name


def _expand(text: str, base: Path) -> list[str]:
    """Absolute paths of the slides that one argument names."""
    path = base / text
    if path.is_dir():
        slides = [str(slide.resolve()) for slide in slides_in(path)]
        if not slides:
            raise InputError(f"{path}: no slide in this folder ({', '.join(SUFFIXES)})")
        return slides
    if path.is_file() and path.suffix.lower() == ".txt":
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        wanted = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not wanted:
            raise InputError(f"{path}: an empty list")
        return [slide for line in wanted for slide in _expand(line, path.parent)]
    if path.exists():
        return [str(path.resolve())]
    matches = sorted(map(str, _matches(path))) if glob.has_magic(text) else []
    if not matches:
        raise InputError(f"{path}: {'nothing matches' if glob.has_magic(text) else 'no such file'}")
    return [slide for match in matches for slide in _expand(match, Path())]


def _matches(pattern: Path) -> Iterator[Path]:
    """Paths that match a pattern, relative or absolute; ``**`` goes through folders; hidden files never match."""
    fixed = next(index for index, part in enumerate(pattern.parts) if glob.has_magic(part))
    found = Path(*pattern.parts[:fixed]).glob(str(Path(*pattern.parts[fixed:])))
    return (path for path in found if not path.name.startswith("."))


def _outline(folder: str, slide_id: str) -> str:
    candidates = [Path(folder) / f"{slide_id}{suffix}" for suffix in OUTLINE_SUFFIXES] if folder else []
    return next((str(path.resolve()) for path in candidates if path.is_file()), "")
