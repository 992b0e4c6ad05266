"""What training's slides look like: the reference that the bundle keeps, and a slide's distance to it.

Five features of a slide: the logarithms of the mean optical density of its stained pixels in red, green and blue and of
the SD of their sum, and the median sharpness of its fields (`quality_look`).
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pathoprog.quality.look import QualityLook

FEATURES = ("log_od_red", "log_od_green", "log_od_blue", "log_od_sd", "sharpness")
SHRINKAGE = 0.1
LEAST_SLIDES = 30
WARN_PERCENTILE = 99.0
FAIL_FACTOR = 2.0
AREA_PERCENTILE = 1.0
AREA_FAIL_SHARE = 0.25


@dataclass(frozen=True)
class Measured:
    """A slide of training or tuning: what was measured, its site, and the area that was analysed in square mm."""

    look: QualityLook
    site: str
    area_mm2: float


@dataclass(frozen=True)
class Reference:
    """Mean and spread of the training and tuning slides' features.

    Attributes:
        mean: [5].
        covariance: [5, 5], shrunk.
        n_slides: they rest on.
        n_sites: those slides come from.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n_slides: int
    n_sites: int

    def distance(self, look: QualityLook) -> float:
        """Mahalanobis distance of a slide, in SDs; NaN where a feature is missing."""
        values = features(look)
        if not np.isfinite(values).all():
            return math.nan
        return float(_distances(values[None], self.mean, self.covariance)[0])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for quality.json."""
        return {
            "features": list(FEATURES),
            "mean": self.mean.tolist(),
            "covariance": self.covariance.tolist(),
            "n_slides": self.n_slides,
            "n_sites": self.n_sites,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The reverse of `as_dict`."""
        return cls(
            np.array(values["mean"]),
            np.array(values["covariance"]),
            int(values["n_slides"]),
            int(values["n_sites"]),
        )


def features(look: QualityLook) -> NDArray[np.float64]:
    """The five features of a slide, float64 [5], NaN where they could not be measured."""
    if not look.colour or not look.sharpness:
        return np.full(len(FEATURES), np.nan)
    return np.array([*np.log(np.maximum(look.colour, 1e-3)), look.median_sharpness])


def fit_reference(slides: list[Measured]) -> tuple[Reference | None, dict[str, list[float | None]]]:
    """Mean, spread and the limits that follow from them.

    Distance: Mahalanobis, the covariance shrunk by 0.1 to its diagonal. Each site's slides are held against the
    reference without that site: the 99th percentile of these distances, which is how far slides of a laboratory and
    scanner that training did not see may lie, is the limit of *warn*, twice it that of *fail*. With one site alone each
    slide is left out in its turn. Analysed area: below the 1st percentile warns, below a quarter of that fails.

    Args:
        slides: of training and tuning, all measured under one tumour policy.

    Returns:
        The reference, None where fewer than 30 slides have all features; and limits ``[warn, fail]`` by check.
    """
    limits: dict[str, list[float | None]] = {}
    areas = [slide.area_mm2 for slide in slides]
    if len(areas) >= LEAST_SLIDES:
        least = float(np.percentile(areas, AREA_PERCENTILE))
        limits["tumour_area"] = [least, AREA_FAIL_SHARE * least]
    values = np.array([features(slide.look) for slide in slides]).reshape(-1, len(FEATURES))
    whole = np.isfinite(values).all(axis=1)
    values, sites = values[whole], np.array([slide.site for slide in slides], object)[whole]
    if len(values) < LEAST_SLIDES:
        return None, limits
    left_out = sites if len(set(sites)) > 1 else np.arange(len(values))
    held: list[float] = []
    for group in sorted(set(left_out.tolist())):
        rest = values[left_out != group]
        if len(rest) >= LEAST_SLIDES // 2:
            held += _distances(values[left_out == group], *_spread(rest)).tolist()
    if not held:
        return None, limits
    warn = float(np.percentile(held, WARN_PERCENTILE))
    limits["distance"] = [warn, FAIL_FACTOR * warn]
    return Reference(*_spread(values), len(values), len(set(sites))), limits


def _spread(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [f] and shrunk covariance [f, f] of values [n, f]."""
    covariance = np.cov(values.T)
    diagonal = np.diag(np.diag(covariance) + 1e-9)
    return values.mean(axis=0), (1 - SHRINKAGE) * covariance + SHRINKAGE * diagonal


def _distances(
    values: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mahalanobis distances [n] of values [n, f]."""
    away = values - mean
    return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance), away)))
