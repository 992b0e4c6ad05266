"""Quality of a slide: each check's value held against its limits: pass, warn (a flag), or fail (not reportable)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pathoprog.errors import BundleError
from pathoprog.quality.config import QUALITY_VERSION, QualitySettings
from pathoprog.quality.look import QualityLook
from pathoprog.quality.reference import Reference
from pathoprog.settings import as_dict
from pathoprog.system.files import read_json
from pathoprog.system.records import Record
from pathoprog.tiles.grid import TileGrid

PASS, WARN, FAIL, NOT_CHECKED = "pass", "warn", "fail", "not checked"
FILE = "quality.json"
Limits = dict[str, tuple[float | None, float | None]]
"""Check -> the limits of warn and of fail; None for none."""


class OpenedSlide(Protocol):
    """What must be known of a slide before its quality is judged (`stream.events.SlideOpened` is one).

    `grids` by resolution; `region_source`: what they were laid in; areas in um2; `look`: what was measured.
    """

    @property
    def grids(self) -> dict[str, TileGrid]: ...  # noqa: D102
    @property
    def region_source(self) -> str: ...  # noqa: D102
    @property
    def tissue_area_um2(self) -> float: ...  # noqa: D102
    @property
    def tumour_area_um2(self) -> float: ...  # noqa: D102
    @property
    def look(self) -> QualityLook: ...  # noqa: D102


@dataclass(frozen=True)
class Check(Record):
    """One thing looked at on a slide.

    Attributes:
        name: what was looked at.
        value: what was found, in `unit`; None where it could not be measured.
        unit: of the value and the limits, empty for a pure number.
        verdict: ``pass``, ``warn`` or ``fail``; ``not checked`` where there is no value.
        warn: the limit beyond which the verdict is ``warn``; None where there is none.
        fail: the limit beyond which it is ``fail``; above `warn` where large values are bad, else below it.
        says: one short sentence for the reader of the result.
    """

    name: str
    value: float | None
    unit: str
    verdict: str
    warn: float | None
    fail: float | None
    says: str

    @property
    def finding(self) -> str:
        """Name and value, for a flag or a reason."""
        if self.value is None:
            return f"{self.name} not checked"
        limit = self.fail if self.verdict == FAIL else self.warn
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} {self.value:.3g}{unit} (limit {limit:.3g})"


@dataclass(frozen=True)
class QualityRules:
    """Limits in force, and what they come from.

    Attributes:
        limits: by check.
        reference: of the bundle's training slides, or None.
        policy: ``enforce``, or ``report``: a failed check is a flag only.
        why_no_reference: where there is none.
    """

    limits: Limits = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    reference: Reference | None = None
    policy: str = "enforce"
    why_no_reference: str = "the bundle keeps no reference of its training slides"

    def judge(self, opened: OpenedSlide) -> list[Check]:
        """All checks of one slide, in the order of `CHECKS`."""
        return [
            self._check(key, name, value)
            for key, check in CHECKS.items()
            for name, value in check.find(opened, self).items()
        ]

    def _check(self, key: str, name: str, value: float) -> Check:
        (warn, fail), check = self.limits[key], CHECKS[key]
        sign = -1.0 if check.low_is_bad else 1.0
        verdict = PASS
        if not math.isfinite(value):
            verdict = NOT_CHECKED
        elif fail is not None and sign * value > sign * fail:
            verdict = FAIL
        elif warn is not None and sign * value > sign * warn:
            verdict = WARN
        plain = float(value) if math.isfinite(value) else None
        says = f"Not checked: {self.why_no_reference}." if key == "distance" and self.reference is None else check.says
        return Check(name, plain, check.unit, verdict, warn, fail, says)


Find = Callable[[OpenedSlide, QualityRules], dict[str, float]]
"""What was looked at, by the name that a reader sees -> what was found; NaN where it could not be measured."""


@dataclass(frozen=True)
class QualityCheck:
    """A kind of check.

    Attributes:
        find: from a slide and the rules in force to the values.
        says: one short sentence for the reader of the result.
        unit: of the values and limits, empty for a pure number.
        warn: this project's limit beyond which a slide is flagged, None for none.
        fail: its limit beyond which a slide is refused, None for none.
        low_is_bad: True: beyond means below.
    """

    find: Find
    says: str
    unit: str = ""
    warn: float | None = None
    fail: float | None = None
    low_is_bad: bool = False


def _measured(name: str, field_name: str, factor: float = 1.0) -> Find:
    """The value of one field of the look, times a factor (100 for percent)."""
    return lambda opened, _: {name: factor * getattr(opened.look, field_name)}


def _tissue_area(opened: OpenedSlide, _: QualityRules) -> dict[str, float]:
    return {"tissue area": opened.tissue_area_um2 / 1e6}


def _tumour_area(opened: OpenedSlide, _: QualityRules) -> dict[str, float]:
    analysed = "tissue area analysed" if opened.region_source == "tissue" else "tumour area"
    return {analysed: opened.tumour_area_um2 / 1e6}


def _tiles(opened: OpenedSlide, _: QualityRules) -> dict[str, float]:
    return {f"tiles at {name}": len(grid) for name, grid in opened.grids.items()}


def _blurred(opened: OpenedSlide, rules: QualityRules) -> dict[str, float]:
    """Share of the fields, in percent, that are less sharp than a whole slide may be."""
    limit = rules.limits["sharpness"][1]
    blurred = [value < limit for value in opened.look.sharpness] if limit is not None else []
    return {"blurred fields": 100 * sum(blurred) / len(blurred) if blurred else math.nan}


def _distance(opened: OpenedSlide, rules: QualityRules) -> dict[str, float]:
    found = rules.reference.distance(opened.look) if rules.reference else math.nan
    return {"distance to the training slides": found}


CHECKS = {
    "tissue_area": QualityCheck(
        _tissue_area, "Area of stained tissue on the slide.", "mm²", fail=0.005, low_is_bad=True
    ),
    "tumour_area": QualityCheck(_tumour_area, "Area in which tiles may lie.", "mm²", fail=0.005, low_is_bad=True),
    "tiles": QualityCheck(_tiles, "Tiles that the score rests on.", warn=10, low_is_bad=True),
    "glass": QualityCheck(
        _measured("brightness of the glass", "glass"),
        "Brightness of the empty glass; dark: no brightfield picture.",
        "of 255", 200, 120, low_is_bad=True,
    ),
    "empty": QualityCheck(
        _measured("empty glass", "empty_share", 100), "Part of the analysed area that holds no tissue.", "%", 30, 70
    ),
    "pen": QualityCheck(
        _measured("pen marks", "pen_share", 100), "Part of the analysed area under marker ink.", "%", 1, 8
    ),
    "pen_elsewhere": QualityCheck(
        _measured("pen marks elsewhere", "pen_elsewhere_mm2"), "Marker ink outside the analysed area.", "mm²", 0.01
    ),
    "folds": QualityCheck(
        _measured("folds", "fold_share", 100),
        "Part of the analysed area where the tissue lies in several layers.",
        "%", 2, 8,
    ),
    "bubbles": QualityCheck(
        _measured("air bubbles", "bubble_share", 100), "Part of the analysed area under air bubbles.", "%", 2, 8
    ),
    "green": QualityCheck(
        _measured("stain: green absorbed most", "green_share", 100),
        "Stained pixels that absorb green most: nearly all in H&E, few in immunostains.",
        "%", 75, 60, low_is_bad=True,
    ),
    "other_dye": QualityCheck(
        _measured("stain: red and blue over green", "other_dye"),
        "Density in red and blue over that in green: 0.9 to 1.3 in H&E, more in other stains.",
        "", 1.4, 1.55,
    ),
    "sharpness": QualityCheck(
        _measured("sharpness", "median_sharpness"),
        "Fine over coarse detail, median of the fields; 1 um of blur takes about 1 off.",
        "log10", -0.9, -1.2, low_is_bad=True,
    ),
    "blurred": QualityCheck(_blurred, "Fields that are less sharp than the limit of a whole slide.", "%", 15, 50),
    "distance": QualityCheck(_distance, "Colour and sharpness against the training slides.", "SD"),
}  # fmt: skip
"""Every check by the key of its limits: a new one is a function, a line here and its two fields of `LimitSettings`.

