"""A pattern for file names that a person gave: whether it is one, has its groups, and ends in time for any name.

Python's expressions may take for ever where repeats lie in repeats. Such a pattern is refused by its look; what is left
is tried on long names, in a process that can be ended. Names have 255 bytes at most.
"""

import re
import subprocess
import sys

from pathoprog.errors import ConfigError
from pathoprog.system.files import MOST_NAME_BYTES

PATIENT, BLOCK = "patient", "block"
MOST_PATTERN = 500
TRIAL_S = 5.0
_TRIAL = """
import re, sys
pattern, like, most = re.compile(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for place in range(len(like) + 1):
    for unit in {*like[place:place + 1], *like[place:place + 2][1:], like[place:place + 2], 'a', 'A', '1', '-', '_'}:
        for end in ('', '!'):
            pattern.fullmatch((like[:place] + unit * most)[:most - 1] + end)
"""


def checked_pattern(text: str, where: str = "pattern") -> re.Pattern[str]:
    """The pattern, once it is known to be sound.

    Args:
        text: as it was given.
        where: the setting, for messages.

    Raises:
        ConfigError: it is none, lacks the group ``patient``, has other groups of names, or may take too long.
    """
    if len(text) > MOST_PATTERN:
        raise ConfigError(f"{where}: {len(text)} characters, at most {MOST_PATTERN} can be")
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{where}={text}: not a regular expression ({error})") from error
    if PATIENT not in pattern.groupindex:
        raise ConfigError(f"{where}={text}: lacks the group (?P<{PATIENT}>…), which says whose the slide is")
    others = sorted(set(pattern.groupindex) - {PATIENT, BLOCK})
    if others:
        raise ConfigError(f"{where}={text}: the groups {', '.join(others)} are not known: {PATIENT} and {BLOCK} are")
    if _repeats_in_repeats(text):
        raise ConfigError(
            f"{where}={text}: a group that is repeated holds a repeat, a choice or a reference, which may take for "
            "ever; write it without"
        )
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRIAL, text, _like(text), str(MOST_NAME_BYTES)],
            check=True,
            timeout=TRIAL_S,
            capture_output=True,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{where}={text}: takes more than {TRIAL_S:g} s for some names; write it simpler") from error
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"{where}={text}: cannot be tried on names") from error
    return pattern


def _repeats_in_repeats(text: str) -> bool:
    """Whether a group that is repeated holds something that can match in several ways."""
    depth_has = [False]  # of each group that is open: whether it holds a repeat, a choice or a reference
    place = 0
    while place < len(text):
        sign = text[place]
        if sign == "\\":
            depth_has[-1] |= text[place + 1 : place + 2].isdigit()
            place += 2
            continue
        if sign == "[":
            place = _behind_set(text, place)
            continue
        if sign == "(":
            depth_has.append(text.startswith("(?P=", place))
        elif sign == ")":
            inner = depth_has.pop() if len(depth_has) > 1 else False
            if inner and _is_repeated(text, place + 1):
                return True
            depth_has[-1] |= inner
        elif sign == "|" or _is_repeated(text, place, fixed_too=False) or _is_choice(text, place):
            depth_has[-1] = True
        place += 1
    return False


def _is_repeated(text: str, place: int, fixed_too: bool = True) -> bool:
    """Whether a sign of repetition stands there: any but ``?``; ``{3}`` if so asked."""
    braces = r"\{\d*,?\d*\}" if fixed_too else r"\{\d*,\d*\}"
    return text[place : place + 1] in ("*", "+") or bool(re.match(braces, text[place:]))


def _is_choice(text: str, place: int) -> bool:
    """Whether a ``?`` there says that something may be absent, and is no part of ``(?…`` or ``+?``."""
    return text[place] == "?" and text[place - 1 : place] not in ("(", "*", "+", "}")


def _like(text: str) -> str:
    """A name somewhat like those that a pattern matches: one character for each of its parts."""
    found, place = "", 0
    text = re.sub(r"\(\?(P<\w+>|P=\w+\)|[^)\w]*)?", "(", text)
    while place < len(text):
        sign = text[place]
        if sign == "\\":
            found += {"d": "1", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}.get(
                text[place + 1 : place + 2], text[place + 1 : place + 2]
            )
            place += 2
        elif sign == "[":
            behind = _behind_set(text, place)
            found += next((one for one in text[place + 1 : behind - 1] if one.isalnum()), "a")
            place = behind
        else:
            found += "a" if sign == "." else "" if sign in "(){}|*+?^$" else sign
            place += 1
    return found[:MOST_NAME_BYTES]


def _behind_set(text: str, place: int) -> int:
    """The place behind a set of characters that begins at a place."""
    place += 1 + text.startswith("^", place + 1)
    place += text.startswith("]", place)
    while place < len(text) and text[place] != "]":
        place += 1 + (text[place] == "\\")
    return place + 1
