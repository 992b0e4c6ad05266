"""Numbers as journals print them: p-values, hazard ratios, shares, with their limits."""

import math

Z_95 = 1.959963984540054
"""Standard errors on either side of an estimate in its 95% interval: the normal distribution's 97.5th percentile."""


def format_p(p: float) -> str:
    """A p-value: ``p<0.0001``, ``p=0.0023``, ``p=0.18``; ``p not estimable`` if it is nan.

    More digits where rounding would put it on the other side of 0.05 (``p=0.04996``), on 0.05 itself, or on 1.
    """
    if math.isnan(p):
        return "p not estimable"
    if p < 0.0001:
        return "p<0.0001"
    if 0.995 <= p < 1:
        return "p>0.99"
    digits = 4 if p < 0.001 else 3 if p < 0.1 else 2
    return f"p={_beside(p, 0.05, digits)}"


def _beside(value: float, limit: float, digits: int) -> str:
    """A figure that does not read as `limit` unless it is: as many digits as that takes, at most seven."""
    while digits < 7 and value != limit and float(f"{value:.{digits}f}") == limit:
        digits += 1
    return f"{value:.{digits}f}"


def bare_p(p: float) -> str:
    """A p-value under a heading that says so: ``<0.0001``, ``0.18``."""
    text = format_p(p).removeprefix("p")
    return text.removeprefix("=").strip()


def format_ratio(value: float, lower: float, upper: float) -> str:
    """A hazard ratio with its 95% limits: ``3.84 (95% CI 2.72–5.43)``."""
    if not all(map(math.isfinite, (value, lower, upper))):
        return "not estimable"
    return f"{_digits(value)} (95% CI {_digits(lower)}–{_digits(upper)})"


def format_interval(value: float, lower: float, upper: float, digits: int = 3) -> str:
    """A figure with its 95% limits: ``0.667 (0.634–0.700)``."""
    if not math.isfinite(value):
        return "not estimable"
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({lower:.{digits}f}–{upper:.{digits}f})"


def format_percent(value: float, lower: float = math.nan, upper: float = math.nan, digits: int = 1) -> str:
    """A share in percent, with limits where they are known: ``52.4% (43.1–61.5)``."""
    if not math.isfinite(value):
        return "not estimable"
    text = f"{100 * value:.{digits}f}%"
    smallest = 10.0**-digits
    if value > 0 and float(text[:-1]) == 0:
        text = f"<{smallest:.{digits}f}%"
    elif value < 1 and float(text[:-1]) == 100:
        text = f">{100 - smallest:.{digits}f}%"
    if math.isfinite(lower) and math.isfinite(upper):
        text += f" ({100 * lower:.{digits}f}–{100 * upper:.{digits}f})"
    return text


def _digits(value: float) -> str:
    """A ratio with two decimals; more below 0.1, and where rounding would hide on which side of 1 it lies."""
    if value >= 100:
        return f"{value:.0f}"
    if 0 < value < 0.1:
        return f"{value:.2g}" if value >= 0.001 else "<0.001"
    return _beside(value, 1.0, 2)