The limits are project defaults, chosen on real pictures and on seed 1 of the simulation (docs/quality.md).
"""
DEFAULT_LIMITS: Limits = {key: (check.warn, check.fail) for key, check in CHECKS.items()}


def read_rules(folder: str | Path, settings: QualitySettings, tumour_policy: str) -> QualityRules:
    """The rules of a bundle with a person's overrides.

    Args:
        folder: the bundle, verified; one without quality.json is judged by `DEFAULT_LIMITS` alone.
        settings: overrides.
        tumour_policy: in force; the bundle's limits of the analysed area hold for a tumour, or for all tissue.

    Raises:
        BundleError: quality.json is not what it should be.
    """
    path = Path(folder) / FILE
    try:
        return rules_of(read_json(path) if path.is_file() else None, settings, tumour_policy)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BundleError(f"{path}: not a quality file of this version ({error!r})") from error


def rules_of(stored: Any, settings: QualitySettings, tumour_policy: str) -> QualityRules:
    """The rules of what `quality_file` gave, or of None, with a person's overrides; see `read_rules`."""
    limits, reference, why = dict(DEFAULT_LIMITS), None, QualityRules.why_no_reference
    if stored is not None:
        limits |= {key: (pair[0], pair[1]) for key, pair in stored["limits"].items() if key in DEFAULT_LIMITS}
        if (stored["region"] == "tissue") != (tumour_policy == "tissue"):
            limits["tumour_area"] = DEFAULT_LIMITS["tumour_area"]
        if stored["version"] != QUALITY_VERSION:
            why = f"the bundle's reference was measured by version {stored['version']} of the checks"
        elif stored["reference"] is not None:
            reference = Reference.from_dict(stored["reference"])
    given = given_limits(settings)
    for key, (warn, fail) in limits.items():
        limits[key] = (given.get(f"{key}_warn", warn), given.get(f"{key}_fail", fail))
    return QualityRules(limits, reference, settings.policy, why)


