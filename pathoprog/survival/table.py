"""A user's table as survival data: read it, find its columns, translate its codes, count what is left out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import CENSORED, COMPETING, EVENT, IntArray, level_names

TIME, CODE = "\0time", "\0event"
"""Names of the checked columns inside `SurvivalTable.frame`: no column of a file can be called so."""

MISSING = ("", "NA", "NaN", "nan", "N/A", "#N/A", "NULL", "<NA>")
KNOWN_ORDERS = (("good", "uncertain", "poor"), ("low", "intermediate", "high"))


@dataclass(frozen=True)
class SurvivalTable:
    """Rows with a follow-up and an event code.

    Attributes:
        frame: the file's columns plus `TIME` and `CODE` (0, 1, 2), usable rows only.
        rows: rows of the file.
        left_out: why rows are not in `frame`, with counts.
        notes: what a reader must know of the data.
    """

    frame: pd.DataFrame
    rows: int
    left_out: dict[str, int]
    notes: tuple[str, ...]

    @property
    def competing(self) -> bool:
        """True where a competing death occurs."""
        return bool((self.frame[CODE] == COMPETING).any())


def read_table(path: str | Path) -> pd.DataFrame:
    """Read CSV (comma, semicolon or tab), Excel or Parquet; empty cells and ``NA`` are missing, ``None`` is a text.

    Raises:
        InputError: no such file, no such format, or no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    suffix = path.suffix.lower()
    try:
        if suffix in (".xlsx", ".xls"):
            frame = pd.read_excel(path, keep_default_na=False, na_values=list(MISSING))
        elif suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(
                path,
                sep=_separator(path),
                keep_default_na=False,
                na_values=list(MISSING),
                encoding="utf-8-sig",
                low_memory=False,
            )
    except (ValueError, OSError, ImportError) as error:
        raise InputError(f"{path}: cannot be read as a table ({error})") from error
    if frame.empty:
        raise InputError(f"{path}: no rows")
    frame.columns = [str(name) for name in frame.columns]
    return frame


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        head = stream.readline()
    return max((",", ";", "\t"), key=head.count)


def find_columns(names: list[str], frame: pd.DataFrame, key: str) -> list[str]:
    """Column names as the user gave them; pieces of a name that holds a comma are put together again.

    Raises:
        InputError: names the key, the column that is absent, and those that there are.
    """
    known = set(frame.columns)
    found: list[str] = []
    rest = list(names)
    while rest:
        for length in range(len(rest), 0, -1):
            joined = [glue.join(rest[:length]) for glue in (",", ", ")]
            match = next((name for name in joined if name in known), None)
            if match is not None:
                found.append(match)
                del rest[:length]
                break
        else:
            there = ", ".join(repr(name) for name in frame.columns if name not in (TIME, CODE))
            raise InputError(f"{key}: no column {rest[0]!r}; there are {there}")
    return found


def find_pairs(pairs: list[str], columns: list[str], key: str) -> dict[str, str]:
    """``column:value`` settings as a dict; either side may hold colons as long as the column is known.

    Raises:
        InputError: a pair has no colon, or its column is not among `columns`.
    """
    result: dict[str, str] = {}
    for pair in pairs:
        cuts = [place for place, sign in enumerate(pair) if sign == ":"]
        column = next((pair[:cut] for cut in reversed(cuts) if pair[:cut] in columns), None)
        if column is None:
            raise InputError(f"{key}={pair}: write COLUMN:VALUE with a column among {', '.join(columns) or '(none)'}")
        result[column] = pair[len(column) + 1 :]
    return result


