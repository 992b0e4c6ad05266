"""Text files of users: their encoding and their separator, found, or named where they are wrong."""

import csv
import io
import re
from pathlib import Path

from pathoprog.errors import InputError

SEPARATORS = (";", "\t", ",", "|")  # of two that part the lines equally well the first is taken
SNIFFED_LINES = 50
OTHER_SEPARATORS = {
    "colons": r"\s*:\s*",
    "carets": r"\^",
    "tildes": "~",
    "spaces": r" {2,}",
    "single spaces": r"(?<! ) (?! )",  # in three columns at least: a name may hold one
}
"""What some programs put between cells, and is not read: times and names hold them."""

_OTHER_SCRIPT = re.compile(rb"[\x80-\xff]{3}|(?:[\x81-\x9f\xe0-\xfc][\x40-\xfc]){3}")  # no three accents in a row


def decoded(path: Path, data: bytes, encoding: str, say: str) -> str:
    """The text of a file.

    Args:
        path: named in errors.
        data: the file.
        encoding: as the user gave it, or empty.
        say: how whoever reads a message can give it, as in `sheets.read_sheet_file`.

    Raises:
        InputError: another encoding; says which is likely, and what to give.
    """

    def remedy(name: str) -> str:
        anew = "save it as 'CSV UTF-8'"
        return f"give {say.format('encoding', name)}, or {anew}" if say else anew

    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        raise InputError(f"{path}: its text is in UTF-32, which is not read; save it as 'CSV UTF-8'")
    if b"\0" in data[:4096] and data[:2] not in (b"\xff\xfe", b"\xfe\xff") and "16" not in encoding:
        raise InputError(
            f"{path}: no text (it holds zero bytes); a CSV in UTF-16 without its mark, perhaps: {remedy('utf-16-le')}"
        )
    name = encoding or ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    try:
        text = data.decode(name)
        if encoding:
            _check_given(path, data, text, encoding)
        return text
    except LookupError as error:
        raise InputError(f"encoding={encoding!r} is not known; such as utf-8, cp1252, latin-1, utf-16") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        if encoding:
            raise InputError(
                f"{path}: line {line} is not in the encoding {encoding}; leave encoding out, or try another"
            ) from error
        said = f"{path}: not in UTF-8 (byte 0x{data[error.start]:02x} in line {line})"
        if _OTHER_SCRIPT.search(data):
            raise InputError(
                f"{said}, and not in western letters: such as cp932 (Japanese), gb18030 (Chinese), cp949 (Korean), "
                f"cp1251 (Cyrillic) or cp1253 (Greek); {remedy('NAME')}"
            ) from error
        raise InputError(
            f"{said}; probably Windows-1252, as Excel's plain CSV in western Europe: {remedy('cp1252')}"
        ) from error


def _check_given(path: Path, data: bytes, text: str, encoding: str) -> None:
    """Refuse an encoding of one byte a letter for what is plainly UTF-8: ``Ã¸`` in place of ``ø``."""
    if data.isascii() or len(text) != len(data):
        return
    try:
        meant = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    for wrong, right in zip(text.splitlines(), meant.splitlines(), strict=False):
        if not right.isascii():
            shown = next(pair for pair in zip(wrong.split(), right.split(), strict=False) if not pair[1].isascii())
            raise InputError(
                f"{path}: encoding={encoding} was given, but the file is in UTF-8 ({shown[1]!r} would become "
                f"{shown[0]!r}); leave encoding out"
            )


def check_header(path: Path, line: int, head: list[str], below: list[str]) -> list[str]:
    """What is odd about a header: columns without a name, numbers as names.

    Args:
        path: named in errors.
        line: of the header.
        head: its cells.
        below: the cells of the next row.

    Raises:
        InputError: it is a title, or the upper of two header rows: most columns lack a name, and the next row has more.
    """
    named, filled = sum(map(bool, head)), sum(map(bool, below))
    if len(head) > 2 and named * 2 <= len(head) and filled > named:
        first = next(cell for cell in head if cell)
        raise InputError(
            f"{path}: line {line} names {named} of {len(head)} columns (first {first[:60]!r}): a title, or a header in"
            " two rows? The first row must hold one name for each column; take the rows above it out"
        )
    notes = []
    blank = [str(place) for place, cell in enumerate(head, start=1) if not cell]
    if blank:
        notes.append(f"columns without a name: {', '.join(blank)}; called 'column {blank[0]}' and so on")
    numbers = [cell for cell in head if re.fullmatch(r"-?[0-9]+([.,][0-9]+)?", cell)]
    if numbers and len(head) > 1:
        notes.append(f"the header (line {line}) holds numbers, first {numbers[0]!r}: is the row of names missing?")
    return notes


def lost_letters(text: str, skipped: int = 0) -> list[str]:
    """A note where letters were lost before the file came here: the replacement character stands in their place."""
    place = text.find("\ufffd")
    if place < 0:
        return []
    line = text.count("\n", 0, place) + 1 + skipped
    return [f"line {line} holds the mark for a lost letter (\ufffd): the file was once saved in a wrong encoding"]


def separator_of(text: str) -> str:
    """The separator that parts the first lines into the same number of cells, most of them; a comma where none does."""
    best, found = (0.0, 0), ","
    for separator in SEPARATORS:
        widths = []
        try:
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
                if any(row):
                    widths.append(len(row))
                if len(widths) == SNIFFED_LINES:
                    break
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        like = sum(width == widths[0] for width in widths) / len(widths)
        if (round(like, 1), widths[0]) > best:
            best, found = (round(like, 1), widths[0]), separator
    return found


def check_separator(path: Path, text: str, separator: str) -> None:
    """Refuse a table of one column that plainly has several, parted by something that is not read.

    Raises:
        InputError: names what parts them, and what to save instead.
    """
    lines = [line for line in text.splitlines() if line.strip()][:SNIFFED_LINES]
    if len(lines) < 2 or separator in lines[0]:
        return
    for name, pattern in OTHER_SEPARATORS.items():
        widths = {len(re.split(pattern, line.strip())) for line in lines}
        if len(widths) == 1 and widths.pop() > (2 if name == "single spaces" else 1):
            raise InputError(
                f"{path}: one column only, {lines[0].strip()[:60]!r}: its cells seem to be parted by {name}; save the "
                "table with commas, semicolons, tabs or bars between them"
            )