def given_limits(settings: QualitySettings) -> dict[str, float]:
    """The limits that a person gave, by setting."""
    return {key: value for key, value in as_dict(settings.limits).items() if value is not None}


def overrides(settings: QualitySettings) -> dict[str, Any]:
    """What departs from the bundle's rules, as a result records it."""
    result: dict[str, Any] = {f"quality.limits.{key}": value for key, value in given_limits(settings).items()}
    if settings.policy != "enforce":
        result["quality.policy"] = settings.policy
    if settings.eligibility == "report":
        result["quality.eligibility"] = settings.eligibility
    return result


def in_force(settings: QualitySettings) -> dict[str, Any]:
    """What a result follows from beside the bundle's rules: overrides, and what is stricter than they are."""
    stricter = {"quality.eligibility": "require"} if settings.eligibility == "require" else {}
    return {**overrides(settings), **stricter}


def quality_file(
    limits: dict[str, list[float | None]], reference: Reference | None, tumour_policy: str
) -> dict[str, Any]:
    """What a bundle's quality.json holds.

    Args:
        limits: that follow from the training slides; the others are this version's defaults.
        reference: of the training slides, or None.
        tumour_policy: under which they were measured.
    """
    return {
        "version": QUALITY_VERSION,
        "region": tumour_policy,
        "limits": {key: list(pair) for key, pair in DEFAULT_LIMITS.items()} | limits,
        "reference": reference.as_dict() if reference else None,
    }
