"""Names of files and folders that look like a case's number or a person's name.

These are guesses by the look of a name, and no more: a case number of another fashion, a name in lower case or of one
word passes, and a word that no list here has, beside another one, is taken for a name. That nothing is found does not
mean that a name says nothing; names by a keyed hash (``ids=pseudonym``) do not depend on guesses.
"""

import re

from pathoprog.slides.identifying.kinds import CASE, DATE, PERSON, Finding

_EDGE, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
# A day: 1950-03-17, 19500317, 17.03.1950.
_DAY = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[1-9]|[12]\d|3[01])[-_.](?:0[1-9]|1[0-2])[-_.](?:19|20)\d\d)(?!\d)"
)
_CASES = (
    # Letters, a year of two or four digits, a running number: S12-3456, H 2019/00123, 23H001234, PD-19-1234.
    re.compile(rf"{_EDGE}[A-Z]{{0,4}}[-_ ]?(?:19|20)?\d\d[-_. ]?[A-Z]{{0,3}}[-_. ]\d{{3,8}}{_END}", re.IGNORECASE),
    re.compile(rf"{_EDGE}\d\d[A-Z]{{1,3}}\d{{3,8}}{_END}", re.IGNORECASE),
    # A letter or two and five digits or more: H12345, SP0012345.
    re.compile(rf"{_EDGE}[A-Z]{{1,3}}[-_ ]?\d{{5,10}}{_END}", re.IGNORECASE),
    # Six digits or more: many laboratories' numbers, and those that states give to persons.
    re.compile(r"(?<![\dA-Fa-f])\d{6,14}(?![\dA-Fa-f])"),
    re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)|(?<!\d)\d{6}[-+]\d{4,5}(?!\d)"),
)
_HASH = re.compile(r"[SP]?[0-9a-f]{20,64}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\d+(?:\.\d+){5,}", re.IGNORECASE)
"""Pseudonyms of this project, hashes, UUIDs and DICOM's UIDs."""
_WORD = r"[A-Z\u00c0-\u00de][a-z\u00df-\u00ff]{2,}"
_PERSON = (
    re.compile(rf"({_WORD})\s*,\s*({_WORD})"),
    re.compile(rf"(?<![A-Za-z])({_WORD})[ _^.-]({_WORD})(?![a-z])"),
    re.compile(rf"(?<![A-Za-z])({_WORD})[ _.-]([A-Z])(?![A-Za-z0-9])"),
)
_NO_NAMES = {
    "adenoma", "annotation", "aperio", "area", "biopsy", "block", "bowel", "breast", "carcinoma", "case", "cancer",
    "cohort", "colon", "copy", "cropped", "data", "detail", "development", "dicom", "external", "export", "figure",
    "file", "final", "folder", "frozen", "gastric", "generic", "genetic", "hamamatsu", "he", "image", "images",
    "internal", "kidney", "label", "lab", "large", "layer", "leica", "left", "level", "liver", "lung", "lymph",
    "macro", "map", "mask", "mirax", "node", "normal", "objective", "old", "ome", "output", "overview", "part",
    "patient", "philips", "plain", "prostate", "pyramid", "quality", "raw", "rectum", "region", "result", "results",
    "right", "sample", "scan", "scanner", "scans", "section", "series", "site", "skin", "slide", "slides", "small",
    "specimen", "stack", "stain", "stained", "study", "test", "testing", "tile", "tiled", "tiles", "tissue",
    "training", "tumor", "tumour", "tuning", "unknown", "upload", "validation", "ventana", "version", "view", "whole",
    "zeiss", "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
}  # fmt: skip


def name_findings(name: str, what: str) -> list[Finding]:
    """What a name of a file or folder looks like.

    Args:
        name: of a file without its ending, or of a folder.
        what: ``file name`` or ``folder name``, for the finding.
    """
    if _HASH.fullmatch(name):
        return []
    found = []
    day = _DAY.search(name)
    if day:
        found.append(Finding(DATE, f"{what}: looks like a day", day[0]))
    rest = _DAY.sub(" ", name)
    case = next((hit for pattern in _CASES if (hit := pattern.search(rest))), None)
    if case:
        found.append(Finding(CASE, f"{what}: looks like a case's or person's number", case[0]))
    for pattern in _PERSON:
        hit = next((one for one in pattern.finditer(rest) if not _is_no_name(one)), None)
        if hit:
            found.append(Finding(PERSON, f"{what}: looks like a person's name", hit[0]))
            break
    return found


def _is_no_name(hit: re.Match[str]) -> bool:
    return any(word.lower() in _NO_NAMES for word in hit.groups())
