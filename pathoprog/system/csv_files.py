r"""CSV as this project writes and reads it: the one place.

Text that a spreadsheet would run as a formula (it begins with = + - @, or their wide forms) is written with ' in front,
as OWASP advises (CSV Injection); numbers are not. Control characters, which a terminal or a spreadsheet acts on, are
written as ``\x1b``. Reading takes both back, so that what was written is what is read.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathoprog.errors import InputError
from pathoprog.system.files import write_text
from pathoprog.text.plain_text import escaped, unescaped

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile("'*[=+@\\-\uff1d\uff0b\uff0d\uff20]")
"""Also after apostrophes, so that taking the first away gives back what was."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf", re.ASCII)


def quoted(text: str) -> str:
    """A cell's text as it is written; `unquoted` gives it back."""
    text = escaped(text)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unquoted(text: str) -> str:
    """A cell's text as it was before it was written."""
    return unescaped(text[1:] if text.startswith("'") and _FORMULA.match(text) else text)


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV text with a header.

    Args:
        rows: values by column; what a row lacks is empty.
        columns: in the order of the file; none given are those of the first row.
    """
    text = io.StringIO()
    table = CsvLines(text.write, columns or list(rows[0]))
    for row in rows:
        table.add(row)
    return text.getvalue()


class CsvLines:
    """Gives out the text of a CSV table line by line, its header first.

    Args:
        write: takes the text of each line, or more of them.
        columns: in the order of the file.
    """

    def __init__(self, write: Callable[[str], object], columns: Sequence[str]):
        self.write = write
        self._writer = csv.DictWriter(self, columns, restval="", lineterminator="\n")
        self._writer.writerow({name: quoted(name) for name in columns})

    def add(self, row: Mapping[str, Any]) -> None:
        """One row: values by column; what it lacks is empty."""
        self._writer.writerow({key: quoted(value) if isinstance(value, str) else value for key, value in row.items()})


def frame_text(frame: "pd.DataFrame") -> str:
    """A table as CSV text with a header, without its index; missing values are empty."""
    written = _each_text(frame, quoted)
    return str(written.to_csv(index=False, lineterminator="\n"))


def write_frame(path: str | Path, frame: "pd.DataFrame") -> None:
    """Write a table as CSV, whole or not at all; see `frame_text`."""
    write_text(path, frame_text(frame))


def read_frame(path: str | Path, **options: Any) -> "pd.DataFrame":
    """Read a CSV table as text, an empty cell as ``""``.

    Args:
        path: UTF-8, with or without a byte-order mark.
        options: of `pandas.read_csv`, in place of ours.

    Raises:
        OSError, UnicodeDecodeError, pandas.errors.ParserError, pandas.errors.EmptyDataError: as pandas does.
    """
    import pandas as pd

    given: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", **options}
    return unquoted_frame(pd.read_csv(path, **given))


def read_columns(path: str | Path, needed: Sequence[str], written_by: str) -> "pd.DataFrame":
    """Read a table that a command of this project wrote, as text, an empty cell as ``""``.

    Args:
        path: the file.
        needed: columns that it must have.
        written_by: the command, for messages.

    Raises:
        InputError: no such file, no sound CSV table in UTF-8, or a column is missing.
    """
    import warnings

    from pandas.errors import EmptyDataError, ParserError, ParserWarning

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; `{written_by}` writes it")
    remedy = f"take the file as `{written_by}` wrote it"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)
            table = read_frame(path, index_col=False).fillna("")
    except EmptyDataError as error:
        raise InputError(f"{path}: the file is empty; {remedy}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not in UTF-8, as if a spreadsheet had saved it; {remedy}") from error
    except (ParserError, ParserWarning) as error:
        what = "lines of different lengths, or a quote that is never closed"
        raise InputError(f"{path}: no sound CSV table ({what}); {remedy}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    missing = [name for name in needed if name not in table]
    if missing:
        alone = table.shape[1] == 1 and any(sign in str(table.columns[0]) for sign in ";\t|")
        hint = f"; its cells are not parted by commas: {remedy}" if alone else ""
        raise InputError(f"{path}: the columns {', '.join(missing)} are missing{hint}")
    return table


def unquoted_frame(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A table as it was before it was written: its texts and the names of its columns."""
    return _each_text(frame, unquoted)


def _each_text(frame: "pd.DataFrame", change: Callable[[str], str]) -> "pd.DataFrame":
    """The table with each text, and each column's name, changed."""
    result = frame.rename(columns=lambda name: change(name) if isinstance(name, str) else name)
    for place, dtype in enumerate(result.dtypes):
        if dtype.kind == "O":  # texts, mixed values and categories
            column = [change(value) if isinstance(value, str) else value for value in result.iloc[:, place]]
            result.isetitem(place, column)
    return result
