"""Words around numbers: counts with their unit, lists within a sentence, p-values in a table's cell."""

from pathoprog.text.numbers import format_p


def count(n: int, unit: str) -> str:
    """``1 patient``, ``2 patients``."""
    return f"{n:,} {unit}" + ("" if n == 1 else "s")


def listing(items: list[str]) -> str:
    """``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def number_word(n: int) -> str:
    """``one`` to ``ten``, larger numbers in digits."""
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[n - 1] if 1 <= n <= len(words) else f"{n:,}"


def p_cell(p: float) -> str:
    """A p-value without its letter, for a column headed p: ``0.0023``, ``<0.0001``, ``–``."""
    text = format_p(p)
    return "–" if "not" in text else text[1:].removeprefix("=")


def capital(text: str) -> str:
    """The first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


def share(n: int, total: int) -> str:
    """A count with its share: ``12 (8%)``."""
    if not total:
        return f"{n:,}"
    percent = f"{100 * n / total:.0f}"
    percent = "<1" if n and percent == "0" else ">99" if n < total and percent == "100" else percent
    return f"{n:,} ({percent}%)"
