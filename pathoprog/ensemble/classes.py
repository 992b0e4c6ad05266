"""From one score or two to a class: the agreement rule, and METHOD's one number for curves over time. No torch."""

from collections.abc import Collection, Mapping

RISK_CLASSES = ("good", "uncertain", "poor")


def classes_of(resolutions: Collection[str]) -> tuple[str, ...]:
    """The classes that scores at these resolutions can have, from better to worse: a single one disagrees with none."""
    return RISK_CLASSES if len(resolutions) > 1 else tuple(name for name in RISK_CLASSES if name != "uncertain")


def risk_class(scores: Mapping[str, float], thresholds: Mapping[str, float]) -> str:
    """Class of a patient or slide: the agreement rule.

    METHOD, section 1, "class". Likely: both scores below their thresholds is good, both at or above is poor, opposite
    sides are uncertain (Skrede et al., Lancet 2020;395:350-360). Uncertain is an intermediate class that says that the
    resolutions disagree, not how sure the class is. Project default: a score at its threshold counts as above it; with
    one resolution there is its side of the threshold alone, and never uncertain.

    Args:
        scores: by resolution, the mean over its members, in [0, 1], higher = worse.
        thresholds: of the same resolutions; a score at the threshold counts as above it.

    Returns:
        ``good`` if all scores are below their thresholds, ``poor`` if all are at or above, else ``uncertain``.
    """
    above = [scores[resolution] >= threshold for resolution, threshold in thresholds.items()]
    return "poor" if all(above) else "uncertain" if any(above) else "good"


def one_number(scores: Mapping[str, float], thresholds: Mapping[str, float]) -> float:
    """Mean over the resolutions of (score - threshold): the single score for c-index and curves over time.

    Args:
        scores: by resolution.
        thresholds: of the same resolutions.
    """
    distances = [scores[resolution] - threshold for resolution, threshold in sorted(thresholds.items())]
    return sum(distances) / len(distances)