def survival_table(
    frame: pd.DataFrame,
    time: str,
    event: str,
    event_is: list[str],
    competing_is: list[str],
    censored_is: list[str],
    drop_negative: bool = False,
) -> SurvivalTable:
    """Check follow-up and event codes of a table.

    Args:
        frame: as read.
        time: column of the follow-up.
        event: column of the event code.
        event_is: codes of the event, as text, whole numbers without decimals; nothing given anywhere: 1 and True.
        competing_is: codes of competing deaths; nothing given anywhere: 2.
        censored_is: codes of censoring; default 0 and False.
        drop_negative: leave rows with a negative follow-up out, and count them, instead of refusing the table.

    Raises:
        InputError: a column is absent, a time is no number or negative, or a code is unknown; says how many and where.
    """
    for key, name in (("time", time), ("event", event)):
        find_columns([name], frame, key)
    if time == event:
        raise InputError(f"time and event are one column: {time!r}")
    times = pd.to_numeric(frame[time], errors="coerce").to_numpy(dtype=float)
    label = level_names(frame[event])
    no_time = level_names(frame[time]) == ""
    unreadable = np.isnan(times) & ~no_time
    if unreadable.any():
        row = int(np.flatnonzero(unreadable)[0])
        raise InputError(
            f"time={time!r}: {int(unreadable.sum())} values are no numbers, first {frame[time].iloc[row]!r} in "
            f"row {row + 2} of the file"
        )
    if np.isinf(times).any():
        raise InputError(f"time={time!r}: {int(np.isinf(times).sum())} values are infinite")
    codes = _codes(label, event, event_is, competing_is, censored_is)
    negative = times < 0
    if negative.any() and not drop_negative:
        raise InputError(
            f"time={time!r}: {int(negative.sum())} follow-up times are negative, first in row "
            f"{int(np.flatnonzero(negative)[0]) + 2} of the file; correct them, or drop_negative=true leaves them out "
            "and counts them"
        )
    no_event = label == ""
    usable = ~no_time & ~no_event & ~negative
    if not usable.any():
        raise InputError("no row has both a follow-up and an event code")
    kept = frame.loc[usable].reset_index(drop=True)
    kept[TIME] = times[usable]
    kept[CODE] = codes[usable]
    left_out = {
        "time missing": int(no_time.sum()),
        "event missing": int((no_event & ~no_time).sum()),
        "time negative": int((negative & ~no_event).sum()),
    }
    notes = []
    zero = int((kept[TIME] == 0).sum())
    if zero:
        notes.append(f"{zero} patients have a follow-up of 0: they are at risk at time 0 only, as in R")
    if not (kept[CODE] == EVENT).any():
        notes.append("no events: hazard ratios, tests and concordance cannot be estimated")
    return SurvivalTable(kept, len(frame), {key: count for key, count in left_out.items() if count}, tuple(notes))


def _codes(
    label: npt.NDArray[np.str_], event: str, event_is: list[str], competing_is: list[str], censored_is: list[str]
) -> IntArray:
    present = sorted(set(label.tolist()) - {""})
    if not (event_is or competing_is or censored_is) and present == ["1", "2"]:
        raise InputError(
            f"event={event!r}: all codes are 1 or 2, which has two meanings; give event_is=2 censored_is=1 if 1 is "
            "censored and 2 the event, or event_is=1 competing_is=2 if 2 is a competing death and nobody is censored"
        )
    censored_is = censored_is or [code for code in ("0", "False") if code not in [*event_is, *competing_is]]
    event_is = event_is or [code for code in ("1", "True") if code not in [*censored_is, *competing_is]]
    if not competing_is and "2" not in [*censored_is, *event_is]:
        competing_is = ["2"]
    meaning: dict[str, int] = {}
    given = (
        (CENSORED, "censored_is", censored_is),
        (EVENT, "event_is", event_is),
        (COMPETING, "competing_is", competing_is),
    )
    for code, key, values in given:
        for value in values:
            if meaning.get(value, code) != code:
                raise InputError(f"{key}: code {value!r} has two meanings")
            meaning[value] = code
    unknown = [value for value in present if value not in meaning]
    if unknown:
        raise InputError(
            f"event={event!r}: codes {', '.join(map(repr, unknown[:8]))} have no meaning (known: "
            f"{', '.join(f'{value!r}' for value in meaning)}); give event_is=…, censored_is=… and competing_is=…"
        )
    return np.array([meaning.get(value, 0) for value in label.tolist()], dtype=np.int64)


def order_levels(labels: list[str], reference: str, given: list[str]) -> list[str]:
    """Order of a group's levels: as given; else a known order of classes; else natural; the reference first.

    Args:
        labels: the levels that occur, numbers by size, then text by alphabet.
        reference: first level, or empty.
        given: the user's order, or empty.

    Raises:
        InputError: a level is absent from the user's order, or the reference does not occur.
    """
    if reference and reference not in labels:
        raise InputError(f"reference={reference}: no such level; there are {', '.join(labels)}")
    if given:
        if set(labels) - set(given):
            raise InputError(
                f"levels: {', '.join(sorted(set(labels) - set(given)))} occur in the table and are not listed"
            )
        return [level for level in given if level in labels]
    known = next((list(order) for order in KNOWN_ORDERS if set(labels) <= set(order)), None)
    if known is not None:
        return [level for level in known if level in labels]
    return ([reference] if reference else []) + [level for level in labels if level != reference]
