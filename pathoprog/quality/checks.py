"""Quality of a slide: each check's value held against its limits: pass, warn (a flag), or fail (not reportable)."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pathoprog.errors import BundleError
from pathoprog.quality.config import QUALITY_VERSION, QualitySettings
from pathoprog.quality.look import QualityLook
from pathoprog.quality.reference import Reference
from pathoprog.settings import as_dict
from pathoprog.system.files import read_json
from pathoprog.tiles.grid import TileGrid

PASS, WARN, FAIL, NOT_CHECKED = "pass", "warn", "fail", "not checked"
FILE = "quality.json"
Limits = dict[str, tuple[float | None, float | None]]
"""Check -> the limits of warn and of fail; None for none."""

DEFAULT_LIMITS: Limits = {
    "tissue_area": (None, 0.005),
    "tumour_area": (None, 0.005),
    "tiles": (10, None),
    "glass": (200, 120),
    "empty": (30, 70),
    "pen": (1, 8),
    "pen_elsewhere": (0.01, None),
    "folds": (2, 8),
    "bubbles": (2, 8),
    "green": (75, 60),
    "other_dye": (1.4, 1.55),
    "sharpness": (-0.9, -1.2),
    "blurred": (15, 50),
    "distance": (None, None),
}
"""Project defaults, chosen on real pictures and on seed 1 of the simulation (docs/quality.md)."""
LOW_IS_BAD = ("tissue_area", "tumour_area", "tiles", "glass", "green", "sharpness")
SAYS = {
    "tissue_area": "Area of stained tissue on the slide.",
    "tumour_area": "Area in which tiles may lie.",
    "tiles": "Tiles that the score rests on.",
    "glass": "Brightness of the empty glass; dark: no brightfield picture.",
    "empty": "Part of the analysed area that holds no tissue.",
    "pen": "Part of the analysed area under marker ink.",
    "pen_elsewhere": "Marker ink outside the analysed area.",
    "folds": "Part of the analysed area where the tissue lies in several layers.",
    "bubbles": "Part of the analysed area under air bubbles.",
    "green": "Stained pixels that absorb green most: nearly all in H&E, few in immunostains.",
    "other_dye": "Density in red and blue over that in green: 0.9 to 1.3 in H&E, more in other stains.",
    "sharpness": "Fine over coarse detail, median of the fields; 1 um of blur takes about 1 off.",
    "blurred": "Fields that are less sharp than the limit of a whole slide.",
    "distance": "Colour and sharpness against the training slides.",
}
UNITS = {
    "tissue_area": "mm²", "tumour_area": "mm²", "pen_elsewhere": "mm²", "empty": "%", "pen": "%", "folds": "%",
    "bubbles": "%", "green": "%", "blurred": "%", "glass": "of 255", "sharpness": "log10", "distance": "SD",
}  # fmt: skip


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
class Check:
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
        """All checks of one slide."""
        look = opened.look
        limits, region = self.limits, opened.region_source
        analysed = "tissue area analysed" if region == "tissue" else "tumour area"
        sharp_limit = limits["sharpness"][1]
        blurred = [value < sharp_limit for value in look.sharpness] if sharp_limit is not None else []
        found = [
            self._check("tissue_area", opened.tissue_area_um2 / 1e6, "tissue area"),
            self._check("tumour_area", opened.tumour_area_um2 / 1e6, analysed),
            *(self._check("tiles", len(grid), f"tiles at {name}") for name, grid in opened.grids.items()),
            self._check("glass", look.glass, "brightness of the glass"),
            self._check("empty", 100 * look.empty_share, "empty glass"),
            self._check("pen", 100 * look.pen_share, "pen marks"),
            self._check("pen_elsewhere", look.pen_elsewhere_mm2, "pen marks elsewhere"),
            self._check("folds", 100 * look.fold_share, "folds"),
            self._check("bubbles", 100 * look.bubble_share, "air bubbles"),
            self._check("green", 100 * look.green_share, "stain: green absorbed most"),
            self._check("other_dye", look.other_dye, "stain: red and blue over green"),
            self._check("sharpness", look.median_sharpness, "sharpness"),
            self._check("blurred", 100 * sum(blurred) / len(blurred) if blurred else math.nan, "blurred fields"),
        ]
        distance = self.reference.distance(look) if self.reference else math.nan
        says = SAYS["distance"] if self.reference else f"Not checked: {self.why_no_reference}."
        return [*found, self._check("distance", distance, "distance to the training slides", says)]

    def _check(self, key: str, value: float, name: str, says: str = "") -> Check:
        warn, fail = self.limits[key]
        sign = -1.0 if key in LOW_IS_BAD else 1.0
        verdict = PASS
        if not math.isfinite(value):
            verdict = NOT_CHECKED
        elif fail is not None and sign * value > sign * fail:
            verdict = FAIL
        elif warn is not None and sign * value > sign * warn:
            verdict = WARN
        plain = float(value) if math.isfinite(value) else None
        return Check(name, plain, UNITS.get(key, ""), verdict, warn, fail, says or SAYS[key])


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
    if settings.eligibility != "enforce":
        result["quality.eligibility"] = settings.eligibility
    return result


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
