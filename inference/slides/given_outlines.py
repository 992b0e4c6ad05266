"""Which file is a slide's outline: in a folder of outlines, and in one of corrected outlines."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pathoprog.errors import ConfigError, InputError
from pathoprog.slides.config import SlideSettings
from pathoprog.slides.finding import barred_link

if TYPE_CHECKING:
    from pathoprog.inference.slides.inputs import SlideInput

OUTLINE_SUFFIXES = (".geojson", ".json", ".xml")
BARRED_OUTLINE = (
    "its outline lies outside its folder or slides.roots, where the link leads; copy it there, or give "
    "slides.follow_links=true or another slides.roots"
)


def outline_in(folder: str, slide_id: str, settings: SlideSettings) -> tuple[str, str]:
    """The outline of a slide in a folder of outlines, and a place that may not be read instead; each "" for none."""
    candidates = [Path(folder) / f"{slide_id}{suffix}" for suffix in OUTLINE_SUFFIXES] if folder else []
    try:
        place = next((path for path in candidates if path.is_file()), None)
    except OSError:  # no file can be called so
        return "", ""
    if place is None:
        return "", ""
    return ("", str(place)) if barred_link(place, Path(folder), settings) else (str(place.resolve()), "")


def with_corrections(
    slides: list["SlideInput"], folder: str, policy: str, settings: SlideSettings | None = None
) -> list["SlideInput"]:
    """The slides with what counts as their outline under the policy: under ``network`` a corrected one alone.

    Args:
        slides: as read.
        folder: of corrected outlines, called ``<slide_id>.geojson``; may hold those of other slides. Empty for none.
        policy: in force.
        settings: in which folders they may lie, and whether links that lead out of this one are followed.

    Raises:
        ConfigError: corrected outlines under another policy.
        InputError: no such folder, nothing in it for any of the slides, or one that may not be read.
    """
    if policy != "network":
        if folder:
            raise ConfigError(
                f"corrected_outlines={folder}: they replace the network's, and the tumour policy is {policy}; "
                "give tumour_policy=network, or outlines=FOLDER with tumour_policy=outline"
            )
        return slides
    there = {path.name: path for path in Path(folder).glob("*.geojson")} if folder else {}
    found = []
    for slide in slides:
        given = there.get(f"{slide.slide_id}.geojson") or there.get(f"{slide.given_id}.geojson")
        if given and barred_link(given, Path(folder), settings or SlideSettings()):
            raise InputError(f"{given}: {BARRED_OUTLINE}")
        found.append(replace(slide, outline_path=str(given.resolve()) if given else ""))
    if folder and not any(slide.outline_path for slide in found):
        raise InputError(
            f"{folder}: {'no' if Path(folder).is_dir() else 'no such folder, so no'} corrected outline of these "
            "slides; a file is called <slide_id>.geojson"
        )
    return found
