"""Text as it may leave: nothing that a terminal acts on, no path, no traceback."""

import re
import traceback
import unicodedata
from collections.abc import Iterable
from pathlib import Path

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends and turns of writing direction that Unicode has beside them, and undecodable bytes."""
ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4}))")
_LITERAL = re.compile(r"\\(?=x[0-9a-f]{2}|u[0-9a-f]{4})")
_PATH = re.compile(r"(?<![\w/.:])(?:/(?:[^\s/:;,'\"()<>]+/)+[^\s:;,'\"()<>]*|[A-Za-z]:\\[^\s:;,'\"()<>]+)")
LONG_ID = 6
"""An id of so many characters is taken out of other words too."""
_NOT_SAID = (
    "Traceback (",
    "Current thread",
    "Thread 0x",
    "Extension modules",
    "During handling",
    "The above exception",
)


def printable(text: str, lines: bool = False) -> str:
    r"""Text that no terminal acts on: control characters as ``\x1b``; with `lines` its line ends stay."""
    return CONTROL.sub(lambda found: found[0] if lines and found[0] == "\n" else _escape(found[0]), text)


def spelling(text: str) -> str:
    """What ids that a reader or a file system takes for one share: upper and lower case, and accents stored apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def folded(label: str) -> str:
    """A label without what nobody sees: case, spaces around and doubled, composed letters, invisible marks."""
    text = unicodedata.normalize("NFKC", label).replace("\u200b", "").replace("\ufeff", "")
    return " ".join(text.split()).casefold()


def escaped(text: str) -> str:
    """As `printable`, and such that `unescaped` gives the text back: what looks like an escape is escaped too."""
    return printable(_LITERAL.sub(r"\\x5c", text)) if CONTROL.search(text) or "\\" in text else text


def unescaped(text: str) -> str:
    """What `escaped` was given."""
    return ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), text) if "\\" in text else text


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def log_end(text: str, chars: int) -> str:
    """The last words of a program's log on one line, without tracebacks: of an exception its kind and what it says."""
    said = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line[0].isspace() and not line.startswith(_NOT_SAID)
    ]
    return without_paths(printable(" ".join(said)))[-chars:]


def defect_text(error: BaseException) -> str:
    """A defect's traceback for a log, without the words of the error: they may hold the name of a file."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last, the error's words left out):\n{frames}{type(error).__name__}"


def without_paths(text: str) -> str:
    """Text without absolute paths, of slides or of code: their place is marked."""
    return _PATH.sub("…", text)


def plain_reason(text: str, slide_id: str, path: str, outline_path: str = "", given: Iterable[str] = ()) -> str:
    """Why a slide has no class, in words that may leave with its result.

    The one place that every reader's and worker's reason passes: paths, file names and tracebacks are taken out, and
    the slide's id from its front, since the reason always stands beside it.

    Args:
        text: as it was raised.
        slide_id: stands for the slide's file wherever it is named.
        path: of the slide.
        outline_path: of its outline.
        given: ids that pseudonyms stand for: they go wherever they stand, also within names of other files.
    """
    if "Traceback (" in text or "\n  File " in text:
        text = log_end(text, len(text))
    text = " ".join(printable(text, lines=True).split())
    slide, outline = "\ue000", "\ue001"  # stand-ins, so that nothing is looked for in what was put in
    for private, name in ((outline_path, outline), (path, slide)):
        for known in dict.fromkeys((private, str(Path(private).resolve()))) if private else ():
            text = re.sub(rf"{re.escape(known)}(?:/[^\s:;,'\"()]+)*", name, text)
    for private in (outline_path, path):  # other files of the same folder
        if private and (folder := str(Path(private).parent)) not in (".", "/"):
            text = re.sub(rf"{re.escape(folder)}(?:/[^\s:;,'\"()]+)*", "…", text)
    text = _with_names(without_paths(text), {slide_id: slide}, {path: slide, outline_path: outline})
    text = _without_ids(text, given, slide).replace(slide, slide_id).replace(outline, "the outline")
    while text.startswith(f"{slide_id}: "):
        text = text.removeprefix(f"{slide_id}: ")
    return text


def _without_ids(text: str, given: Iterable[str], name: str) -> str:
    """Text without ids; short ones only where they stand as a word: "10" is in many a number."""
    for one in sorted(filter(None, given), key=len, reverse=True):
        word = re.escape(one) if len(one) >= LONG_ID else rf"(?<![A-Za-z0-9]){re.escape(one)}(?![A-Za-z0-9])"
        text = re.sub(word, name, text) if len(one) > 1 else text
    return text


def _with_names(text: str, ids: dict[str, str], files: dict[str, str]) -> str:
    """Text in which ids and the names of files, with and without extension, are replaced, each place once."""
    names = dict(ids)
    for private, name in files.items():
        file = Path(private)
        for known in (file.name, file.stem):
            if len(known) > 3 and not (known.isalpha() and known.islower()):  # shorter or a common word
                names.setdefault(known, name)
    longest_first = sorted(filter(None, names), key=len, reverse=True)  # S1.tif before S1, whichever is the id
    known = "|".join(map(re.escape, longest_first))
    return re.sub(rf"(?<![\w.-])(?:{known})(?![\w-])", lambda found: names[found[0]], text) if known else text
