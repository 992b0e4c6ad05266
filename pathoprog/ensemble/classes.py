"""From two scores to a class: the agreement rule, and METHOD's one number for curves over time. No torch."""

RISK_CLASSES = ("good", "uncertain", "poor")


def risk_class(score_10x: float, score_40x: float, thresholds: dict[str, float]) -> str:
    """Class of a patient or slide: the agreement rule.

    METHOD, section 1, "class". Likely: both scores below their thresholds is good, both at or above is poor, opposite
    sides are uncertain (Skrede et al., Lancet 2020;395:350-360). Uncertain is an intermediate class that says that the
    resolutions disagree, not how sure the class is. Project default: a score at its threshold counts as above it.

    Args:
        score_10x: mean over the five 10x members, in [0, 1], higher = worse.
        score_40x: the same at 40x.
        thresholds: one per resolution; a score at the threshold counts as above it.

    Returns:
        ``good`` if both scores are below their thresholds, ``poor`` if both are at or above, else ``uncertain``.
    """
    above = (score_10x >= thresholds["10x"], score_40x >= thresholds["40x"])
    return "poor" if all(above) else "uncertain" if any(above) else "good"


def one_number(score_10x: float, score_40x: float, thresholds: dict[str, float]) -> float:
    """Mean over the two resolutions of (score - threshold): the single score for c-index and curves over time."""
    return ((score_10x - thresholds["10x"]) + (score_40x - thresholds["40x"])) / 2
