"""What was probably meant by a word that is not known."""

import difflib
from collections.abc import Iterable

MOST = 3


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint to end a message with, such as ``; did you mean fit.lr?``, or nothing where no known word is near.

    Args:
        word: as it was typed.
        known: words that there are. Of dotted ones the last part counts too: ``lr`` is near ``fit.lr``.
    """
    words = list(known)
    near = difflib.get_close_matches(word, words, n=MOST)
    if not near:
        ends: dict[str, list[str]] = {}
        for one in words:
            ends.setdefault(one.rpartition(".")[2], []).append(one)
        last = word.rpartition(".")[2]
        close = [last] if last in ends else difflib.get_close_matches(last, ends, n=MOST, cutoff=0.75)
        near = [one for end in close for one in ends[end]][:MOST]
    return f"; did you mean {' or '.join(near)}?" if near else ""
