"""Numbers as journals print them: p-values, hazard ratios, shares, with their limits."""

import math
import re

MINUS = "\N{MINUS SIGN}"
DASHES = re.compile(rf"{MINUS}|(?<=\d)–(?=\d)|^–$")
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
    return f"{_digits(value)} (95% CI {format_range(lower, upper, ratio=True)})"


def bare_ratio(value: float, lower: float, upper: float) -> str:
    """A ratio with its limits under a heading that says what they are: ``3.84 (2.72–5.43)``."""
    return format_ratio(value, lower, upper).replace("95% CI ", "")


def format_range(lower: float, upper: float, digits: int = 2, ratio: bool = False) -> str:
    """Two limits: ``0.63–0.70``; with a word between them where a sign stands before one: ``−1.6 to 9.7``.

    Args:
        lower: limit.
        upper: limit.
        digits: decimals.
        ratio: True for limits of a ratio, which get the digits of `format_ratio`.
    """
    low, high = (_digits(value) if ratio else decimal(value, digits) for value in (lower, upper))
    return f"{low} to {high}" if set(low + high) & {MINUS, ">"} else f"{low}–{high}"


def format_interval(value: float, lower: float, upper: float, digits: int = 3) -> str:
    """A figure with its 95% limits: ``0.667 (0.634–0.700)``, ``−1.6 (−13.0 to 9.7)``."""
    if not math.isfinite(value):
        return "not estimable"
    if not _limited(lower, upper):
        return decimal(value, digits)
    return f"{decimal(value, digits)} ({format_range(lower, upper, digits)})"


def _limited(lower: float, upper: float) -> bool:
    """Whether there are limits: an interval without any width is that of a standard error which could not be had."""
    return math.isfinite(lower) and math.isfinite(upper) and upper - lower > 1e-12


def format_difference(value: float, lower: float, upper: float, digits: int = 2) -> str:
    """A difference, which could be below zero, with its 95% limits: ``−0.53 (−0.74 to −0.32)``, ``2 (1 to 3)``."""
    if not _limited(lower, upper):
        return format_interval(value, lower, upper, digits)
    if not math.isfinite(value):
        return "not estimable"
    return f"{decimal(value, digits)} ({decimal(lower, digits)} to {decimal(upper, digits)})"


def decimal(value: float, digits: int) -> str:
    """A figure with so many decimals, thousands apart, and a minus sign where it is below zero: ``−0.53``.

    What rounds to zero has no sign.
    """
    text = f"{value:,.{digits}f}"
    return text.replace("-", MINUS if float(text.replace(",", "")) else "")


def format_variance(variance: float) -> str:
    """A variance between sites: three digits, ``0``, and ``<0.001`` for what is hardly above it."""
    return "<0.001" if 0 < variance < 0.001 else f"{variance:.3g}"


def ascii_numbers(text: str) -> str:
    """A text whose minus signs and dashes between figures, or of nothing, are those that any program reads: ``-``."""
    return DASHES.sub("-", text)


def format_percent(value: float, lower: float = math.nan, upper: float = math.nan, digits: int = 1) -> str:
    """A share in percent, with limits where they are known: ``52.4% (43.1–61.5)``."""
    if not math.isfinite(value):
        return "not estimable"
    text = f"{decimal(100 * value, digits)}%"
    smallest = 10.0**-digits
    if value > 0 and text[:-1] == decimal(0, digits):
        text = f"<{smallest:.{digits}f}%"
    elif value < 1 and text[:-1] == decimal(100, digits):
        text = f">{100 - smallest:.{digits}f}%"
    if _limited(lower, upper):
        text += f" ({format_range(100 * lower, 100 * upper, digits)})"
    return text


def _digits(value: float) -> str:
    """A ratio with two decimals; more below 0.1, and where rounding would hide on which side of 1 it lies.

    Above 1,000 only that: such a limit says that nothing is known.
    """
    if value > 1000:
        return ">1,000"
    if value >= 100:
        return f"{value:.0f}"
    if 0 < value < 0.1:
        return f"{value:.2g}" if value >= 0.001 else "<0.001"
    return _beside(value, 1.0, 2)
