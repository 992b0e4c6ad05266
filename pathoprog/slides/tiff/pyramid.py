"""Which images of a TIFF are the slide's pyramid, and whether a library shows all of it and nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pathoprog.slides.tiff.directory import REMEDY, Directory

REDUCED, MASK, MACRO = 1, 4, 9  # of TIFF's subfile type; 9 is Aperio's
SIDE_IMAGE = re.compile(r"(^|\n)\s*\"?(label|macro)\b", re.IGNORECASE)
ROUNDING_PX = 1.5  # of a level's side: scanners drop, keep or add the odd last pixel
NDPI_SIDE_IMAGES = (-1.0, -2.0)  # as its magnification: macro and map
PAGE_VENDORS = ("aperio", "generic-tiff")
"""Formats whose levels are the file's images, pixel by pixel, with nothing stitched."""


@dataclass(frozen=True)
class Pyramid:
    """The slide's images in a TIFF.

    Attributes:
        base: the slide at its finest: the largest image in tiles that is no label or macro; where none has tiles, the
            largest.
        levels: the base and the images that are its reductions, or that the file calls so, in the file's order.
        others: further images in tiles that belong to nothing known.
        lenses: NDPI says what each of its images is: `levels` are those of its first focal plane.
    """

    base: Directory
    levels: tuple[Directory, ...]
    others: tuple[Directory, ...]
    lenses: bool


def pyramid_of(images: Sequence[Directory]) -> Pyramid:
    """Find the pyramid among a TIFF's images (at least one)."""
    if any(image.lens is not None and image.lens > 0 for image in images):
        seen = [image for image in images if image.lens not in NDPI_SIDE_IMAGES and image.focal_plane == 0]
        return Pyramid(max(images, key=_area), tuple(seen), (), lenses=True)
    tiled = [image for image in images if image.is_tiled and not image.subfile & MASK]
    slides = [image for image in tiled if not _is_side_image(image)]
    base = max(slides or tiled or images, key=_area)
    levels, others = [], []
    for image in slides:
        named = bool(image.subfile & REDUCED) or image.parent == base.number
        # In OME-TIFF the levels are the base's sub-directories; what else stands in the chain is another image.
        foreign = image.parent != base.number and "<OME" in images[0].description[:4096]
        if image is base or (not foreign and (named or (reduces(image, base) and image.bits == base.bits))):
            levels.append(image)
        elif image.parent in (-1, base.number):
            others.append(image)
    return Pyramid(base, tuple(levels or [base]), tuple(others), lenses=False)


def reduces(image: Directory, base: Directory) -> bool:
    """Whether an image has the shape of the base, at any size up to its own."""
    if image.width > base.width or image.height > base.height:
        return False
    factor = (base.width / image.width + base.height / image.height) / 2
    return all(
        abs(full / factor - part) <= ROUNDING_PX
        for full, part in ((base.width, image.width), (base.height, image.height))
    )


def why_not_shown(pyramid: Pyramid, sizes: Sequence[tuple[int, int]], library: str, remedy: str = REMEDY) -> str:
    """Why what a library shows is not the file's pyramid; "" where it is.

    Args:
        pyramid: of the file.
        sizes: (width, height) of the levels that the library shows, px, finest first.
        library: its name, for the message.
        remedy: what to do where it shows fewer levels than there are.
    """
    base = pyramid.base
    if tuple(sizes[0]) != (base.width, base.height):
        first = "" if base.number == 0 else ": another image, as a label, stands before it"
        return (
            f"{library} takes an image of {sizes[0][0]} x {sizes[0][1]} px for the slide, and the file holds "
            f"{base.name}{', in tiles' if base.is_tiled else ''}{first}; have the slide exported anew"
        )
    if pyramid.lenses:  # OpenSlide adds levels between them, and goes by the JPEG where its size is another
        lost = [image for image in pyramid.levels if not any(_about(image, size) for size in sizes)]
        return f"{_lost(len(pyramid.levels) - len(lost), len(pyramid.levels), library, lost)}; {remedy}" if lost else ""
    by_size = {(image.width, image.height): image for image in pyramid.levels}
    for size in sizes:
        image = by_size.get((size[0], size[1]))
        if image is None or not (image is base or reduces(image, base)):
            return (
                f"{library} shows a level of {size[0]} x {size[1]} px, which is no reduction of {base.name}; {REMEDY}"
            )
        differs = _difference(image, base)
        if differs:
            return f"{image.name} is a level of {base.name}, and its {differs} differs; {REMEDY}"
    lost = [image for size, image in by_size.items() if size not in set(map(tuple, sizes))]
    if lost:
        return f"{_lost(len(sizes), len(by_size), library, lost)}; {remedy}"
    return ""


def _lost(shown: int, held: int, library: str, lost: Sequence[Directory]) -> str:
    names = ", ".join(image.name for image in lost)
    return f"{library} shows {shown} of the {held} levels that stand in the file's directory, and not {names}"


def _about(image: Directory, size: tuple[int, int]) -> bool:
    return all(abs(one - other) <= 0.05 * one for one, other in zip((image.width, image.height), size, strict=True))


def _difference(image: Directory, base: Directory) -> str:
    """What of the way that pixels are stored differs between two levels: in words, "" for nothing."""
    for words, name in (
        ("bits of a sample", "bits"),
        ("number of channels", "samples"),
        ("planar configuration", "planar"),
        ("compression", "compression"),
        ("photometric interpretation", "photometric"),
    ):
        if getattr(image, name) != getattr(base, name):
            return words
    return ""


def _is_side_image(image: Directory) -> bool:
    """Whether it is called a label or macro image."""
    return image.subfile & MACRO == MACRO or bool(SIDE_IMAGE.search(image.description[:400]))


def _area(image: Directory) -> int:
    return image.width * image.height
