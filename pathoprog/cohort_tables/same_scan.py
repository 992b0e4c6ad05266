"""The same scan under two ids: found by the slides' content, wherever roles, patients or a bundle's development meet.

A content hash is computed once and kept by the files' identity in the user's cache. Two slides can only be the same if
their files have the same size, so that a table is checked without reading slides unless sizes agree. A bundle keeps the
hash of each slide of its development, hashed again with a salt of the bundle: another table can be checked against it
without the development cohort, and the list names no slide to who does not have it.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathoprog.cohort_tables.roles import EVALUATION_ROLES
from pathoprog.errors import BundleError, InputError, SlideError
from pathoprog.slides.identity import content_sha256, looks
from pathoprog.system.files import canonical_json, read_json, sha256_value, write_json

if TYPE_CHECKING:
    import pandas as pd

FILE = "development_slides.json"
FORMAT = 1
FOLDER = "slide_hashes"


def slide_sha256(path: str | Path, on_progress: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a slide's content, from the user's cache where the files are as they were when it was computed.

    Raises:
        SlideError: the slide cannot be read.
    """
    place = str(Path(path).resolve())
    cached = _cache() / f"{sha256_value(place)}.json"
    stamp = looks(place)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not there, or damaged
        found = read_json(cached)
        if stamp and found["stamp"] == stamp:
            return str(found["sha256"])
    digest = content_sha256(place, on_progress)
    if stamp and looks(place) == stamp:
        with contextlib.suppress(OSError):  # else it is computed again the next time
            write_json(cached, {"stamp": stamp, "sha256": digest})
    return digest


def same_scans(paths: Mapping[str, str], on_progress: Callable[[], None] = lambda: None) -> list[list[str]]:
    """Which slides have the same content.

    Args:
        paths: of the slides' files, by id; those that are not there, or cannot be read, are left out.
        on_progress: called often.

    Returns:
        Groups of two ids or more, each in the order given.
    """
    by_size: dict[tuple[int, ...], list[str]] = {}
    for name, path in paths.items():
        stamp = looks(path) if path else []
        on_progress()
        if stamp:
            by_size.setdefault(tuple(sorted(size for _, size, *_ in stamp)), []).append(name)
    groups: dict[str, list[str]] = {}
    for names in by_size.values():
        for name in names if len(names) > 1 else []:
            try:
                groups.setdefault(slide_sha256(paths[name], on_progress), []).append(name)
            except SlideError:
                continue  # said where it is to be read
    return [names for names in groups.values() if len(names) > 1]


def development_set(hashes: Iterable[str], role: str = "") -> dict[str, Any]:
    """Content hashes of development slides as a bundle keeps them: sorted, each hashed again with their salt.

    The salt follows from the slides themselves, so that equal work gives an equal bundle.

    Args:
        hashes: of the slides' content.
        role: of the slides, training or tuning; empty where it is not known.
    """
    distinct = sorted(set(hashes))
    salt = sha256_value(["development slides", distinct])
    found = {"salt": salt, "sha256": sorted(_salted(salt, digest) for digest in distinct)}
    return {"role": role, **found} if role else found


def development_file(sets: list[dict[str, Any]], unknown: int) -> str:
    """The file `FILE` of a bundle: sets of hashes (its own, its parent's, its tumour network's).

    Args:
        sets: of `development_set`.
        unknown: slides of development whose content hash is not known.
    """
    return canonical_json({"format": FORMAT, "sets": sets, "unknown": unknown})


def read_development(bundle: str | Path) -> dict[str, Any] | None:
    """What a bundle keeps of its development slides; None where it keeps nothing (an older version locked it).

    Raises:
        BundleError: the file has another form.
    """
    path = Path(bundle) / FILE
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = read_json(path)
        whole = found["format"] == FORMAT and all({"salt", "sha256"} <= one.keys() for one in found["sets"])
        int(found["unknown"])
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise BundleError(f"{path}: no list of development slides of format {FORMAT}")
    return found


class DevelopmentSlides:
    """The slides that a bundle was developed on, by the hashes that it keeps; of one that keeps none nothing is known.

    Args:
        bundle: the locked bundle.

    Raises:
        BundleError: see `read_development`.
    """

    def __init__(self, bundle: str | Path):
        sets = (read_development(bundle) or {"sets": []})["sets"]
        self._known = [(one["salt"], frozenset(one["sha256"]), str(one.get("role", ""))) for one in sets]

    def role_of(self, digest: str) -> str:
        """In which role a slide was: ``training``, ``tuning``, or ``development`` where the bundle does not say which.

        Args:
            digest: hash of its content; empty where it is not known.

        Returns:
            Empty for a slide that is none of them, as far as is known.
        """
        found = (
            role or "development" for salt, salted, role in self._known if digest and _salted(salt, digest) in salted
        )
        return next(found, "")


def development_slides_among(bundle: str | Path, hashes: Mapping[str, str]) -> list[str]:
    """Which slides are of the bundle's development.

    Args:
        bundle: the locked bundle.
        hashes: content hash by slide; empty where it is not known.

    Returns:
        Ids in the order given; none for a bundle that keeps no hashes.

    Raises:
        BundleError: see `read_development`.
    """
    known = DevelopmentSlides(bundle)
    return [name for name, digest in hashes.items() if known.role_of(digest)]


def refuse_development_slides(bundle: str | Path, cohort: "pd.DataFrame", hashes: Mapping[str, str]) -> None:
    """No slide in the roles test and external is one that the bundle was developed on.

    Args:
        bundle: the locked bundle.
        cohort: slides, as `pathoprog.cohort_tables.cohort.read_cohort` gives them.
        hashes: content hash by slide; empty where it is not known.

    Raises:
        InputError: names the slides.
        BundleError: see `read_development`.
    """
    rows = cohort[cohort["role"].isin(EVALUATION_ROLES)]
    owner = dict(zip(rows["slide_id"], rows["patient_id"] + " in " + rows["role"], strict=True))
    found = development_slides_among(bundle, {name: hashes.get(name, "") for name in owner})
    if found:
        named = [f"slide {name} of {owner[name]}" for name in found]
        raise InputError(
            "\n  ".join(
                ["these slides have the content of slides that the ensemble was developed on; take them out:", *named]
            )
        )


def _salted(salt: str, digest: str) -> str:
    return hashlib.sha256(f"{salt}:{digest.lower()}".encode()).hexdigest()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pathoprog" / FOLDER
